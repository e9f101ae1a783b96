#include "store/table_record.h"

#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <arrow/array/util.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/scalar.h>
#include <arrow/util/base64.h>
#include <nlohmann/json.hpp>

#include "store/ready_tables.h"
#include "store/table_change.h"

namespace sheaf::store {
namespace {

using nlohmann::json;

json NamesOf(const arrow::Schema& schema, const std::vector<int>& columns) {
  json names = json::array();
  for (const int column : columns) names.push_back(schema.field(column)->name());
  return names;
}

json NameOf(const arrow::Schema& schema, int column) { return column < 0 ? json(nullptr) : json(schema.field(column)->name()); }

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

/// Values by column as base64 of an Arrow IPC stream of one row, each in a column named after the position; null where there are
/// none.
Result<json> ToJson(const std::vector<std::shared_ptr<arrow::Scalar>>& values) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == nullptr) continue;
    fields.push_back(arrow::field(fmt::format("{}", i), values[i]->type));
    SHEAF_ASSIGN_OR_RETURN(arrays.emplace_back(), arrow::MakeArrayFromScalar(*values[i], 1));
  }
  if (fields.empty()) return json(nullptr);
  const auto schema = arrow::schema(std::move(fields));
  SHEAF_ASSIGN_OR_RETURN(const auto sink, arrow::io::BufferOutputStream::Create());
  SHEAF_ASSIGN_OR_RETURN(const auto writer, arrow::ipc::MakeStreamWriter(sink, schema));
  SHEAF_RETURN_NOT_OK(writer->WriteRecordBatch(*arrow::RecordBatch::Make(schema, 1, std::move(arrays))));
  SHEAF_RETURN_NOT_OK(writer->Close());
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, sink->Finish());
  return json(arrow::util::base64_encode(std::string_view(*bytes)));
}

/// Back; one a column of `schema`. Error: any, for bytes that ToJson() did not write.
Result<std::vector<std::shared_ptr<arrow::Scalar>>> ValuesFrom(const json& settings, const char* key,
                                                               const arrow::Schema& schema) {
  std::vector<std::shared_ptr<arrow::Scalar>> values(static_cast<size_t>(schema.num_fields()));
  const auto found = settings.find(key);
  if (found == settings.end() || found->is_null()) return values;
  if (!found->is_string()) return Status::Invalid("not text");
  SHEAF_ASSIGN_OR_RETURN(std::string bytes, arrow::util::base64_decode(found->get_ref<const std::string&>()));
  SHEAF_ASSIGN_OR_RETURN(const auto reader, arrow::ipc::RecordBatchStreamReader::Open(std::make_shared<arrow::io::BufferReader>(
                                                arrow::Buffer::FromString(std::move(bytes)))));
  SHEAF_ASSIGN_OR_RETURN(const auto batch, reader->Next());
  if (batch == nullptr || batch->num_rows() != 1) return Status::Invalid("not one row");
  SHEAF_RETURN_NOT_OK(batch->ValidateFull());
  for (int i = 0; i < batch->num_columns(); ++i) {
    const std::string& name = batch->schema()->field(i)->name();
    int column = -1;
    std::from_chars(name.data(), name.data() + name.size(), column);
    if (column < 0 || column >= schema.num_fields() || !batch->column(i)->type()->Equals(*schema.field(column)->type())) {
      return Status::Invalid("no column ", name, " of type ", batch->column(i)->type()->ToString());
    }
    SHEAF_ASSIGN_OR_RETURN(values[static_cast<size_t>(column)], batch->column(i)->GetScalar(0));
  }
  return values;
}

Result<std::shared_ptr<arrow::Schema>> SchemaFrom(const std::string& bytes) {
  arrow::io::BufferReader reader(std::make_shared<arrow::Buffer>(bytes));
  arrow::ipc::DictionaryMemo memo;
  return arrow::ipc::ReadSchema(&reader, &memo);
}

Result<json> ToJson(const std::vector<SchemaVersion>& history) {
  json versions = json::array();
  for (const SchemaVersion& old : history) {
    SHEAF_ASSIGN_OR_RETURN(const auto bytes, arrow::ipc::SerializeSchema(*old.schema));
    versions.push_back(
        {{"version", old.version}, {"since", old.since.value}, {"schema", arrow::util::base64_encode(std::string_view(*bytes))}});
  }
  return versions;
}

/// Error: any, for what ToJson() did not write.
Result<std::vector<SchemaVersion>> HistoryFrom(const json& settings) {
  std::vector<SchemaVersion> history;
  for (const json& old : settings.value("history", json::array())) {
    if (!old.is_object() || !old.value("version", json()).is_number_unsigned() ||
        !old.value("since", json()).is_number_unsigned() || !old.value("schema", json()).is_string()) {
      return Status::Invalid("not a version");
    }
    SHEAF_ASSIGN_OR_RETURN(const std::string bytes, arrow::util::base64_decode(old["schema"].get_ref<const std::string&>()));
    SHEAF_ASSIGN_OR_RETURN(auto schema, SchemaFrom(bytes));
    history.push_back({old["version"].get<uint32_t>(), Lsn(old["since"].get<uint64_t>()), std::move(schema)});
  }
  return history;
}

