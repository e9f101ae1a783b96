#include "query/lookup_plan.h"

#include <algorithm>
#include <utility>

#include "duckdb/optimizer/filter_pushdown.hpp"
#include "duckdb/optimizer/remove_unused_columns.hpp"
#include "duckdb/optimizer/topn_optimizer.hpp"

#include "query/key_lookup.h"
#include "query/scan.h"

namespace sheaf::query {

namespace {

using duckdb::ClientContext;
using duckdb::LogicalOperator;
using duckdb::LogicalOperatorType;
using Plan = duckdb::unique_ptr<LogicalOperator>;

/// A plan that DuckDB's passes do not see: Optimizer::RunBuiltInOptimizers() has none for an extension's operator without children.
class HiddenPlan : public duckdb::LogicalExtensionOperator {
 public:
  explicit HiddenPlan(Plan plan) : plan_(std::move(plan)) {}

  Plan Take() { return std::move(plan_); }

  duckdb::PhysicalOperator& CreatePlan(ClientContext&, duckdb::PhysicalPlanGenerator&) override {
    throw duckdb::InternalException("a look-up's plan was left hidden");
  }
  std::string GetExtensionName() const override { return "sheaf"; }

 protected:
  void ResolveTypes() override {}

 private:
  Plan plan_;
};

bool IsLookUp(const LogicalOperator& plan) {
  switch (plan.type) {
    case LogicalOperatorType::LOGICAL_FILTER:
    case LogicalOperatorType::LOGICAL_PROJECTION:
    case LogicalOperatorType::LOGICAL_ORDER_BY:
    case LogicalOperatorType::LOGICAL_LIMIT: return IsLookUp(*plan.children[0]);
    case LogicalOperatorType::LOGICAL_GET: {
      const auto& get = plan.Cast<duckdb::LogicalGet>();
      return get.function.name == kScanName && get.bind_data->Cast<ScanBind>().few_rows;
    }
    default: return false;
  }
}

/// Runs the rules for expressions, which above all fold constants, so that filters compare columns with them. Not over what only names
/// columns: twenty rules for each of them find nothing.
void RewriteExpressions(duckdb::Optimizer* optimizer, LogicalOperator* plan) {
  for (auto& child : plan->children) RewriteExpressions(optimizer, child.get());
  const auto is_column = [](const auto& e) { return e->GetExpressionType() == duckdb::ExpressionType::BOUND_COLUMN_REF; };
  if (plan->type == LogicalOperatorType::LOGICAL_GET) return;
  if (plan->type == LogicalOperatorType::LOGICAL_PROJECTION && std::all_of(plan->expressions.begin(), plan->expressions.end(), is_column))
    return;
  auto children = std::move(plan->children);
  plan->children.clear();
  optimizer->rewriter.VisitOperator(*plan);
  plan->children = std::move(children);
}

/// DuckDB's passes in DuckDB's order, each a whole one that it may also run alone (its setting disabled_optimizers).
void RunPasses(duckdb::Optimizer* optimizer, Plan* plan) {
  RewriteExpressions(optimizer, plan->get());
  *plan = duckdb::FilterPushdown(*optimizer).Rewrite(std::move(*plan));
  duckdb::RemoveUnusedColumns(*optimizer).VisitOperator(**plan);
  *plan = duckdb::TopN(optimizer->context).Optimize(std::move(*plan));  // An id may have more rows than are expected.
}

}  // namespace

void PlanLookUp(duckdb::Optimizer* optimizer, Plan* plan) {
  const bool explained = (*plan)->type == LogicalOperatorType::LOGICAL_EXPLAIN;
  Plan* root = explained ? &(*plan)->children[0] : plan;
  if (!IsLookUp(**root)) return;
  RunPasses(optimizer, root);
  *plan = duckdb::make_uniq<HiddenPlan>(std::move(*plan));
}

void ShowLookUp(Plan* plan) {
  if (auto* hidden = dynamic_cast<HiddenPlan*>(plan->get())) *plan = hidden->Take();
}

bool ReadsFewRows(const LogicalOperator& plan) {
  switch (plan.type) {
    case LogicalOperatorType::LOGICAL_FILTER:
    case LogicalOperatorType::LOGICAL_PROJECTION:
    case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY:
    case LogicalOperatorType::LOGICAL_DISTINCT:
    case LogicalOperatorType::LOGICAL_ORDER_BY:
    case LogicalOperatorType::LOGICAL_TOP_N:
    case LogicalOperatorType::LOGICAL_LIMIT:
    case LogicalOperatorType::LOGICAL_EXTENSION_OPERATOR:
      return plan.children.size() == 1 && ReadsFewRows(*plan.children[0]);
    case LogicalOperatorType::LOGICAL_GET: {
      const auto& get = plan.Cast<duckdb::LogicalGet>();
      return get.function.name == kScanName && (get.bind_data->Cast<ScanBind>().few_rows || BindsKey(get));
    }
    default: return false;
  }
}

}  // namespace sheaf::query
