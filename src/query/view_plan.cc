#include "query/view_plan.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "duckdb/function/scalar_macro_function.hpp"
#include "duckdb/parser/expression/case_expression.hpp"
#include "duckdb/parser/expression/operator_expression.hpp"
#include "duckdb/planner/operator/logical_any_join.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/planner.hpp"
#include <fmt/format.h>

#include "query/scan.h"

namespace sheaf::query {

namespace {

using duckdb::CatalogType;
using duckdb::ClientContext;
using duckdb::ExpressionClass;
using duckdb::FunctionExpression;
using duckdb::ParsedExpression;
using Expressions = duckdb::vector<duckdb::unique_ptr<ParsedExpression>>;
using ExpressionPtr = duckdb::unique_ptr<ParsedExpression>;

constexpr std::array<std::string_view, 3> kArgumentOfLeast = {"arg_min", "argmin", "min_by"};
constexpr std::array<std::string_view, 3> kArgumentOfGreatest = {"arg_max", "argmax", "max_by"};
/// What they answer depends on the order in which rows come.
constexpr std::array<std::string_view, 9> kOrdered = {"first", "last", "any_value", "arbitrary", "list", "array_agg", "string_agg",
                                                      "group_concat", "listagg"};

template <size_t size>
bool IsOneOf(const std::array<std::string_view, size>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Why a query cannot be kept. Thrown, since it is found deep in expressions.
struct CannotKeep {
  std::string reason;
};
[[noreturn]] void Refuse(std::string reason) { throw CannotKeep{std::move(reason)}; }

std::string Quoted(const std::string& name) { return duckdb::KeywordHelper::WriteQuoted(name, '"'); }
ExpressionPtr Column(const std::string& name) { return duckdb::make_uniq<duckdb::ColumnRefExpression>(name); }

bool IsColumn(const ParsedExpression& expression) { return expression.GetExpressionClass() == ExpressionClass::COLUMN_REF; }
/// Of a column; else empty.
std::string NameOf(const ParsedExpression& expression) {
  return IsColumn(expression) ? expression.Cast<duckdb::ColumnRefExpression>().GetColumnName() : "";
}

/// `t.a` and `a` are the same column here: DuckDB has refused the query where they are not.
bool SameExpression(const ParsedExpression& a, const ParsedExpression& b) {
  if (!IsColumn(a) || !IsColumn(b)) return a.Equals(b);
  const auto& left = a.Cast<duckdb::ColumnRefExpression>();
  const auto& right = b.Cast<duckdb::ColumnRefExpression>();
  if (!duckdb::StringUtil::CIEquals(left.GetColumnName(), right.GetColumnName())) return false;
  return !left.IsQualified() || !right.IsQualified() || a.Equals(b);
}

bool HasColumn(const ParsedExpression& expression) {
  if (IsColumn(expression) || expression.GetExpressionClass() == ExpressionClass::SUBQUERY) return true;
  bool found = false;
  duckdb::ParsedExpressionIterator::EnumerateChildren(expression, [&](const ParsedExpression& child) { found |= HasColumn(child); });
  return found;
}

const duckdb::ScalarMacroCatalogEntry* FindMacro(ClientContext& context, const FunctionExpression& call) {
  const duckdb::EntryLookupInfo lookup(CatalogType::MACRO_ENTRY, call.function_name);
  const auto entry = duckdb::Catalog::GetEntry(context, call.catalog, call.schema, lookup, duckdb::OnEntryNotFound::RETURN_NULL);
  return entry && entry->type == CatalogType::MACRO_ENTRY ? &entry->Cast<duckdb::ScalarMacroCatalogEntry>() : nullptr;
}

bool IsAggregate(ClientContext& context, const FunctionExpression& call) {
  if (call.is_operator) return false;
  const duckdb::EntryLookupInfo lookup(CatalogType::AGGREGATE_FUNCTION_ENTRY, call.function_name);
  const auto entry = duckdb::Catalog::GetEntry(context, SYSTEM_CATALOG, DEFAULT_SCHEMA, lookup, duckdb::OnEntryNotFound::RETURN_NULL);
  return entry && entry->type == CatalogType::AGGREGATE_FUNCTION_ENTRY;
}

using Arguments = duckdb::case_insensitive_map_t<ExpressionPtr>;
void Substitute(ExpressionPtr* expression, const Arguments& arguments) {
  if (IsColumn(**expression)) {
    const auto& column = (*expression)->Cast<duckdb::ColumnRefExpression>();
    const auto found = column.IsQualified() ? arguments.end() : arguments.find(column.GetColumnName());
    if (found != arguments.end()) *expression = found->second->Copy();
    return;
  }
  duckdb::ParsedExpressionIterator::EnumerateChildren(**expression, [&](ExpressionPtr& child) { Substitute(&child, arguments); });
}

/// What the macro makes of the call.
ExpressionPtr Expand(const duckdb::ScalarMacroCatalogEntry& entry, const FunctionExpression& call) {
  for (const auto& candidate : entry.macros) {
    const auto& macro = static_cast<const duckdb::ScalarMacroFunction&>(*candidate);
    if (macro.parameters.size() < call.children.size()) continue;
    Arguments arguments;
    bool complete = true;
    for (size_t i = 0; i < macro.parameters.size(); ++i) {
      const std::string name = macro.parameters[i]->Cast<duckdb::ColumnRefExpression>().GetColumnName();
      const auto fallback = macro.default_parameters.find(name);
      if (i < call.children.size()) {
        arguments[name] = call.children[i]->Copy();
      } else if (fallback != macro.default_parameters.end()) {
        arguments[name] = fallback->second->Copy();
      } else {
        complete = false;
      }
    }
    if (!complete) continue;
    auto expanded = macro.expression->Copy();
    Substitute(&expanded, arguments);
    return expanded;
  }
  Refuse(fmt::format("{}() is called with named arguments", call.function_name));
}

/// Turns expressions over a table into expressions over what is kept of it.
class Splitter {
 public:
  Splitter(ClientContext& context, ViewPlan* plan) : context_(context), plan_(*plan) {
    plan_.aggregates.push_back({.function = "count_star", .arguments = {}});
  }

  /// The expression, but for macros, which are expanded.
  void ExpandMacros(ExpressionPtr* expression) {
    while ((*expression)->GetExpressionClass() == ExpressionClass::FUNCTION) {
      const auto& call = (*expression)->Cast<FunctionExpression>();
      const auto* macro = call.is_operator ? nullptr : FindMacro(context_, call);
      if (macro == nullptr) break;
      if (++expanded_ > 1000) Refuse("macros expand to too much");
      const std::string alias = (*expression)->GetAlias();
      *expression = Expand(*macro, call);
      (*expression)->SetAlias(alias);
    }
    duckdb::ParsedExpressionIterator::EnumerateChildren(**expression, [&](ExpressionPtr& child) { ExpandMacros(&child); });
  }

  void AddGroup(const ParsedExpression& expression) {
    for (const auto& known : groups_) {
      if (SameExpression(*known, expression)) return;
    }
    groups_.push_back(expression.Copy());
    if (expression.GetExpressionClass() == ExpressionClass::FUNCTION) FindWindow(expression.Cast<FunctionExpression>());
  }
  bool HasAggregate(const ParsedExpression& expression) {
    if (expression.GetExpressionClass() == ExpressionClass::FUNCTION && IsAggregate(context_, expression.Cast<FunctionExpression>())) {
      return true;
    }
    bool found = false;
    duckdb::ParsedExpressionIterator::EnumerateChildren(expression, [&](const ParsedExpression& child) { found |= HasAggregate(child); });
    return found;
  }

  /// Groups and aggregates in `expression` become columns of what is kept.
  void Split(ExpressionPtr* expression) {
    const std::string alias = (*expression)->GetAlias();
    if (!Replace(expression)) {
      duckdb::ParsedExpressionIterator::EnumerateChildren(**expression, [&](ExpressionPtr& child) { Split(&child); });
    }
    (*expression)->SetAlias(alias);
  }

  /// The select list of the input.
  std::string InputColumns() const {
    std::string list;
    const auto add = [&list](const ParsedExpression& expression, const std::string& name) {
      list += fmt::format("{}{} AS {}", list.empty() ? "" : ", ", expression.ToString(), Quoted(name));
    };
    for (size_t i = 0; i < groups_.size(); ++i) {
      const bool is_session = plan_.window && plan_.window->session && plan_.window->group == i;
      add(is_session ? *stretch_ : *groups_[i], GroupColumn(i));
    }
    for (size_t i = 0; i < inputs_.size(); ++i) add(*inputs_[i], fmt::format("#i{}", i));
    return list.empty() ? "1 AS \"#none\"" : list;
  }
  size_t groups() const { return groups_.size(); }

 private:
  /// Whether the newest group is a window, and which.
  void FindWindow(const FunctionExpression& call) {
    const std::string function = duckdb::StringUtil::Lower(call.function_name);
    const size_t group = groups_.size() - 1;
    if (function == kSessionFunction && call.children.size() == 2) {
      if (plan_.window && plan_.window->session) Refuse("it has two kinds of sessions");
      const auto pause =
          EvaluateConstant(context_, *call.children[1], "the pause of session_start()").DefaultCastAs(duckdb::LogicalType::INTERVAL);
      if (pause.IsNull() || duckdb::Interval::GetMicro(pause.GetValue<duckdb::interval_t>()) <= 0) {
        Refuse("session_start() needs the pause that ends a session, such as INTERVAL '30 minutes'");
      }
      ViewWindow window{.group = group, .time = NameOf(*call.children[0]), .size = pause.GetValue<duckdb::interval_t>()};
      Expressions stretch, time;
      stretch.push_back(duckdb::make_uniq<duckdb::ConstantExpression>(
          duckdb::Value::INTERVAL(duckdb::Interval::FromMicro(duckdb::Interval::GetMicro(window.size)))));
      stretch.push_back(call.children[0]->Copy());
      stretch_ = duckdb::make_uniq<FunctionExpression>("time_bucket", std::move(stretch));
      time.push_back(call.children[0]->Copy());
      ViewWindow::Ends ends;
      Kept("min", time);
      ends.first = kept_;
      Kept("max", time);
      ends.last = kept_;
      window.session = ends;
      plan_.window = window;
      return;
    }
    if (plan_.window || call.children.size() != 2 || HasColumn(*call.children[0])) return;
    const auto constant = EvaluateConstant(context_, *call.children[0], "the size of a window");
    if (constant.IsNull()) return;
    const std::string time = NameOf(*call.children[1]);
    if (function == "time_bucket" && constant.type().id() == duckdb::LogicalTypeId::INTERVAL) {
      plan_.window = ViewWindow{.group = group, .time = time, .size = constant.GetValue<duckdb::interval_t>()};
    }
    constexpr std::array<std::string_view, 9> kParts = {"year", "quarter", "month", "week", "day", "hour", "minute", "second", "decade"};
    const std::string part = duckdb::StringUtil::Lower(constant.ToString());
    if (function == "date_trunc" && std::find(kParts.begin(), kParts.end(), part) != kParts.end()) {
      const auto size = duckdb::Value("1 " + part).DefaultCastAs(duckdb::LogicalType::INTERVAL);
      plan_.window = ViewWindow{.group = group, .time = time, .size = size.GetValue<duckdb::interval_t>()};
    }
  }

  bool Replace(ExpressionPtr* expression) {
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (!SameExpression(*groups_[i], **expression)) continue;
      *expression = Column(GroupColumn(i));
      return true;
    }
    switch ((*expression)->GetExpressionClass()) {
      case ExpressionClass::WINDOW: Refuse("it has a window function: ask for that when you read the view");
      case ExpressionClass::SUBQUERY: Refuse("it has a subquery");
      case ExpressionClass::STAR: Refuse("it has a *: name the columns");
      case ExpressionClass::FUNCTION: break;
      default: return false;
    }
    auto& call = (*expression)->Cast<FunctionExpression>();
    if (duckdb::StringUtil::CIEquals(call.function_name, "grouping")) Refuse("it has GROUPING()");
    if (!IsAggregate(context_, call)) return false;
    *expression = Aggregate(call);
    return true;
  }

  ExpressionPtr Aggregate(FunctionExpression& call) {
    const std::string function = duckdb::StringUtil::Lower(call.function_name);
    if (IsOneOf(kOrdered, function)) {
      Refuse(fmt::format("{}() depends on the order of rows: take arg_min(), arg_max(), min() or max()", function));
    }
    if (call.order_bys && !call.order_bys->orders.empty()) Refuse(fmt::format("{}() has an ORDER BY", function));
    const bool counts_distinct = call.distinct && function == "count" && call.children.size() == 1;
    const bool distinct_matters = call.distinct && function != "min" && function != "max";
    if (distinct_matters && !counts_distinct) Refuse(fmt::format("{}(DISTINCT …) is kept for count() only", function));
    for (auto& child : call.children) {
      if (HasAggregate(*child)) Refuse("an aggregate stands in another");
      if (!call.filter || !HasColumn(*child)) continue;
      child = When(*call.filter, std::move(child));
    }
    if (call.filter && call.children.empty()) {  // count(*) FILTER (…)
      Expressions one;
      one.push_back(When(*call.filter, duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value::INTEGER(1))));
      return Kept("count", one);
    }
    const bool least = IsOneOf(kArgumentOfLeast, function), greatest = IsOneOf(kArgumentOfGreatest, function);
    if ((least || greatest) && call.children.size() == 2) return ArgumentOf(least ? "arg_min" : "arg_max", call.children);
    if (!counts_distinct) return Kept(function == "count" && call.children.empty() ? "count_star" : function, call.children);
    // How often each value came; the values are those that count.
    Expressions arguments, outer;
    arguments.push_back(Kept("histogram", call.children));
    outer.push_back(duckdb::make_uniq<FunctionExpression>("cardinality", std::move(arguments)));
    outer.push_back(duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value::INTEGER(0)));
    auto count = duckdb::make_uniq<FunctionExpression>("ifnull", std::move(outer));
    return duckdb::make_uniq<duckdb::CastExpression>(duckdb::LogicalType::BIGINT, std::move(count));
  }

