#include "store/table_change.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>
#include <vector>

#include <arrow/util/key_value_metadata.h>
#include <arrow/util/utf8.h>

#include "columns/id_filter.h"
#include "columns/key_codec.h"
#include "columns/row_codec.h"
#include "columns/token_filter.h"
#include "parts/conform_source.h"
#include "store/column_types.h"
#include "store/names.h"
#include "store/ready_tables.h"
#include "store/scalar_cast.h"

namespace sheaf::store {
namespace {

using FieldPtr = std::shared_ptr<arrow::Field>;

/// Schemas with tables that nobody makes.
constexpr const char* kReservedSchemas[] = {kOtelSchema, kEngineSchema, "information_schema", "pg_catalog", "system", "temp"};

Status CheckName(const char* what, const std::string& name) {
  if (name.empty()) return MakeError(ErrorKind::kInvalid, "a {} needs a name", what);
  if (name.size() > kNameBytesMax) {
    return MakeError(ErrorKind::kInvalid, "the name of a {} has {} bytes; at most {} are possible", what, name.size(),
                     kNameBytesMax);
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(name.data());
  const bool controls =
      std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  arrow::util::InitializeUTF8();
  if (!controls && arrow::util::ValidateUTF8(bytes, static_cast<int64_t>(name.size()))) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "the name of a {} must be UTF-8 without control characters", what);
}

Status CheckSchemaName(const std::string& name) {
  SHEAF_RETURN_NOT_OK(CheckName("schema", name));
  for (const char* reserved : kReservedSchemas) {
    if (SameName(name, reserved))
      return MakeError(ErrorKind::kDenied, "schema {} holds only its own tables; make yours in main", name);
  }
  if (name.find('.') == std::string::npos) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "the name of schema '{}' has a dot, which would stand between schema and table", name);
}

FieldPtr WithId(const arrow::Field& field, uint32_t id) {
  return arrow::field(field.name(), field.type(), field.nullable(),
                      arrow::key_value_metadata({{parts::kColumnIdKey, fmt::format("{}", id)}}));
}

std::string FullName(const TableInfo& table) { return table.schema_name + "." + table.name; }

Status CheckColumn(const arrow::Field& field) {
  SHEAF_RETURN_NOT_OK(CheckName("column", field.name()));
  return CheckColumnType(field.name(), *field.type());
}

Result<std::shared_ptr<arrow::Scalar>> CheckDefault(const arrow::Field& field, const std::shared_ptr<arrow::Scalar>& value) {
  auto cast = CastScalar(value, field.type());
  if (!cast.ok()) return WithContext(cast.status(), fmt::format("the default of column '{}'", field.name()));
  return cast;
}

Result<std::vector<int>> FindColumns(const TableInfo& table, const std::vector<std::string>& names, const char* what) {
  std::vector<int> columns;
  for (const std::string& name : names) {
    SHEAF_ASSIGN_OR_RETURN(const int column, FindColumn(table, name));
    if (std::find(columns.begin(), columns.end(), column) != columns.end()) {
      return MakeError(ErrorKind::kInvalid, "the {} of {} names column '{}' twice", what, FullName(table), name);
    }
    columns.push_back(column);
  }
  return columns;
}

Status SetTime(const TableSettings& settings, TableInfo* table) {
  table->layout.time_column = -1;
  if (!settings.time_column.empty()) {
    SHEAF_ASSIGN_OR_RETURN(const int column, FindColumn(*table, settings.time_column));
    const arrow::DataType& type = *table->schema->field(column)->type();
    if (type.id() != arrow::Type::TIMESTAMP && type.id() != arrow::Type::INT64) {
      return MakeError(ErrorKind::kInvalid,
                       "column '{}' of type {} cannot be the time column; take a timestamp or nanoseconds as BIGINT",
                       settings.time_column, type.ToString());
    }
    table->layout.time_column = column;
  }
  table->retention_ms = settings.retention_ms;
  if (!table->retention_ms) return Status::OK();
  if (*table->retention_ms <= 0) {
    return MakeError(ErrorKind::kInvalid, "a retention of {} ms would keep nothing; it must be positive, or none",
                     *table->retention_ms);
  }
  if (table->layout.time_column >= 0) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "{} has no time column to expire by", FullName(*table));
}

