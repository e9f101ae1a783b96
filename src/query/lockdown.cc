#include "query/lockdown.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "duckdb/function/scalar_macro_function.hpp"
#include "duckdb/function/table_macro_function.hpp"
#include "duckdb/parser/expression/conjunction_expression.hpp"
#include "duckdb/parser/expression/window_expression.hpp"
#include "duckdb/parser/query_node/recursive_cte_node.hpp"
#include "duckdb/parser/query_node/set_operation_node.hpp"
#include "duckdb/parser/tableref/joinref.hpp"
#include "duckdb/planner/operator/logical_create.hpp"

#include "query/catalog.h"
#include "query/scan.h"
#include "query/view_plan.h"

namespace sheaf::query {

namespace {

using duckdb::CatalogType;
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
    "profit_and_loss", "view_changes"};

/// Scans that plans of allowed statements end in, besides the functions above.
constexpr std::string_view kScans[] = {kScanName, kViewFunction, "sheaf_rows", "column_data_scan", "dummy_scan"};

/// Scalar functions that reach outside, tell about the server, or run SQL that was not looked at.
constexpr std::string_view kRefusedFunctions[] = {
    "getenv", "current_setting", "getvariable", "write_log", "nextval", "currval", "json_serialize_plan", "pg_sleep", "sleep_ms",
    "read_text", "read_blob", "load_aws_credentials", "set_config", "parse_duckdb_log_message", "error", "check_argument",
    "query", "setseed"};  // The seed would stay on a connection that others borrow.

constexpr std::string_view kPragmas[] = {"table_info", "show", "show_tables", "show_tables_expanded", "version"};

/// DuckDB plans these in more than linear time, and no time-out stops it then: a statement of 1 MiB would keep a processor for minutes.
constexpr size_t kSelectsMax = 1000, kJoinedTablesMax = 64, kTermsMax = 4000;
/// Of what comes from views and macros: each that uses another twice doubles it.
constexpr uint64_t kNodesMax = 200'000;
constexpr int kDepthMax = 50;

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
                   "SHOW, DESCRIBE, SUMMARIZE) or writes them (INSERT, UPDATE, DELETE, MERGE, CREATE, ALTER and DROP TABLE, VIEW "
                   "and MACRO); the owner of the data directory can use 'sheaf sql --data'", what);
}

Status TooLarge(size_t limit, const char* what) {
  return MakeError(ErrorKind::kTooLarge, "the statement has more than {} {}: split it, or put what it names into a table", limit, what);
}

/// What a view or macro stands for, with all that is used there written out.
struct Weight {
  uint64_t nodes = 0, selects = 0;
  uint64_t copies = 1;           // Of an argument, at most.
};

/// Those that were looked at; none: it is being looked at.
using Weights = std::map<const KeptEntry*, std::optional<Weight>>;