  /// arg_min(a, b), and beside it the b that this a belongs to.
  ExpressionPtr ArgumentOf(const std::string& function, const Expressions& children) {
    ExpressionPtr kept = Kept(function, children);
    const size_t position = kept_;
    Expressions by;
    const duckdb::OperatorExpression known(duckdb::ExpressionType::OPERATOR_IS_NOT_NULL, children[0]->Copy());
    by.push_back(When(known, children[1]->Copy()));
    Kept(function == "arg_min" ? "min" : "max", by);
    plan_.aggregates[position].by = kept_;
    return kept;
  }

  /// NULL where the filter does not hold: aggregates pass over NULLs.
  static ExpressionPtr When(const ParsedExpression& filter, ExpressionPtr value) {
    auto choice = duckdb::make_uniq<duckdb::CaseExpression>();
    duckdb::CaseCheck check;
    check.when_expr = filter.Copy();
    check.then_expr = std::move(value);
    choice->case_checks.push_back(std::move(check));
    choice->else_expr = duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value());
    return std::move(choice);
  }

  ExpressionPtr Kept(const std::string& function, const Expressions& children) {
    ViewAggregate wanted{.function = function, .arguments = {}};
    for (const auto& child : children) wanted.arguments.push_back(HasColumn(*child) ? InputArgument(*child) : Constant(*child));
    for (size_t i = 0; i < plan_.aggregates.size(); ++i) {
      const auto& known = plan_.aggregates[i];
      if (known.function != function || known.arguments != wanted.arguments) continue;
      kept_ = i;
      return Column(AggregateColumn(i));
    }
    kept_ = plan_.aggregates.size();
    plan_.aggregates.push_back(std::move(wanted));
    return Column(AggregateColumn(kept_));
  }
  ViewAggregate::Argument InputArgument(const ParsedExpression& expression) {
    const auto known = std::find_if(inputs_.begin(), inputs_.end(), [&](const auto& input) { return input->Equals(expression); });
    const auto at = static_cast<size_t>(known - inputs_.begin());
    if (known == inputs_.end()) inputs_.push_back(expression.Copy());
    return {.column = at};  // Behind the groups, whose number is known at the end.
  }
  ViewAggregate::Argument Constant(const ParsedExpression& expression) {
    return {.column = std::nullopt, .constant = EvaluateConstant(context_, expression, "an argument of an aggregate")};
  }

  ClientContext& context_;
  ViewPlan& plan_;
  Expressions groups_, inputs_;
  ExpressionPtr stretch_;  // What a session is a group of.
  size_t kept_ = 0;  // Which aggregate Kept() has answered last.
  int expanded_ = 0;
};

