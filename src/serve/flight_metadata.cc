#include "serve/flight_metadata.h"

#include <algorithm>
#include <utility>

#include <arrow/array.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/table.h>

#include "serve/flight_batches.h"

namespace sheaf::serve {
namespace {

using arrow::field;

// Flight SQL's schemas, nullability included: clients compare them.
std::shared_ptr<arrow::Schema> CatalogsSchema() { return arrow::schema({field("catalog_name", arrow::utf8(), false)}); }
std::shared_ptr<arrow::Schema> DbSchemasSchema() {
  return arrow::schema({field("catalog_name", arrow::utf8()), field("db_schema_name", arrow::utf8(), false)});
}
std::shared_ptr<arrow::Schema> TablesSchema(bool with_schemas) {
  arrow::FieldVector fields = {field("catalog_name", arrow::utf8()), field("db_schema_name", arrow::utf8()),
                               field("table_name", arrow::utf8(), false), field("table_type", arrow::utf8(), false)};
  if (with_schemas) fields.push_back(field("table_schema", arrow::binary(), false));
  return arrow::schema(std::move(fields));
}
std::shared_ptr<arrow::Schema> TableTypesSchema() { return arrow::schema({field("table_type", arrow::utf8(), false)}); }
std::shared_ptr<arrow::Schema> PrimaryKeysSchema() {
  return arrow::schema({field("catalog_name", arrow::utf8()), field("db_schema_name", arrow::utf8()),
                        field("table_name", arrow::utf8(), false), field("column_name", arrow::utf8(), false),
                        field("key_name", arrow::utf8()), field("key_sequence", arrow::int32(), false)});
}
std::shared_ptr<arrow::Schema> ForeignKeysSchema() {
  arrow::FieldVector fields;
  for (const std::string side : {"pk", "fk"}) {
    fields.push_back(field(side + "_catalog_name", arrow::utf8()));
    fields.push_back(field(side + "_db_schema_name", arrow::utf8()));
    fields.push_back(field(side + "_table_name", arrow::utf8(), false));
    fields.push_back(field(side + "_column_name", arrow::utf8(), false));
  }
  fields.push_back(field("key_sequence", arrow::int32(), false));
  fields.push_back(field("fk_key_name", arrow::utf8()));
  fields.push_back(field("pk_key_name", arrow::utf8()));
  fields.push_back(field("update_rule", arrow::uint8(), false));
  fields.push_back(field("delete_rule", arrow::uint8(), false));
  return arrow::schema(std::move(fields));
}

bool AsksForForeignKeys(std::string_view name) {
  return name == "CommandGetExportedKeys" || name == "CommandGetImportedKeys" || name == "CommandGetCrossReference";
}

constexpr const char* kTableTypes[] = {"SYSTEM TABLE", "TABLE", "VIEW"};

/// Conditions of a statement, with their parameters.
class Conditions {
 public:
  void Pattern(const char* column, const std::optional<std::string>& pattern) {
    if (pattern) Add(fmt::format("{} ILIKE ? ESCAPE '\\'", column), *pattern);
  }
  void Name(const char* column, const std::optional<std::string>& name) {
    if (name) Add(fmt::format("lower({}) = lower(?)", column), *name);
  }
  /// Of the catalog there is one; asking for those without finds nothing.
  void Catalog(const std::optional<std::string>& name) {
    if (name && *name != kCatalogName) Plain("false");
  }
  void Plain(const std::string& condition) { text_ += (text_.empty() ? "" : " AND ") + condition; }

  std::string where() const { return text_.empty() ? "" : " WHERE " + text_; }
  std::vector<query::Parameter> TakeParameters() { return std::move(parameters_); }

 private:
  void Add(const std::string& condition, const std::string& parameter) {
    Plain(condition);
    parameters_.emplace_back(parameter);
  }

