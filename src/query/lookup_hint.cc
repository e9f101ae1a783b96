#include "query/lookup_hint.h"

#include <algorithm>
#include <set>
#include <utility>

#include "query/id_types.h"
#include "query/scan.h"

namespace sheaf::query {

namespace {

using duckdb::Expression;

/// What a filter over one scan compares with constants by =.
struct Compared {
  bool an_id = false;
  std::set<int> columns;  // Positions in the table's schema, of whole columns.
};

/// Adds what `expression`, or each part of an AND, says.
void FindCompared(const Expression& expression, const duckdb::LogicalGet& get, Compared* compared) {
  if (expression.GetExpressionType() == duckdb::ExpressionType::CONJUNCTION_AND) {
    for (const auto& part : expression.Cast<duckdb::BoundConjunctionExpression>().children) FindCompared(*part, get, compared);
  }
  if (expression.GetExpressionType() != duckdb::ExpressionType::COMPARE_EQUAL) return;
  const auto& comparison = expression.Cast<duckdb::BoundComparisonExpression>();
  const Expression* column = comparison.left.get();
  const Expression* value = comparison.right.get();
  if (column->GetExpressionType() != duckdb::ExpressionType::BOUND_COLUMN_REF) std::swap(column, value);
  if (column->GetExpressionType() != duckdb::ExpressionType::BOUND_COLUMN_REF || !value->IsFoldable()) return;
  const auto& binding = column->Cast<duckdb::BoundColumnRefExpression>().binding;
  const auto& ids = get.GetColumnIds();
  if (binding.table_index != get.table_index || binding.column_index >= ids.size()) return;
  compared->an_id |= IsTraceId(column->return_type) || IsSpanId(column->return_type);
  const LogicalColumn* found = get.bind_data->Cast<ScanBind>().Find(ids[binding.column_index].GetPrimaryIndex());
  if (found != nullptr && found->field == Field::kWhole && found->form == Form::kPlain) compared->columns.insert(found->physical);
}

}  // namespace

void MarkLookUps(duckdb::LogicalOperator* plan) {
  for (auto& child : plan->children) MarkLookUps(child.get());
  if (plan->type != duckdb::LogicalOperatorType::LOGICAL_FILTER ||
      plan->children[0]->type != duckdb::LogicalOperatorType::LOGICAL_GET)
    return;
  auto& get = plan->children[0]->Cast<duckdb::LogicalGet>();
  if (get.function.name != kScanName) return;
  auto& bind = get.bind_data->Cast<ScanBind>();
  Compared compared;
  for (const auto& expression : plan->expressions) FindCompared(*expression, get, &compared);
  const auto& key = bind.table.info->key_columns;
  const bool has_key = !key.empty() && std::all_of(key.begin(), key.end(), [&](int column) { return compared.columns.contains(column); });
  bind.few_rows |= compared.an_id || has_key;
}

}  // namespace sheaf::query