/// What the record has beyond the layout. Error: Corruption.
Status ReadDefinition(const parts::TableRecord& record, const json& settings, TableInfo* table) {
  const auto Damaged = [&](const char* key, const Status& why) {
    return MakeError(ErrorKind::kCorruption, "the manifest's setting '{}' of {}.{} makes no sense: {}", key, record.schema_name,
                     record.name, why.message());
  };
  const json durability = settings.value("durability", json("local"));
  if (durability != "local" && durability != "buffered") return Damaged("durability", Status::Invalid(durability.dump()));
  table->durability = durability == "local" ? Durability::kLocal : Durability::kBuffered;
  auto defaults = ValuesFrom(settings, "defaults", *table->schema);
  if (!defaults.ok()) return Damaged("defaults", defaults.status());
  table->defaults = *std::move(defaults);
  auto fills = ValuesFrom(settings, "fills", *table->schema);
  if (!fills.ok()) return Damaged("fills", fills.status());
  table->fills = *std::move(fills);
  auto history = HistoryFrom(settings);
  if (!history.ok()) return Damaged("history", history.status());
  table->history = *std::move(history);
  if ((table->kind == TableKind::kKeyed) == table->key_columns.empty())
    return Damaged("key", Status::Invalid("only keyed tables have one"));
  if (const Status made = MakeCodecs(table); !made.ok()) return Damaged("key", made);
  return Status::OK();
}

}  // namespace

Result<parts::TableRecord> ToRecord(const TableInfo& table) {
  SHEAF_ASSIGN_OR_RETURN(const auto schema_bytes, arrow::ipc::SerializeSchema(*table.schema));
  const arrow::Schema& schema = *table.schema;
  const parts::Layout& layout = table.layout;
  // Member by member: where memory runs out in a list of them, the library loses what it has made. And an object from the start: where it
  // runs out while a null becomes one, that is left half-made, and its destructor aborts.
  json settings = json::object();
  settings["kind"] = table.kind == TableKind::kKeyed ? "keyed" : "append";
  settings["time"] = NameOf(schema, layout.time_column);
  settings["sort"] = NamesOf(schema, layout.sort_columns);
  settings["filters"] = NamesOf(schema, layout.filter_columns);
  settings["cluster_traces"] = layout.cluster_traces;
  settings["trace"] = NameOf(schema, layout.trace_column);
  settings["service"] = NameOf(schema, layout.service_column);
  settings["parent"] = NameOf(schema, layout.parent_column);
  settings["granule_rows"] = layout.granule_rows;
  if (!layout.token_columns.empty()) settings["tokens"] = NamesOf(schema, layout.token_columns);
  if (table.retention_ms) settings["retention_ms"] = *table.retention_ms;
  if (!table.key_columns.empty()) settings["key"] = NamesOf(schema, table.key_columns);
  settings["durability"] = table.durability == Durability::kBuffered ? "buffered" : "local";
  settings["next_column_id"] = table.next_column_id;
  settings["since"] = table.since.value;
  SHEAF_ASSIGN_OR_RETURN(settings["defaults"], ToJson(table.defaults));
  SHEAF_ASSIGN_OR_RETURN(settings["fills"], ToJson(table.fills));
  SHEAF_ASSIGN_OR_RETURN(settings["history"], ToJson(table.history));
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
  table.layout.token_columns = reader.Columns("tokens");
  table.layout.cluster_traces = reader.Flag("cluster_traces");
  table.layout.trace_column = reader.Column("trace");
  table.layout.service_column = reader.Column("service");
  table.layout.parent_column = reader.Column("parent");
  table.layout.granule_rows = reader.Number("granule_rows").value_or(table.layout.granule_rows);
  table.retention_ms = reader.Number("retention_ms");
  table.key_columns = table.layout.key_columns = reader.Columns("key");
  table.next_column_id = static_cast<uint32_t>(reader.Number("next_column_id").value_or(1));
  table.since = Lsn(static_cast<uint64_t>(reader.Number("since").value_or(0)));
  if (!reader.failed().empty()) {
    return MakeError(ErrorKind::kCorruption, "the manifest's setting '{}' of {}.{} makes no sense", reader.failed(),
                     record.schema_name, record.name);
  }
  SHEAF_RETURN_NOT_OK(ReadDefinition(record, settings, &table));
  return table;
}

Result<std::shared_ptr<const TableInfo>> TableOf(const parts::TableRecord& record) {
  SHEAF_ASSIGN_OR_RETURN(TableInfo table, FromRecord(record));
  const TableInfo* ready = table.schema_name == kOtelSchema ? FindReadyTable(table.schema_name, table.name) : nullptr;
  if (ready != nullptr) {
    if (!ready->schema->Equals(*table.schema, /*check_metadata=*/false)) {
      return MakeError(ErrorKind::kUnsupported, "{}.{} was stored by another version of this program, with other columns",
                       table.schema_name, table.name);
    }
    table.schema = ready->schema;
    table.layout = ready->layout;
  }
  return std::make_shared<const TableInfo>(std::move(table));
}

}  // namespace sheaf::store
