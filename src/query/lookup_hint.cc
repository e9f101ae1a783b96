#include "query/lookup_hint.h"

#include <algorithm>
#include <utility>

#include "query/id_types.h"
#include "query/scan.h"

namespace sheaf::query {

namespace {

using duckdb::Expression;

/// Whether `expression` is `id = constant` for an id column of `get`, either way round, or an AND with such a part.
bool ComparesId(const Expression& expression, const duckdb::LogicalGet& get) {
  if (expression.GetExpressionType() == duckdb::ExpressionType::CONJUNCTION_AND) {
    const auto& parts = expression.Cast<duckdb::BoundConjunctionExpression>().children;
    return std::any_of(parts.begin(), parts.end(), [&](const auto& part) { return ComparesId(*part, get); });
  }
  if (expression.GetExpressionType() != duckdb::ExpressionType::COMPARE_EQUAL) return false;
  const auto& comparison = expression.Cast<duckdb::BoundComparisonExpression>();
  const Expression* column = comparison.left.get();
  const Expression* value = comparison.right.get();
  if (column->GetExpressionType() != duckdb::ExpressionType::BOUND_COLUMN_REF) std::swap(column, value);
  return column->GetExpressionType() == duckdb::ExpressionType::BOUND_COLUMN_REF &&
         column->Cast<duckdb::BoundColumnRefExpression>().binding.table_index == get.table_index &&
         (IsTraceId(column->return_type) || IsSpanId(column->return_type)) && value->IsFoldable();
}

}  // namespace

void MarkLookUps(duckdb::LogicalOperator* plan) {
  for (auto& child : plan->children) MarkLookUps(child.get());
  if (plan->type != duckdb::LogicalOperatorType::LOGICAL_FILTER ||
      plan->children[0]->type != duckdb::LogicalOperatorType::LOGICAL_GET)
    return;
  auto& get = plan->children[0]->Cast<duckdb::LogicalGet>();
  if (get.function.name != kScanName) return;
  for (const auto& expression : plan->expressions) {
    if (ComparesId(*expression, get)) get.bind_data->Cast<ScanBind>().few_rows = true;
  }
}

}  // namespace sheaf::query