Status SetSort(const TableSettings& settings, TableInfo* table) {
  SHEAF_ASSIGN_OR_RETURN(std::vector<int> sort, FindColumns(*table, settings.sort, "sort order"));
  if (table->kind == TableKind::kKeyed) {
    if (!sort.empty() && sort != table->key_columns) {
      return MakeError(ErrorKind::kInvalid, "{} has a primary key and is sorted by it; another order is not possible",
                       FullName(*table));
    }
    sort = table->key_columns;
    table->layout.key_columns = table->key_columns;
  }
  for (const int column : sort) {
    const arrow::Field& field = *table->schema->field(column);
    if (CanSort(*field.type())) continue;
    return MakeError(ErrorKind::kInvalid, "rows cannot be sorted by column '{}' of type {}", field.name(),
                     field.type()->ToString());
  }
  if (sort.empty() && table->layout.time_column >= 0) sort.push_back(table->layout.time_column);
  table->layout.sort_columns = std::move(sort);
  return Status::OK();
}

/// Requires: schema, kind and key_columns are set.
Status SetSettings(const TableSettings& settings, TableInfo* table) {
  if (settings.durability == Durability::kTable) {
    return MakeError(ErrorKind::kInvalid, "the durability of {} must be buffered or local", FullName(*table));
  }
  table->durability = settings.durability;
  SHEAF_RETURN_NOT_OK(SetTime(settings, table));
  SHEAF_RETURN_NOT_OK(SetSort(settings, table));
  SHEAF_ASSIGN_OR_RETURN(table->layout.filter_columns, FindColumns(*table, settings.filters, "list of filters"));
  for (const int column : table->layout.filter_columns) {
    const arrow::Field& field = *table->schema->field(column);
    if (columns::CanFilter(*field.type())) continue;
    return MakeError(ErrorKind::kInvalid, "column '{}' of type {} takes no filter; text, binary and ids do", field.name(),
                     field.type()->ToString());
  }
  SHEAF_ASSIGN_OR_RETURN(table->layout.token_columns, FindColumns(*table, settings.tokens, "list of tokens"));
  for (const int column : table->layout.token_columns) {
    const arrow::Field& field = *table->schema->field(column);
    if (columns::CanFilterTokens(*field.type())) continue;
    return MakeError(ErrorKind::kInvalid, "column '{}' of type {} takes no token index; texts do", field.name(), field.type()->ToString());
  }
  return Status::OK();
}

/// Fields with ids, key columns NOT NULL.
Status SetColumns(const NewTable& asked, TableInfo* table) {
  const int columns = asked.schema == nullptr ? 0 : asked.schema->num_fields();
  if (columns < 1 || columns > kTableColumnsMax) {
    return MakeError(ErrorKind::kInvalid, "{} has {} columns; 1 to {} are possible", FullName(*table), columns, kTableColumnsMax);
  }
  const auto less = [](const std::string& a, const std::string& b) { return CompareNames(a, b) < 0; };
  std::set<std::string, decltype(less)> names(less);
  arrow::FieldVector fields;
  for (const FieldPtr& field : asked.schema->fields()) {
    SHEAF_RETURN_NOT_OK(CheckColumn(*field));
    if (!names.insert(field->name()).second) {
      return MakeError(ErrorKind::kInvalid, "{} has two columns named '{}'", FullName(*table), field->name());
    }
    fields.push_back(WithId(*field, table->next_column_id++));
  }
  table->schema = arrow::schema(fields);
  SHEAF_ASSIGN_OR_RETURN(table->key_columns, FindColumns(*table, asked.primary_key, "primary key"));
  for (const int column : table->key_columns)
    fields[static_cast<size_t>(column)] = fields[static_cast<size_t>(column)]->WithNullable(false);
  table->schema = arrow::schema(std::move(fields));
  return Status::OK();
}

/// A definition while it is changed: columns come and go here, and positions with them.
class Draft {
 public:
  explicit Draft(const TableInfo& table) : before_(table), after_(table), fields_(table.schema->fields()) {
    after_.defaults.resize(fields_.size());
    after_.fills.resize(fields_.size());
  }

  TableInfo& after() { return after_; }
  void Set(int column, FieldPtr field) { fields_[static_cast<size_t>(column)] = std::move(field); }

  void Add(const arrow::Field& field, const std::shared_ptr<arrow::Scalar>& value) {
    fields_.push_back(WithId(field, after_.next_column_id++));
    after_.defaults.push_back(value);
    after_.fills.push_back(value);
  }