/// The item of the select list that `GROUP BY 2` or `GROUP BY alias` means; null: the expression itself.
const ParsedExpression* NamedItem(const ParsedExpression& group, const Expressions& items) {
  if (group.GetExpressionClass() == ExpressionClass::CONSTANT) {
    const auto& value = group.Cast<duckdb::ConstantExpression>().value;
    if (!value.type().IsIntegral()) return nullptr;
    const auto position = value.GetValue<int64_t>();
    return position >= 1 && position <= std::ssize(items) ? items[static_cast<size_t>(position) - 1].get() : nullptr;
  }
  if (!IsColumn(group) || group.Cast<duckdb::ColumnRefExpression>().IsQualified()) return nullptr;
  const std::string& name = group.Cast<duckdb::ColumnRefExpression>().GetColumnName();
  for (const auto& item : items) {
    if (item->HasAlias() && duckdb::StringUtil::CIEquals(item->GetAlias(), name)) return item.get();
  }
  return nullptr;
}

/// Looks at the plan of the input: every operator of it must be one where more rows in mean more rows out, and nothing else.
class InputCheck {
 public:
  explicit InputCheck(ViewPlan* plan) : plan_(*plan) {}

  void Operator(duckdb::LogicalOperator& op) {
    using Type = duckdb::LogicalOperatorType;
    switch (op.type) {
      case Type::LOGICAL_PROJECTION:
      case Type::LOGICAL_FILTER:
      case Type::LOGICAL_CROSS_PRODUCT:
      case Type::LOGICAL_UNNEST:
      case Type::LOGICAL_DELIM_GET:
      case Type::LOGICAL_DUMMY_SCAN: break;
      case Type::LOGICAL_COMPARISON_JOIN:
      case Type::LOGICAL_DELIM_JOIN:
      case Type::LOGICAL_ANY_JOIN:
        if (op.Cast<duckdb::LogicalJoin>().join_type != duckdb::JoinType::INNER) {
          Refuse("it joins other than by an inner join: a row may take back what another gave");
        }
        break;
      case Type::LOGICAL_GET: Scan(op.Cast<duckdb::LogicalGet>()); break;
      case Type::LOGICAL_AGGREGATE_AND_GROUP_BY: Refuse("it aggregates a query that aggregates");
      default: Refuse(fmt::format("its plan has a {}", duckdb::LogicalOperatorToString(op.type)));
    }
    duckdb::LogicalOperatorVisitor::EnumerateExpressions(op, [&](duckdb::unique_ptr<duckdb::Expression>* expression) {
      Expression(**expression);
    });
    for (const auto& child : op.children) Operator(*child);
  }

