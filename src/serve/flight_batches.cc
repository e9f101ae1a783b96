#include "serve/flight_batches.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/device.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>

#include "query/row_reader.h"
#include "wire/dictionary_indexes.h"
#include "wire/ipc_schema_limits.h"

namespace sheaf::serve {
namespace {

/// Before a header in an IPC stream: 0xFFFFFFFF and the header's length.
constexpr int64_t kPrefixBytes = 8;
constexpr int64_t kBodyAlignment = 64;

int64_t PaddedTo(int64_t size, int64_t alignment) { return (size + alignment - 1) / alignment * alignment; }

Status CheckPlain(const arrow::ipc::DictionaryFieldMapper& dictionaries) {
  if (dictionaries.num_fields() == 0) return Status::OK();
  return MakeError(ErrorKind::kUnsupported, "a result with dictionary-encoded columns cannot be sent");
}

/// Notes what a decoder finds.
class Found final : public arrow::ipc::Listener {
 public:
  Status OnSchemaDecoded(std::shared_ptr<arrow::Schema> decoded) override {
    schema = std::move(decoded);
    return Status::OK();
  }
  Status OnRecordBatchDecoded(std::shared_ptr<arrow::RecordBatch> decoded) override {
    batch = std::move(decoded);
    return Status::OK();
  }

  std::shared_ptr<arrow::Schema> schema;
  std::shared_ptr<arrow::RecordBatch> batch;
};

arrow::ipc::IpcReadOptions ReadOptions(arrow::MemoryPool* pool) {
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = pool;
  options.use_threads = false;
  options.ensure_alignment = arrow::ipc::Alignment::kDataTypeSpecificAlignment;
  return options;
}

Status Malformed(const Status& why) {
  if (KindOf(why) == ErrorKind::kOutOfMemory) return why;
  return MakeError(ErrorKind::kInvalid, "the message is no valid Arrow data: {}", why.message());
}

/// What a reader of ours may rely on: see the docstrings of what it calls.
Result<std::shared_ptr<arrow::RecordBatch>> Checked(const std::shared_ptr<arrow::RecordBatch>& batch, arrow::MemoryPool* pool) {
  if (batch->num_rows() < 0) return MakeError(ErrorKind::kInvalid, "the batch says that it has {} rows", batch->num_rows());
  if (batch->num_rows() > query::kRowsReadMax) {
    return MakeError(ErrorKind::kTooLarge, "the batch has {} rows; at most {} at once", batch->num_rows(), query::kRowsReadMax);
  }
  const Status valid = batch->ValidateFull();
  if (!valid.ok()) return Malformed(valid);
  return wire::ZeroNullIndexes(batch, pool);
}

}  // namespace

struct FlightBatchReader::State {
  explicit State(arrow::MemoryPool* memory) : pool(memory), decoder(found, ReadOptions(memory)) {}

  arrow::MemoryPool* const pool;
  const std::shared_ptr<Found> found = std::make_shared<Found>();
  arrow::ipc::StreamDecoder decoder;
  int idle_messages = 0;  // Since the last one with rows.
};

Result<std::string> SchemaBytes(const arrow::Schema& schema) {
  SHEAF_RETURN_NOT_OK(CheckPlain(arrow::ipc::DictionaryFieldMapper(schema)));
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, arrow::ipc::SerializeSchema(schema));
  return bytes->ToString();
}

Result<std::string> EncodeSchemaData(const arrow::Schema& schema) {
  const arrow::ipc::DictionaryFieldMapper dictionaries(schema);
  SHEAF_RETURN_NOT_OK(CheckPlain(dictionaries));
  arrow::ipc::IpcPayload payload;
  SHEAF_RETURN_NOT_OK(arrow::ipc::GetSchemaPayload(schema, arrow::ipc::IpcWriteOptions::Defaults(), dictionaries, &payload));
  std::string data;
  wire::BeginFlightData(std::string_view(*payload.metadata), {}, 0, &data);
  return data;
}

Result<std::string> EncodeBatchData(const arrow::RecordBatch& batch) {
  arrow::ipc::IpcPayload payload;
  SHEAF_RETURN_NOT_OK(arrow::ipc::GetRecordBatchPayload(batch, arrow::ipc::IpcWriteOptions::Defaults(), &payload));
  std::string data;
  data.reserve(static_cast<size_t>(payload.metadata->size() + payload.body_length) + 32);
  wire::BeginFlightData(std::string_view(*payload.metadata), {}, static_cast<size_t>(payload.body_length), &data);
  const size_t begin = data.size();
  for (const auto& buffer : payload.body_buffers) {
    if (buffer == nullptr) continue;
    data.append(reinterpret_cast<const char*>(buffer->data()), static_cast<size_t>(buffer->size()));
    data.resize(begin + static_cast<size_t>(PaddedTo(static_cast<int64_t>(data.size() - begin), 8)));
  }
  if (data.size() - begin != static_cast<size_t>(payload.body_length)) {
    return MakeError(ErrorKind::kInternal, "a batch of {} bytes took {}", payload.body_length, data.size() - begin);
  }
  return data;
}

