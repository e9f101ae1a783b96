#include "columns/dictionaries.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <arrow/buffer.h>
#include <arrow/util/bit_util.h>
#include <xxhash.h>

#include "columns/byte_values.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

template <typename Offset>
Status AppendOffsets(const std::vector<std::string_view>& values, arrow::MemoryPool* pool, arrow::ArrayData* out) {
  size_t total = 0;
  for (const std::string_view v : values) total += v.size();
  if (total > static_cast<size_t>(std::numeric_limits<Offset>::max())) {
    return MakeError(ErrorKind::kTooLarge, "a dictionary of {} bytes does not fit its type; use large text", total);
  }
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> offsets,
                         arrow::AllocateBuffer(static_cast<int64_t>((values.size() + 1) * sizeof(Offset)), pool));
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(static_cast<int64_t>(total), pool));
  auto* offset = reinterpret_cast<Offset*>(offsets->mutable_data());
  uint8_t* at = bytes->mutable_data();
  *offset = 0;
  for (const std::string_view v : values) {
    if (!v.empty()) std::memcpy(at, v.data(), v.size());
    at += v.size();
    offset[1] = static_cast<Offset>(offset[0] + static_cast<Offset>(v.size()));
    ++offset;
  }
  out->buffers = {nullptr, std::move(offsets), std::move(bytes)};
  return Status::OK();
}

/// Reads indexes of any width as int64.
class IndexReader {
 public:
  explicit IndexReader(const arrow::ArrayData& data)
      : type_(static_cast<const arrow::DictionaryType&>(*data.type).index_type()->id()),
        values_(data.buffers[1] ? data.buffers[1]->data() : nullptr), offset_(data.offset) {}

  int64_t operator[](int64_t i) const {
    switch (type_) {
      case arrow::Type::INT8: return As<int8_t>(i);
      case arrow::Type::UINT8: return As<uint8_t>(i);
      case arrow::Type::INT16: return As<int16_t>(i);
      case arrow::Type::UINT16: return As<uint16_t>(i);
      case arrow::Type::INT32: return As<int32_t>(i);
      case arrow::Type::UINT32: return As<uint32_t>(i);
      default: return As<int64_t>(i);
    }
  }

 private:
  template <typename T>
  int64_t As(int64_t i) const {
    T v;
    std::memcpy(&v, values_ + (offset_ + i) * static_cast<int64_t>(sizeof(T)), sizeof v);
    return static_cast<int64_t>(v);
  }
  arrow::Type::type type_;
  const uint8_t* values_;
  int64_t offset_;
};

void WriteIndex(uint8_t* out, int64_t i, int width, int64_t value) {
  std::memcpy(out + i * width, &value, static_cast<size_t>(width));  // Little-endian: the low bytes come first.
}

/// Marks what occurs. Returns the first index outside the dictionary, or nothing.
template <typename Index>
std::optional<int64_t> MarkUsed(const arrow::ArrayData& data, std::vector<uint8_t>* seen) {
  const uint8_t* validity = data.MayHaveNulls() && data.buffers[0] ? data.buffers[0]->data() : nullptr;
  const uint8_t* values = data.buffers[1] ? data.buffers[1]->data() + data.offset * static_cast<int64_t>(sizeof(Index)) : nullptr;
  for (int64_t i = 0; i < data.length; ++i) {
    Index index;
    std::memcpy(&index, values + i * static_cast<int64_t>(sizeof(Index)), sizeof index);
    if (validity != nullptr && !arrow::bit_util::GetBit(validity, data.offset + i)) continue;
    if (static_cast<uint64_t>(index) >= seen->size()) return static_cast<int64_t>(index);  // Negative ones are huge.
    (*seen)[static_cast<size_t>(index)] = 1;
  }
  return {};
}

