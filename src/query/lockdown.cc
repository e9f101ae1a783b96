#include "query/lockdown.h"

#include <array>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

#include "duckdb/parser/expression/conjunction_expression.hpp"
#include "duckdb/parser/query_node/recursive_cte_node.hpp"
#include "duckdb/parser/query_node/set_operation_node.hpp"
#include "duckdb/parser/tableref/joinref.hpp"

#include "query/catalog.h"
#include "query/scan.h"
#include "query/view_plan.h"

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
    "find_trace", "slow_operations", "error_rate", "service_graph", "latency_series", "user_statistics", "market_analysis",
    "profit_and_loss"};

/// Scans that plans of allowed statements end in, besides the functions above.
constexpr std::string_view kScans[] = {kScanName, kViewFunction, "sheaf_rows", "column_data_scan", "dummy_scan"};

/// Scalar functions that reach outside, tell about the server, or run SQL that was not looked at.
constexpr std::string_view kRefusedFunctions[] = {
    "getenv", "current_setting", "getvariable", "write_log", "nextval", "currval", "json_serialize_plan", "pg_sleep", "sleep_ms",
    "read_text", "read_blob", "load_aws_credentials", "set_config", "parse_duckdb_log_message", "error", "check_argument",
    "query"};

constexpr std::string_view kPragmas[] = {"table_info", "show", "show_tables", "show_tables_expanded", "version"};

/// DuckDB plans these in more than linear time, and no time-out stops it then: a statement of 1 MiB would keep a processor for minutes.
constexpr size_t kSelectsMax = 1000, kJoinedTablesMax = 64, kTermsMax = 4000;

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
                   "SHOW, DESCRIBE, SUMMARIZE) or writes them (INSERT, UPDATE, DELETE, MERGE, CREATE, ALTER and DROP TABLE); "
                   "the owner of the data directory can use 'sheaf sql --data'", what);
}

Status TooLarge(size_t limit, const char* what) {
  return MakeError(ErrorKind::kTooLarge, "the statement has more than {} {}: split it, or put what it names into a table", limit, what);
}

class Checker {
 public:
  Status Insert(duckdb::InsertStatement& insert) {
    Target(insert.catalog, insert.schema, insert.table);
    Ctes(insert.cte_map);
    if (insert.select_statement) (void)Query(*insert.select_statement->node);
    if (insert.on_conflict_info) {
      Optional(insert.on_conflict_info->condition);
      Set(insert.on_conflict_info->set_info);
    }
    All(insert.returning_list);
    return refusal_;
  }
  Status Update(duckdb::UpdateStatement& update) {
    Target(*update.table);
    Ctes(update.cte_map);
    if (update.from_table) AnyTable(*update.from_table);
    Set(update.set_info);
    All(update.returning_list);
    return refusal_;
  }
  Status Delete(duckdb::DeleteStatement& erase) {
    Target(*erase.table);
    Ctes(erase.cte_map);
    for (const auto& ref : erase.using_clauses) AnyTable(*ref);
    Optional(erase.condition);
    All(erase.returning_list);
    return refusal_;
  }
  Status Merge(duckdb::MergeIntoStatement& merge) {
    Target(*merge.target);
    Ctes(merge.cte_map);
    if (merge.source) AnyTable(*merge.source);
    Optional(merge.join_condition);
    for (const auto& [when, actions] : merge.actions) {
      for (const auto& action : actions) {
        Optional(action->condition);
        Set(action->update_info);
        All(action->expressions);
      }
    }
    All(merge.returning_list);
    return refusal_;
  }
  Status Create(duckdb::CreateInfo& create) {
    if (create.type != duckdb::CatalogType::TABLE_ENTRY) return Refused("CREATE of anything but a table");
    if (create.temporary) return Refused("a temporary table");
    auto& table = create.Cast<duckdb::CreateTableInfo>();
    Target(table.catalog, table.schema, table.table);
    for (const auto& column : table.columns.Logical()) {
      if (!column.Generated() && column.HasDefaultValue()) Expression(const_cast<ParsedExpression&>(column.DefaultValue()));
    }
    if (table.query) (void)Query(*table.query->node);
    return refusal_;
  }
  Status Drop(const duckdb::DropInfo& drop) {
    if (drop.type != duckdb::CatalogType::TABLE_ENTRY) return Refused("DROP of anything but a table");
    Target(drop.catalog, drop.schema, drop.name);
    return refusal_;
  }
  Status Alter(duckdb::AlterInfo& alter) {
    if (alter.type != duckdb::AlterType::ALTER_TABLE) return Refused("ALTER of anything but a table");
    Target(alter.catalog, alter.schema, alter.name);
    auto& table = alter.Cast<duckdb::AlterTableInfo>();
    if (table.alter_table_type == duckdb::AlterTableType::ADD_COLUMN) {
      const auto& column = table.Cast<duckdb::AddColumnInfo>().new_column;
      if (!column.Generated() && column.HasDefaultValue()) Expression(const_cast<ParsedExpression&>(column.DefaultValue()));
    } else if (table.alter_table_type == duckdb::AlterTableType::SET_DEFAULT) {
      Optional(table.Cast<duckdb::SetDefaultInfo>().expression);
    } else if (table.alter_table_type == duckdb::AlterTableType::ALTER_COLUMN_TYPE) {
      Optional(table.Cast<duckdb::ChangeColumnTypeInfo>().expression);
    }
    return refusal_;
  }

