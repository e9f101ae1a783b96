/// Attributes columns (see decode/schemas.h) as SQL shows them: a map, JSON, type names, or one key's value.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>

#include "decode/attributes.h"
#include "query/arrow_to_duckdb.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// What a map of attributes holds as its values.
enum class AttributeText { kValue, kType };

/// "string", "int", "double", "bool", "bytes", "array", "kvlist" or "empty".
std::string_view ValueTypeName(decode::ValueType type);

/// Reads one attributes array. Keeps it alive; vectors made from it do so themselves. Of keys that a
/// record holds twice, the first counts (OTLP forbids them; `original` still has both).
class AttributesView {
 public:
  explicit AttributesView(const std::shared_ptr<arrow::Array>& array);

  /// `out` is a MAP(VARCHAR, VARCHAR).
  void ToMap(const Rows& rows, AttributeText text, duckdb::Vector* out) const;
  /// `out` is VARCHAR: one JSON object a row, with the values' types kept.
  void ToJson(const Rows& rows, duckdb::Vector* out) const;
  /// `out` is VARCHAR: the text of `key`'s value; NULL where there is none or it is empty.
  void Extract(const Rows& rows, std::string_view key, duckdb::Vector* out) const;

 private:
  decode::Attribute At(int64_t element) const;
  bool IsRepeated(int64_t begin, int64_t element) const;
  duckdb::string_t ValueText(const decode::AttributeValue& value, std::string* scratch, duckdb::Vector* heap, bool* is_null) const;

  std::shared_ptr<arrow::Array> array_;
  const arrow::ListArray* list_;
  const arrow::BinaryArray* values_;
  const arrow::StringArray* keys_;
  const int32_t* key_codes_;
  const uint8_t* types_;
  const int64_t* numbers_;
};

/// The same for attributes that were parsed out of an envelope; the text is copied.
void AppendAttributesJson(const std::vector<decode::Attribute>& attributes, std::string* out);

}  // namespace sheaf::query
