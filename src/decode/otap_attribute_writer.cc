#include "decode/otap_attribute_writer.h"

#include <algorithm>
#include <bit>
#include <type_traits>
#include <utility>

#include "decode/otap_cbor.h"
#include "decode/utf8.h"

namespace sheaf::decode {
namespace {

/// OTel-Arrow's numbers of value types.
enum OtapType : uint8_t { kEmpty, kStr, kInt, kDouble, kBool, kMap, kSlice, kBytes };
constexpr size_t kTypes = 8;

template <OtapForm kParent>
constexpr OtapColumnRule kRules[] = {
    {OtapField::kParentId, "parent_id", kParent, kOtapAlways},
    {OtapField::kKey, "key", OtapForm::kText, kOtapAlways | kOtapDictionary},
    {OtapField::kType, "type", OtapForm::kU8, kOtapAlways},
    {OtapField::kStr, "str", OtapForm::kText, kOtapDictionary},
    {OtapField::kInt, "int", OtapForm::kI64, kOtapDictionary},
    {OtapField::kDouble, "double", OtapForm::kF64},
    {OtapField::kBool, "bool", OtapForm::kBool},
    {OtapField::kBytes, "bytes", OtapForm::kBytes},
    {OtapField::kSer, "ser", OtapForm::kBytes},
};

/// Tables of counts beyond so many for each item cost more than the order is worth.
constexpr size_t kCountsPerItem = 4, kCountsFree = 4096;

}  // namespace

OtapAttributeWriter::OtapAttributeWriter(wire::OtapPayload type, int parent_width)
    : table_(type, parent_width == 2 ? std::span<const OtapColumnRule>(kRules<OtapForm::kU16>) : kRules<OtapForm::kU32>),
      parent_width_(parent_width) {}

void OtapAttributeWriter::Start(RequestMemory* memory, int64_t dictionary_bytes_max) {
  memory_ = memory;
  table_.Start(memory, 0, dictionary_bytes_max);  // Values are numbered as they come; how many rows there are is known later.
  keys_.Start(memory);
  key_of_.clear();
  items_.clear();
  cbor_.clear();
  repaired_.clear();
}

Status OtapAttributeWriter::Add(uint32_t parent, int32_t source, const AttributesView& view, int64_t begin, int64_t end) {
  if (begin == end) return Status::OK();
  if (key_of_.size() <= static_cast<size_t>(source)) key_of_.resize(static_cast<size_t>(source) + 1);
  std::vector<int32_t>& key_of = key_of_[static_cast<size_t>(source)];
  if (key_of.empty()) key_of.assign(static_cast<size_t>(view.keys().length()), -1);
  bool exact = true;  // What columns do not say of a record is in its `original`.
  for (int64_t i = begin; i < end; ++i) {
    const int64_t number = view.key_number(i);
    int32_t& key = key_of[static_cast<size_t>(number)];
    if (key < 0) key = keys_.Id(view.keys().GetView(number));
    SHEAF_RETURN_NOT_OK(AddItem(parent, key, view.value(i), &exact));
  }
  return Status::OK();
}

Status OtapAttributeWriter::Add(uint32_t parent, const Attribute& attribute, bool* exact) {
  AttributeValue value = attribute.value;
  if (value.type == ValueType::kString) value.val = Repaired(value.val, exact);
  return AddItem(parent, keys_.Id(Repaired(attribute.key, exact)), value, exact);
}

std::string_view OtapAttributeWriter::Repaired(std::string_view text, bool* exact) {
  if (IsUtf8(text)) return text;
  *exact = false;
  RepairUtf8(text, &repaired_.emplace_back());
  return repaired_.back();
}

Status OtapAttributeWriter::AddItem(uint32_t parent, int32_t key, const AttributeValue& value, bool* exact) {
  const auto bytes = [&](uint8_t type, int32_t number) {
    items_.push_back({{.data = value.val.data()}, static_cast<uint32_t>(value.val.size()), number, parent, key, type});
  };
  const auto number = [&](uint8_t type, int64_t num, int32_t id) { items_.push_back({{.num = num}, 0, id, parent, key, type}); };
  switch (value.type) {
    case ValueType::kEmpty: number(kEmpty, 0, -1); return Status::OK();
    case ValueType::kString: {
      OtapOutColumn& column = table_[OtapField::kStr];
      bytes(kStr, column.dictionary() ? column.Id(value.val) : -1);
      return Status::OK();
    }
    case ValueType::kInt: {
      OtapOutColumn& column = table_[OtapField::kInt];
      const std::string_view raw(reinterpret_cast<const char*>(&value.num), sizeof(value.num));
      number(kInt, value.num, column.dictionary() ? column.Id(raw) : -1);
      return Status::OK();
    }
    case ValueType::kDouble: number(kDouble, value.num, -1); return Status::OK();
    case ValueType::kBool: number(kBool, value.num != 0, -1); return Status::OK();
    case ValueType::kBytes: bytes(kBytes, -1); return Status::OK();
    case ValueType::kArray:
    case ValueType::kKvList: {
      const size_t begin = cbor_.size();
      const Status status = OtlpToCbor(value.type, value.val, &cbor_, exact);
      if (!status.ok()) return WithContext(status, fmt::format("attribute '{}'", keys_.value(key)));
      const uint8_t type = value.type == ValueType::kArray ? kSlice : kMap;
      items_.push_back(
          {{.num = static_cast<int64_t>(begin)}, static_cast<uint32_t>(cbor_.size() - begin), -1, parent, key, type});
      return Status::OK();
    }
  }
  return MakeError(ErrorKind::kInvalid, "attribute '{}' has a value of type {}, which does not exist", keys_.value(key),
                   static_cast<int>(value.type));
}

bool OtapAttributeWriter::Same(const Item& a, const Item& b) {
  if (a.type != b.type || a.key != b.key) return false;
  switch (a.type) {
    case kStr:
      if (a.value >= 0) return a.value == b.value;
      [[fallthrough]];
    case kBytes: return std::string_view(a.data, a.size) == std::string_view(b.data, b.size);
    case kInt:
    case kBool: return a.num == b.num;
    case kDouble: return std::bit_cast<double>(a.num) == std::bit_cast<double>(b.num);
    default: return false;  // Maps, slices and values without a value never count as equal.
  }
}

template <typename NumberOf>
void OtapAttributeWriter::CountingSort(size_t numbers, NumberOf&& number_of) {
  counts_.assign(numbers, 0);
  for (const Item& item : items_) ++counts_[number_of(item)];
  uint32_t begin = 0;
  for (uint32_t& count : counts_) begin += std::exchange(count, begin);
  sorted_.resize(items_.size());
  for (const Item& item : items_) sorted_[counts_[number_of(item)]++] = item;
  items_.swap(sorted_);
}

void OtapAttributeWriter::Sort() {
  const size_t counts_max = kCountsPerItem * items_.size() + kCountsFree;
  const auto values =
      static_cast<size_t>(std::max(table_[OtapField::kStr].dictionary_size(), table_[OtapField::kInt].dictionary_size()));
  if (values < counts_max) CountingSort(values + 1, [](const Item& item) { return static_cast<size_t>(item.value + 1); });
  const auto keys = static_cast<size_t>(keys_.size());
  if (keys * kTypes < counts_max) {
    CountingSort(keys * kTypes, [keys](const Item& item) { return item.type * keys + static_cast<size_t>(item.key); });
  }
}

void OtapAttributeWriter::Fill() {
  Sort();
  const int64_t n = size();
  table_.Resize(n);
  OtapOutColumn& key_column = table_[OtapField::kKey];
  auto* types = table_[OtapField::kType].Values<uint8_t>();
  std::vector<int32_t> ids(key_column.dictionary() ? static_cast<size_t>(keys_.size()) : 0);
  for (size_t key = 0; key < ids.size(); ++key) ids[key] = key_column.Id(keys_.value(static_cast<int32_t>(key)));
  for (int64_t i = 0; i < n; ++i) {
    const Item& item = items_[static_cast<size_t>(i)];
    types[i] = item.type;
    if (key_column.dictionary())
      key_column.PutId(ids[static_cast<size_t>(item.key)]);
    else
      key_column.Put(keys_.value(item.key));
  }
  FillParents();
  for (int64_t begin = 0, end = 0; begin < n; begin = end) {
    const uint8_t type = types[begin];
    while (end < n && types[end] == type) ++end;
    FillRun(type, begin, end);
  }
}

void OtapAttributeWriter::FillParents() {
  const auto fill = [&](auto* parents) {
    const Item* before = nullptr;
    for (const Item& item : items_) {
      const bool same = before != nullptr && Same(*before, item);
      *parents++ = static_cast<std::remove_pointer_t<decltype(parents)>>(item.parent - (same ? before->parent : 0));
      before = &item;
    }
  };
  OtapOutColumn& column = table_[OtapField::kParentId];
  if (parent_width_ == 2)
    fill(column.Values<uint16_t>());
  else
    fill(column.Values<uint32_t>());
}

void OtapAttributeWriter::FillRun(uint8_t type, int64_t begin, int64_t end) {
  const Item* items = items_.data();
  /// Rows of other types before and after stay without a value.
  const auto put = [&](OtapField field, auto&& put_item) {
    OtapOutColumn& column = table_[field];
    uint8_t* present = column.Presence();
    std::fill(present + begin, present + end, uint8_t{1});
    column.Skip(begin - column.put());
    for (int64_t i = begin; i < end; ++i) put_item(items[i], &column);
  };
  const auto put_number = [](const Item& item, OtapOutColumn* column) {
    if (column->dictionary())
      column->PutId(item.value);
    else
      column->Put({reinterpret_cast<const char*>(&item.num), sizeof(item.num)});
  };
  const auto put_text = [](const Item& item, OtapOutColumn* column) {
    if (column->dictionary())
      column->PutId(item.value);
    else
      column->Put({item.data, item.size});
  };
  switch (type) {
    case kStr: return put(OtapField::kStr, put_text);
    case kBytes:
      return put(OtapField::kBytes, [](const Item& item, OtapOutColumn* column) { column->Put({item.data, item.size}); });
    case kInt: return put(OtapField::kInt, put_number);
    case kMap:
    case kSlice:
      return put(OtapField::kSer, [&](const Item& item, OtapOutColumn* column) {
        column->Put(std::string_view(cbor_).substr(static_cast<size_t>(item.num), item.size));
      });
    case kDouble: {
      auto* doubles = table_[OtapField::kDouble].ZeroedValues<int64_t>();
      for (int64_t i = begin; i < end; ++i) doubles[i] = items[i].num;
      return;
    }
    case kBool: {
      auto* bools = table_[OtapField::kBool].ZeroedValues<uint8_t>();
      for (int64_t i = begin; i < end; ++i) bools[i] = static_cast<uint8_t>(items[i].num);
      return;
    }
    default: return;
  }
}

int64_t OtapAttributeWriter::held_bytes() const {
  return static_cast<int64_t>((items_.capacity() + sorted_.capacity()) * sizeof(Item) + counts_.capacity() * sizeof(uint32_t) +
                              cbor_.capacity());
}

void OtapAttributeWriter::Trim() {
  table_.Trim();
  keys_.Trim(-1);
  std::vector<Item>().swap(items_);
  std::vector<Item>().swap(sorted_);
  std::vector<uint32_t>().swap(counts_);
  std::string().swap(cbor_);
  repaired_.clear();
}

}  // namespace sheaf::decode
