#include "decode/otap_columns.h"

#include <algorithm>
#include <charconv>

#include "decode/utf8.h"

namespace sheaf::decode {
namespace {

constexpr int64_t kTextBytesMin = 1024;

}  // namespace

void OtapColumns::SetNulls(const uint8_t* present, arrow::ArrayData* column) {
  const int64_t n = column->length;
  ColumnBuffer* bits = buffers_->Next((n + 7) / 8, false);
  const int64_t nulls = PackBits(present, n, bits->data());
  column->null_count = nulls;
  column->buffers[0] = nulls == 0 ? nullptr : bits->View((n + 7) / 8);
}

ArrayDataPtr OtapColumns::Bools(const TypePtr& type, const OtapColumn* column, const RowOrder& order) {
  auto* bytes = Scratch<uint8_t>(order.size);
  ReadBools(column, order, bytes);
  ColumnBuffer* bits = buffers_->Next((order.size + 7) / 8, false);
  PackBits(bytes, order.size, bits->data());
  return MakeArray(type, order.size, bits->View((order.size + 7) / 8));
}

ArrayDataPtr OtapColumns::Presence(const TypePtr& type, const OtapColumn* column, const RowOrder& order) {
  auto* bytes = Scratch<uint8_t>(order.size);
  ReadPresence(column, order, bytes);
  ColumnBuffer* bits = buffers_->Next((order.size + 7) / 8, false);
  PackBits(bytes, order.size, bits->data());
  return MakeArray(type, order.size, bits->View((order.size + 7) / 8));
}

int32_t OtapColumns::NumberText(std::string_view text, Dictionary* dictionary) {
  bool is_new;
  const int32_t number = dictionary->Id(text, &is_new);
  if (is_new && !IsUtf8(text)) suspect_ = true;
  return number;
}

void OtapColumns::NumberTexts(const OtapColumn* column, const RowOrder& order, Dictionary* dictionary, int32_t* numbers) {
  if (column == nullptr) {
    if (order.size > 0) std::fill(numbers, numbers + order.size, NumberText({}, dictionary));
    return;
  }
  if (column->dictionary == nullptr) {
    for (int64_t i = 0; i < order.size; ++i) numbers[i] = NumberText(column->Bytes(order[i]), dictionary);
    return;
  }
  const OtapDictionary& texts = *column->dictionary;
  OtapDictionary::Numbers known(texts);
  const int64_t n = order.size;
  const int32_t* const rows = order.rows;
  const bool nulls = column->valid != nullptr;
  WithIndex(*column, [&](auto index_of) {
    int64_t last_index = -1;
    int32_t last_number = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = rows == nullptr ? i : rows[i];
      if (nulls && column->IsNull(row)) [[unlikely]] {
        numbers[i] = NumberText({}, dictionary);
        continue;
      }
      const int64_t index = index_of(row);
      if (index != last_index) {  // Senders sort, so that most are.
        last_index = index;
        last_number = known.Get(index);
        if (last_number < 0) [[unlikely]] {
          last_number = NumberText(texts.IsNull(index) ? std::string_view() : texts.bytes(index), dictionary);
          known.Set(index, last_number);
        }
      }
      numbers[i] = last_number;
    }
  });
}

ArrayDataPtr OtapColumns::RepeatedText(const TypePtr& type, const OtapColumn* column, const RowOrder& order) {
  ColumnBuffer* numbers = buffers_->Next(order.size * 4, false);
  Dictionary* dictionary = buffers_->NextDictionary();
  NumberTexts(column, order, dictionary, reinterpret_cast<int32_t*>(numbers->data()));
  return dictionary->MakeColumn(type, order.size, numbers->View(order.size * 4));
}

ArrayDataPtr OtapColumns::Text(const TypePtr& type, const OtapColumn* column, const RowOrder& order) {
  BytesColumn* out = buffers_->NextBytes(order.size, column == nullptr ? 0 : kTextBytesMin);
  const uintptr_t readable_end = column == nullptr ? 0 : column->readable_end();
  for (int64_t i = 0; i < order.size; ++i) {
    const std::string_view text = column == nullptr ? std::string_view() : column->Bytes(order[i]);
    if (text.empty())
      out->PutNone(i);
    else
      out->Put(i, text, readable_end);
  }
  if (!out->TextIsUtf8(order.size)) suspect_ = true;
  return MakeArray(type, order.size, *out);
}

