#include "decode/otap_attributes.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "decode/otap_cbor.h"
#include "decode/utf8.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

/// The types by OTel-Arrow's numbers.
constexpr ValueType kTypes[] = {ValueType::kEmpty, ValueType::kString, ValueType::kInt,   ValueType::kDouble,
                                ValueType::kBool,  ValueType::kKvList, ValueType::kArray, ValueType::kBytes};

/// Whether values of the same size are equal. Those that a sender sorted begin alike, but seldom end alike.
bool SameBytes(const char* a, const char* b, uint32_t size) {
  if (size >= sizeof(uint64_t)) {
    uint64_t a_end, b_end;
    std::memcpy(&a_end, a + size - sizeof(a_end), sizeof(a_end));
    std::memcpy(&b_end, b + size - sizeof(b_end), sizeof(b_end));
    if (a_end != b_end) return false;
  }
  return std::memcmp(a, b, size) == 0;
}

/// Comparing shorter values costs no more than what is done with their row anyhow.
constexpr uint32_t kLongText = 256;

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
  same_ = columns->buffers()->Next(table.rows, true)->data();
  parents_ = {columns->Scratch<uint32_t>(table.rows), static_cast<size_t>(table.rows)};
  if (table.rows == 0) return Status::OK();
  SHEAF_RETURN_NOT_OK(ReadParentIds(table, parents_.data()));
  SHEAF_RETURN_NOT_OK(ReadItems(table, limits));
  return FindQuasiDeltaParents(table, same_, parents, parents_.data());
}

Status OtapAttributes::ReadItems(const OtapTable& table, const Limits& limits) {
  str_ = table.Find(OtapField::kStr);
  ser_ = table.Find(OtapField::kSer);
  auto* types = columns_->Scratch<uint8_t>(table.rows);
  key_of_ = columns_->Scratch<int32_t>(table.rows);
  ReadNumbers<uint8_t>(table.Find(OtapField::kType), {nullptr, table.rows}, types);
  columns_->NumberTexts(table.Find(OtapField::kKey), {nullptr, table.rows}, keys_, key_of_);
  for (int64_t begin = 0, end = 0; begin < table.rows; begin = end) {
    const uint8_t type = types[begin];
    if (type >= std::size(kTypes)) {
      return MakeError(ErrorKind::kInvalid, "{}, row {}: type {} of an attribute's value; OTel-Arrow defines 0 to 7",
                       wire::OtapPayloadName(table.type), begin, type);
    }
    while (end < table.rows && types[end] == type) ++end;
    std::fill(types_ + begin, types_ + end, kTypes[type]);
    SHEAF_RETURN_NOT_OK(ReadRun(table, kTypes[type], begin, end, limits));
  }
  return Status::OK();
}