/// One statement, or what one view or macro stands for. Borrows `kept` and `weights`.
class Checker {
 public:
  Checker(const KeptSet* kept, Weights* weights, int depth = 0) : kept_(*kept), weights_(weights), depth_(depth) {}

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
    if (create.temporary) return Refused("a temporary table, view or macro");
    if (create.type == CatalogType::VIEW_ENTRY || IsMacro(create.type)) return CreateKept(create);
    if (create.type != CatalogType::TABLE_ENTRY) return Refused("CREATE of anything but a table, view or macro");
    auto& table = create.Cast<duckdb::CreateTableInfo>();
    Target(table.catalog, table.schema, table.table);
    for (const auto& column : table.columns.Logical()) {
      if (!column.Generated() && column.HasDefaultValue()) Expression(const_cast<ParsedExpression&>(column.DefaultValue()));
    }
    if (table.query) (void)Query(*table.query->node);
    return refusal_;
  }
  Status Drop(const duckdb::DropInfo& drop) {
    if (drop.type != CatalogType::TABLE_ENTRY && drop.type != CatalogType::VIEW_ENTRY && !IsMacro(drop.type)) {
      return Refused("DROP of anything but a table, view or macro");
    }
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

  /// Also adds what it comes to.
  Status Kept(const KeptEntry& entry) {
    const auto [at, is_new] = weights_->try_emplace(&entry);
    if (!is_new && !at->second && refusal_.ok()) {
      refusal_ = MakeError(ErrorKind::kInvalid, "{} would use itself", entry.full_name());
    }
    if (is_new && refusal_.ok()) {
      if (depth_ >= kDepthMax) return refusal_ = TooLarge(kDepthMax, "views and macros made of each other in a row");
      Checker inside(&kept_, weights_, depth_ + 1);
      const Status checked = inside.CreateKept(const_cast<duckdb::CreateInfo&>(*entry.info));
      if (!checked.ok()) return refusal_ = WithContext(checked, entry.full_name());
      at->second = Weight{.nodes = inside.nodes_, .selects = inside.selects_, .copies = inside.copies_max_};
    }
    if (!refusal_.ok()) return refusal_;
    nodes_ += at->second->nodes * copies_;
    selects_ += at->second->selects * copies_;
    if (nodes_ > kNodesMax) refusal_ = TooLarge(kNodesMax, "terms once its views and macros are written out");
    if (selects_ > kSelectsMax) refusal_ = TooLarge(kSelectsMax, "SELECTs once its views and macros are written out");
    return refusal_;
  }

  Status Query(duckdb::QueryNode& node) {
    Measure(&node);
    duckdb::ParsedExpressionIterator::EnumerateQueryNodeChildren(
        node, [&](duckdb::unique_ptr<ParsedExpression>& child) { Expression(*child); }, [&](TableRef& ref) { Table(ref); });
    return refusal_;
  }

 private:
  static bool IsMacro(CatalogType type) { return type == CatalogType::MACRO_ENTRY || type == CatalogType::TABLE_MACRO_ENTRY; }

  Status CreateKept(duckdb::CreateInfo& create) {
    if (create.type == CatalogType::VIEW_ENTRY) {
      auto& view = create.Cast<duckdb::CreateViewInfo>();
      Target(view.catalog, view.schema, view.view_name);
      return Query(*view.query->node);
    }
    auto& macro = create.Cast<duckdb::CreateMacroInfo>();
    Target(macro.catalog, macro.schema, macro.name);
    for (const auto& overload : macro.macros) Macro(*overload);
    return refusal_;
  }
  void Macro(duckdb::MacroFunction& macro) {
    parameters_.clear();
    for (const auto& parameter : macro.parameters) {
      parameters_[duckdb::StringUtil::Lower(parameter->Cast<duckdb::ColumnRefExpression>().GetColumnName())] = 0;
    }
    for (auto& [name, value] : macro.default_parameters) Optional(value);
    if (macro.type == duckdb::MacroType::TABLE_MACRO) {
      (void)Query(*macro.Cast<duckdb::TableMacroFunction>().query_node);
    } else {
      Optional(macro.Cast<duckdb::ScalarMacroFunction>().expression);
    }
  }
  /// The name may be that of a parameter, which stands for an argument then.
  void Column(const duckdb::ColumnRefExpression& column) {
    for (const std::string& part : column.column_names) {
      const auto parameter = parameters_.find(duckdb::StringUtil::Lower(part));
      if (parameter != parameters_.end()) copies_max_ = std::max(copies_max_, parameter->second += copies_);
    }
  }
  /// Of a call: what is called, if it is a macro that SQL made, and so how often the arguments will be there.
  void Call(const std::string& schema, const std::string& name) {
    if (kept_.empty()) return;
    uint64_t copies = 1;
    for (const CatalogType type : {CatalogType::MACRO_ENTRY, CatalogType::TABLE_MACRO_ENTRY}) {
      kept_.ForEach(type, schema, name, [&](const KeptEntry& entry) {
        if (Kept(entry).ok()) copies = std::max(copies, weights_->at(&entry)->copies);
      });
    }
    copies_ = std::min(copies_ * copies, kNodesMax + 1);
  }
  bool IsKept(CatalogType type, const std::string& schema, const std::string& name) {
    bool found = false;
    kept_.ForEach(type, schema, name, [&](const KeptEntry&) { found = true; });
    return found;
  }

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
      if ((selects_ += copies_) > kSelectsMax) refusal_ = TooLarge(kSelectsMax, "SELECTs");
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
    if (!refusal_.ok()) return;
    if (depth_ > 0 || copies_ > 1) nodes_ += copies_;
    if (nodes_ > kNodesMax) refusal_ = TooLarge(kNodesMax, "terms once its views and macros are written out");
    const uint64_t copies_outside = copies_;
    switch (expression.GetExpressionClass()) {
      case duckdb::ExpressionClass::FUNCTION: {
        const auto& call = expression.Cast<duckdb::FunctionExpression>();
        const std::string name = duckdb::StringUtil::Lower(call.function_name);
        if (Contains(kRefusedFunctions, name)) Refuse("the function " + name + "()");
        Call(call.schema, call.function_name);
        break;
      }
      case duckdb::ExpressionClass::WINDOW: {
        const auto& call = expression.Cast<duckdb::WindowExpression>();
        Call(call.schema, call.function_name);
        break;
      }
      case duckdb::ExpressionClass::CONJUNCTION:
        if (expression.Cast<duckdb::ConjunctionExpression>().children.size() > kTermsMax) {
          refusal_ = TooLarge(kTermsMax, "terms in one AND or OR");
        }
        break;
      case duckdb::ExpressionClass::SUBQUERY:
        (void)Query(*expression.Cast<duckdb::SubqueryExpression>().subquery->node);
        break;
      case duckdb::ExpressionClass::COLUMN_REF: Column(expression.Cast<duckdb::ColumnRefExpression>()); break;
      default: break;
    }
    duckdb::ParsedExpressionIterator::EnumerateChildren(
        expression, [&](duckdb::unique_ptr<ParsedExpression>& child) { Expression(*child); });
    copies_ = copies_outside;
  }

  void Table(TableRef& ref) {
    if (ref.type == TableReferenceType::TABLE_FUNCTION) {
      const auto& function = ref.Cast<duckdb::TableFunctionRef>().function;
      if (function->GetExpressionClass() == duckdb::ExpressionClass::FUNCTION) {
        const auto& call = function->Cast<duckdb::FunctionExpression>();
        const std::string name = duckdb::StringUtil::Lower(call.function_name);
        const bool allowed = Contains(kTableFunctions, name) || IsKept(CatalogType::TABLE_MACRO_ENTRY, call.schema, name);
        if (!allowed) Refuse("the table function " + name + "()");
      }
    } else if (ref.type == TableReferenceType::BASE_TABLE) {
      const auto& table = ref.Cast<duckdb::BaseTableRef>();
      if (LooksLikeFile(table.table_name)) Refuse("reading the file '" + table.table_name + "'");
      View(table.schema_name, table.table_name);
    } else if (ref.type == TableReferenceType::JOIN) {
      MeasureJoin(&ref);
    } else if (ref.type == TableReferenceType::SUBQUERY) {
      Measure(ref.Cast<duckdb::SubqueryRef>().subquery->node.get());
    } else if (ref.type == TableReferenceType::SHOW_REF) {
      auto& show = ref.Cast<duckdb::ShowRef>();
      if (show.query) (void)Query(*show.query);
      if (LooksLikeFile(show.table_name)) Refuse("reading the file '" + show.table_name + "'");
      View("", show.table_name);
    }
  }
  void View(const std::string& schema, const std::string& name) {
    kept_.ForEach(CatalogType::VIEW_ENTRY, schema, name, [&](const KeptEntry& entry) { (void)Kept(entry); });
  }

  const KeptSet& kept_;
  Weights* const weights_;
  const int depth_;              // 0: a statement, rather than what a view or macro stands for.
  uint64_t selects_ = 0, nodes_ = 0;
  uint64_t copies_ = 1;          // How often what is being looked at will be there.
  std::map<std::string, uint64_t> parameters_;  // Of the macro; how often an argument in its place will be there.
  uint64_t copies_max_ = 1;
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

