#include "query/statement_shape.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

#include <arrow/array/util.h>

#include "query/arrow_to_duckdb.h"
#include "query/duckdb_to_arrow.h"
#include "query/error_map.h"
#include "query/insert_conflicts.h"
#include "query/parsed_statements.h"
#include "query/precedence.h"
#include "query/statement_rights.h"
#include "query/view_statements.h"

namespace sheaf::query {

namespace {

Result<duckdb::Value> ScalarValue(const arrow::Scalar& scalar) {
  if (scalar.type->id() == arrow::Type::NA) return duckdb::Value();
  SHEAF_ASSIGN_OR_RETURN(const duckdb::LogicalType type, SqlType(*scalar.type));
  if (!scalar.is_valid) return duckdb::Value(type);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<arrow::Array> array, arrow::MakeArrayFromScalar(scalar, 1));
  duckdb::Vector vector(type);
  ConvertArray(array, {.count = 1}, &vector);
  return vector.GetValue(0);
}

/// The answer of CREATE MATERIALIZED VIEW and its kin, which DuckDB never sees.
StatementShape ShapeOfViewStatement() {
  StatementShape shape;
  shape.result = ResultSchema({duckdb::LogicalType::BOOLEAN}, {"Success"});
  shape.parameters = arrow::schema({});
  return shape;
}

std::shared_ptr<arrow::Schema> ParametersOf(const duckdb::PreparedStatement& prepared) {
  auto parameters = std::vector<std::pair<duckdb::idx_t, std::string>>();
  for (const auto& [name, position] : prepared.named_param_map) parameters.emplace_back(position, name);
  std::sort(parameters.begin(), parameters.end());
  const auto types = prepared.GetExpectedParameterTypes();
  arrow::FieldVector fields;
  for (const auto& [position, name] : parameters) {
    const auto known = types.find(name);
    const bool open = known == types.end() || known->second.id() == duckdb::LogicalTypeId::UNKNOWN ||
                      known->second.id() == duckdb::LogicalTypeId::INVALID || known->second.id() == duckdb::LogicalTypeId::ANY;
    fields.push_back(arrow::field(name, open ? arrow::null() : ResultSchema({known->second}, {name})->field(0)->type()));
  }
  return arrow::schema(std::move(fields));
}

StatementShape::Answer AnswerOf(duckdb::StatementReturnType type) {
  switch (type) {
    case duckdb::StatementReturnType::QUERY_RESULT: return StatementShape::Answer::kRows;
    case duckdb::StatementReturnType::CHANGED_ROWS: return StatementShape::Answer::kChangedRows;
    case duckdb::StatementReturnType::NOTHING: break;
  }
  return StatementShape::Answer::kNothing;
}

}  // namespace

Result<duckdb::Value> ToValue(const Parameter& parameter) {
  struct Visitor {
    Result<duckdb::Value> operator()(std::monostate) const { return duckdb::Value(); }
    Result<duckdb::Value> operator()(bool value) const { return duckdb::Value::BOOLEAN(value); }
    Result<duckdb::Value> operator()(int64_t value) const { return duckdb::Value::BIGINT(value); }
    Result<duckdb::Value> operator()(double value) const { return duckdb::Value::DOUBLE(value); }
    Result<duckdb::Value> operator()(const std::string& value) const { return duckdb::Value(value); }
    Result<duckdb::Value> operator()(const std::shared_ptr<arrow::Scalar>& value) const { return ScalarValue(*value); }
  };
  return std::visit(Visitor(), parameter);
}

Result<StatementShape> DescribeStatement(Session* session, const QueryRequest& request, const KeptSet& kept) {
  auto* connection = session->connection.get();
  const std::string& sql = request.sql;
  session->state->Begin(std::make_shared<StatementRecord>());
  session->state->SetIdentity(request.identity);
  SHEAF_ASSIGN_OR_RETURN(const auto of_view, ParseViewStatement(connection, sql));
  if (of_view) {
    SHEAF_RETURN_NOT_OK(CheckViewStatement(request.identity.get()));
    return ShapeOfViewStatement();
  }
  SHEAF_ASSIGN_OR_RETURN(auto statements, ParseStatements(connection, sql, false, kept));
  SHEAF_RETURN_NOT_OK(CheckKinds(request.identity.get(), statements));
  SHEAF_ASSIGN_OR_RETURN(const Writing writing, SimplifyInsert(*connection->context, statements.back().get()));
  session->state->SetWriting(writing.writes, writing.insert_missing);
  const Precedence::Hold first;
  const auto prepared = connection->Prepare(std::move(statements.back()));
  if (prepared->HasError()) return FromDuckDb(prepared->GetErrorObject(), sql);
  duckdb::StatementProperties properties = prepared->GetStatementProperties();
  StatementShape shape;
  shape.answer = AnswerOf(properties.return_type);
  shape.reads_only = properties.IsReadOnly() && prepared->GetStatementType() == duckdb::StatementType::SELECT_STATEMENT;
  const auto& types = prepared->GetTypes();
  shape.result_open = !properties.bound_all_parameters || std::any_of(types.begin(), types.end(), [](const auto& type) {
    return type.id() == duckdb::LogicalTypeId::UNKNOWN;
  });
  shape.result = shape.result_open ? arrow::schema({}) : ResultSchema(types, prepared->GetNames());
  shape.parameters = ParametersOf(*prepared);
  return shape;
}

}  // namespace sheaf::query
