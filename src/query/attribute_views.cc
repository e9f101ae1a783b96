#include "query/attribute_views.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "columns/attribute_keys.h"
#include "query/attribute_vectors.h"
#include "query/logical_schema.h"

namespace sheaf::query {

namespace {

using duckdb::LogicalType;
using duckdb::Value;

/// One key over all parts of its table.
struct KeySum {
  int64_t values = 0, parts = 0, column_parts = 0;
  uint32_t types = 0;
};

std::string TypeNames(uint32_t types) {
  std::string names;
  for (uint32_t type = 0; type < 8; ++type) {
    if ((types >> type & 1) == 0) continue;
    if (!names.empty()) names += ", ";
    names += ValueTypeName(static_cast<decode::ValueType>(type));
  }
  return names;
}

void AddRows(const store::TableSnapshot& table, std::vector<duckdb::vector<Value>>* rows) {
  std::map<std::pair<int, std::string>, KeySum> sums;
  for (const auto& view : table.sources) {
    const columns::AttributeKeys* attributes = view.source->attributes();
    if (attributes == nullptr) continue;
    for (const columns::AttributeKey& key : attributes->keys) {
      KeySum& sum = sums[{key.column, key.key}];
      sum.values += key.values;
      sum.types |= key.types;
      ++sum.parts;
      if (key.position >= 0) ++sum.column_parts;
    }
  }
  for (const auto& [key, sum] : sums) {
    rows->push_back({Value(table.info->schema_name + "." + table.info->name), Value(table.info->schema->field(key.first)->name()),
                     Value(key.second), Value(TypeNames(sum.types)), Value::BIGINT(sum.values), Value::BIGINT(sum.parts),
                     Value::BIGINT(sum.column_parts)});
  }
}

}  // namespace

SystemTable AttributesTable(const store::Database* database) {
  SystemTable table;
  table.name = "attributes";
  table.columns = {"table_name", "column_name", "key", "types", "values", "parts", "parts_with_column"};
  table.types = {LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::VARCHAR,
                 LogicalType::BIGINT,  LogicalType::BIGINT,  LogicalType::BIGINT};
  table.rows = [database] {
    std::vector<duckdb::vector<Value>> rows;
    const auto snapshot = database->GetSnapshot();
    for (const auto& info : snapshot->tables()) {
      const bool has_lists = std::any_of(info->schema->fields().begin(), info->schema->fields().end(),
                                         [](const auto& field) { return IsAttributes(*field->type()); });
      if (!has_lists) continue;
      const auto found = snapshot->Table(info->id);
      if (!found.ok()) throw duckdb::IOException("%s", found.status().message());
      AddRows(*found, &rows);
    }
    return rows;
  };
  return table;
}

}  // namespace sheaf::query
