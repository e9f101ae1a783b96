#include "decode/otap_attributes.h"

#include <bit>
#include <cstring>

#include "decode/otap_cbor.h"
#include "decode/utf8.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

/// OTel-Arrow's numbers of value types.
enum OtapType : uint8_t { kOtapEmpty, kOtapStr, kOtapInt, kOtapDouble, kOtapBool, kOtapMap, kOtapSlice, kOtapBytes };

template <typename T>
T NumberAt(const OtapColumn* column, int64_t row) {
  T value;
  const int32_t at = static_cast<int32_t>(row);
  ReadNumbers<T>(column, {&at, 1}, &value);
  return value;
}

}  // namespace

Status OtapAttributes::Read(const OtapTable& table, const IdIndex& parents, const Limits& limits, OtapColumns* columns) {
  columns_ = columns;
  limits_ = limits;
  grouped_parents_ = -1;
  nested_values_ = value_bytes_ = 0;
  keys_ = columns->buffers()->NextDictionary();
  nested_ = columns->buffers()->NextBytes(0, 0);
  items_ = {columns->Scratch<Item>(table.rows), static_cast<size_t>(table.rows)};
  parents_ = {columns->Scratch<uint32_t>(table.rows), static_cast<size_t>(table.rows)};
  if (table.rows == 0) return Status::OK();
  SHEAF_RETURN_NOT_OK(ReadParentIds(table, parents_.data()));
  SHEAF_RETURN_NOT_OK(ReadItems(table, limits));
  const Item* items = items_.data();
  const auto same = [items](int64_t i) {
    if (i == 0) return false;
    const Item& a = items[i - 1];
    const Item& b = items[i];
    if (a.type != b.type || a.key != b.key) return false;
    switch (b.type) {
      case ValueType::kString:
      case ValueType::kBytes: return a.size == b.size && (a.data == b.data || std::memcmp(a.data, b.data, b.size) == 0);
      case ValueType::kBool:
      case ValueType::kInt: return a.num == b.num;
      case ValueType::kDouble: return std::bit_cast<double>(a.num) == std::bit_cast<double>(b.num);
      default: return false;  // Maps, slices and empty values have absolute ids.
    }
  };
  SHEAF_RETURN_NOT_OK(DecodeQuasiDeltas(table, parents_.data(), same));
  return FindParents(table, parents, parents_.data());
}

Status OtapAttributes::ReadItems(const OtapTable& table, const Limits& limits) {
  str_ = table.Find(OtapField::kStr);
  int_ = table.Find(OtapField::kInt);
  double_ = table.Find(OtapField::kDouble);
  bool_ = table.Find(OtapField::kBool);
  bytes_ = table.Find(OtapField::kBytes);
  ser_ = table.Find(OtapField::kSer);
  auto* types = columns_->Scratch<uint8_t>(table.rows);
  auto* keys = columns_->Scratch<int32_t>(table.rows);
  ReadNumbers<uint8_t>(table.Find(OtapField::kType), {nullptr, table.rows}, types);
  columns_->NumberTexts(table.Find(OtapField::kKey), {nullptr, table.rows}, keys_, keys);
  for (int64_t i = 0; i < table.rows; ++i) {
    Item& item = items_[static_cast<size_t>(i)];
    item = {"", 0, 0, keys[i], ValueType::kEmpty};
    SHEAF_RETURN_NOT_OK(ReadItem(table, i, types[i], limits, &item));
    value_bytes_ += item.size;
  }
  return Status::OK();
}

Status OtapAttributes::ReadItem(const OtapTable& table, int64_t row, uint8_t type, const Limits& limits, Item* item) {
  const auto set_bytes = [&](ValueType value_type, const OtapColumn* column) {
    item->type = value_type;
    const std::string_view bytes = column == nullptr ? std::string_view() : column->Bytes(row);
    if (bytes.empty()) return;
    item->data = bytes.data();
    item->size = static_cast<uint32_t>(bytes.size());
  };
  switch (type) {
    case kOtapStr: set_bytes(ValueType::kString, str_); break;
    case kOtapBytes: set_bytes(ValueType::kBytes, bytes_); break;
    case kOtapInt:
      item->type = ValueType::kInt;
      item->num = NumberAt<int64_t>(int_, row);
      break;
    case kOtapDouble:
      item->type = ValueType::kDouble;
      item->num = NumberAt<int64_t>(double_, row);
      break;
    case kOtapBool: {
      uint8_t value;
      const auto at = static_cast<int32_t>(row);
      ReadBools(bool_, {&at, 1}, &value);
      item->type = ValueType::kBool;
      item->num = value;
      break;
    }
    case kOtapMap: return ReadNested(ser_, row, ValueType::kKvList, limits, item);
    case kOtapSlice: return ReadNested(ser_, row, ValueType::kArray, limits, item);
    case kOtapEmpty: break;
    default:
      return MakeError(ErrorKind::kInvalid, "{}, row {}: type {} of an attribute's value; OTel-Arrow defines 0 to 7",
                       wire::OtapPayloadName(table.type), row, type);
  }
  return Status::OK();
}

Status OtapAttributes::ReadNested(const OtapColumn* column, int64_t row, ValueType type, const Limits& limits, Item* item) {
  nested_bytes_.clear();
  if (column != nullptr) {
    const Status status = CborToOtlp(type, column->Bytes(row), limits.attribute_depth_max, &nested_bytes_);
    if (!status.ok()) return WithContext(status, fmt::format("row {}, column ser", row));
  }
  nested_->Reserve(nested_values_ + 1);
  nested_->Put(nested_values_, nested_bytes_, 0);
  item->type = type;
  item->size = static_cast<uint32_t>(nested_bytes_.size());
  item->num = nested_values_++;
  return Status::OK();
}

