#include "query/attribute_vectors.h"

#include <algorithm>

namespace sheaf::query {

namespace {

using duckdb::FlatVector;
using duckdb::idx_t;
using duckdb::StringVector;

std::string_view TypeName(const decode::AttributeValue& value) { return ValueTypeName(value.type); }

void AppendJsonKey(std::string_view key, std::string* out) {
  decode::AppendJson({.type = decode::ValueType::kString, .val = key}, out);
}

}  // namespace

std::string_view ValueTypeName(decode::ValueType type) {
  switch (type) {
    case decode::ValueType::kEmpty: return "empty";
    case decode::ValueType::kString: return "string";
    case decode::ValueType::kBool: return "bool";
    case decode::ValueType::kInt: return "int";
    case decode::ValueType::kDouble: return "double";
    case decode::ValueType::kArray: return "array";
    case decode::ValueType::kKvList: return "kvlist";
    case decode::ValueType::kBytes: return "bytes";
  }
  return "empty";
}

AttributesView::AttributesView(const std::shared_ptr<arrow::Array>& array)
    : array_(array), list_(static_cast<const arrow::ListArray*>(array.get())) {
  const auto& elements = static_cast<const arrow::StructArray&>(*list_->values());
  // StructArray::field() applies the struct's own offset and keeps the child boxed inside the parent.
  const auto& keys = static_cast<const arrow::DictionaryArray&>(*elements.field(0));
  keys_ = static_cast<const arrow::StringArray*>(keys.dictionary().get());
  key_codes_ = keys.indices()->data()->GetValues<int32_t>(1);
  types_ = elements.field(1)->data()->GetValues<uint8_t>(1);
  numbers_ = elements.field(2)->data()->GetValues<int64_t>(1);
  values_ = static_cast<const arrow::BinaryArray*>(elements.field(3).get());
}

decode::Attribute AttributesView::At(int64_t element) const {
  // Arrow leaves the codes of NULL slots unchecked. Rows of clients have none here, but those of older files may.
  const auto code = static_cast<uint32_t>(key_codes_[element]);
  return {.key = code < static_cast<uint64_t>(keys_->length()) ? keys_->GetView(code) : std::string_view(),
          .value = {.type = static_cast<decode::ValueType>(types_[element]), .num = numbers_[element], .val = values_->GetView(element)}};
}

bool AttributesView::IsRepeated(int64_t begin, int64_t element) const {
  for (int64_t i = begin; i < element; ++i) {
    if (key_codes_[i] == key_codes_[element]) return true;
  }
  return false;
}

duckdb::string_t AttributesView::ValueText(const decode::AttributeValue& value, std::string* scratch, duckdb::Vector* heap,
                                           bool* is_null) const {
  *is_null = false;
  if (value.type == decode::ValueType::kString) return BorrowText(value.val);
  scratch->clear();
  if (!decode::AppendText(value, scratch)) {
    *is_null = true;
    return duckdb::string_t();
  }
  return StringVector::AddString(*heap, scratch->data(), scratch->size());
}

void AttributesView::ToMap(const Rows& rows, AttributeText text, duckdb::Vector* out) const {
  int64_t elements_max = 0;
  for (int64_t i = 0; i < rows.count; ++i) elements_max += list_->IsNull(rows[i]) ? 0 : list_->value_length(rows[i]);
  duckdb::ListVector::Reserve(*out, static_cast<idx_t>(elements_max));
  auto& keys = duckdb::MapVector::GetKeys(*out);
  auto& values = duckdb::MapVector::GetValues(*out);
  auto* entries = FlatVector::GetData<duckdb::list_entry_t>(*out);
  auto* key_texts = FlatVector::GetData<duckdb::string_t>(keys);
  auto* value_texts = FlatVector::GetData<duckdb::string_t>(values);
  auto& value_validity = FlatVector::Validity(values);
  std::string scratch;
  idx_t written = 0;
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows[i];
    const int64_t begin = list_->IsNull(row) ? 0 : list_->value_offset(row);
    const int64_t end = list_->IsNull(row) ? 0 : begin + list_->value_length(row);
    const idx_t first = written;
    for (int64_t element = begin; element < end; ++element) {
      if (IsRepeated(begin, element)) continue;
      const decode::Attribute attribute = At(element);
      key_texts[written] = BorrowText(attribute.key);
      if (text == AttributeText::kType) {
        value_texts[written] = BorrowText(TypeName(attribute.value));
      } else {
        bool is_null;
        value_texts[written] = ValueText(attribute.value, &scratch, &values, &is_null);
        if (is_null) value_validity.SetInvalid(written);
      }
      ++written;
    }
    entries[i] = duckdb::list_entry_t(first, written - first);
  }
  duckdb::ListVector::SetListSize(*out, written);
  KeepAlive(array_, &keys);
  KeepAlive(array_, &values);
}

void AttributesView::ToJson(const Rows& rows, duckdb::Vector* out) const {
  auto* texts = FlatVector::GetData<duckdb::string_t>(*out);
  std::string json;
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows[i];
    const int64_t begin = list_->IsNull(row) ? 0 : list_->value_offset(row);
    const int64_t end = list_->IsNull(row) ? 0 : begin + list_->value_length(row);
    json = "{";
    for (int64_t element = begin; element < end; ++element) {
      if (IsRepeated(begin, element)) continue;
      const decode::Attribute attribute = At(element);
      if (json.size() > 1) json += ',';
      AppendJsonKey(attribute.key, &json);
      json += ':';
      decode::AppendJson(attribute.value, &json);
    }
    json += '}';
    texts[i] = StringVector::AddString(*out, json.data(), json.size());
  }
}

void AttributesView::Extract(const Rows& rows, std::string_view key, duckdb::Vector* out) const {
  auto* texts = FlatVector::GetData<duckdb::string_t>(*out);
  auto& validity = FlatVector::Validity(*out);
  std::vector<int32_t> codes;  // One, unless whoever merged dictionaries left an entry in twice.
  for (int64_t i = 0; i < keys_->length(); ++i) {
    if (keys_->GetView(i) == key) codes.push_back(static_cast<int32_t>(i));
  }
  std::string scratch;
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows[i];
    bool is_null = true;
    if (!codes.empty() && !list_->IsNull(row)) {
      const int64_t begin = list_->value_offset(row);
      const int64_t end = begin + list_->value_length(row);
      for (int64_t element = begin; element < end; ++element) {
        if (std::find(codes.begin(), codes.end(), key_codes_[element]) == codes.end()) continue;
        texts[i] = ValueText(At(element).value, &scratch, out, &is_null);
        break;
      }
    }
    if (is_null) validity.SetInvalid(static_cast<idx_t>(i));
  }
  KeepAlive(array_, out);
}

void AppendAttributesJson(const std::vector<decode::Attribute>& attributes, std::string* out) {
  *out += '{';
  bool first = true;
  for (const decode::Attribute& attribute : attributes) {
    if (!first) *out += ',';
    first = false;
    AppendJsonKey(attribute.key, out);
    *out += ':';
    decode::AppendJson(attribute.value, out);
  }
  *out += '}';
}

}  // namespace sheaf::query