FlightBatchReader::FlightBatchReader(arrow::MemoryPool* pool) : state_(std::make_unique<State>(pool)) {}

FlightBatchReader::~FlightBatchReader() = default;

const std::shared_ptr<arrow::Schema>& FlightBatchReader::schema() const { return state_->found->schema; }

Result<std::shared_ptr<arrow::RecordBatch>> FlightBatchReader::Take(const wire::FlightData& data) {
  if (data.header.empty()) {
    if (data.body.empty()) return nullptr;
    return MakeError(ErrorKind::kInvalid, "a message has a body and no header that says what it is");
  }
  if (data.header.size() > kFlightHeaderBytesMax) {
    return MakeError(ErrorKind::kTooLarge, "the header of a message has {} bytes; at most {}", data.header.size(),
                     kFlightHeaderBytesMax);
  }
  SHEAF_RETURN_NOT_OK(wire::CheckIpcHeader(data.header));
  if (++state_->idle_messages > kFlightIdleMessagesMax) {
    return MakeError(ErrorKind::kTooLarge, "more than {} messages without rows follow one another", kFlightIdleMessagesMax);
  }
  // As a message of an IPC stream, with its body where buffers are aligned.
  const int64_t body_begin = PaddedTo(kPrefixBytes + static_cast<int64_t>(data.header.size()), kBodyAlignment);
  const auto body_bytes = static_cast<int64_t>(data.body.size());
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(body_begin + body_bytes, state_->pool));
  uint8_t* out = bytes->mutable_data();
  const uint32_t prefix[] = {0xFFFFFFFF, static_cast<uint32_t>(body_begin - kPrefixBytes)};
  std::memset(out, 0, static_cast<size_t>(body_begin));
  std::memcpy(out, prefix, sizeof prefix);
  std::memcpy(out + kPrefixBytes, data.header.data(), data.header.size());
  if (body_bytes > 0) std::memcpy(out + body_begin, data.body.data(), data.body.size());

  const int64_t before = state_->decoder.stats().num_messages;
  const Status consumed = state_->decoder.Consume(std::move(bytes));
  if (!consumed.ok()) return Malformed(consumed);
  const bool whole =
      state_->decoder.next_required_size() == static_cast<int64_t>(sizeof(uint32_t));  // Of the next message's prefix.
  if (state_->decoder.stats().num_messages != before + 1 || !whole) {
    return MakeError(ErrorKind::kInvalid, "the body of a message is not as long as its header says");
  }
  const auto batch = std::exchange(state_->found->batch, nullptr);
  if (batch == nullptr) return nullptr;
  if (batch->num_rows() > 0) state_->idle_messages = 0;
  return Checked(batch, state_->pool);
}

Result<std::shared_ptr<arrow::RecordBatch>> CopyOfBatch(const arrow::RecordBatch& batch, arrow::MemoryPool* pool) {
  const auto memory = arrow::CPUDevice::memory_manager(pool);
  arrow::ArrayVector columns;
  for (const auto& column : batch.columns()) {
    SHEAF_ASSIGN_OR_RETURN(auto copied, column->CopyTo(memory));
    columns.push_back(std::move(copied));
  }
  return arrow::RecordBatch::Make(batch.schema(), batch.num_rows(), std::move(columns));
}

Result<std::string> BatchesToIpc(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  SHEAF_ASSIGN_OR_RETURN(const auto sink, arrow::io::BufferOutputStream::Create());
  SHEAF_ASSIGN_OR_RETURN(const auto writer, arrow::ipc::MakeStreamWriter(sink, batches.front()->schema()));
  for (const auto& batch : batches) SHEAF_RETURN_NOT_OK(writer->WriteRecordBatch(*batch));
  SHEAF_RETURN_NOT_OK(writer->Close());
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, sink->Finish());
  return bytes->ToString();
}

Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> BatchesFromIpc(std::string_view bytes, arrow::MemoryPool* pool) {
  SHEAF_RETURN_NOT_OK(wire::CheckIpcStreamSchema(bytes));
  // A buffer of its own: batches outlive `bytes`.
  const auto source = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::string(bytes)));
  auto reader = arrow::ipc::RecordBatchStreamReader::Open(source, ReadOptions(pool));
  if (!reader.ok()) return Malformed(reader.status());
  auto batches = (*reader)->ToRecordBatches();
  if (!batches.ok()) return Malformed(batches.status());
  for (auto& batch : *batches) {
    SHEAF_ASSIGN_OR_RETURN(batch, Checked(batch, pool));
  }
  return batches;
}

}  // namespace sheaf::serve
