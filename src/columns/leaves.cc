#include "columns/leaves.h"

#include <cstring>

#include <arrow/extension_type.h>

namespace sheaf::columns {
namespace {

std::shared_ptr<arrow::DataType> Stored(const std::shared_ptr<arrow::DataType>& type) {
  if (type->id() != arrow::Type::EXTENSION) return type;
  return static_cast<const arrow::ExtensionType&>(*type).storage_type();
}

bool IsListOfItems(arrow::Type::type id) {
  return id == arrow::Type::LIST || id == arrow::Type::LARGE_LIST || id == arrow::Type::MAP || id == arrow::Type::FIXED_SIZE_LIST;
}

void AddLeaves(int column, const std::string& path, const std::shared_ptr<arrow::DataType>& type, std::vector<Leaf>* out) {
  const auto stored = Stored(type);
  if (IsListOfItems(stored->id())) return AddLeaves(column, path, stored->field(0)->type(), out);
  if (stored->id() != arrow::Type::STRUCT) return out->push_back({column, path, stored});
  for (const auto& field : stored->fields()) AddLeaves(column, path + "." + field->name(), field->type(), out);
}

using Visit = std::function<Status(const arrow::ArrayData&)>;
using ArrayDataPtr = std::shared_ptr<arrow::ArrayData>;

Status Walk(const arrow::DataType& type, const ArrayDataPtr& data, const Visit& visit);

template <typename Offset>
Status WalkItems(const arrow::DataType& item, const arrow::ArrayData& list, const Visit& visit) {
  const ArrayDataPtr& items = list.child_data[0];
  Offset begin = 0, end = 0;
  if (list.length > 0 && list.buffers[1]) {
    const uint8_t* offsets = list.buffers[1]->data() + list.offset * static_cast<int64_t>(sizeof(Offset));
    std::memcpy(&begin, offsets, sizeof begin);
    std::memcpy(&end, offsets + list.length * static_cast<int64_t>(sizeof(Offset)), sizeof end);
  }
  if (begin < 0 || end < begin || end > items->length) {
    return MakeError(ErrorKind::kCorruption, "lists reach from {} to {} of {} items", begin, end, items->length);
  }
  return Walk(item, items->Slice(begin, end - begin), visit);
}

Status Walk(const arrow::DataType& type, const ArrayDataPtr& data, const Visit& visit) {
  switch (type.id()) {
    case arrow::Type::EXTENSION: return Walk(*static_cast<const arrow::ExtensionType&>(type).storage_type(), data, visit);
    case arrow::Type::LIST:
    case arrow::Type::MAP: return WalkItems<int32_t>(*type.field(0)->type(), *data, visit);
    case arrow::Type::LARGE_LIST: return WalkItems<int64_t>(*type.field(0)->type(), *data, visit);
    case arrow::Type::FIXED_SIZE_LIST: {
      const int64_t size = static_cast<const arrow::FixedSizeListType&>(type).list_size();
      return Walk(*type.field(0)->type(), data->child_data[0]->Slice(data->offset * size, data->length * size), visit);
    }
    case arrow::Type::STRUCT:
      for (int i = 0; i < type.num_fields(); ++i) {
        const ArrayDataPtr& child = data->child_data[static_cast<size_t>(i)];
        const bool whole = data->offset == 0 && data->length == child->length;
        SHEAF_RETURN_NOT_OK(Walk(*type.field(i)->type(), whole ? child : child->Slice(data->offset, data->length), visit));
      }
      return Status::OK();
    default: return visit(*data);
  }
}

}  // namespace

std::vector<Leaf> LeavesOf(const arrow::Schema& schema) {
  std::vector<Leaf> out;
  for (int c = 0; c < schema.num_fields(); ++c) AddLeaves(c, schema.field(c)->name(), schema.field(c)->type(), &out);
  return out;
}

Status EachLeaf(const ArrayDataPtr& data, const Visit& visit) { return Walk(*data->type, data, visit); }

}  // namespace sheaf::columns