  Status Query(duckdb::QueryNode& node) {
    Measure(&node);
    duckdb::ParsedExpressionIterator::EnumerateQueryNodeChildren(
        node, [&](duckdb::unique_ptr<ParsedExpression>& child) { Expression(*child); }, [&](TableRef& ref) { Table(ref); });
    return refusal_;
  }

 private:
  /// Only our own catalog can be written: DuckDB's, in memory, would forget.
  void Target(const std::string& catalog, const std::string& schema, const std::string& table) {
    const auto is_ours = [](const std::string& name) {
      return name.empty() || duckdb::StringUtil::CIEquals(name, kCatalogName) || IsSearchedSchema(name);
    };
    if (!catalog.empty() && !duckdb::StringUtil::CIEquals(catalog, kCatalogName)) Refuse("writing to the database " + catalog);
    if (!is_ours(schema)) Refuse("writing to the schema " + schema);
    if (LooksLikeFile(table)) Refuse("writing the file '" + table + "'");
  }
  void Target(const TableRef& ref) {
    if (ref.type != TableReferenceType::BASE_TABLE) return Refuse("writing to anything but a table");
    const auto& table = ref.Cast<duckdb::BaseTableRef>();
    Target(table.catalog_name, table.schema_name, table.table_name);
  }

  void Ctes(duckdb::CommonTableExpressionMap& ctes) {
    for (auto& [name, cte] : ctes.map) {
      if (cte->query) (void)Query(*cte->query->node);
    }
  }
  void Optional(const duckdb::unique_ptr<ParsedExpression>& expression) {
    if (expression) Expression(*expression);
  }
  void All(const duckdb::vector<duckdb::unique_ptr<ParsedExpression>>& expressions) {
    for (const auto& expression : expressions) Optional(expression);
  }
  void Set(const duckdb::unique_ptr<duckdb::UpdateSetInfo>& set) {
    if (!set) return;
    Optional(set->condition);
    All(set->expressions);
  }
  /// A table reference and all inside it.
  void AnyTable(TableRef& ref) {
    duckdb::ParsedExpressionIterator::EnumerateTableRefChildren(
        ref, [&](duckdb::unique_ptr<ParsedExpression>& child) { Expression(*child); }, [&](TableRef& inner) { Table(inner); });
    Table(ref);
    if (ref.type == TableReferenceType::SUBQUERY) (void)Query(*ref.Cast<duckdb::SubqueryRef>().subquery->node);
  }