  void Drop(int column) {
    fields_.erase(fields_.begin() + column);
    after_.defaults.erase(after_.defaults.begin() + column);
    after_.fills.erase(after_.fills.begin() + column);
    parts::Layout& layout = after_.layout;
    for (std::vector<int>* list :
         {&layout.sort_columns, &layout.filter_columns, &layout.token_columns, &layout.key_columns, &after_.key_columns}) {
      std::erase(*list, column);
      for (int& other : *list) other -= other > column ? 1 : 0;
    }
    for (int* one : {&layout.time_column, &layout.trace_column, &layout.service_column, &layout.parent_column}) {
      *one -= *one > column ? 1 : 0;
    }
    if (layout.sort_columns.empty() && layout.time_column >= 0) layout.sort_columns.push_back(layout.time_column);
  }

  /// The new version. Errors: Invalid, Unsupported.
  Result<TableInfo> Finish(Lsn since) {
    after_.schema = arrow::schema(fields_);
    after_.history.push_back({before_.schema_version, before_.since, before_.schema});
    after_.schema_version = before_.schema_version + 1;
    after_.since = since;
    SHEAF_RETURN_NOT_OK(MakeCodecs(&after_));
    return std::move(after_);
  }

 private:
  const TableInfo& before_;
  TableInfo after_;
  arrow::FieldVector fields_;
};

bool IsKey(const TableInfo& table, int column) {
  return std::find(table.key_columns.begin(), table.key_columns.end(), column) != table.key_columns.end();
}

/// Whether a column may not change since programs rely on it.
Status CheckOwnColumn(const TableInfo& table, int column, const char* done) {
  const TableInfo* ready = FindReadyTable(table.schema_name, table.name);
  if (ready == nullptr || ready->schema->GetFieldIndex(table.schema->field(column)->name()) < 0) return Status::OK();
  return MakeError(ErrorKind::kDenied, "column '{}' belongs to the ready table {} and cannot be {}",
                   table.schema->field(column)->name(), FullName(table), done);
}

Result<TableInfo> AddColumn(const TableInfo& table, const AlterTable& change, Lsn since) {
  if (change.field == nullptr) return MakeError(ErrorKind::kInvalid, "a column to be added needs a name and a type");
  for (const FieldPtr& field : table.schema->fields()) {
    if (!SameName(field->name(), change.field->name())) continue;
    if (change.if_not_exists) return table;
    return MakeError(ErrorKind::kAlreadyExists, "{} has a column '{}' already", FullName(table), field->name());
  }
  SHEAF_RETURN_NOT_OK(CheckColumn(*change.field));
  if (table.schema->num_fields() >= kTableColumnsMax) {
    return MakeError(ErrorKind::kInvalid, "{} has {} columns; more are not possible", FullName(table), kTableColumnsMax);
  }
  SHEAF_ASSIGN_OR_RETURN(const auto value, CheckDefault(*change.field, change.default_value));
  if (value == nullptr && !change.field->nullable()) {
    return MakeError(ErrorKind::kInvalid, "column '{}' allows no NULL, so rows that are there need a default for it",
                     change.field->name());
  }
  Draft draft(table);
  draft.Add(*change.field, value);
  return draft.Finish(since);
}

Result<TableInfo> DropColumn(const TableInfo& table, int column, Lsn since) {
  SHEAF_RETURN_NOT_OK(CheckOwnColumn(table, column, "dropped"));
  const std::string& name = table.schema->field(column)->name();
  if (IsKey(table, column))
    return MakeError(ErrorKind::kInvalid, "column '{}' is part of the primary key and cannot be dropped", name);
  if (table.layout.time_column == column) {
    return MakeError(ErrorKind::kInvalid, "column '{}' is the time column of {} and cannot be dropped", name, FullName(table));
  }
  if (table.schema->num_fields() == 1) {
    return MakeError(ErrorKind::kInvalid, "column '{}' is the last one of {}; drop the table instead", name, FullName(table));
  }
  Draft draft(table);
  draft.Drop(column);
  return draft.Finish(since);
}

