#include "decode/dictionary_column.h"

#include <charconv>

namespace sheaf::decode {
namespace {

/// A utf8 array in memory that lives as long as the process: never recycled, never freed.
ArrayDataPtr MakeNames(const std::vector<std::string_view>& names) {
  std::string heap, offsets;
  const auto add_offset = [&] {
    const auto offset = static_cast<int32_t>(heap.size());
    offsets.append(reinterpret_cast<const char*>(&offset), sizeof(offset));
  };
  add_offset();
  for (const std::string_view name : names) {
    heap += name;
    add_offset();
  }
  return arrow::ArrayData::Make(arrow::utf8(), static_cast<int64_t>(names.size()),
                                {nullptr, arrow::Buffer::FromString(std::move(offsets)), arrow::Buffer::FromString(std::move(heap))}, 0);
}

}  // namespace

EnumNames::EnumNames(std::initializer_list<std::string_view> names) : names_(names), dictionary_(MakeNames(names_)) {}

bool EnumNames::Parse(std::string_view text, int32_t* number) const {
  for (int32_t i = 0; i < size(); ++i) {
    if (name(i) == text) {
      *number = i;
      return true;
    }
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

const EnumNames& SpanKindNames() {
  static const EnumNames names({"UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"});
  return names;
}
const EnumNames& StatusCodeNames() {
  static const EnumNames names({"UNSET", "OK", "ERROR"});
  return names;
}
const EnumNames& TemporalityNames() {
  static const EnumNames names({"UNSPECIFIED", "DELTA", "CUMULATIVE"});
  return names;
}

int32_t EnumColumn::OtherId(int32_t number) {
  if (!others_started_) {
    others_.Start(memory_);
    for (int32_t i = 0; i < names_->size(); ++i) others_.Id(names_->name(i));
    others_started_ = true;
  }
  char text[16];
  const char* end = std::to_chars(text, text + sizeof(text), number).ptr;
  return others_.Id({text, static_cast<size_t>(end - text)});
}

ArrayDataPtr EnumColumn::Finish(const TypePtr& type, int64_t rows) const {
  if (others_started_) return others_.MakeColumn(type, rows, ids_.View(rows));
  ArrayDataPtr column = MakeArray(type, rows, ids_.View(rows));
  column->dictionary = names_->dictionary();
  return column;
}

}  // namespace sheaf::decode