AttributeValue OtapAttributes::Value(const Item& item) const {
  if (item.type == ValueType::kKvList || item.type == ValueType::kArray) return {item.type, 0, nested_->value(item.num)};
  return {item.type, item.num, {item.data, item.size}};
}

Result<ArrayDataPtr> OtapAttributes::Column(const TypePtr& type, const int32_t* places, int64_t groups) {
  RecycledBuffers* buffers = columns_->buffers();
  const Groups by_place = GroupRows(parents_, places, groups, buffers);
  for (int64_t i = 0; i < groups; ++i) {
    if (by_place.offsets[i + 1] - by_place.offsets[i] > limits_.attributes_per_record_max) [[unlikely]] {
      return MakeError(ErrorKind::kTooLarge, "a record holds {} attributes; at most {} are taken", by_place.offsets[i + 1] - by_place.offsets[i],
                       limits_.attributes_per_record_max);
    }
  }
  const int64_t n = by_place.order.size;
  ColumnBuffer* keys = buffers->Next(n * 4, false);
  ColumnBuffer* types = buffers->Next(n, false);
  ColumnBuffer* nums = buffers->Next(n * 8, false);
  BytesColumn* vals = buffers->NextBytes(n, value_bytes_);
  auto* key_at = reinterpret_cast<int32_t*>(keys->data());
  uint8_t* type_at = types->data();
  auto* num_at = reinterpret_cast<int64_t*>(nums->data());
  const uintptr_t str_end = str_ == nullptr ? 0 : str_->readable_end();
  bool texts_are_utf8 = true;
  for (int64_t i = 0; i < n; ++i) {
    const Item& item = items_[static_cast<size_t>(by_place.order.rows[i])];
    key_at[i] = item.key;
    type_at[i] = static_cast<uint8_t>(item.type);
    if (item.size == 0) {
      num_at[i] = item.type == ValueType::kArray || item.type == ValueType::kKvList ? 0 : item.num;
      vals->PutNone(i);
    } else {
      num_at[i] = 0;
      vals->Put(i, Value(item).val, item.type == ValueType::kString ? str_end : 0);
    }
  }
  if (!IsAscii(vals->heap())) {
    for (int64_t i = 0; i < n && texts_are_utf8; ++i) {
      texts_are_utf8 = type_at[i] != static_cast<uint8_t>(ValueType::kString) || IsUtf8(vals->value(i));
    }
  }
  if (!texts_are_utf8) columns_->Suspect();
  ArrayDataPtr items = MakeStruct(ItemType(type), n,
                                  {keys_->MakeColumn(FieldType(type, 0), n, keys->View(n * 4)), MakeArray(FieldType(type, 1), n, types->View(n)),
                                   MakeArray(FieldType(type, 2), n, nums->View(n * 8)), MakeArray(FieldType(type, 3), n, *vals)});
  return arrow::ArrayData::Make(type, groups, {nullptr, by_place.offsets_buffer->View((groups + 1) * 4)}, {std::move(items)}, 0);
}

void OtapAttributes::GroupByParent(int64_t parents) {
  if (grouped_parents_ >= parents) return;
  for (const uint32_t parent : parents_) parents = std::max(parents, int64_t{parent} + 1);
  by_parent_ = GroupRows(parents_, nullptr, parents, columns_->buffers());
  grouped_parents_ = parents;
}

void OtapAttributes::AppendKeyValues(uint32_t field, int64_t parent, std::string* out) {
  GroupByParent(parent + 1);
  wire::ProtobufWriter writer(out);
  for (int32_t i = by_parent_.offsets[parent]; i < by_parent_.offsets[parent + 1]; ++i) {
    const Item& item = items_[static_cast<size_t>(by_parent_.order.rows[i])];
    const AttributeValue value = Value(item);
    columns_->buffers()->memory()->Reserve(out, value.val.size() + keys_->value(item.key).size() + 32);
    const size_t attribute = writer.Open(field);
    writer.Bytes(1, keys_->value(item.key));
    const size_t any = writer.Open(2);
    switch (value.type) {
      case ValueType::kString:
      case ValueType::kBytes:
      case ValueType::kArray:
      case ValueType::kKvList: writer.Bytes(static_cast<uint32_t>(value.type), value.val); break;
      case ValueType::kBool:
      case ValueType::kInt: writer.Varint(static_cast<uint32_t>(value.type), static_cast<uint64_t>(value.num)); break;
      case ValueType::kDouble: writer.Fixed64(4, static_cast<uint64_t>(value.num)); break;
      case ValueType::kEmpty: break;
    }
    writer.Close(any);
    writer.Close(attribute);
  }
}

bool OtapAttributes::FindText(std::string_view key, int64_t parent, std::string* out) {
  GroupByParent(parent + 1);
  for (int32_t i = by_parent_.offsets[parent]; i < by_parent_.offsets[parent + 1]; ++i) {
    const Item& item = items_[static_cast<size_t>(by_parent_.order.rows[i])];
    if (keys_->value(item.key) != key) continue;
    const AttributeValue value = Value(item);
    columns_->buffers()->memory()->Reserve(out, value.val.size() * 7 + 64);
    return AppendText(value, out);
  }
  return false;
}

}  // namespace sheaf::decode