 private:
  void Scan(duckdb::LogicalGet& get) {
    const std::string& function = get.function.name;
    if (function == "unnest" || function == "generate_series" || function == "range") return;  // The same rows, for each row or for all.
    if (function != kScanName) Refuse(fmt::format("it reads {}, which is no table", get.function.name));
    const store::TableInfo& info = *get.bind_data->Cast<ScanBind>().table.info;
    const auto tables = plan_.tables();
    if (std::find(tables.begin(), tables.end(), info.id) != tables.end()) {
      Refuse(fmt::format("{}.{} stands in it twice", info.schema_name, info.name));
    }
    if (info.kind == store::TableKind::kKeyed) {
      plan_.keyed_tables.push_back(info.id);
    } else if (plan_.append_table) {
      Refuse("it joins two tables without a PRIMARY KEY: one may join keyed tables only");
    } else {
      plan_.append_table = info.id;
    }
  }
  void Expression(const duckdb::Expression& expression) {
    if (expression.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION) {
      const auto& function = expression.Cast<duckdb::BoundFunctionExpression>().function;
      if (function.GetStability() != duckdb::FunctionStability::CONSISTENT) {
        Refuse(fmt::format("{}() gives another value each time", function.name));
      }
    }
    duckdb::ExpressionIterator::EnumerateChildren(expression, [&](const duckdb::Expression& child) { Expression(child); });
  }