Status OtapAttributes::ReadRun(const OtapTable& table, ValueType type, int64_t begin, int64_t end, const Limits& limits) {
  switch (type) {
    case ValueType::kEmpty:
      for (int64_t i = begin; i < end; ++i) items_[static_cast<size_t>(i)] = {{.num = 0}, 0, key_of_[i]};
      break;
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

// The loops below work on pointers of their own: what is written through bytes could be members, as far as the compiler knows.

void OtapAttributes::ReadBytes(const OtapColumn* column, int64_t begin, int64_t end) {
  Item* const items = items_.data();
  const int32_t* const keys = key_of_;
  uint8_t* const same = same_;
  int64_t bytes = 0;
  Item before{{.data = nullptr}, 0, -1};  // No key is negative.
  const auto set = [&](int64_t row, std::string_view value) {
    const Item item{{.data = value.data()}, static_cast<uint32_t>(value.size()), keys[row]};
    same[row] = item.key == before.key && item.size == before.size &&
                (item.data == before.data || item.size == 0 || SameBytes(item.data, before.data, item.size));
    items[row] = before = item;
    bytes += item.size;
    if (item.size > kLongText) columns_->Spend(item.size);
  };
  if (column == nullptr) {
    for (int64_t i = begin; i < end; ++i) set(i, {});
  } else if (column->MayHaveNulls(begin, end)) {
    for (int64_t i = begin; i < end; ++i) set(i, column->Bytes(i));
  } else if (column->dictionary == nullptr) {
    const OtapColumn plain = *column;  // Of its own, so that it stays in registers.
    for (int64_t i = begin; i < end; ++i) set(i, plain.PlainBytes(i));
  } else {
    const OtapDictionary& values = *column->dictionary;
    WithIndex(*column, [&](auto index_of) {
      int64_t last_index = -1;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t index = index_of(i);
        if (index == last_index && keys[i] == before.key) {
          items[i] = before;
          same[i] = 1;
          bytes += before.size;
        } else {
          set(i, values.bytes(index));
          last_index = index;
        }
      }
    });
  }
  value_bytes_ += bytes;
}

void OtapAttributes::ReadInts(const OtapColumn* column, int64_t begin, int64_t end) {
  Item* const items = items_.data();
  const int32_t* const keys = key_of_;
  uint8_t* const same = same_;
  const bool doubles = types_[begin] == ValueType::kDouble;
  int64_t before = 0;
  int32_t key_before = -1;
  const auto set = [&](int64_t row, int64_t num) {
    const int32_t key = keys[row];
    items[row] = {{.num = num}, 0, key};
    const bool equal = doubles ? std::bit_cast<double>(num) == std::bit_cast<double>(before) : num == before;
    same[row] = equal && key == key_before;
    before = num;
    key_before = key;
  };
  if (column == nullptr) {
    for (int64_t i = begin; i < end; ++i) set(i, 0);
    return;
  }
  const uint8_t* values = column->dictionary != nullptr ? column->dictionary->fixed() : column->values;
  if (!column->MayHaveNulls(begin, end)) {
    WithIndex(*column, [&](auto index_of) {
      for (int64_t i = begin; i < end; ++i) set(i, LoadAt<int64_t>(values, index_of(i)));
    });
    return;
  }
  for (int64_t i = begin; i < end; ++i) {
    set(i, column->IsNullValue(i) ? 0 : LoadAt<int64_t>(values, column->Index(i)));
  }
}

void OtapAttributes::ReadBools(const OtapColumn* column, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    uint8_t value;
    const auto row = static_cast<int32_t>(i);
    decode::ReadBools(column, {&row, 1}, &value);
    items_[static_cast<size_t>(i)] = {{.num = value}, 0, key_of_[i]};
    same_[i] = i > begin && SameKey(i) && items_[static_cast<size_t>(i - 1)].num == value;
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
      columns_->Spend(static_cast<int64_t>(cbor.size()));
      const Status status = CborToOtlp(type, cbor, limits.attribute_depth_max, &nested_bytes_);
      if (!status.ok()) return WithContext(status, fmt::format("row {}, column ser", i));
      nested_->Put(nested_values_++, nested_bytes_, 0);
      before = cbor;
    }
    const int64_t nested = nested_values_ - 1;
    item = {{.num = nested}, static_cast<uint32_t>(nested_->value(nested).size()), key_of_[i]};
    value_bytes_ += item.size;
  }
  return Status::OK();
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
      return MakeError(ErrorKind::kTooLarge, "a record holds {} attributes; at most {} are taken",
                       by_place.offsets[i + 1] - by_place.offsets[i], limits_.attributes_per_record_max);
    }
  }
  const int64_t n = by_place.order.size;
  CheckOffset(value_bytes_);
  ColumnBuffer* keys = buffers->Next(n * 4, false);
  ColumnBuffer* types = buffers->Next(n, false);
  ColumnBuffer* nums = buffers->Next(n * 8, false);
  ColumnBuffer* offsets = buffers->Next((n + 1) * 4, false);
  ColumnBuffer* heap = buffers->Next(value_bytes_, false);
  const int64_t used =
      Gather(by_place.order, reinterpret_cast<int32_t*>(keys->data()), types->data(), reinterpret_cast<int64_t*>(nums->data()),
             reinterpret_cast<int32_t*>(offsets->data()), heap->data());
  if (!TextIsUtf8(types->data(), n, reinterpret_cast<const int32_t*>(offsets->data()),
                  {reinterpret_cast<const char*>(heap->data()), static_cast<size_t>(used)}))
    columns_->Suspect();
  ArrayDataPtr vals = arrow::ArrayData::Make(FieldType(type, 3), n, {nullptr, offsets->View((n + 1) * 4), heap->View(used)}, 0);
  ArrayDataPtr items =
      MakeStruct(ItemType(type), n,
                 {keys_->MakeColumn(FieldType(type, 0), n, keys->View(n * 4)), MakeArray(FieldType(type, 1), n, types->View(n)),
                  MakeArray(FieldType(type, 2), n, nums->View(n * 8)), std::move(vals)});
  return arrow::ArrayData::Make(type, groups, {nullptr, by_place.offsets_buffer->View((groups + 1) * 4)}, {std::move(items)}, 0);
}