std::optional<int64_t> MarkUsed(const arrow::ArrayData& data, std::vector<uint8_t>* seen) {
  switch (static_cast<const arrow::DictionaryType&>(*data.type).index_type()->id()) {
    case arrow::Type::INT8: return MarkUsed<int8_t>(data, seen);
    case arrow::Type::UINT8: return MarkUsed<uint8_t>(data, seen);
    case arrow::Type::INT16: return MarkUsed<int16_t>(data, seen);
    case arrow::Type::UINT16: return MarkUsed<uint16_t>(data, seen);
    case arrow::Type::INT32: return MarkUsed<int32_t>(data, seen);
    case arrow::Type::UINT32: return MarkUsed<uint32_t>(data, seen);
    default: return MarkUsed<int64_t>(data, seen);
  }
}

/// Rows of `values` by position, as a new array; NULLs kept.
Result<std::shared_ptr<arrow::ArrayData>> Pick(const std::shared_ptr<arrow::ArrayData>& values, const std::vector<int64_t>& picks,
                                               arrow::MemoryPool* pool) {
  const std::optional<ByteValues> bytes = ByteValues::Of(*values);
  if (!bytes || bytes->may_have_nulls()) return values;  // Rare: left whole, which is only larger.
  std::vector<std::string_view> picked;
  picked.reserve(picks.size());
  for (const int64_t i : picks) picked.push_back((*bytes)[i]);
  auto out = std::make_shared<arrow::ArrayData>(values->type, static_cast<int64_t>(picks.size()), 0);
  const auto id = values->type->storage_id();
  if (arrow::is_large_binary_like(id)) {
    SHEAF_RETURN_NOT_OK(AppendOffsets<int64_t>(picked, pool, out.get()));
  } else if (arrow::is_binary_like(id)) {
    SHEAF_RETURN_NOT_OK(AppendOffsets<int32_t>(picked, pool, out.get()));
  } else {
    const int64_t width = values->type->byte_width();
    SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(out->length * width, pool));
    uint8_t* at = buffer->mutable_data();
    for (const std::string_view v : picked) {
      std::memcpy(at, v.data(), v.size());
      at += width;
    }
    out->buffers = {nullptr, std::move(buffer)};
  }
  return out;
}

Result<std::shared_ptr<arrow::ArrayData>> CompactOne(const std::shared_ptr<arrow::ArrayData>& data, arrow::MemoryPool* pool) {
  SHEAF_ASSIGN_OR_RETURN(const std::vector<int64_t> used, UsedIndexes(*data));
  if (static_cast<int64_t>(used.size()) == data->dictionary->length) return data;
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::ArrayData> values, Pick(data->dictionary, used, pool));
  if (values == data->dictionary) return data;

  std::vector<int64_t> moved(static_cast<size_t>(data->dictionary->length), 0);
  for (size_t i = 0; i < used.size(); ++i) moved[static_cast<size_t>(used[i])] = static_cast<int64_t>(i);
  const int width = data->type->byte_width();
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> indexes, arrow::AllocateBuffer((data->offset + data->length) * width, pool));
  std::memset(indexes->mutable_data(), 0, static_cast<size_t>(indexes->size()));
  const IndexReader index(*data);
  const uint8_t* validity = data->MayHaveNulls() && data->buffers[0] ? data->buffers[0]->data() : nullptr;
  for (int64_t i = 0; i < data->length; ++i) {
    if (validity != nullptr && !arrow::bit_util::GetBit(validity, data->offset + i)) continue;
    WriteIndex(indexes->mutable_data(), data->offset + i, width, moved[static_cast<size_t>(index[i])]);
  }
  auto out = data->Copy();
  out->buffers[1] = std::move(indexes);
  out->dictionary = std::move(values);
  return out;
}

}  // namespace

DictionaryUnion::DictionaryUnion(std::shared_ptr<arrow::DataType> value_type) : value_type_(std::move(value_type)), slots_(64) {}