  ViewPlan& plan_;
};

duckdb::unique_ptr<duckdb::SQLStatement> Parse(ClientContext& context, const std::string& sql) {
  duckdb::Parser parser(context.GetParserOptions());
  parser.ParseQuery(sql);
  return std::move(parser.statements.at(0));
}

void PlanGroups(duckdb::SelectNode* node, bool distinct, Splitter* splitter) {
  auto& groups = node->groups.group_expressions;
  if (node->groups.grouping_sets.size() > 1) Refuse("it has GROUPING SETS, ROLLUP or CUBE");
  const bool any_aggregate = std::any_of(node->select_list.begin(), node->select_list.end(),
                                         [&](const auto& item) { return splitter->HasAggregate(*item); });
  const bool by_all = node->aggregate_handling == duckdb::AggregateHandling::FORCE_AGGREGATES;
  if (by_all || (groups.empty() && !any_aggregate && distinct)) {
    for (const auto& item : node->select_list) {
      if (!splitter->HasAggregate(*item)) splitter->AddGroup(*item);
    }
  }
  for (auto& group : groups) {
    const auto* item = NamedItem(*group, node->select_list);
    splitter->ExpandMacros(&group);
    splitter->AddGroup(item != nullptr ? *item : *group);
  }
  if (splitter->groups() == 0 && !any_aggregate && !node->having) {
    Refuse("it neither groups nor aggregates: CREATE VIEW gives its rows as they are, and nothing has to be kept for it");
  }
}