  /// Counts the SELECTs of a query, those inside UNIONs and WITHs included, but for what its tables and expressions hold.
  void Measure(duckdb::QueryNode* whole) {
    std::vector<duckdb::QueryNode*> left = {whole};
    while (!left.empty() && refusal_.ok()) {
      duckdb::QueryNode& node = *left.back();
      left.pop_back();
      if (++selects_ > kSelectsMax) refusal_ = TooLarge(kSelectsMax, "SELECTs");
      for (auto& [name, cte] : node.cte_map.map) {
        // Copied wherever it is named, a chain of such would double with each link.
        if (cte->materialized == duckdb::CTEMaterialize::CTE_MATERIALIZE_NEVER) {
          cte->materialized = duckdb::CTEMaterialize::CTE_MATERIALIZE_DEFAULT;
        }
        if (cte->query) left.push_back(cte->query->node.get());
      }
      if (node.type == duckdb::QueryNodeType::SET_OPERATION_NODE) {
        for (auto& child : node.Cast<duckdb::SetOperationNode>().children) left.push_back(child.get());
      } else if (node.type == duckdb::QueryNodeType::RECURSIVE_CTE_NODE) {
        left.push_back(node.Cast<duckdb::RecursiveCTENode>().left.get());
        left.push_back(node.Cast<duckdb::RecursiveCTENode>().right.get());
      }
    }
  }
  void MeasureJoin(TableRef* join) {
    size_t tables = 0;
    std::vector<TableRef*> left = {join};
    while (!left.empty() && refusal_.ok()) {
      TableRef* const ref = left.back();
      left.pop_back();
      if (ref->type == TableReferenceType::JOIN) {
        left.push_back(ref->Cast<duckdb::JoinRef>().left.get());
        left.push_back(ref->Cast<duckdb::JoinRef>().right.get());
      } else if (++tables > kJoinedTablesMax) {
        refusal_ = TooLarge(kJoinedTablesMax, "tables in one join");
      }
    }
  }

  void Refuse(const std::string& what) {
    if (refusal_.ok()) refusal_ = Refused(what);
  }

  void Expression(ParsedExpression& expression) {
    if (expression.GetExpressionClass() == duckdb::ExpressionClass::FUNCTION) {
      const std::string name = duckdb::StringUtil::Lower(expression.Cast<duckdb::FunctionExpression>().function_name);
      if (Contains(kRefusedFunctions, name)) Refuse("the function " + name + "()");
    }
    if (expression.GetExpressionClass() == duckdb::ExpressionClass::CONJUNCTION && refusal_.ok() &&
        expression.Cast<duckdb::ConjunctionExpression>().children.size() > kTermsMax) {
      refusal_ = TooLarge(kTermsMax, "terms in one AND or OR");
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
    } else if (ref.type == TableReferenceType::JOIN) {
      MeasureJoin(&ref);
    } else if (ref.type == TableReferenceType::SUBQUERY) {
      Measure(ref.Cast<duckdb::SubqueryRef>().subquery->node.get());
    } else if (ref.type == TableReferenceType::SHOW_REF) {
      auto& show = ref.Cast<duckdb::ShowRef>();
      if (show.query) (void)Query(*show.query);
      if (LooksLikeFile(show.table_name)) Refuse("reading the file '" + show.table_name + "'");
    }
  }

  size_t selects_ = 0;
  Status refusal_;
};

void CheckScan(const duckdb::LogicalGet& get) {
  const std::string& name = get.function.name;
  if (!Contains(kScans, name) && !Contains(kTableFunctions, name)) {
    throw duckdb::PermissionException("%s", Refused("the table function " + name + "()").message());
  }
}

/// DuckDB walks parsed trees only where they may be changed; nothing but NOT MATERIALIZED is, here.
template <typename Statement>
Statement& Mutable(const duckdb::SQLStatement& statement) {
  return const_cast<Statement&>(statement.Cast<Statement>());
}

void CheckTarget(const duckdb::Catalog& catalog) {
  if (!duckdb::StringUtil::CIEquals(catalog.GetName(), kCatalogName)) {
    throw duckdb::PermissionException("%s", Refused("writing to the database " + catalog.GetName()).message());
  }
}

}  // namespace

namespace {

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (static_cast<unsigned char>(c) & 0x80) != 0; }