Result<TableInfo> RenameColumn(const TableInfo& table, int column, const std::string& name, Lsn since) {
  SHEAF_RETURN_NOT_OK(CheckOwnColumn(table, column, "renamed"));
  SHEAF_RETURN_NOT_OK(CheckName("column", name));
  if (table.schema->field(column)->name() == name) return table;
  for (int other = 0; other < table.schema->num_fields(); ++other) {
    if (other == column || !SameName(table.schema->field(other)->name(), name)) continue;
    return MakeError(ErrorKind::kAlreadyExists, "{} has a column '{}' already", FullName(table),
                     table.schema->field(other)->name());
  }
  Draft draft(table);
  draft.Set(column, table.schema->field(column)->WithName(name));
  return draft.Finish(since);
}

Result<TableInfo> WidenColumn(const TableInfo& table, int column, const AlterTable& change, Lsn since) {
  if (change.field == nullptr) return MakeError(ErrorKind::kInvalid, "column '{}' needs a type to be widened to", change.column);
  const FieldPtr& from = table.schema->field(column);
  const auto& to = change.field->type();
  if (from->type()->Equals(*to)) return table;
  if (!IsResize(*from->type(), *to)) SHEAF_RETURN_NOT_OK(CheckOwnColumn(table, column, "given another type"));
  if (IsKey(table, column)) {
    return MakeError(ErrorKind::kInvalid, "column '{}' is part of the primary key and keeps its type", from->name());
  }
  SHEAF_RETURN_NOT_OK(CheckColumnType(from->name(), *to));
  if (!IsWidening(*from->type(), *to) && !IsResize(*from->type(), *to)) {
    return MakeError(
        ErrorKind::kInvalid,
        "column '{}' of type {} cannot become {}: only types that hold every value are possible (wider integers of the same "
        "sort, float to double, decimals with more digits)",
        from->name(), from->type()->ToString(), to->ToString());
  }
  Draft draft(table);
  draft.Set(column, from->WithType(to));
  const auto index = static_cast<size_t>(column);
  for (auto* values : {&draft.after().defaults, &draft.after().fills}) {
    SHEAF_ASSIGN_OR_RETURN((*values)[index], CheckDefault(*from->WithType(to), (*values)[index]));
  }
  return draft.Finish(since);
}

Result<TableInfo> SetNullable(const TableInfo& table, int column, Lsn since) {
  SHEAF_RETURN_NOT_OK(CheckOwnColumn(table, column, "given NULLs"));
  const FieldPtr& field = table.schema->field(column);
  if (field->nullable()) return table;
  if (IsKey(table, column)) {
    return MakeError(ErrorKind::kInvalid, "column '{}' is part of the primary key and takes no NULL", field->name());
  }
  Draft draft(table);
  draft.Set(column, field->WithNullable(true));
  return draft.Finish(since);
}

Result<TableInfo> ChangeSettings(const TableInfo& table, const TableSettings& settings) {
  TableInfo after = table;
  SHEAF_RETURN_NOT_OK(SetSettings(settings, &after));
  const parts::Layout& is = table.layout;
  const parts::Layout& wanted = after.layout;
  const bool same = is.time_column == wanted.time_column && is.sort_columns == wanted.sort_columns &&
                    is.filter_columns == wanted.filter_columns && is.token_columns == wanted.token_columns;
  if (same || table.schema_name != kOtelSchema) return after;
  return MakeError(ErrorKind::kDenied, "{} keeps its time column, sort order, filters and tokens; retention and durability can be chosen",
                   FullName(table));
}

Result<TableInfo> RenameTable(const TableInfo& table, const std::string& name) {
  if (FindReadyTable(table.schema_name, table.name) != nullptr) {
    return MakeError(ErrorKind::kDenied, "{} is a ready table and keeps its name", FullName(table));
  }
  SHEAF_RETURN_NOT_OK(CheckName("table", name));
  TableInfo after = table;
  after.name = name;
  return after;
}

}  // namespace

uint32_t ColumnId(const arrow::Field& field) {
  if (field.metadata() == nullptr) return 0;
  const int found = field.metadata()->FindKey(parts::kColumnIdKey);
  if (found < 0) return 0;
  const std::string& text = field.metadata()->value(found);
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() ? id : 0;
}

Result<int> FindColumn(const TableInfo& table, std::string_view name) {
  std::vector<std::string> known;
  for (int column = 0; column < table.schema->num_fields(); ++column) {
    known.push_back(table.schema->field(column)->name());
    if (SameName(known.back(), name)) return column;
  }
  return MakeError(ErrorKind::kNotFound, "{} has no column '{}'; did you mean '{}'?", FullName(table), name,
                   NearestName(known, name));
}

