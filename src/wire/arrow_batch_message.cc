#include "wire/arrow_batch_message.h"

#include <cstring>

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>

#include "wire/arrow_ipc_writer.h"

namespace sheaf::wire {
namespace {

constexpr int64_t kAlignment = 8;
constexpr int64_t RoundUp(int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }
constexpr int64_t BytesOfBits(int64_t bits) { return (bits + 7) / 8; }

/// Walks arrays in the order of the format: a field's node and buffers, then its children.
class Walk {
 public:
  /// `dictionaries` may be null: then there must be none.
  Walk(IpcMessage* message, std::vector<const arrow::ArrayData*>* dictionaries) : message_(*message), dictionaries_(dictionaries) {
    message_.buffers.clear();
    message_.nodes.clear();
    message_.places.clear();
    message_.body_bytes = 0;
  }

  bool Take(const arrow::ArrayData& data, int64_t rows) {
    if (data.offset != 0 || data.length != rows) return false;
    const arrow::Type::type id = data.type->id();
    const int64_t nulls = id == arrow::Type::NA ? rows : data.GetNullCount();
    message_.nodes.emplace_back(rows, nulls);
    if (id == arrow::Type::NA) return true;
    if (!Add(data.buffers[0], nulls == 0 ? 0 : BytesOfBits(rows))) return false;
    switch (id) {
      case arrow::Type::STRING:
      case arrow::Type::BINARY: {
        int64_t bytes = 0;
        return AddOffsets(data, &bytes) && Add(data.buffers[2], bytes);
      }
      case arrow::Type::LIST: {
        int64_t items = 0;
        return AddOffsets(data, &items) && Take(*data.child_data[0], items);
      }
      case arrow::Type::FIXED_SIZE_LIST:
        return Take(*data.child_data[0], rows * static_cast<const arrow::FixedSizeListType&>(*data.type).list_size());
      case arrow::Type::STRUCT:
        for (const auto& child : data.child_data) {
          if (!Take(*child, rows)) return false;
        }
        return true;
      case arrow::Type::DICTIONARY: return TakeIndexes(data);
      case arrow::Type::BOOL: return Add(data.buffers[1], BytesOfBits(rows));
      case arrow::Type::FIXED_SIZE_BINARY:
      case arrow::Type::DECIMAL128: return Add(data.buffers[1], rows * data.type->byte_width());
      default: return arrow::is_primitive(id) && Add(data.buffers[1], rows * data.type->byte_width());
    }
  }

 private:
  /// The first `bytes` of a buffer; false where it is shorter.
  bool Add(const std::shared_ptr<arrow::Buffer>& buffer, int64_t bytes) {
    if (bytes > 0 && (buffer == nullptr || buffer->size() < bytes)) return false;
    const char* data = bytes == 0 ? nullptr : reinterpret_cast<const char*>(buffer->data());
    message_.buffers.emplace_back(data, static_cast<size_t>(bytes));
    message_.places.emplace_back(message_.body_bytes, bytes);
    message_.body_bytes += RoundUp(bytes);
    return true;
  }
  /// Sets `end` to where the last value ends. No offsets at all stand for those of no rows.
  bool AddOffsets(const arrow::ArrayData& data, int64_t* end) {
    if (data.length == 0) return Add(nullptr, 0);
    if (!Add(data.buffers[1], (data.length + 1) * static_cast<int64_t>(sizeof(int32_t)))) return false;
    const auto* offsets = data.GetValues<int32_t>(1);
    *end = offsets[data.length];
    return offsets[0] == 0;
  }
  bool TakeIndexes(const arrow::ArrayData& data) {
    if (dictionaries_ == nullptr) return false;
    dictionaries_->push_back(data.dictionary.get());
    return Add(data.buffers[1], data.length * static_cast<const arrow::DictionaryType&>(*data.type).index_type()->byte_width());
  }

  IpcMessage& message_;
  std::vector<const arrow::ArrayData*>* const dictionaries_;
};

void SetMetadata(int64_t rows, int64_t dictionary, IpcMessage* message) {
  message->metadata =
      IpcBatchMetadata({rows, message->nodes, message->places, IpcCodec::kNone, message->body_bytes}, dictionary, /*is_delta=*/false);
  message->metadata.resize(static_cast<size_t>(RoundUp(static_cast<int64_t>(message->metadata.size()))), '\0');
}

}  // namespace

bool MakeBatchMessage(const arrow::RecordBatch& batch, IpcMessage* message, std::vector<const arrow::ArrayData*>* dictionaries) {
  Walk walk(message, dictionaries);
  for (int i = 0; i < batch.num_columns(); ++i) {
    if (!walk.Take(*batch.column_data(i), batch.num_rows())) return false;
  }
  SetMetadata(batch.num_rows(), /*dictionary=*/-1, message);
  return true;
}

bool MakeDictionaryMessage(int64_t id, const arrow::ArrayData& values, IpcMessage* message) {
  if (!Walk(message, nullptr).Take(values, values.length)) return false;
  SetMetadata(values.length, id, message);
  return true;
}

int64_t MessageBytes(const IpcMessage& message) {
  return static_cast<int64_t>(2 * sizeof(uint32_t) + message.metadata.size()) + message.body_bytes;
}

char* WriteMessage(const IpcMessage& message, char* to) {
  const auto append = [&to](const void* bytes, size_t n) {
    if (n > 0) std::memcpy(to, bytes, n);
    to += n;
  };
  const uint32_t prefix[2] = {0xffffffff, static_cast<uint32_t>(message.metadata.size())};
  append(prefix, sizeof(prefix));
  append(message.metadata.data(), message.metadata.size());
  for (const std::string_view buffer : message.buffers) {
    append(buffer.data(), buffer.size());
    const auto padding = static_cast<size_t>(RoundUp(static_cast<int64_t>(buffer.size()))) - buffer.size();
    std::memset(to, 0, padding);
    to += padding;
  }
  return to;
}

}  // namespace sheaf::wire
