#include "query/repeatable_plan.h"

#include <algorithm>
#include <string_view>

#include "duckdb/planner/expression/bound_aggregate_expression.hpp"

#include "query/scan.h"

namespace sheaf::query {

namespace {

using duckdb::Expression;
using duckdb::LogicalOperator;
using duckdb::LogicalOperatorType;

constexpr std::string_view kFunctionsOfTheirArguments[] = {"range", "generate_series", "unnest", "repeat", "repeat_row"};

/// error() is not said to be consistent, so that it is not computed while planning; each scalar subquery has one.
template <typename Function>
bool IsConsistent(const Function& function) {
  return function.GetStability() == duckdb::FunctionStability::CONSISTENT || function.name == "error";
}

bool IsRepeatable(const Expression& expression) {
  switch (expression.GetExpressionClass()) {
    case duckdb::ExpressionClass::BOUND_SUBQUERY: return false;  // Planned subqueries are operators.
    case duckdb::ExpressionClass::BOUND_FUNCTION:
      if (!IsConsistent(expression.Cast<duckdb::BoundFunctionExpression>().function)) return false;
      break;
    case duckdb::ExpressionClass::BOUND_AGGREGATE:
      if (!IsConsistent(expression.Cast<duckdb::BoundAggregateExpression>().function)) return false;
      break;
    default: break;
  }
  bool repeatable = true;
  duckdb::ExpressionIterator::EnumerateChildren(
      expression, [&](const Expression& child) { repeatable = repeatable && IsRepeatable(child); });
  return repeatable;
}

bool IsPure(LogicalOperatorType type) {
  switch (type) {
    case LogicalOperatorType::LOGICAL_PROJECTION:
    case LogicalOperatorType::LOGICAL_FILTER:
    case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY:
    case LogicalOperatorType::LOGICAL_WINDOW:
    case LogicalOperatorType::LOGICAL_UNNEST:
    case LogicalOperatorType::LOGICAL_LIMIT:
    case LogicalOperatorType::LOGICAL_ORDER_BY:
    case LogicalOperatorType::LOGICAL_DISTINCT:
    case LogicalOperatorType::LOGICAL_GET:
    case LogicalOperatorType::LOGICAL_DELIM_GET:
    case LogicalOperatorType::LOGICAL_EXPRESSION_GET:
    case LogicalOperatorType::LOGICAL_DUMMY_SCAN:
    case LogicalOperatorType::LOGICAL_EMPTY_RESULT:
    case LogicalOperatorType::LOGICAL_CTE_REF:
    case LogicalOperatorType::LOGICAL_DELIM_JOIN:
    case LogicalOperatorType::LOGICAL_COMPARISON_JOIN:
    case LogicalOperatorType::LOGICAL_ANY_JOIN:
    case LogicalOperatorType::LOGICAL_CROSS_PRODUCT:
    case LogicalOperatorType::LOGICAL_ASOF_JOIN:
    case LogicalOperatorType::LOGICAL_UNION:
    case LogicalOperatorType::LOGICAL_EXCEPT:
    case LogicalOperatorType::LOGICAL_INTERSECT:
    case LogicalOperatorType::LOGICAL_RECURSIVE_CTE:
    case LogicalOperatorType::LOGICAL_MATERIALIZED_CTE: return true;
    default: return false;
  }
}

bool Gather(LogicalOperator* plan, std::vector<TableState>* tables) {
  if (!IsPure(plan->type)) return false;
  bool repeatable = true;
  duckdb::LogicalOperatorVisitor::EnumerateExpressions(
      *plan, [&](duckdb::unique_ptr<Expression>* expression) { repeatable = repeatable && IsRepeatable(**expression); });
  if (!repeatable) return false;
  if (plan->type == LogicalOperatorType::LOGICAL_GET) {
    const auto& get = plan->Cast<duckdb::LogicalGet>();
    if (get.function.name == kScanName && get.bind_data->Cast<ScanBind>().few_rows) return false;
    if (get.function.name == kScanName) {
      tables->push_back(StateOf(get.bind_data->Cast<ScanBind>().table));
    } else if (std::find(std::begin(kFunctionsOfTheirArguments), std::end(kFunctionsOfTheirArguments), get.function.name) ==
               std::end(kFunctionsOfTheirArguments)) {
      return false;
    }
  }
  return std::all_of(plan->children.begin(), plan->children.end(), [&](auto& child) { return Gather(child.get(), tables); });
}

}  // namespace

std::optional<std::vector<TableState>> ReadsOfRepeatable(LogicalOperator* plan) {
  std::vector<TableState> tables;
  if (!Gather(plan, &tables) || tables.empty()) return std::nullopt;
  return tables;
}

}  // namespace sheaf::query
