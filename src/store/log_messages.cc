#include "store/log_messages.h"

#include <string_view>

#include <arrow/ipc/dictionary.h>
#include <arrow/util/bit_util.h>

#include "core/check.h"

namespace sheaf::store {
namespace {

/// Makes the messages of a batch as most are: whole arrays of the types that the log's own code knows.
bool PlanOwn(const BatchCodec& codec, const arrow::RecordBatch& batch, Messages* out) {
  if (!codec.can_rebase()) return false;
  const std::vector<BatchCodec::Dictionary>& dictionaries = codec.dictionaries();
  std::vector<const arrow::ArrayData*> values;
  values.reserve(dictionaries.size());
  out->messages.resize(dictionaries.size() + 1);
  if (!wire::MakeBatchMessage(batch, &out->messages.back(), &values)) return false;
  SHEAF_CHECK(values.size() == dictionaries.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!wire::MakeDictionaryMessage(dictionaries[i].id, *values[i], &out->messages[i])) return false;
    out->dictionaries.emplace_back(dictionaries[i].id, values[i]->length);
  }
  return true;
}

/// The same by Arrow's writer: slices, and every other type.
Status PlanByArrow(const BatchCodec& codec, const arrow::RecordBatch& batch, Messages* out) {
  SHEAF_ASSIGN_OR_RETURN(const arrow::ipc::DictionaryVector dictionaries,
                         arrow::ipc::CollectDictionaries(batch, codec.mapper()));
  out->payloads.resize(dictionaries.size() + 1);
  out->dictionaries.clear();
  for (size_t i = 0; i < dictionaries.size(); ++i) {
    const auto& [id, values] = dictionaries[i];
    SHEAF_RETURN_NOT_OK(arrow::ipc::GetDictionaryPayload(id, values, SectionIpcOptions(), &out->payloads[i]));
    out->dictionaries.emplace_back(id, values->length());
  }
  SHEAF_RETURN_NOT_OK(arrow::ipc::GetRecordBatchPayload(batch, SectionIpcOptions(), &out->payloads.back()));
  out->messages.assign(out->payloads.size(), {});
  for (size_t i = 0; i < out->payloads.size(); ++i) {
    const arrow::ipc::IpcPayload& payload = out->payloads[i];
    wire::IpcMessage& message = out->messages[i];
    message.metadata = payload.metadata->ToString();
    message.body_bytes = payload.body_length;
    for (const auto& buffer : payload.body_buffers) {
      message.buffers.push_back(buffer == nullptr ? std::string_view() : std::string_view(*buffer));
    }
  }
  return Status::OK();
}

}  // namespace

const arrow::ipc::IpcWriteOptions& SectionIpcOptions() {
  static const arrow::ipc::IpcWriteOptions options = [] {
    arrow::ipc::IpcWriteOptions made = arrow::ipc::IpcWriteOptions::Defaults();
    made.alignment = kSectionAlignment;
    made.allow_64bit = false;
    made.use_threads = false;
    return made;
  }();
  return options;
}

int64_t BodyPosition(int64_t position, const wire::IpcMessage& message) {
  return arrow::bit_util::RoundUp(position + kMessagePrefixBytes + static_cast<int64_t>(message.metadata.size()), kSectionAlignment);
}

Result<Messages> PlanMessages(const BatchCodec& codec, const arrow::RecordBatch& batch) {
  Messages out;
  if (!PlanOwn(codec, batch, &out)) SHEAF_RETURN_NOT_OK(PlanByArrow(codec, batch, &out));
  for (const wire::IpcMessage& message : out.messages) out.bytes = BodyPosition(out.bytes, message) + message.body_bytes;
  out.bytes = arrow::bit_util::RoundUp(out.bytes, kSectionAlignment);
  return out;
}

}  // namespace sheaf::store
