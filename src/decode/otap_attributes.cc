#include "decode/otap_attributes.h"

#include <bit>

#include "decode/otap_cbor.h"
#include "decode/utf8.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

/// The types by OTel-Arrow's numbers.
constexpr ValueType kTypes[] = {ValueType::kEmpty, ValueType::kString, ValueType::kInt,   ValueType::kDouble,
                                ValueType::kBool,  ValueType::kKvList, ValueType::kArray, ValueType::kBytes};

bool HasBytes(ValueType type) {
  return type == ValueType::kString || type == ValueType::kBytes || type == ValueType::kArray || type == ValueType::kKvList;
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
  types_ = columns->Scratch<ValueType>(table.rows);
  parents_ = {columns->Scratch<uint32_t>(table.rows), static_cast<size_t>(table.rows)};
  if (table.rows == 0) return Status::OK();
  SHEAF_RETURN_NOT_OK(ReadParentIds(table, parents_.data()));
  SHEAF_RETURN_NOT_OK(ReadItems(table, limits));
  return ResolveParents(table, parents);
}

Status OtapAttributes::ReadItems(const OtapTable& table, const Limits& limits) {
  str_ = table.Find(OtapField::kStr);
  ser_ = table.Find(OtapField::kSer);
  auto* types = columns_->Scratch<uint8_t>(table.rows);
  auto* keys = columns_->Scratch<int32_t>(table.rows);
  ReadNumbers<uint8_t>(table.Find(OtapField::kType), {nullptr, table.rows}, types);
  columns_->NumberTexts(table.Find(OtapField::kKey), {nullptr, table.rows}, keys_, keys);
  for (int64_t begin = 0, end = 0; begin < table.rows; begin = end) {
    const uint8_t type = types[begin];
    if (type >= std::size(kTypes)) {
      return MakeError(ErrorKind::kInvalid, "{}, row {}: type {} of an attribute's value; OTel-Arrow defines 0 to 7",
                       wire::OtapPayloadName(table.type), begin, type);
    }
    for (; end < table.rows && types[end] == type; ++end) {
      types_[end] = kTypes[type];
      items_[static_cast<size_t>(end)] = {{.num = 0}, 0, keys[end]};
    }
    SHEAF_RETURN_NOT_OK(ReadRun(table, kTypes[type], begin, end, limits));
  }
  return Status::OK();
}

Status OtapAttributes::ReadRun(const OtapTable& table, ValueType type, int64_t begin, int64_t end, const Limits& limits) {
  switch (type) {
    case ValueType::kEmpty: break;
    case ValueType::kString: ReadBytes(str_, begin, end); break;
    case ValueType::kBytes: ReadBytes(table.Find(OtapField::kBytes), begin, end); break;
    case ValueType::kInt: ReadInts(table.Find(OtapField::kInt), begin, end); break;
    case ValueType::kDouble: ReadInts(table.Find(OtapField::kDouble), begin, end); break;
    case ValueType::kBool: ReadBools(table.Find(OtapField::kBool), begin, end); break;
    case ValueType::kArray:
    case ValueType::kKvList: return ReadNested(type, ser_, begin, end, limits);
  }
  return Status::OK();
}

void OtapAttributes::ReadBytes(const OtapColumn* column, int64_t begin, int64_t end) {
  if (column == nullptr) return;
  Item* const items = items_.data();
  int64_t bytes = 0;
  const auto set = [&](int64_t row, std::string_view value) {
    items[row].data = value.data();
    items[row].size = static_cast<uint32_t>(value.size());
    bytes += static_cast<int64_t>(value.size());
  };
  if (column->dictionary == nullptr || column->dictionary->has_nulls()) {
    for (int64_t i = begin; i < end; ++i) set(i, column->Bytes(i));
  } else {
    const OtapDictionary& values = *column->dictionary;
    WithIndex(*column, [&](auto index_of) {
      if (column->valid == nullptr) {
        for (int64_t i = begin; i < end; ++i) set(i, values.bytes(index_of(i)));
      } else {
        for (int64_t i = begin; i < end; ++i) set(i, column->IsNull(i) ? std::string_view() : values.bytes(index_of(i)));
      }
    });
  }
  value_bytes_ += bytes;
}

void OtapAttributes::ReadInts(const OtapColumn* column, int64_t begin, int64_t end) {
  if (column == nullptr) return;
  Item* const items = items_.data();
  const uint8_t* values = column->dictionary != nullptr ? column->dictionary->fixed() : column->values;
  const bool dictionary_nulls = column->dictionary != nullptr && column->dictionary->has_nulls();
  WithIndex(*column, [&](auto index_of) {
    for (int64_t i = begin; i < end; ++i) {
      if (column->IsNull(i)) continue;
      const int64_t index = index_of(i);
      if (!dictionary_nulls || !column->dictionary->IsNull(index)) items[i].num = LoadAt<int64_t>(values, index);
    }
  });
}

void OtapAttributes::ReadBools(const OtapColumn* column, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    uint8_t value;
    const auto row = static_cast<int32_t>(i);
    decode::ReadBools(column, {&row, 1}, &value);
    items_[static_cast<size_t>(i)].num = value;
  }
}