ArrayDataPtr OtapColumns::Enum(const TypePtr& type, const EnumNames& names, const OtapColumn* column, const RowOrder& order) {
  ColumnBuffer* buffer = buffers_->Next(order.size * 4, false);
  auto* numbers = reinterpret_cast<int32_t*>(buffer->data());
  ReadNumbers<int32_t>(column, order, numbers);
  const auto named = static_cast<uint32_t>(names.size());
  uint32_t largest = 0;
  for (int64_t i = 0; i < order.size; ++i) largest = std::max(largest, static_cast<uint32_t>(numbers[i]));
  if (largest < named) {
    ArrayDataPtr out = MakeArray(type, order.size, buffer->View(order.size * 4));
    out->dictionary = names.dictionary();
    return out;
  }
  Dictionary* texts = buffers_->NextDictionary();
  for (int32_t i = 0; i < names.size(); ++i) texts->Id(names.name(i));
  for (int64_t i = 0; i < order.size; ++i) {
    if (static_cast<uint32_t>(numbers[i]) < named) continue;
    char text[16];
    const char* end = std::to_chars(text, text + sizeof(text), numbers[i]).ptr;
    numbers[i] = texts->Id({text, static_cast<size_t>(end - text)});
  }
  return texts->MakeColumn(type, order.size, buffer->View(order.size * 4));
}

Groups OtapColumns::ListGroups(const OtapColumn* list, const RowOrder& order) {
  Groups out;
  out.offsets_buffer = buffers_->Next((order.size + 1) * 4, false);
  out.offsets = reinterpret_cast<int32_t*>(out.offsets_buffer->data());
  int64_t items = 0;
  out.offsets[0] = 0;
  for (int64_t i = 0; i < order.size; ++i) {
    const int64_t row = order[i];
    if (list != nullptr && !list->IsNull(row)) items += list->Offset(row + 1) - list->Offset(row);
    CheckOffset(items);  // Rows may be read more than once.
    out.offsets[i + 1] = static_cast<int32_t>(items);
  }
  auto* rows = Scratch<int32_t>(items);
  for (int64_t i = 0; i < order.size; ++i) {
    const int32_t first = list != nullptr ? list->Offset(order[i]) : 0;
    for (int32_t at = out.offsets[i]; at < out.offsets[i + 1]; ++at) rows[at] = first + at - out.offsets[i];
  }
  out.order = {rows, items};
  return out;
}

Result<ArrayDataPtr> OtapColumns::NumberLists(const TypePtr& type, const OtapTable& table, OtapField field, wire::IpcType item,
                                              const RowOrder& order) {
  const OtapColumn* list = table.Find(field);
  const OtapColumn* items = list == nullptr ? nullptr : list + 1;
  if (items != nullptr && items->type == wire::IpcType::kNull) list = items = nullptr;
  if (items != nullptr && (items->type != item || items->width != 8)) {
    return MakeError(ErrorKind::kInvalid, "{}: a list of {} ({} bytes); OTel-Arrow defines {} (8 bytes)",
                     wire::OtapPayloadName(table.type), wire::IpcTypeName(items->type), items->width, wire::IpcTypeName(item));
  }
  const Groups groups = ListGroups(list, order);
  return arrow::ArrayData::Make(type, order.size, {nullptr, groups.offsets_buffer->View((order.size + 1) * 4)},
                                {Numbers<uint64_t>(ItemType(type), items, groups.order)}, 0);
}

ArrayDataPtr OtapColumns::Nulls(const TypePtr& type, int64_t n) {
  BytesColumn* none = buffers_->NextBytes(n, 0);
  for (int64_t i = 0; i < n; ++i) none->PutNone(i);
  ColumnBuffer* bits = buffers_->Next((n + 7) / 8, true);
  ArrayDataPtr out = MakeArray(type, n, *none);
  out->buffers[0] = bits->View((n + 7) / 8);
  out->null_count = n;
  return out;
}

}  // namespace sheaf::decode
