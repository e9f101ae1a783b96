#include "wire/dictionary_indexes.h"

#include <cstring>
#include <utility>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/type.h>

namespace sheaf::wire {
namespace {

using Data = std::shared_ptr<arrow::ArrayData>;

Result<Data> Zeroed(const Data& data, arrow::MemoryPool* pool);

/// Of a dictionary array with NULLs.
Status ZeroOwn(arrow::ArrayData* data, arrow::MemoryPool* pool) {
  const auto& type = static_cast<const arrow::DictionaryType&>(*data->type);
  const auto width = static_cast<int64_t>(type.index_type()->byte_width());
  const int64_t begin = data->offset * width, size = data->length * width;
  // With the offset kept, since the validity bits have it, too.
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> indexes, arrow::AllocateBuffer(begin + size, pool));
  uint8_t* out = indexes->mutable_data();
  std::memset(out, 0, static_cast<size_t>(begin));
  std::memcpy(out + begin, data->buffers[1]->data() + begin, static_cast<size_t>(size));
  for (int64_t i = 0; i < data->length; ++i) {
    if (data->IsNull(i)) std::memset(out + begin + i * width, 0, static_cast<size_t>(width));
  }
  data->buffers[1] = std::move(indexes);
  return Status::OK();
}

/// `data` itself where nothing in it changes.
Result<Data> Zeroed(const Data& data, arrow::MemoryPool* pool) {
  if (data == nullptr) return data;
  Data changed;
  const auto copy = [&]() -> arrow::ArrayData& {
    if (changed == nullptr) changed = data->Copy();
    return *changed;
  };
  for (size_t i = 0; i < data->child_data.size(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(Data child, Zeroed(data->child_data[i], pool));
    if (child != data->child_data[i]) copy().child_data[i] = std::move(child);
  }
  if (data->dictionary != nullptr) {
    SHEAF_ASSIGN_OR_RETURN(Data values, Zeroed(data->dictionary, pool));
    if (values != data->dictionary) copy().dictionary = std::move(values);
    const bool own = data->type->id() == arrow::Type::DICTIONARY && data->length > 0 && data->GetNullCount() > 0;
    if (own) SHEAF_RETURN_NOT_OK(ZeroOwn(&copy(), pool));
  }
  return changed == nullptr ? data : changed;
}

}  // namespace

Result<std::shared_ptr<arrow::RecordBatch>> ZeroNullIndexes(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                            arrow::MemoryPool* pool) {
  std::vector<Data> columns;
  bool same = true;
  for (int i = 0; i < batch->num_columns(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(Data column, Zeroed(batch->column_data(i), pool));
    same = same && column == batch->column_data(i);
    columns.push_back(std::move(column));
  }
  return same ? batch : arrow::RecordBatch::Make(batch->schema(), batch->num_rows(), std::move(columns));
}

}  // namespace sheaf::wire
