#include "parts/conform.h"

#include <cstring>
#include <utility>
#include <vector>

#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/extension_type.h>

#include "columns/column_union.h"
#include "columns/dictionaries.h"

namespace sheaf::parts {
namespace {

using ArrayDataPtr = std::shared_ptr<arrow::ArrayData>;

Result<std::shared_ptr<arrow::Buffer>> MakeIndexes(const std::vector<int32_t>& numbers, int64_t offset, int width,
                                                   arrow::MemoryPool* pool) {
  const auto length = static_cast<int64_t>(numbers.size());
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> out, arrow::AllocateBuffer((offset + length) * width, pool));
  std::memset(out->mutable_data(), 0, static_cast<size_t>(out->size()));
  for (int64_t i = 0; i < length; ++i) {
    const int64_t value = std::max(numbers[static_cast<size_t>(i)], 0);  // -1 stands for NULL, which the validity bits say.
    std::memcpy(out->mutable_data() + (offset + i) * width, &value, static_cast<size_t>(width));
  }
  return out;
}

/// Plain values to a dictionary array: for dictionaries of what Parquet cannot read back as one.
Result<ArrayDataPtr> Encode(const ArrayDataPtr& plain, const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool) {
  columns::DictionaryUnion all(static_cast<const arrow::DictionaryType&>(*type).value_type());
  std::vector<int32_t> numbers;
  SHEAF_RETURN_NOT_OK(all.Add(*plain, &numbers));
  auto out = std::make_shared<arrow::ArrayData>(type, plain->length, plain->GetNullCount(), plain->offset);
  SHEAF_ASSIGN_OR_RETURN(auto indexes, MakeIndexes(numbers, plain->offset, type->byte_width(), pool));
  out->buffers = {plain->buffers[0], std::move(indexes)};
  SHEAF_ASSIGN_OR_RETURN(out->dictionary, all.ToArray(pool));
  return out;
}

/// int32 indexes, as Parquet gives them, to another width.
Result<ArrayDataPtr> Reindex(const ArrayDataPtr& data, const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool) {
  std::vector<int32_t> numbers(static_cast<size_t>(data->length));
  if (!numbers.empty()) std::memcpy(numbers.data(), data->GetValues<int32_t>(1), numbers.size() * sizeof(int32_t));
  auto out = data->Copy();
  out->type = type;
  SHEAF_ASSIGN_OR_RETURN(out->buffers[1], MakeIndexes(numbers, data->offset, type->byte_width(), pool));
  return out;
}

/// Parquet has days only; times of day in a date are against Arrow's rules.
Result<ArrayDataPtr> DaysToMilliseconds(const ArrayDataPtr& days, const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool) {
  const int64_t end = days->offset + days->length;
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(end * int64_t{8}, pool));
  auto* out = reinterpret_cast<int64_t*>(buffer->mutable_data());
  for (int64_t i = 0; i < end; ++i) out[i] = days->GetValues<int32_t>(1, 0)[i] * int64_t{86'400'000};
  auto result = days->Copy();
  result->type = type;
  result->buffers[1] = std::move(buffer);
  return result;
}

/// Parquet has no seconds: they were written as milliseconds.
template <typename T>
Result<ArrayDataPtr> MillisecondsToSeconds(const ArrayDataPtr& data, const std::shared_ptr<arrow::DataType>& type,
                                           arrow::MemoryPool* pool) {
  const int64_t end = data->offset + data->length;
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer,
                         arrow::AllocateBuffer(end * static_cast<int64_t>(sizeof(T)), pool));
  auto* out = reinterpret_cast<T*>(buffer->mutable_data());
  for (int64_t i = 0; i < end; ++i) out[i] = data->GetValues<T>(1, 0)[i] / 1000;
  auto result = data->Copy();
  result->type = type;
  result->buffers[1] = std::move(buffer);
  return result;
}

template <typename Type>
bool IsMillisecondsForSeconds(const arrow::DataType& got, const arrow::DataType& wanted) {
  return got.id() == Type::type_id && wanted.id() == Type::type_id && static_cast<const Type&>(got).unit() == arrow::TimeUnit::MILLI &&
         static_cast<const Type&>(wanted).unit() == arrow::TimeUnit::SECOND;
}

bool SameLayout(const arrow::DataType& a, const arrow::DataType& b) { return a.id() == b.id() && a.num_fields() == b.num_fields(); }

Result<ArrayDataPtr> Retype(const ArrayDataPtr& data, const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool) {
  if (data->type->Equals(*type, /*check_metadata=*/true) && data->type->num_fields() == 0) return data;
  if (type->id() == arrow::Type::EXTENSION && data->type->id() != arrow::Type::EXTENSION) {
    SHEAF_ASSIGN_OR_RETURN(auto storage, Retype(data, static_cast<const arrow::ExtensionType&>(*type).storage_type(), pool));
    auto out = storage->Copy();
    out->type = type;
    return out;
  }
  if (IsMillisecondsForSeconds<arrow::TimestampType>(*data->type, *type)) return MillisecondsToSeconds<int64_t>(data, type, pool);
  if (IsMillisecondsForSeconds<arrow::Time32Type>(*data->type, *type)) return MillisecondsToSeconds<int32_t>(data, type, pool);
  if (type->id() == arrow::Type::DATE64 && data->type->id() == arrow::Type::DATE32) return DaysToMilliseconds(data, type, pool);
  if (type->id() == arrow::Type::DICTIONARY) {
    const auto& wanted = static_cast<const arrow::DictionaryType&>(*type);
    if (data->type->Equals(*wanted.value_type())) return Encode(data, type, pool);
    if (data->type->id() == arrow::Type::DICTIONARY) {
      const auto& got = static_cast<const arrow::DictionaryType&>(*data->type);
      if (got.value_type()->Equals(*wanted.value_type()) && got.index_type()->id() == arrow::Type::INT32) return Reindex(data, type, pool);
    }
  } else if (type->num_fields() > 0 && SameLayout(*data->type, *type)) {
    auto out = data->Copy();
    out->type = type;
    for (int i = 0; i < type->num_fields(); ++i) {
      auto& child = out->child_data[static_cast<size_t>(i)];
      SHEAF_ASSIGN_OR_RETURN(child, Retype(child, type->field(i)->type(), pool));
    }
    return out;
  }
  return MakeError(ErrorKind::kCorruption, "Parquet gave values of type {} where {} were written", data->type->ToString(),
                   type->ToString());
}

}  // namespace

Result<ArrayDataPtr> Conform(const arrow::ChunkedArray& chunks, const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool) {
  ArrayDataPtr one;
  if (chunks.num_chunks() == 1) {
    one = chunks.chunk(0)->data();
  } else {
    std::vector<ArrayDataPtr> pieces;
    columns::RowRuns all;
    for (const auto& chunk : chunks.chunks()) {
      all.Append(static_cast<uint32_t>(pieces.size()), 0, chunk->length());
      pieces.push_back(chunk->data());
    }
    SHEAF_ASSIGN_OR_RETURN(const auto joined, columns::ColumnUnion::Make(chunks.type(), std::move(pieces), pool));
    SHEAF_ASSIGN_OR_RETURN(auto arrays, joined->Gather({&all, 1}, pool));
    one = std::move(arrays.front());
  }
  return Retype(one, type, pool);
}

}  // namespace sheaf::parts