Status MakeCodecs(TableInfo* table) {
  table->keys = nullptr;
  table->rows = nullptr;
  if (!table->key_columns.empty()) {
    SHEAF_ASSIGN_OR_RETURN(table->keys, columns::KeyCodec::Make(table->schema, table->key_columns));
  }
  auto rows = columns::RowCodec::Make(table->schema);
  if (rows.ok()) {
    table->rows = *std::move(rows);
  } else if (KindOf(rows.status()) != ErrorKind::kUnsupported) {
    return rows.status();
  }
  return Status::OK();
}

TableSettings SettingsOf(const TableInfo& table) {
  TableSettings settings;
  settings.retention_ms = table.retention_ms;
  settings.durability = table.durability;
  const arrow::Schema& schema = *table.schema;
  if (table.kind == TableKind::kAppend) {
    for (const int column : table.layout.sort_columns) settings.sort.push_back(schema.field(column)->name());
  }
  for (const int column : table.layout.filter_columns) settings.filters.push_back(schema.field(column)->name());
  for (const int column : table.layout.token_columns) settings.tokens.push_back(schema.field(column)->name());
  if (table.layout.time_column >= 0) settings.time_column = schema.field(table.layout.time_column)->name();
  return settings;
}

Result<TableInfo> MakeTable(const NewTable& asked) {
  if (!asked.internal) SHEAF_RETURN_NOT_OK(CheckSchemaName(asked.schema_name));
  SHEAF_RETURN_NOT_OK(CheckName("table", asked.name));
  TableInfo table;
  for (const char c : asked.schema_name) table.schema_name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  table.name = asked.name;
  table.kind = asked.primary_key.empty() ? TableKind::kAppend : TableKind::kKeyed;
  SHEAF_RETURN_NOT_OK(SetColumns(asked, &table));
  if (table.kind == TableKind::kKeyed) table.layout.granule_rows = parts::kKeyedGranuleRows;
  SHEAF_RETURN_NOT_OK(MakeCodecs(&table));
  SHEAF_RETURN_NOT_OK(SetSettings(asked.settings, &table));
  if (asked.defaults.size() > static_cast<size_t>(table.schema->num_fields())) {
    return MakeError(ErrorKind::kInvalid, "{} has {} columns and {} defaults", FullName(table), table.schema->num_fields(),
                     asked.defaults.size());
  }
  for (size_t i = 0; i < asked.defaults.size(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(table.defaults.emplace_back(),
                           CheckDefault(*table.schema->field(static_cast<int>(i)), asked.defaults[i]));
  }
  return table;
}

Result<TableInfo> ChangeTable(const TableInfo& table, const AlterTable& change, Lsn since) {
  using Kind = AlterTable::Kind;
  if (change.kind == Kind::kSetSettings) return ChangeSettings(table, change.settings);
  if (table.schema_name == kOtelSchema) {
    return MakeError(ErrorKind::kDenied, "{} is a ready table; only its retention and durability can be changed",
                     FullName(table));
  }
  if (change.kind == Kind::kAddColumn) return AddColumn(table, change, since);
  if (change.kind == Kind::kRenameTable) return RenameTable(table, change.new_name);
  const auto found = FindColumn(table, change.column);
  if (!found.ok() && change.if_exists) return table;
  SHEAF_ASSIGN_OR_RETURN(const int column, found);
  switch (change.kind) {
    case Kind::kDropColumn: return DropColumn(table, column, since);
    case Kind::kRenameColumn: return RenameColumn(table, column, change.new_name, since);
    case Kind::kWidenColumn: return WidenColumn(table, column, change, since);
    case Kind::kSetNullable: return SetNullable(table, column, since);
    case Kind::kSetDefault: {
      TableInfo after = table;
      after.defaults.resize(static_cast<size_t>(table.schema->num_fields()));
      SHEAF_ASSIGN_OR_RETURN(after.defaults[static_cast<size_t>(column)],
                             CheckDefault(*table.schema->field(column), change.default_value));
      return after;
    }
    default: return MakeError(ErrorKind::kInvalid, "{} cannot be changed so", FullName(table));
  }
}

}  // namespace sheaf::store