int64_t OtapAttributes::Gather(const RowOrder& order, int32_t* keys, uint8_t* types, int64_t* nums, int32_t* offsets,
                               uint8_t* heap) const {
  const Item* const items = items_.data();
  const ValueType* const type_of = types_;
  const uintptr_t str_end = str_ == nullptr ? 0 : str_->readable_end();
  const int32_t* const rows = order.rows;
  const int64_t n = order.size;
  int32_t used = 0;
  offsets[0] = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t row = rows[i];
    const Item item = items[row];
    const ValueType type = type_of[row];
    keys[i] = item.key;
    types[i] = static_cast<uint8_t>(type);
    if (!HasBytes(type)) {
      nums[i] = item.num;
    } else {
      nums[i] = 0;
      const char* const bytes = NestedOrBytes(type, item).data();
      const bool is_text = type == ValueType::kString;  // Which may be read, and the buffer be written, beyond its end.
      if (is_text && item.size - 1 < 32 && reinterpret_cast<uintptr_t>(bytes) + 32 <= str_end) [[likely]] {
        std::memcpy(heap + used, bytes, 32);
      } else if (is_text && item.size - 1 < 64 && reinterpret_cast<uintptr_t>(bytes) + 64 <= str_end) {
        std::memcpy(heap + used, bytes, 64);
      } else if (item.size > 0) {
        std::memcpy(heap + used, bytes, item.size);
      }
      used += static_cast<int32_t>(item.size);
    }
    offsets[i + 1] = used;
  }
  return used;
}

bool OtapAttributes::TextIsUtf8(const uint8_t* types, int64_t n, const int32_t* offsets, std::string_view heap) {
  if (IsAscii(heap)) return true;
  for (int64_t i = 0; i < n; ++i) {
    const bool is_text = types[i] == static_cast<uint8_t>(ValueType::kString);
    const auto begin = static_cast<size_t>(offsets[i]);
    if (is_text && !IsUtf8(heap.substr(begin, static_cast<size_t>(offsets[i + 1]) - begin))) return false;
  }
  return true;
}

bool OtapAttributes::HasAttributes(int64_t parent) {
  if (grouped_parents_ < 0) {
    grouped_parents_ = 0;
    for (const uint32_t each : parents_) grouped_parents_ = std::max(grouped_parents_, int64_t{each} + 1);
    by_parent_ = GroupRows(parents_, nullptr, grouped_parents_, columns_->buffers());
  }
  return parent < grouped_parents_;
}

void OtapAttributes::AppendKeyValues(uint32_t field, int64_t parent, std::string* out) {
  if (!HasAttributes(parent)) return;
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
  if (!HasAttributes(parent)) return false;
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