Status CheckStatement(const duckdb::SQLStatement& statement, const KeptSet& kept) {
  Weights weights;
  Checker checker(&kept, &weights);
  switch (statement.type) {
    case StatementType::SELECT_STATEMENT:
      return checker.Query(*Mutable<duckdb::SelectStatement>(statement).node);
    case StatementType::INSERT_STATEMENT: return checker.Insert(Mutable<duckdb::InsertStatement>(statement));
    case StatementType::UPDATE_STATEMENT: return checker.Update(Mutable<duckdb::UpdateStatement>(statement));
    case StatementType::DELETE_STATEMENT: return checker.Delete(Mutable<duckdb::DeleteStatement>(statement));
    case StatementType::MERGE_INTO_STATEMENT: return checker.Merge(Mutable<duckdb::MergeIntoStatement>(statement));
    case StatementType::CREATE_STATEMENT: return checker.Create(*Mutable<duckdb::CreateStatement>(statement).info);
    case StatementType::ALTER_STATEMENT: return checker.Alter(*Mutable<duckdb::AlterStatement>(statement).info);
    case StatementType::DROP_STATEMENT: return checker.Drop(*Mutable<duckdb::DropStatement>(statement).info);
    case StatementType::TRANSACTION_STATEMENT: return CheckOwnersStatement(statement);
    case StatementType::EXPLAIN_STATEMENT: return CheckStatement(*statement.Cast<duckdb::ExplainStatement>().stmt, kept);
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

Status CheckKept(const KeptEntry& entry, const KeptSet& kept) {
  Weights weights;
  return Checker(&kept, &weights).Kept(entry);
}

bool UsesKept(const duckdb::SelectStatement& select, const KeptSet& kept) {
  Weights weights;
  (void)Checker(&kept, &weights).Query(*Mutable<duckdb::SelectStatement>(select).node);
  return !weights.empty();
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
    case Type::LOGICAL_CREATE_VIEW:
    case Type::LOGICAL_CREATE_MACRO:
      if (const auto& schema = plan.Cast<duckdb::LogicalCreate>().schema) CheckTarget(schema->catalog);
      break;
    case Type::LOGICAL_COPY_TO_FILE:
    case Type::LOGICAL_ATTACH:
    case Type::LOGICAL_EXPORT:
      throw duckdb::PermissionException("%s", Refused("writing files").message());
    default: break;
  }
  for (const auto& child : plan.children) CheckPlan(*child);
}

}  // namespace sheaf::query
