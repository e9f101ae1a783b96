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
  for (int64_t i = 0; i < table.rows; ++i) items_[static_cast<size_t>(i)] = {"", 0, 0, keys[i], ValueType::kEmpty};
  for (int64_t begin = 0, end = 0; begin < table.rows; begin = end) {
    while (end < table.rows && types[end] == types[begin]) ++end;
    SHEAF_RETURN_NOT_OK(ReadRun(table, types[begin], begin, end, limits));
  }
  return Status::OK();
}

Status OtapAttributes::ReadRun(const OtapTable& table, uint8_t type, int64_t begin, int64_t end, const Limits& limits) {
  switch (type) {
    case kOtapEmpty: break;
    case kOtapStr: ReadBytes(ValueType::kString, str_, begin, end); break;
    case kOtapBytes: ReadBytes(ValueType::kBytes, bytes_, begin, end); break;
    case kOtapInt: ReadInts(ValueType::kInt, int_, begin, end); break;
    case kOtapDouble: ReadInts(ValueType::kDouble, double_, begin, end); break;
    case kOtapBool:
      for (int64_t i = begin; i < end; ++i) {
        uint8_t value;
        const auto row = static_cast<int32_t>(i);
        ReadBools(bool_, {&row, 1}, &value);
        items_[static_cast<size_t>(i)].type = ValueType::kBool;
        items_[static_cast<size_t>(i)].num = value;
      }
      break;
    case kOtapMap: return ReadNested(ValueType::kKvList, ser_, begin, end, limits);
    case kOtapSlice: return ReadNested(ValueType::kArray, ser_, begin, end, limits);
    default:
      return MakeError(ErrorKind::kInvalid, "{}, row {}: type {} of an attribute's value; OTel-Arrow defines 0 to 7",
                       wire::OtapPayloadName(table.type), begin, type);
  }
  return Status::OK();
}

void OtapAttributes::ReadBytes(ValueType type, const OtapColumn* column, int64_t begin, int64_t end) {
  Item* items = items_.data();
  for (int64_t i = begin; i < end; ++i) items[i].type = type;
  if (column == nullptr) return;
  int64_t bytes = 0;
  const auto set = [&](int64_t row, std::string_view value) {
    if (value.empty()) return;
    items[row].data = value.data();
    items[row].size = static_cast<uint32_t>(value.size());
    bytes += items[row].size;
  };
  if (column->dictionary == nullptr) {
    for (int64_t i = begin; i < end; ++i) set(i, column->Bytes(i));
  } else {
    const OtapDictionary& values = *column->dictionary;
    WithIndex(*column, [&](auto index_of) {
      for (int64_t i = begin; i < end; ++i) {
        if (column->IsNull(i)) continue;
        const int64_t index = index_of(i);
        if (!values.IsNull(index)) set(i, values.bytes(index));
      }
    });
  }
  value_bytes_ += bytes;
}

void OtapAttributes::ReadInts(ValueType type, const OtapColumn* column, int64_t begin, int64_t end) {
  auto* rows = columns_->Scratch<int32_t>(end - begin);
  auto* values = columns_->Scratch<int64_t>(end - begin);
  for (int64_t i = begin; i < end; ++i) rows[i - begin] = static_cast<int32_t>(i);
  ReadNumbers<int64_t>(column, {rows, end - begin}, values);
  for (int64_t i = begin; i < end; ++i) {
    items_[static_cast<size_t>(i)].type = type;
    items_[static_cast<size_t>(i)].num = values[i - begin];
  }
}

Status OtapAttributes::ReadNested(ValueType type, const OtapColumn* column, int64_t begin, int64_t end, const Limits& limits) {
  nested_->Reserve(nested_values_ + end - begin);
  for (int64_t i = begin; i < end; ++i) {
    Item& item = items_[static_cast<size_t>(i)];
    item.type = type;
    item.num = nested_values_;
    const std::string_view cbor = column == nullptr ? std::string_view() : column->Bytes(i);
    if (i > begin && cbor.data() == last_cbor_.data() && cbor.size() == last_cbor_.size()) {  // The same dictionary entry.
      item.num = nested_values_ - 1;
      item.size = items_[static_cast<size_t>(i - 1)].size;
      value_bytes_ += item.size;
      continue;
    }
    last_cbor_ = cbor;
    nested_bytes_.clear();
    const Status status = CborToOtlp(type, cbor, limits.attribute_depth_max, &nested_bytes_);
    if (!status.ok()) return WithContext(status, fmt::format("row {}, column ser", i));
    nested_->Put(nested_values_++, nested_bytes_, 0);
    item.size = static_cast<uint32_t>(nested_bytes_.size());
    value_bytes_ += item.size;
  }
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
