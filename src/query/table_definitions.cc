#include "query/table_definitions.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "query/column_reader.h"
#include "query/table_rows.h"

namespace sheaf::query {

namespace {

using duckdb::ClientContext;
using duckdb::ColumnDefinition;
using duckdb::Constraint;
using duckdb::ConstraintType;
using duckdb::LogicalType;
using duckdb::ParsedExpression;
using duckdb::Value;

/// A setting's value as text: 'a,b', a number, or a bare word.
Result<std::string> SettingText(const std::string& name, const ParsedExpression& expression) {
  switch (expression.GetExpressionClass()) {
    case duckdb::ExpressionClass::CONSTANT: return expression.Cast<duckdb::ConstantExpression>().value.ToString();
    case duckdb::ExpressionClass::COLUMN_REF: return expression.Cast<duckdb::ColumnRefExpression>().GetColumnName();
    default: return MakeError(ErrorKind::kInvalid, "the table setting {} must be a text, as in {} = '…'", name, name);
  }
}

std::vector<std::string> SplitNames(const std::string& text) {
  std::vector<std::string> names;
  for (std::string name : duckdb::StringUtil::Split(text, ',')) {
    duckdb::StringUtil::Trim(name);
    if (!name.empty()) names.push_back(std::move(name));
  }
  return names;
}

Result<std::optional<int64_t>> RetentionMs(const std::string& text) {
  if (text.empty() || duckdb::StringUtil::CIEquals(text, "forever")) return std::nullopt;
  Value interval;
  std::string error;
  if (!Value(text).DefaultTryCastAs(LogicalType::INTERVAL, interval, &error)) {
    return MakeError(ErrorKind::kInvalid, "retention = '{}' is not a span of time: write '30 days', '12 hours' or 'forever'", text);
  }
  const auto span = duckdb::IntervalValue::Get(interval);
  const int64_t ms = (int64_t{span.months} * 30 + span.days) * 86'400'000 + span.micros / 1000;
  if (ms <= 0) return MakeError(ErrorKind::kInvalid, "retention = '{}' must be longer than nothing; 'forever' keeps rows", text);
  return ms;
}

constexpr char kSettingNames[] = "retention, durability, sort, filters, tokens, time";

Status ApplySetting(const std::string& name, const std::string& text, store::TableSettings* settings) {
  const std::string key = duckdb::StringUtil::Lower(name);
  if (key == "retention") {
    SHEAF_ASSIGN_OR_RETURN(settings->retention_ms, RetentionMs(text));
  } else if (key == "durability") {
    const std::string level = duckdb::StringUtil::Lower(text);
    if (level != "local" && level != "buffered") {
      return MakeError(ErrorKind::kInvalid, "durability = '{}' is not known: 'local' (on disk before the answer) or 'buffered'", text);
    }
    settings->durability = level == "local" ? store::Durability::kLocal : store::Durability::kBuffered;
  } else if (key == "sort") {
    settings->sort = SplitNames(text);
  } else if (key == "filters") {
    settings->filters = SplitNames(text);
  } else if (key == "tokens") {
    settings->tokens = SplitNames(text);
  } else if (key == "time") {
    settings->time_column = text;
  } else {
    return MakeError(ErrorKind::kInvalid, "there is no table setting {}; there are {}", name, kSettingNames);
  }
  return Status::OK();
}

Status ResetSetting(const std::string& name, store::TableSettings* settings) {
  const store::TableSettings fresh;
  const std::string key = duckdb::StringUtil::Lower(name);
  if (key == "retention") {
    settings->retention_ms = fresh.retention_ms;
  } else if (key == "durability") {
    settings->durability = fresh.durability;
  } else if (key == "sort") {
    settings->sort = fresh.sort;
  } else if (key == "filters") {
    settings->filters = fresh.filters;
  } else if (key == "tokens") {
    settings->tokens = fresh.tokens;
  } else if (key == "time") {
    settings->time_column = fresh.time_column;
  } else {
    return MakeError(ErrorKind::kInvalid, "there is no table setting {}; there are {}", name, kSettingNames);
  }
  return Status::OK();
}

/// What a DEFAULT puts; null for none and for NULL.
Result<std::shared_ptr<arrow::Scalar>> DefaultOf(ClientContext& context, const std::string& column, const ParsedExpression* expression,
                                                 const LogicalType& type) {
  if (expression == nullptr) return nullptr;
  auto binder = duckdb::Binder::CreateBinder(context);
  duckdb::ConstantBinder constant(*binder, context, "DEFAULT value");
  constant.target_type = type;
  auto copy = expression->Copy();
  auto bound = constant.Bind(copy);
  if (!bound->IsFoldable() || !bound->IsConsistent()) {
    return MakeError(ErrorKind::kUnsupported, "the DEFAULT of column '{}' must be a constant, not {}: give such a value in the INSERT",
                     column, expression->ToString());
  }
  const Value value = duckdb::ExpressionExecutor::EvaluateScalar(context, *bound);
  if (value.IsNull()) return nullptr;
  SHEAF_ASSIGN_OR_RETURN(auto stored, StoredType(column, type));
  return ToScalar(context, value, stored);
}

/// Takes the key and the NOT NULLs; refuses what is not kept.
Status ReadConstraint(const duckdb::CreateTableInfo& create, const Constraint& constraint, store::NewTable* table,
                      std::vector<bool>* nullable) {
  switch (constraint.type) {
    case ConstraintType::NOT_NULL:
      (*nullable)[constraint.Cast<duckdb::NotNullConstraint>().index.index] = false;
      return Status::OK();
    case ConstraintType::UNIQUE: {
      const auto& unique = constraint.Cast<duckdb::UniqueConstraint>();
      if (!unique.IsPrimaryKey()) {
        return MakeError(ErrorKind::kUnsupported, "UNIQUE is not kept: only the PRIMARY KEY is unique in a table");
      }
      for (const duckdb::LogicalIndex index : unique.GetLogicalIndexes(create.columns)) {
        table->primary_key.push_back(create.columns.GetColumn(index).Name());
        (*nullable)[index.index] = false;
      }
      return Status::OK();
    }
    case ConstraintType::CHECK:
      return MakeError(ErrorKind::kUnsupported,
                       "CHECK is not kept: rows are held to types, NOT NULL and the PRIMARY KEY; check before you write");
    case ConstraintType::FOREIGN_KEY:
      return MakeError(ErrorKind::kUnsupported, "FOREIGN KEY is not kept: tables do not refer to each other; join them when you read");
    default: return MakeError(ErrorKind::kUnsupported, "the constraint {} is not kept", constraint.ToString());
  }
}

Status RefuseKind(const store::TableInfo& table, const char* what) {
  return MakeError(ErrorKind::kUnsupported,
                   "{}.{}: {} is not possible; ALTER TABLE can add, drop, rename and widen columns, set and drop defaults, drop NOT NULL, "
                   "rename the table and SET ({})", table.schema_name, table.name, what, kSettingNames);
}

Result<store::AlterTable> AddColumn(ClientContext& context, const duckdb::AddColumnInfo& add, const store::TableInfo& table) {
  if (add.new_column.Generated()) return RefuseKind(table, "a generated column");
  store::AlterTable change{.kind = store::AlterTable::Kind::kAddColumn, .column = add.new_column.Name()};
  change.if_not_exists = add.if_column_not_exists;
  SHEAF_ASSIGN_OR_RETURN(auto type, StoredType(change.column, add.new_column.Type()));
  change.field = arrow::field(change.column, std::move(type));
  const ParsedExpression* value = add.new_column.HasDefaultValue() ? &add.new_column.DefaultValue() : nullptr;
  SHEAF_ASSIGN_OR_RETURN(change.default_value, DefaultOf(context, change.column, value, add.new_column.Type()));
  return change;
}

Result<store::AlterTable> Widen(const duckdb::ChangeColumnTypeInfo& widen, const store::TableInfo& table) {
  const ParsedExpression& expression = *widen.expression;
  if (expression.GetExpressionClass() != duckdb::ExpressionClass::CAST ||
      expression.Cast<duckdb::CastExpression>().child->GetExpressionClass() != duckdb::ExpressionClass::COLUMN_REF) {
    return RefuseKind(table, "ALTER COLUMN … TYPE … USING");
  }
  store::AlterTable change{.kind = store::AlterTable::Kind::kWidenColumn, .column = widen.column_name};
  SHEAF_ASSIGN_OR_RETURN(auto type, StoredType(change.column, widen.target_type));
  change.field = arrow::field(change.column, std::move(type));
  return change;
}

Result<store::AlterTable> ChangeDefault(ClientContext& context, const duckdb::SetDefaultInfo& set, const store::TableInfo& table) {
  store::AlterTable change{.kind = store::AlterTable::Kind::kSetDefault, .column = set.column_name};
  if (!set.expression) return change;
  for (int i = 0; i < table.schema->num_fields(); ++i) {
    const std::string& name = table.schema->field(i)->name();
    if (!duckdb::StringUtil::CIEquals(name, change.column)) continue;
    SHEAF_ASSIGN_OR_RETURN(const LogicalType type, LogicalColumnType({.name = name, .physical = i}, *table.schema));
    SHEAF_ASSIGN_OR_RETURN(change.default_value, DefaultOf(context, name, set.expression.get(), type));
  }
  return change;  // A column that is not there is the store's to refuse.
}

Result<store::AlterTable> ChangeSettings(const duckdb::AlterTableInfo& alter, const store::TableInfo& table) {
  store::AlterTable change{.kind = store::AlterTable::Kind::kSetSettings, .settings = store::SettingsOf(table)};
  if (alter.alter_table_type == duckdb::AlterTableType::SET_TABLE_OPTIONS) {
    for (const auto& [name, expression] : alter.Cast<duckdb::SetTableOptionsInfo>().table_options) {
      SHEAF_ASSIGN_OR_RETURN(const std::string text, SettingText(name, *expression));
      SHEAF_RETURN_NOT_OK(ApplySetting(name, text, &change.settings));
    }
  } else {
    for (const auto& name : alter.Cast<duckdb::ResetTableOptionsInfo>().table_options) {
      SHEAF_RETURN_NOT_OK(ResetSetting(name, &change.settings));
    }
  }
  return change;
}

}  // namespace

Result<store::NewTable> ToNewTable(ClientContext& context, const duckdb::CreateTableInfo& create) {
  store::NewTable table;
  table.schema_name = create.schema;
  table.name = create.table;
  table.if_not_exists = create.on_conflict == duckdb::OnCreateConflict::IGNORE_ON_CONFLICT;
  table.or_replace = create.on_conflict == duckdb::OnCreateConflict::REPLACE_ON_CONFLICT;
  if (create.temporary) {
    return MakeError(ErrorKind::kUnsupported, "temporary tables are not kept here: leave TEMP away, or write them as WITH … AS (SELECT …)");
  }
  if (!create.partition_keys.empty() || !create.sort_keys.empty()) {
    return MakeError(ErrorKind::kUnsupported, "PARTITIONED BY and SORTED BY are not known: WITH (sort = 'a, b') sorts an append table");
  }
  std::vector<bool> nullable(create.columns.LogicalColumnCount(), true);
  for (const auto& constraint : create.constraints) SHEAF_RETURN_NOT_OK(ReadConstraint(create, *constraint, &table, &nullable));
  arrow::FieldVector fields;
  for (const ColumnDefinition& column : create.columns.Logical()) {
    if (column.Generated()) {
      return MakeError(ErrorKind::kUnsupported, "the generated column '{}' is not kept: compute it when you read, or write it",
                       column.Name());
    }
    SHEAF_ASSIGN_OR_RETURN(auto type, StoredType(column.Name(), column.Type()));
    fields.push_back(arrow::field(column.Name(), std::move(type), nullable[column.Logical().index]));
    SHEAF_ASSIGN_OR_RETURN(auto value, DefaultOf(context, column.Name(), column.HasDefaultValue() ? &column.DefaultValue() : nullptr,
                                                 column.Type()));
    table.defaults.push_back(std::move(value));
  }
  table.schema = arrow::schema(std::move(fields));
  for (const auto& [name, expression] : create.options) {
    SHEAF_ASSIGN_OR_RETURN(const std::string text, SettingText(name, *expression));
    SHEAF_RETURN_NOT_OK(ApplySetting(name, text, &table.settings));
  }
  return table;
}

Result<store::AlterTable> ToAlterTable(ClientContext& context, const duckdb::AlterTableInfo& alter, const store::TableInfo& table) {
  using Kind = store::AlterTable::Kind;
  using duckdb::AlterTableType;
  store::AlterTable change;
  switch (alter.alter_table_type) {
    case AlterTableType::ADD_COLUMN: return AddColumn(context, alter.Cast<duckdb::AddColumnInfo>(), table);
    case AlterTableType::REMOVE_COLUMN: {
      const auto& remove = alter.Cast<duckdb::RemoveColumnInfo>();
      change.kind = Kind::kDropColumn;
      change.column = remove.removed_column;
      change.if_exists = remove.if_column_exists;
      return change;
    }
    case AlterTableType::RENAME_COLUMN: {
      const auto& rename = alter.Cast<duckdb::RenameColumnInfo>();
      change.kind = Kind::kRenameColumn;
      change.column = rename.old_name;
      change.new_name = rename.new_name;
      return change;
    }
    case AlterTableType::RENAME_TABLE:
      change.kind = Kind::kRenameTable;
      change.new_name = alter.Cast<duckdb::RenameTableInfo>().new_table_name;
      return change;
    case AlterTableType::ALTER_COLUMN_TYPE: return Widen(alter.Cast<duckdb::ChangeColumnTypeInfo>(), table);
    case AlterTableType::SET_DEFAULT: return ChangeDefault(context, alter.Cast<duckdb::SetDefaultInfo>(), table);
    case AlterTableType::DROP_NOT_NULL:
      change.kind = Kind::kSetNullable;
      change.column = alter.Cast<duckdb::DropNotNullInfo>().column_name;
      return change;
    case AlterTableType::SET_TABLE_OPTIONS:
    case AlterTableType::RESET_TABLE_OPTIONS: return ChangeSettings(alter, table);
    case AlterTableType::SET_NOT_NULL: return RefuseKind(table, "SET NOT NULL");
    case AlterTableType::ADD_CONSTRAINT: return RefuseKind(table, "adding a constraint");
    case AlterTableType::SET_PARTITIONED_BY:
    case AlterTableType::SET_SORTED_BY: return RefuseKind(table, "SET PARTITIONED BY or SORTED BY");
    default: return RefuseKind(table, "this ALTER TABLE");
  }
}

Result<duckdb::unique_ptr<duckdb::CreateTableInfo>> Describe(duckdb::SchemaCatalogEntry& schema, const store::TableInfo& table,
                                                             const LogicalTable& logical) {
  auto create = duckdb::make_uniq<duckdb::CreateTableInfo>(schema, table.name);
  for (size_t i = 0; i < logical.columns.size(); ++i) {
    const LogicalColumn& column = logical.columns[i];
    SHEAF_ASSIGN_OR_RETURN(const LogicalType type, LogicalColumnType(column, *table.schema));
    ColumnDefinition definition(column.name, type);
    const auto position = static_cast<size_t>(column.physical);
    if (column.field == Field::kWhole && position < table.defaults.size() && table.defaults[position]) {
      SHEAF_ASSIGN_OR_RETURN(const Value value, ToValue(*table.defaults[position]));
      definition.SetDefaultValue(duckdb::make_uniq<duckdb::ConstantExpression>(value));
    }
    create->columns.AddColumn(std::move(definition));
    if (column.field == Field::kWhole && !IsTelemetry(table) && !table.schema->field(column.physical)->nullable()) {
      create->constraints.push_back(duckdb::make_uniq<duckdb::NotNullConstraint>(duckdb::LogicalIndex(i)));
    }
  }
  if (!table.key_columns.empty()) {
    duckdb::vector<std::string> names;
    for (const int column : table.key_columns) names.push_back(table.schema->field(column)->name());
    create->constraints.push_back(duckdb::make_uniq<duckdb::UniqueConstraint>(std::move(names), true));
  }
  return create;
}

}  // namespace sheaf::query