void DictionaryUnion::Grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.number < 0) continue;
    size_t at = slot.hash & mask;
    while (slots_[at].number >= 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

int32_t DictionaryUnion::NumberOf(std::string_view value) {
  const auto hash = static_cast<uint32_t>(XXH3_64bits(value.data(), value.size()));
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].number >= 0) {
    if (slots_[at].hash == hash && values_[static_cast<size_t>(slots_[at].number)] == value) return slots_[at].number;
    at = (at + 1) & mask;
  }
  const auto number = static_cast<int32_t>(values_.size());
  values_.push_back(value);
  slots_[at] = {hash, number};
  if (values_.size() * 2 > slots_.size()) Grow();
  return number;
}

Status DictionaryUnion::Add(const arrow::ArrayData& values, std::vector<int32_t>* numbers) {
  const std::optional<ByteValues> bytes = ByteValues::Of(values);
  if (!bytes) return MakeError(ErrorKind::kUnsupported, "dictionaries of {} are not supported", values.type->ToString());
  if (values_.size() + static_cast<size_t>(values.length) > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return MakeError(ErrorKind::kTooLarge, "more than 2^31 distinct values in one dictionary");
  }
  numbers->resize(static_cast<size_t>(values.length));
  std::string_view last;
  int32_t last_number = -1;
  for (int64_t i = 0; i < values.length; ++i) {
    if (bytes->IsNull(i)) {
      (*numbers)[static_cast<size_t>(i)] = -1;
      continue;
    }
    const std::string_view value = (*bytes)[i];
    if (last_number < 0 || value != last) {
      last = value;
      last_number = NumberOf(value);
    }
    (*numbers)[static_cast<size_t>(i)] = last_number;
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::ArrayData>> DictionaryUnion::ToArray(arrow::MemoryPool* pool) const {
  auto out = std::make_shared<arrow::ArrayData>(value_type_, static_cast<int64_t>(values_.size()), 0);
  const auto id = value_type_->storage_id();
  if (arrow::is_large_binary_like(id)) {
    SHEAF_RETURN_NOT_OK(AppendOffsets<int64_t>(values_, pool, out.get()));
  } else if (arrow::is_binary_like(id)) {
    SHEAF_RETURN_NOT_OK(AppendOffsets<int32_t>(values_, pool, out.get()));
  } else {
    const int64_t width = value_type_->byte_width();
    SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(out->length * width, pool));
    for (size_t i = 0; i < values_.size(); ++i) {
      std::memcpy(buffer->mutable_data() + static_cast<int64_t>(i) * width, values_[i].data(), values_[i].size());
    }
    out->buffers = {nullptr, std::move(buffer)};
  }
  return out;
}

Result<std::vector<int64_t>> UsedIndexes(const arrow::ArrayData& data) {
  SHEAF_CHECK(data.type->id() == arrow::Type::DICTIONARY && data.dictionary != nullptr);
  const int64_t size = data.dictionary->length;
  std::vector<uint8_t> seen(static_cast<size_t>(size), 0);
  if (const auto wrong = MarkUsed(data, &seen)) {
    return MakeError(ErrorKind::kCorruption, "index {} lies outside a dictionary of {} values", *wrong, size);
  }
  std::vector<int64_t> used;
  for (int64_t i = 0; i < size; ++i) {
    if (seen[static_cast<size_t>(i)] != 0) used.push_back(i);
  }
  return used;
}

Result<std::shared_ptr<arrow::ArrayData>> CompactDictionaries(const std::shared_ptr<arrow::ArrayData>& data, arrow::MemoryPool* pool) {
  if (data->type->id() == arrow::Type::DICTIONARY) return CompactOne(data, pool);
  std::shared_ptr<arrow::ArrayData> out = data;
  for (size_t i = 0; i < data->child_data.size(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(auto child, CompactDictionaries(data->child_data[i], pool));
    if (child == data->child_data[i]) continue;
    if (out == data) out = data->Copy();
    out->child_data[i] = std::move(child);
  }
  return out;
}

}  // namespace sheaf::columns