/// ORDER BY, LIMIT and DISTINCT, done when the view is read.
std::string PlanModifiers(const duckdb::QueryNode& node, Splitter* splitter) {
  std::string order, limit;
  for (const auto& modifier : node.modifiers) {
    switch (modifier->type) {
      case duckdb::ResultModifierType::ORDER_MODIFIER:
        for (auto& by : modifier->Cast<duckdb::OrderModifier>().orders) {
          auto copy = duckdb::OrderByNode(by.type, by.null_order, by.expression->Copy());
          splitter->ExpandMacros(&copy.expression);
          if (copy.expression->GetExpressionClass() != ExpressionClass::STAR) splitter->Split(&copy.expression);
          order += (order.empty() ? " ORDER BY " : ", ") + copy.ToString();
        }
        break;
      case duckdb::ResultModifierType::LIMIT_MODIFIER: {
        const auto& wanted = modifier->Cast<duckdb::LimitModifier>();
        if (wanted.limit) limit += " LIMIT " + wanted.limit->ToString();
        if (wanted.offset) limit += " OFFSET " + wanted.offset->ToString();
        break;
      }
      case duckdb::ResultModifierType::DISTINCT_MODIFIER:
        if (!modifier->Cast<duckdb::DistinctModifier>().distinct_on_targets.empty()) Refuse("it has DISTINCT ON");
        break;
      default: Refuse("it has a LIMIT of a percentage");
    }
  }
  return order + limit;
}

