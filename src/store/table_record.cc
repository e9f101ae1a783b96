#include "store/table_record.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <nlohmann/json.hpp>

namespace sheaf::store {
namespace {

using nlohmann::json;

json NamesOf(const arrow::Schema& schema, const std::vector<int>& columns) {
  json names = json::array();
  for (const int column : columns) names.push_back(schema.field(column)->name());
  return names;
}

json NameOf(const arrow::Schema& schema, int column) {
  return column < 0 ? json(nullptr) : json(schema.field(column)->name());
}

/// Reads settings; remembers the first thing that is not as it should be.
class SettingsReader {
 public:
  SettingsReader(const json& settings, const arrow::Schema& schema) : settings_(settings), schema_(schema) {}

  int Column(const char* key) {
    const auto found = settings_.find(key);
    return found == settings_.end() || found->is_null() ? -1 : ColumnNamed(*found, key);
  }

  std::vector<int> Columns(const char* key) {
    std::vector<int> columns;
    const auto found = settings_.find(key);
    if (found == settings_.end()) return columns;
    if (!found->is_array()) return Fail(key), columns;
    for (const json& name : *found) columns.push_back(ColumnNamed(name, key));
    return columns;
  }

  std::optional<int64_t> Number(const char* key) {
    const auto found = settings_.find(key);
    if (found == settings_.end() || found->is_null()) return std::nullopt;
    if (!found->is_number_integer()) return Fail(key), std::nullopt;
    return found->get<int64_t>();
  }

  bool Flag(const char* key) {
    const auto found = settings_.find(key);
    if (found == settings_.end()) return false;
    if (!found->is_boolean()) return Fail(key), false;
    return found->get<bool>();
  }

  const std::string& failed() const { return failed_; }

 private:
  int ColumnNamed(const json& name, const char* key) {
    const int column = name.is_string() ? schema_.GetFieldIndex(name.get_ref<const std::string&>()) : -1;
    if (column < 0) Fail(key);
    return column;
  }
  void Fail(const char* key) {
    if (failed_.empty()) failed_ = key;
  }

  const json& settings_;
  const arrow::Schema& schema_;
  std::string failed_;
};

Result<std::shared_ptr<arrow::Schema>> SchemaFrom(const std::string& bytes) {
  arrow::io::BufferReader reader(std::make_shared<arrow::Buffer>(bytes));
  arrow::ipc::DictionaryMemo memo;
  return arrow::ipc::ReadSchema(&reader, &memo);
}

}  // namespace

Result<parts::TableRecord> ToRecord(const TableInfo& table) {
  SHEAF_ASSIGN_OR_RETURN(const auto schema_bytes, arrow::ipc::SerializeSchema(*table.schema));
  const arrow::Schema& schema = *table.schema;
  const parts::Layout& layout = table.layout;
  json settings = {{"kind", table.kind == TableKind::kKeyed ? "keyed" : "append"},
                   {"time", NameOf(schema, layout.time_column)},
                   {"sort", NamesOf(schema, layout.sort_columns)},
                   {"filters", NamesOf(schema, layout.filter_columns)},
                   {"cluster_traces", layout.cluster_traces},
                   {"trace", NameOf(schema, layout.trace_column)},
                   {"service", NameOf(schema, layout.service_column)},
                   {"parent", NameOf(schema, layout.parent_column)},
                   {"granule_rows", layout.granule_rows}};
  if (table.retention_ms) settings["retention_ms"] = *table.retention_ms;
  parts::TableRecord record;
  record.id = table.id;
  record.schema_name = table.schema_name;
  record.name = table.name;
  record.schema_version = table.schema_version;
  record.arrow_schema = schema_bytes->ToString();
  record.settings_json = settings.dump();
  return record;
}

Result<TableInfo> FromRecord(const parts::TableRecord& record) {
  const auto schema = SchemaFrom(record.arrow_schema);
  if (!schema.ok()) {
    return MakeError(ErrorKind::kCorruption, "the manifest's schema of {}.{} cannot be read: {}", record.schema_name, record.name,
                     schema.status().message());
  }
  const json settings = json::parse(record.settings_json, nullptr, /*allow_exceptions=*/false);
  if (!settings.is_object()) {
    return MakeError(ErrorKind::kCorruption, "the manifest's settings of {}.{} are not JSON", record.schema_name, record.name);
  }
  TableInfo table;
  table.id = record.id;
  table.schema_name = record.schema_name;
  table.name = record.name;
  table.schema_version = record.schema_version;
  table.schema = *schema;
  table.kind = settings.value("kind", json("append")) == "keyed" ? TableKind::kKeyed : TableKind::kAppend;
  SettingsReader reader(settings, **schema);
  table.layout.time_column = reader.Column("time");
  table.layout.sort_columns = reader.Columns("sort");
  table.layout.filter_columns = reader.Columns("filters");
  table.layout.cluster_traces = reader.Flag("cluster_traces");
  table.layout.trace_column = reader.Column("trace");
  table.layout.service_column = reader.Column("service");
  table.layout.parent_column = reader.Column("parent");
  table.layout.granule_rows = reader.Number("granule_rows").value_or(table.layout.granule_rows);
  table.retention_ms = reader.Number("retention_ms");
  if (!reader.failed().empty()) {
    return MakeError(ErrorKind::kCorruption, "the manifest's setting '{}' of {}.{} makes no sense", reader.failed(),
                     record.schema_name, record.name);
  }
  return table;
}

}  // namespace sheaf::store