  std::string text_;
  std::vector<query::Parameter> parameters_;
};

std::string Quoted(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

}  // namespace

bool FlightMetadata::Answers(std::string_view name) {
  return name == "CommandGetCatalogs" || name == "CommandGetDbSchemas" || name == "CommandGetTables" ||
         name == "CommandGetTableTypes" || name == "CommandGetPrimaryKeys" || name == "CommandGetSqlInfo" ||
         name == "CommandGetXdbcTypeInfo" || AsksForForeignKeys(name);
}

Result<std::shared_ptr<arrow::Schema>> FlightMetadata::SchemaOf(const wire::FlightSqlMessage& message) {
  if (message.name == "CommandGetCatalogs") return CatalogsSchema();
  if (message.name == "CommandGetDbSchemas") return DbSchemasSchema();
  if (message.name == "CommandGetTableTypes") return TableTypesSchema();
  if (message.name == "CommandGetPrimaryKeys") return PrimaryKeysSchema();
  if (message.name == "CommandGetSqlInfo") return SqlInfoSchema();
  if (message.name == "CommandGetXdbcTypeInfo") return XdbcTypesSchema();
  if (AsksForForeignKeys(message.name)) return ForeignKeysSchema();
  SHEAF_ASSIGN_OR_RETURN(const wire::FlightSqlTables asked, wire::ReadFlightSqlTables(message.value));
  return TablesSchema(asked.include_schema);
}

Result<std::shared_ptr<arrow::RecordBatch>> FlightMetadata::Answer(const wire::FlightSqlMessage& message,
                                                                   const Asker& asker) const {
  if (message.name == "CommandGetSqlInfo") {
    SHEAF_ASSIGN_OR_RETURN(const auto numbers, wire::ReadSqlInfoNumbers(message.value));
    return SqlInfoBatch(numbers, limits_);
  }
  if (message.name == "CommandGetXdbcTypeInfo") {
    SHEAF_ASSIGN_OR_RETURN(const auto type, wire::ReadXdbcType(message.value));
    return XdbcTypesBatch(type);
  }
  if (message.name == "CommandGetCatalogs") return Ask(fmt::format("SELECT '{}'", kCatalogName), {}, CatalogsSchema(), asker);
  if (message.name == "CommandGetTableTypes") {
    return Ask(fmt::format("FROM (VALUES ('{}'), ('{}'), ('{}'))", kTableTypes[0], kTableTypes[1], kTableTypes[2]), {},
               TableTypesSchema(), asker);
  }
  if (AsksForForeignKeys(message.name)) return arrow::RecordBatch::MakeEmpty(ForeignKeysSchema());
  if (message.name == "CommandGetPrimaryKeys") {
    SHEAF_ASSIGN_OR_RETURN(const wire::FlightSqlTable asked, wire::ReadFlightSqlTable(message.value));
    Conditions conditions;
    conditions.Plain("constraint_type = 'PRIMARY KEY'");
    conditions.Catalog(asked.catalog);
    conditions.Name("schema_name", asked.schema);
    conditions.Name("table_name", asked.table);
    return Ask(
        "SELECT database_name, schema_name, table_name, unnest(constraint_column_names), NULL::VARCHAR, "
        "generate_subscripts(constraint_column_names, 1)::INTEGER FROM duckdb_constraints()" +
            conditions.where() + " ORDER BY 1, 2, 3, 6",
        conditions.TakeParameters(), PrimaryKeysSchema(), asker);
  }
  SHEAF_ASSIGN_OR_RETURN(const wire::FlightSqlTables asked, wire::ReadFlightSqlTables(message.value));
  if (message.name == "CommandGetTables") return Tables(asked, asker);
  Conditions conditions;
  conditions.Plain(fmt::format("catalog_name = '{}'", kCatalogName));
  conditions.Catalog(asked.catalog);
  conditions.Pattern("schema_name", asked.schema_pattern);
  return Ask("SELECT catalog_name, schema_name FROM information_schema.schemata" + conditions.where() + " ORDER BY ALL",
             conditions.TakeParameters(), DbSchemasSchema(), asker);
}

Result<std::shared_ptr<arrow::RecordBatch>> FlightMetadata::Tables(const wire::FlightSqlTables& asked, const Asker& asker) const {
  Conditions conditions;
  conditions.Plain(fmt::format("table_catalog = '{}'", kCatalogName));
  conditions.Catalog(asked.catalog);
  conditions.Pattern("table_schema", asked.schema_pattern);
  conditions.Pattern("table_name", asked.table_pattern);
  if (!asked.types.empty()) {
    std::string known = "''";
    for (const char* const type : kTableTypes) {
      if (std::find(asked.types.begin(), asked.types.end(), type) != asked.types.end()) known += fmt::format(", '{}'", type);
    }
    conditions.Plain("kind IN (" + known + ")");
  }
  const std::string sql =
      "SELECT table_catalog, table_schema, table_name, kind FROM (SELECT *, CASE WHEN table_schema = 'sheaf' THEN 'SYSTEM TABLE' "
      "WHEN table_type = 'VIEW' THEN 'VIEW' ELSE 'TABLE' END AS kind FROM information_schema.tables)";
  SHEAF_ASSIGN_OR_RETURN(const auto tables,
                         Ask(sql + conditions.where() + " ORDER BY ALL", conditions.TakeParameters(), TablesSchema(false), asker));
  if (!asked.include_schema) return tables;
  SHEAF_ASSIGN_OR_RETURN(const auto schemas, SchemasOf(*tables, asker));
  auto columns = tables->columns();
  columns.push_back(schemas);
  return arrow::RecordBatch::Make(TablesSchema(true), tables->num_rows(), std::move(columns));
}

Result<std::shared_ptr<arrow::Array>> FlightMetadata::SchemasOf(const arrow::RecordBatch& tables, const Asker& asker) const {
  const auto& schemas = static_cast<const arrow::StringArray&>(*tables.column(1));
  const auto& names = static_cast<const arrow::StringArray&>(*tables.column(2));
  arrow::BinaryBuilder builder;
  for (int64_t row = 0; row < tables.num_rows(); ++row) {
    // As a SELECT shows it.
    query::QueryRequest request{.sql = fmt::format("SELECT * FROM {}.{}", Quoted(schemas.GetView(row)), Quoted(names.GetView(row)))};
    request.identity = asker;
    const Result<query::StatementShape> shape = engine_->Describe(request);
    // A view over a table that was dropped has no columns any more; the others are told all the same.
    SHEAF_ASSIGN_OR_RETURN(const std::string bytes, SchemaBytes(shape.ok() ? *shape->result : *arrow::schema({})));
    SHEAF_RETURN_NOT_OK(builder.Append(bytes));
  }
  return builder.Finish();
}

Result<std::shared_ptr<arrow::RecordBatch>> FlightMetadata::Ask(const std::string& sql, std::vector<query::Parameter> parameters,
                                                                const std::shared_ptr<arrow::Schema>& schema,
                                                                const Asker& asker) const {
  query::QueryRequest request{.sql = sql};
  request.identity = asker;
  request.parameters = std::move(parameters);
  SHEAF_ASSIGN_OR_RETURN(const auto query, engine_->Start(request));
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, query->Next());
    if (batch == nullptr) break;
    arrow::ArrayVector columns;
    for (int i = 0; i < batch->num_columns(); ++i) {
      SHEAF_ASSIGN_OR_RETURN(auto column, arrow::compute::Cast(*batch->column(i), schema->field(i)->type()));
      columns.push_back(std::move(column));
    }
    batches.push_back(arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(columns)));
  }
  SHEAF_ASSIGN_OR_RETURN(const auto table, arrow::Table::FromRecordBatches(schema, batches));
  return table->CombineChunksToBatch();
}

}  // namespace sheaf::serve
