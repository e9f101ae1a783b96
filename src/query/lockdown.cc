#include "query/lockdown.h"

#include <array>
#include <string>
#include <string_view>

#include "query/scan.h"

namespace sheaf::query {

namespace {

using duckdb::ParsedExpression;
using duckdb::StatementType;
using duckdb::TableRef;
using duckdb::TableReferenceType;

/// Table functions that neither reach outside nor tell about the server. Everything else is refused.
constexpr std::string_view kTableFunctions[] = {
    "range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "summary", "duckdb_columns",
    "duckdb_tables", "duckdb_views", "duckdb_schemas", "duckdb_types", "duckdb_functions", "duckdb_keywords",
    "duckdb_constraints", "duckdb_databases", "duckdb_indexes", "duckdb_sequences", "pragma_table_info", "pragma_show",
    "find_trace", "slow_operations"};

/// Scans that plans of allowed statements end in, besides the functions above.
constexpr std::string_view kScans[] = {kScanName, "sheaf_rows", "column_data_scan", "dummy_scan"};

/// Scalar functions that reach outside, tell about the server, or run SQL that was not looked at.
constexpr std::string_view kRefusedFunctions[] = {
    "getenv", "current_setting", "getvariable", "write_log", "nextval", "currval", "json_serialize_plan", "pg_sleep", "sleep_ms",
    "read_text", "read_blob", "load_aws_credentials", "set_config", "parse_duckdb_log_message", "error", "query"};

constexpr std::string_view kPragmas[] = {"table_info", "show", "show_tables", "show_tables_expanded", "version"};

template <size_t N>
bool Contains(const std::string_view (&names)[N], std::string_view name) {
  for (std::string_view candidate : names) {
    if (candidate == name) return true;
  }
  return false;
}

bool LooksLikeFile(const std::string& name) {
  if (name.find('/') != std::string::npos || name.find('\\') != std::string::npos || name.find('*') != std::string::npos) return true;
  for (std::string_view ending :
       {".csv", ".tsv", ".parquet", ".json", ".ndjson", ".jsonl", ".db", ".duckdb", ".arrow", ".gz", ".txt", ".zst"}) {
    if (name.size() > ending.size() && duckdb::StringUtil::Lower(name).ends_with(ending)) return true;
  }
  return false;
}

Status Refused(const std::string& what) {
  return MakeError(ErrorKind::kDenied,
                   "{} is not allowed here: a request may hold one statement that reads tables (SELECT, WITH, VALUES, EXPLAIN, "
                   "SHOW, DESCRIBE, SUMMARIZE); the owner of the data directory can use 'sheaf sql --data'", what);
}

class Checker {
 public:
  Status Query(duckdb::QueryNode& node) {
    duckdb::ParsedExpressionIterator::EnumerateQueryNodeChildren(
        node, [&](duckdb::unique_ptr<ParsedExpression>& child) { Expression(*child); }, [&](TableRef& ref) { Table(ref); });
    return refusal_;
  }

 private:
  void Refuse(const std::string& what) {
    if (refusal_.ok()) refusal_ = Refused(what);
  }

  void Expression(ParsedExpression& expression) {
    if (expression.GetExpressionClass() == duckdb::ExpressionClass::FUNCTION) {
      const std::string name = duckdb::StringUtil::Lower(expression.Cast<duckdb::FunctionExpression>().function_name);
      if (Contains(kRefusedFunctions, name)) Refuse("the function " + name + "()");
    }
    if (expression.GetExpressionClass() == duckdb::ExpressionClass::SUBQUERY) {
      (void)Query(*expression.Cast<duckdb::SubqueryExpression>().subquery->node);
    }
    duckdb::ParsedExpressionIterator::EnumerateChildren(
        expression, [&](duckdb::unique_ptr<ParsedExpression>& child) { Expression(*child); });
  }

  void Table(TableRef& ref) {
    if (ref.type == TableReferenceType::TABLE_FUNCTION) {
      const auto& function = ref.Cast<duckdb::TableFunctionRef>().function;
      if (function->GetExpressionClass() == duckdb::ExpressionClass::FUNCTION) {
        const std::string name = duckdb::StringUtil::Lower(function->Cast<duckdb::FunctionExpression>().function_name);
        if (!Contains(kTableFunctions, name)) Refuse("the table function " + name + "()");
      }
    } else if (ref.type == TableReferenceType::BASE_TABLE) {
      const std::string& name = ref.Cast<duckdb::BaseTableRef>().table_name;
      if (LooksLikeFile(name)) Refuse("reading the file '" + name + "'");
    } else if (ref.type == TableReferenceType::SHOW_REF) {
      auto& show = ref.Cast<duckdb::ShowRef>();
      if (show.query) (void)Query(*show.query);
      if (LooksLikeFile(show.table_name)) Refuse("reading the file '" + show.table_name + "'");
    }
  }

  Status refusal_;
};

void CheckScan(const duckdb::LogicalGet& get) {
  const std::string& name = get.function.name;
  if (!Contains(kScans, name) && !Contains(kTableFunctions, name)) {
    throw duckdb::PermissionException("%s", Refused("the table function " + name + "()").message());
  }
}

}  // namespace

Status CheckStatement(const duckdb::SQLStatement& statement) {
  switch (statement.type) {
    case StatementType::SELECT_STATEMENT:
      return Checker().Query(*const_cast<duckdb::SelectStatement&>(statement.Cast<duckdb::SelectStatement>()).node);
    case StatementType::EXPLAIN_STATEMENT: return CheckStatement(*statement.Cast<duckdb::ExplainStatement>().stmt);
    case StatementType::PRAGMA_STATEMENT: {
      const auto& pragma = *statement.Cast<duckdb::PragmaStatement>().info;
      return Contains(kPragmas, duckdb::StringUtil::Lower(pragma.name)) ? Status::OK() : Refused("PRAGMA " + pragma.name);
    }
    default: {
      std::string name = duckdb::StatementTypeToString(statement.type);
      if (const size_t end = name.find("_STATEMENT"); end != std::string::npos) name.resize(end);
      return Refused("the statement " + name);
    }
  }
}

void CheckPlan(const duckdb::LogicalOperator& plan) {
  using Type = duckdb::LogicalOperatorType;
  switch (plan.type) {
    case Type::LOGICAL_GET: CheckScan(plan.Cast<duckdb::LogicalGet>()); break;
    case Type::LOGICAL_INSERT:
    case Type::LOGICAL_DELETE:
    case Type::LOGICAL_UPDATE:
    case Type::LOGICAL_MERGE_INTO:
    case Type::LOGICAL_COPY_TO_FILE:
    case Type::LOGICAL_ATTACH:
    case Type::LOGICAL_CREATE_TABLE:
    case Type::LOGICAL_EXPORT:
      throw duckdb::PermissionException("%s", Refused("writing").message());
    default: break;
  }
  for (const auto& child : plan.children) CheckPlan(*child);
}

}  // namespace sheaf::query