Status OtapAttributes::ReadNested(ValueType type, const OtapColumn* column, int64_t begin, int64_t end, const Limits& limits) {
  nested_->Reserve(nested_values_ + end - begin);
  std::string_view before;
  for (int64_t i = begin; i < end; ++i) {
    Item& item = items_[static_cast<size_t>(i)];
    const std::string_view cbor = column == nullptr ? std::string_view() : column->Bytes(i);
    if (i == begin || cbor.data() != before.data() || cbor.size() != before.size()) {  // Else the same dictionary entry.
      nested_bytes_.clear();
      const Status status = CborToOtlp(type, cbor, limits.attribute_depth_max, &nested_bytes_);
      if (!status.ok()) return WithContext(status, fmt::format("row {}, column ser", i));
      nested_->Put(nested_values_++, nested_bytes_, 0);
      before = cbor;
    }
    item.num = nested_values_ - 1;
    item.size = static_cast<uint32_t>(nested_->value(item.num).size());
    value_bytes_ += item.size;
  }
  return Status::OK();
}

/// Whether a row's attribute equals that of the row before: its parent id is then a difference.
inline bool OtapAttributes::SameAsBefore(int64_t row) const {
  const Item& a = items_[static_cast<size_t>(row - 1)];
  const Item& b = items_[static_cast<size_t>(row)];
  if (types_[row] != types_[row - 1] || a.key != b.key) return false;
  switch (types_[row]) {
    case ValueType::kString:
    case ValueType::kBytes: return a.size == b.size && (a.data == b.data || std::string_view(a.data, a.size) == std::string_view(b.data, b.size));
    case ValueType::kBool:
    case ValueType::kInt: return a.num == b.num;
    case ValueType::kDouble: return std::bit_cast<double>(a.num) == std::bit_cast<double>(b.num);
    default: return false;  // Maps, slices and empty values have absolute ids.
  }
}

Status OtapAttributes::ResolveParents(const OtapTable& table, const IdIndex& parents) {
  SHEAF_RETURN_NOT_OK(DecodeQuasiDeltas(table, parents_.data(), [this](int64_t i) { return i > 0 && SameAsBefore(i); }));
  return FindParents(table, parents, parents_.data());
}

AttributeValue OtapAttributes::Value(int64_t row) const {
  const Item& item = items_[static_cast<size_t>(row)];
  if (HasBytes(types_[row])) return {types_[row], 0, NestedOrBytes(types_[row], item)};
  return {types_[row], item.num, {}};
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
  auto* type_at = reinterpret_cast<ValueType*>(types->data());
  auto* num_at = reinterpret_cast<int64_t*>(nums->data());
  const uintptr_t str_end = str_ == nullptr ? 0 : str_->readable_end();
  for (int64_t i = 0; i < n; ++i) {
    const int32_t row = by_place.order.rows[i];
    const Item& item = items_[static_cast<size_t>(row)];
    const ValueType value_type = types_[row];
    key_at[i] = item.key;
    type_at[i] = value_type;
    const bool has_bytes = HasBytes(value_type);
    num_at[i] = has_bytes ? 0 : item.num;
    if (has_bytes && item.size > 0) vals->Put(i, NestedOrBytes(value_type, item), value_type == ValueType::kString ? str_end : 0);
    else vals->PutNone(i);
  }
  if (!IsAscii(vals->heap())) {
    for (int64_t i = 0; i < n; ++i) {
      if (type_at[i] == ValueType::kString && !IsUtf8(vals->value(i))) columns_->Suspect();
    }
  }
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
    const int32_t row = by_parent_.order.rows[i];
    const std::string_view key = keys_->value(items_[static_cast<size_t>(row)].key);
    const AttributeValue value = Value(row);
    columns_->buffers()->memory()->Reserve(out, value.val.size() + key.size() + 32);
    const size_t attribute = writer.Open(field);
    writer.Bytes(1, key);
    const size_t any = writer.Open(2);
    if (HasBytes(value.type)) {
      writer.Bytes(static_cast<uint32_t>(value.type), value.val);
    } else if (value.type == ValueType::kDouble) {
      writer.Fixed64(static_cast<uint32_t>(value.type), static_cast<uint64_t>(value.num));
    } else if (value.type != ValueType::kEmpty) {
      writer.Varint(static_cast<uint32_t>(value.type), static_cast<uint64_t>(value.num));
    }
    writer.Close(any);
    writer.Close(attribute);
  }
}

bool OtapAttributes::FindText(std::string_view key, int64_t parent, std::string* out) {
  GroupByParent(parent + 1);
  for (int32_t i = by_parent_.offsets[parent]; i < by_parent_.offsets[parent + 1]; ++i) {
    const int32_t row = by_parent_.order.rows[i];
    if (keys_->value(items_[static_cast<size_t>(row)].key) != key) continue;
    const AttributeValue value = Value(row);
    columns_->buffers()->memory()->Reserve(out, value.val.size() * 7 + 64);
    return AppendText(value, out);
  }
  return false;
}

}  // namespace sheaf::decode