ViewPlan Plan(ClientContext& context, const std::string& name, const duckdb::SelectStatement& select) {
  if (select.node->type != duckdb::QueryNodeType::SELECT_NODE) Refuse("it is a UNION, or a WITH that cannot be split");
  if (!select.node->cte_map.map.empty()) Refuse("it has a WITH: put the query into FROM");
  duckdb::Planner(context).CreatePlan(select.Copy());  // Says what is wrong with it before anything is made of it.

  auto copy = duckdb::unique_ptr_cast<duckdb::QueryNode, duckdb::SelectNode>(select.node->Copy());
  if (copy->qualify) Refuse("it has QUALIFY: ask for that when you read the view");
  if (copy->sample) Refuse("it takes a sample");
  const bool distinct = std::any_of(copy->modifiers.begin(), copy->modifiers.end(), [](const auto& modifier) {
    return modifier->type == duckdb::ResultModifierType::DISTINCT_MODIFIER;
  });
  ViewPlan plan;
  Splitter splitter(context, &plan);
  duckdb::vector<std::string> names;
  for (auto& item : copy->select_list) {
    names.push_back(item->GetName());  // As DuckDB would call the column.
    splitter.ExpandMacros(&item);
  }
  PlanGroups(copy.get(), distinct, &splitter);
  std::string columns;
  for (size_t i = 0; i < copy->select_list.size(); ++i) {
    auto& item = copy->select_list[i];
    splitter.Split(&item);
    columns += fmt::format("{}{} AS {}", columns.empty() ? "" : ", ", item->ToString(), Quoted(names[i]));
  }
  std::string having;
  if (copy->having) {
    splitter.ExpandMacros(&copy->having);
    splitter.Split(&copy->having);
    having = copy->having->ToString();
  }
  const std::string from = fmt::format(" FROM {}({})", kViewFunction, duckdb::Value(name).ToSQLString());
  plan.output_sql = fmt::format("SELECT {}{}{}{}{}", distinct ? "DISTINCT " : "", columns, from, having.empty() ? "" : " WHERE " + having,
                                PlanModifiers(*copy, &splitter));
  plan.changes_before = fmt::format("SELECT {}, {} AS changed_lsn, {} AS is_complete{} WHERE {} > ", columns, Quoted(kChangedColumn),
                                    Quoted(kCompleteColumn), from, Quoted(kChangedColumn));
  plan.changes_behind = having.empty() ? "" : fmt::format(" AND ({})", having);
  plan.groups = splitter.groups();
  for (auto& aggregate : plan.aggregates) {
    for (auto& argument : aggregate.arguments) {
      if (argument.column) *argument.column += plan.groups;
    }
  }
  plan.input_sql = fmt::format("SELECT {} FROM {}", splitter.InputColumns(), copy->from_table->ToString());
  if (copy->where_clause) plan.input_sql += " WHERE " + copy->where_clause->ToString();

  duckdb::Planner planner(context);
  planner.CreatePlan(Parse(context, plan.input_sql));
  InputCheck(&plan).Operator(*planner.plan);
  plan.input_types = planner.types;
  for (const auto& type : plan.input_types) {  // Groups and states compare bytes.
    if (type.id() != duckdb::LogicalTypeId::VARCHAR || duckdb::StringType::GetCollation(type).empty()) continue;
    Refuse("it compares texts by a COLLATE");
  }
  if (plan.tables().empty()) Refuse("it reads no table");
  return plan;
}

}  // namespace

std::string GroupColumn(size_t group) { return fmt::format("#g{}", group); }
std::string AggregateColumn(size_t aggregate) { return fmt::format("#a{}", aggregate); }

duckdb::Value EvaluateConstant(ClientContext& context, const ParsedExpression& expression, const std::string& what) {
  auto binder = duckdb::Binder::CreateBinder(context);
  duckdb::ConstantBinder constants(*binder, context, what);
  auto copy = expression.Copy();
  const auto bound = constants.Bind(copy);
  return duckdb::ExpressionExecutor::EvaluateScalar(context, *bound);
}

std::vector<TableId> ViewPlan::tables() const {
  auto all = keyed_tables;
  if (append_table) all.push_back(*append_table);
  return all;
}

std::string ViewPlan::fingerprint() const {
  std::string text = input_sql;
  for (const auto& aggregate : aggregates) {
    text += fmt::format("\n{}(", aggregate.function);
    for (const auto& argument : aggregate.arguments) {
      text += argument.column ? fmt::format("#{},", *argument.column) : argument.constant.ToSQLString() + ",";
    }
    text += ")";
  }
  for (const TableId table : tables()) text += fmt::format("\n{}", table);
  return text;
}

Result<ViewPlan> PlanView(ClientContext& context, const std::string& name, const duckdb::SelectStatement& select) {
  try {
    return Plan(context, name, select);
  } catch (const CannotKeep& why) {
    return MakeError(ErrorKind::kUnsupported,
                     "{} cannot be kept fresh row by row: {}. Add REFRESH EVERY INTERVAL '…' to have it computed anew that often", name,
                     why.reason);
  }
}

}  // namespace sheaf::query
