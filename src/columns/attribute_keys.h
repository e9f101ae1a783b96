/// What a part knows of the keys in its lists of attributes (decode/schemas.h), and which of them it keeps as columns of their own.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/type.h>

namespace sheaf::columns {

/// How a key's values are kept beside the list: as the texts that SQL shows, NULL where a row lacks the key or its value is empty.
enum class AttributeForm : uint8_t {
  kNone = 0,        // In the list only.
  kDictionary = 1,  // dictionary<int32, utf8>
  kText = 2,        // utf8, where a dictionary would be nearly as long as the column.
};

struct AttributeKey {
  int column = -1;         // Position of the list among the table's columns.
  std::string key;
  int64_t values = 0;      // How often it occurs: once a row, unless a record holds it twice.
  uint32_t types = 0;      // Of its values: bits 1 << decode::ValueType.
  AttributeForm form = AttributeForm::kNone;
  int position = -1;       // Of its own column, behind the table's; -1: none.
};

/// Name and type of a key's own column. Requires: key.form is not kNone.
inline std::shared_ptr<arrow::Field> FieldOf(const AttributeKey& key, const std::string& list_name) {
  const auto type = key.form == AttributeForm::kText ? arrow::utf8() : arrow::dictionary(arrow::int32(), arrow::utf8());
  return arrow::field(list_name + "[" + key.key + "]", type);
}

/// The fields of `schema`, and behind them those of the keys that have columns of their own.
inline std::shared_ptr<arrow::Schema> WithAttributeColumns(const arrow::Schema& schema, const std::vector<AttributeKey>& keys) {
  arrow::FieldVector fields = schema.fields();
  for (const AttributeKey& key : keys) {
    if (key.position >= 0) fields.push_back(FieldOf(key, schema.field(key.column)->name()));
  }
  return arrow::schema(std::move(fields), schema.metadata());
}

/// Immutable and thread-safe.
struct AttributeKeys {
  std::vector<AttributeKey> keys;  // Columns of their own in the order of `keys`, one after the other.
  bool complete = false;           // No row has a key that is not among these.

  /// Null where it is not there.
  const AttributeKey* Find(int column, std::string_view key) const {
    for (const AttributeKey& one : keys) {
      if (one.column == column && one.key == key) return &one;
    }
    return nullptr;
  }
};

}  // namespace sheaf::columns