/// The end of what begins at `at` and is no word: a text, a quoted name, a comment, or one other character.
size_t Skip(std::string_view sql, size_t at) {
  const auto After = [&](std::string_view end, size_t from) {
    const size_t found = sql.find(end, from);
    return found == std::string_view::npos ? sql.size() : found + end.size();
  };
  const std::string_view rest = sql.substr(at);
  if (rest.starts_with("--")) return After("\n", at);
  if (rest.starts_with("/*")) return After("*/", at + 2);  // One that ends too early here only makes more words.
  if (rest[0] == '"') return After("\"", at + 1);
  if (rest[0] == '\'') {
    const bool escapes = at > 0 && (sql[at - 1] == 'e' || sql[at - 1] == 'E') && (at == 1 || !IsWord(sql[at - 2]));
    if (!escapes) return After("'", at + 1);
    for (size_t i = at + 1; i < sql.size(); ++i) {  // E'…', with escapes.
      if (sql[i] == '\\') ++i;
      else if (sql[i] == '\'') return i + 1;
    }
    return sql.size();
  }
  if (rest[0] == '$') {  // $tag$…$tag$, or a parameter.
    size_t end = at + 1;
    while (end < sql.size() && IsWord(sql[end])) ++end;
    if (end < sql.size() && sql[end] == '$') return After(sql.substr(at, end + 1 - at), end + 1);
  }
  return at + 1;
}

}  // namespace

Status CheckText(std::string_view sql) {
  size_t terms = 0, selects = 0;
  for (size_t at = 0; at < sql.size();) {
    size_t end = at;
    while (end < sql.size() && IsWord(sql[end])) ++end;
    if (end == at) {
      at = Skip(sql, at);
      continue;
    }
    const size_t length = end - at;
    if (length <= 9) {
      const std::string word = duckdb::StringUtil::Lower(std::string(sql.substr(at, length)));
      if (word == "and" || word == "or") ++terms;
      if (word == "union" || word == "except" || word == "intersect") ++selects;
    }
    at = end;
  }
  if (terms > kTermsMax) return TooLarge(kTermsMax, "ANDs and ORs");
  if (selects > kSelectsMax) return TooLarge(kSelectsMax, "UNIONs");
  return Status::OK();
}

Status CheckOwnersStatement(const duckdb::SQLStatement& statement) {
  if (statement.type != StatementType::TRANSACTION_STATEMENT) return Status::OK();
  return MakeError(ErrorKind::kDenied,
                   "there are no transactions of several statements: each statement is atomic by itself; MERGE, UPDATE … FROM and "
                   "INSERT … ON CONFLICT do more in one");
}

Status CheckStatement(const duckdb::SQLStatement& statement) {
  switch (statement.type) {
    case StatementType::SELECT_STATEMENT:
      return Checker().Query(*Mutable<duckdb::SelectStatement>(statement).node);
    case StatementType::INSERT_STATEMENT: return Checker().Insert(Mutable<duckdb::InsertStatement>(statement));
    case StatementType::UPDATE_STATEMENT: return Checker().Update(Mutable<duckdb::UpdateStatement>(statement));
    case StatementType::DELETE_STATEMENT: return Checker().Delete(Mutable<duckdb::DeleteStatement>(statement));
    case StatementType::MERGE_INTO_STATEMENT: return Checker().Merge(Mutable<duckdb::MergeIntoStatement>(statement));
    case StatementType::CREATE_STATEMENT: return Checker().Create(*Mutable<duckdb::CreateStatement>(statement).info);
    case StatementType::ALTER_STATEMENT: return Checker().Alter(*Mutable<duckdb::AlterStatement>(statement).info);
    case StatementType::DROP_STATEMENT: return Checker().Drop(*Mutable<duckdb::DropStatement>(statement).info);
    case StatementType::TRANSACTION_STATEMENT: return CheckOwnersStatement(statement);
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
    case Type::LOGICAL_INSERT: CheckTarget(plan.Cast<duckdb::LogicalInsert>().table.catalog); break;
    case Type::LOGICAL_DELETE: CheckTarget(plan.Cast<duckdb::LogicalDelete>().table.catalog); break;
    case Type::LOGICAL_UPDATE: CheckTarget(plan.Cast<duckdb::LogicalUpdate>().table.catalog); break;
    case Type::LOGICAL_MERGE_INTO: CheckTarget(plan.Cast<duckdb::LogicalMergeInto>().table.catalog); break;
    case Type::LOGICAL_CREATE_TABLE: CheckTarget(plan.Cast<duckdb::LogicalCreateTable>().schema.catalog); break;
    case Type::LOGICAL_COPY_TO_FILE:
    case Type::LOGICAL_ATTACH:
    case Type::LOGICAL_EXPORT:
      throw duckdb::PermissionException("%s", Refused("writing files").message());
    default: break;
  }
  for (const auto& child : plan.children) CheckPlan(*child);
}

}  // namespace sheaf::query
