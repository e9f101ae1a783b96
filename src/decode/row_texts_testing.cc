#include "decode/row_texts_testing.h"

#include <algorithm>

#include <arrow/api.h>

#include "core/check.h"
#include "decode/batch_reader.h"

namespace sheaf::decode {
namespace {

std::string Join(std::vector<std::string> texts, bool sort) {
  if (sort) std::sort(texts.begin(), texts.end());
  std::string out = "[";
  for (const std::string& text : texts) out += text + ", ";
  return out + "]";
}

std::string AttributeText(const Attribute& attribute) {
  const AttributeValue& value = attribute.value;
  std::string text = fmt::format("{}:{}:{}:", attribute.key, static_cast<int>(value.type), value.num);
  const bool nested = value.type == ValueType::kArray || value.type == ValueType::kKvList;
  if (nested) AppendJson(value, &text);  // The order of fields in its messages does not matter.
  return nested ? text : text + arrow::Buffer(value.val).ToHexString();
}

std::string AttributesText(const std::vector<Attribute>& attributes, bool as_go_sends) {
  std::vector<std::string> texts;
  for (const Attribute& attribute : attributes) {
    if (!as_go_sends || attribute.value.type != ValueType::kEmpty) texts.push_back(AttributeText(attribute));
  }
  return Join(std::move(texts), true);
}

std::string ResourceText(std::string_view bytes, bool as_go_sends) {
  const ResourceEnvelope e = ParseResourceEnvelope(bytes).ValueOrDie();
  return fmt::format("{} {} {}", AttributesText(e.attributes, as_go_sends), e.dropped_attributes_count, e.schema_url);
}
std::string ScopeText(std::string_view bytes, bool as_go_sends) {
  const ScopeEnvelope e = ParseScopeEnvelope(bytes).ValueOrDie();
  return fmt::format("{} {} {} {} {}", e.name, e.version, AttributesText(e.attributes, as_go_sends), e.dropped_attributes_count,
                     e.schema_url);
}
std::string MetricText(std::string_view bytes, bool as_go_sends) {
  const MetricEnvelope e = ParseMetricEnvelope(bytes).ValueOrDie();
  return fmt::format("{} {} {} {}", e.name, e.description, e.unit, as_go_sends ? "" : AttributesText(e.metadata, false));
}

std::string CellText(const arrow::Array& array, int64_t row, bool as_go_sends) {
  if (array.IsNull(row)) return "NULL";
  if (array.type()->Equals(*AttributesType())) {
    const AttributesView view(array);
    std::vector<Attribute> attributes;
    for (int64_t i = view.begin(row); i < view.end(row); ++i) attributes.push_back(view.item(i));
    return AttributesText(attributes, as_go_sends);
  }
  switch (array.type_id()) {
    case arrow::Type::DICTIONARY: return std::string(DictionaryView(array)[row]);
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      std::vector<std::string> texts;
      for (int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i)
        texts.push_back(CellText(*list.values(), i, as_go_sends));
      return Join(std::move(texts), list.values()->type_id() == arrow::Type::STRUCT);
    }
    case arrow::Type::STRUCT: {
      std::vector<std::string> texts;
      for (const auto& field : static_cast<const arrow::StructArray&>(array).fields())
        texts.push_back(CellText(*field, row, as_go_sends));
      return Join(std::move(texts), false);
    }
    case arrow::Type::DOUBLE: return std::to_string(static_cast<const arrow::DoubleArray&>(array).raw_values()[row]);
    default: return array.GetScalar(row).ValueOrDie()->ToString();
  }
}

std::string ColumnText(const std::string& name, const arrow::Array& array, int64_t row, bool as_go_sends) {
  if (name == "original") return {};
  if (name == "resource") return ResourceText(DictionaryView(array)[row], as_go_sends);
  if (name == "scope") return ScopeText(DictionaryView(array)[row], as_go_sends);
  if (name == "metric") return MetricText(DictionaryView(array)[row], as_go_sends);
  if (name == "body_value") {  // Of maps and arrays `body` is the JSON; here only which it is.
    const std::string_view bytes = BytesView(array)[row].value_or("");
    return bytes.empty() ? "NULL" : bytes[0] == 0x2a || bytes[0] == 0x32 ? "nested" : arrow::Buffer(bytes).ToHexString();
  }
  return CellText(array, row, as_go_sends);
}

}  // namespace

std::vector<std::string> RowTexts(const std::vector<TableBatch>& batches, bool as_go_sends, bool with_presence) {
  std::vector<std::string> rows;
  for (const TableBatch& table : batches) {
    SHEAF_CHECK(table.batch->ValidateFull().ok());
    for (int64_t row = 0; row < table.batch->num_rows(); ++row) {
      std::string text = SignalTable(table.signal);
      for (int i = 0; i < table.batch->num_columns(); ++i) {
        const std::string& name = table.batch->column_name(i);
        if (name.starts_with("has_") && !with_presence) continue;
        text += fmt::format("\n  {}={}", name, ColumnText(name, *table.batch->column(i), row, as_go_sends));
      }
      rows.push_back(std::move(text));
    }
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace sheaf::decode
