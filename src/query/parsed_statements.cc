#include "query/parsed_statements.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <utility>

#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/statement/alter_statement.hpp"
#include "duckdb/parser/statement/multi_statement.hpp"

#include "query/lockdown.h"

namespace sheaf::query {

namespace {

using duckdb::AlterTableType;
using duckdb::SQLStatement;
using duckdb::StatementType;
using Statements = duckdb::vector<duckdb::unique_ptr<SQLStatement>>;

/// The change that a statement makes to a table; null where it is something else.
const duckdb::AlterTableInfo* ChangeOf(const SQLStatement& statement) {
  if (statement.type != StatementType::ALTER_STATEMENT) return nullptr;
  const auto& info = *statement.Cast<duckdb::AlterStatement>().info;
  return info.type == duckdb::AlterType::ALTER_TABLE ? &info.Cast<duckdb::AlterTableInfo>() : nullptr;
}

/// Of `ADD COLUMN c; UPDATE t SET c = v; ALTER c SET DEFAULT v` the first, with the default of the last. Null for anything else.
duckdb::unique_ptr<SQLStatement> AddedColumn(const SQLStatement& statement) {
  if (statement.type != StatementType::MULTI_STATEMENT) return nullptr;
  const auto& parts = statement.Cast<duckdb::MultiStatement>().statements;
  if (parts.size() != 3 || parts[1]->type != StatementType::UPDATE_STATEMENT) return nullptr;
  const auto *add = ChangeOf(*parts[0]), *set = ChangeOf(*parts[2]);
  if (add == nullptr || add->alter_table_type != AlterTableType::ADD_COLUMN) return nullptr;
  if (set == nullptr || set->alter_table_type != AlterTableType::SET_DEFAULT) return nullptr;
  auto whole = parts[0]->Copy();
  auto& column = whole->Cast<duckdb::AlterStatement>().info->Cast<duckdb::AddColumnInfo>().new_column;
  column.SetDefaultValue(set->Cast<duckdb::SetDefaultInfo>().expression->Copy());
  whole->stmt_location = statement.stmt_location;
  whole->stmt_length = statement.stmt_length;
  whole->query = statement.query;
  return whole;
}

/// DuckDB has no SHOW VIEWS: it takes that for a table named so, which DESCRIBE shows as well.
constexpr char kShowViews[] =
    "SELECT schema_name AS \"schema\", view_name AS name, sql FROM duckdb_views() WHERE NOT internal ORDER BY schema_name, view_name";

bool AsksForViews(const SQLStatement& statement, const std::string& sql) {
  if (statement.type != StatementType::SELECT_STATEMENT || statement.stmt_length > 100) return false;  // Look-ups need not pay for this.
  if (statement.stmt_location >= sql.size()) return false;
  const std::string text = duckdb::StringUtil::Lower(sql.substr(statement.stmt_location, statement.stmt_length));
  std::istringstream words(text.substr(0, text.find(';')));
  std::string first, second, third;
  return words >> first >> second && !(words >> third) && first == "show" && second == "views";
}

void ReplaceShowViews(duckdb::Connection* connection, const std::string& sql, Statements* statements) {
  for (auto& statement : *statements) {
    if (!AsksForViews(*statement, sql)) continue;
    duckdb::Parser parser(connection->context->GetParserOptions());
    parser.ParseQuery(kShowViews);
    statement = std::move(parser.statements.front());
  }
}

/// What DuckDB makes of all but added columns: of some PRAGMAs, SELECTs.
Statements Extract(duckdb::Connection* connection, const std::string& sql, Statements parsed) {
  // Nothing is made of a SELECT: it need not be parsed once more.
  if (std::all_of(parsed.begin(), parsed.end(), [](const auto& s) { return s->type == StatementType::SELECT_STATEMENT; })) return parsed;
  Statements added;
  for (const auto& statement : parsed) added.push_back(AddedColumn(*statement));
  if (std::none_of(added.begin(), added.end(), [](const auto& whole) { return whole != nullptr; }))
    return connection->ExtractStatements(sql);
  Statements statements;
  for (size_t i = 0; i < parsed.size(); ++i) {
    if (added[i]) {
      statements.push_back(std::move(added[i]));
      continue;
    }
    auto others = connection->ExtractStatements(parsed[i]->query);
    std::move(others.begin(), others.end(), std::back_inserter(statements));
  }
  return statements;
}

}  // namespace

Result<Statements> ParseStatements(duckdb::Connection* connection, const std::string& sql, bool trusted, const KeptSet& kept) {
  if (!trusted) SHEAF_RETURN_NOT_OK(CheckText(sql));
  duckdb::Parser parser(connection->context->GetParserOptions());
  parser.ParseQuery(sql);
  if (parser.statements.empty()) return MakeError(ErrorKind::kInvalid, "the request holds no SQL statement");
  ReplaceShowViews(connection, sql, &parser.statements);
  if (!trusted) {
    if (parser.statements.size() > 1) {
      return MakeError(ErrorKind::kDenied, "a request may hold one statement, this one holds {}", parser.statements.size());
    }
    // Looked at as it was written: what DuckDB makes of a PRAGMA later is no longer the statement that was asked for.
    const auto added = AddedColumn(*parser.statements[0]);
    SHEAF_RETURN_NOT_OK(CheckStatement(added ? *added : *parser.statements[0], kept));
  }
  Statements statements = Extract(connection, sql, std::move(parser.statements));
  if (statements.empty()) return MakeError(ErrorKind::kInvalid, "the request holds no SQL statement");
  for (const auto& statement : statements) SHEAF_RETURN_NOT_OK(CheckOwnersStatement(*statement));
  return statements;
}

}  // namespace sheaf::query
