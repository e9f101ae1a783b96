#include "query/attribute_rewrite.h"

#include <map>
#include <optional>
#include <string>

#include "query/scan.h"

namespace sheaf::query {

namespace {

using duckdb::ColumnBinding;
using duckdb::Expression;
using duckdb::idx_t;
using duckdb::LogicalOperator;
using duckdb::LogicalOperatorType;

class Rewriter {
 public:
  void Run(LogicalOperator& plan) {
    Collect(plan);
    if (!scans_.empty()) Visit(plan);
  }

 private:
  void Collect(LogicalOperator& plan) {
    if (plan.type == LogicalOperatorType::LOGICAL_GET) {
      auto& get = plan.Cast<duckdb::LogicalGet>();
      if (get.function.name == kScanName) scans_[get.table_index] = &get;
    } else if (plan.type == LogicalOperatorType::LOGICAL_PROJECTION) {
      auto& projection = plan.Cast<duckdb::LogicalProjection>();
      projections_[projection.table_index] = &projection;
    }
    for (auto& child : plan.children) Collect(*child);
  }

  void Visit(LogicalOperator& plan) {
    for (auto& child : plan.children) Visit(*child);
    duckdb::LogicalOperatorVisitor::EnumerateExpressions(plan, [&](duckdb::unique_ptr<Expression>* e) { Rewrite(e); });
  }

  void Rewrite(duckdb::unique_ptr<Expression>* expression) {
    if (auto replaced = Replacement(**expression)) {
      auto alias = (*expression)->GetAlias();
      *expression = duckdb::make_uniq<duckdb::BoundColumnRefExpression>(std::move(alias), duckdb::LogicalType::VARCHAR, *replaced);
      return;
    }
    duckdb::ExpressionIterator::EnumerateChildren(**expression, [&](duckdb::unique_ptr<Expression>& child) { Rewrite(&child); });
  }

  /// The column that stands for the expression, if it is attributes['key'].
  std::optional<ColumnBinding> Replacement(const Expression& expression) {
    if (expression.GetExpressionClass() != duckdb::ExpressionClass::BOUND_FUNCTION) return std::nullopt;
    const auto& call = expression.Cast<duckdb::BoundFunctionExpression>();
    const std::string& name = call.function.name;
    if (call.children.size() != 2 || (name != "map_extract_value" && name != "array_extract")) return std::nullopt;
    const Expression& map = *call.children[0];
    const Expression& key = *call.children[1];
    if (map.GetExpressionType() != duckdb::ExpressionType::BOUND_COLUMN_REF ||
        map.return_type.id() != duckdb::LogicalTypeId::MAP || key.GetExpressionClass() != duckdb::ExpressionClass::BOUND_CONSTANT) {
      return std::nullopt;
    }
    const auto& column = map.Cast<duckdb::BoundColumnRefExpression>();
    const duckdb::Value& constant = key.Cast<duckdb::BoundConstantExpression>().value;
    if (column.depth != 0 || constant.IsNull() || constant.type().id() != duckdb::LogicalTypeId::VARCHAR) return std::nullopt;
    return Resolve(column.binding, duckdb::StringValue::Get(constant));
  }

  std::optional<ColumnBinding> Resolve(const ColumnBinding& binding, const std::string& key) {
    if (const auto scan = scans_.find(binding.table_index); scan != scans_.end()) return ResolveInScan(*scan->second, binding, key);
    const auto projection = projections_.find(binding.table_index);
    if (projection == projections_.end()) return std::nullopt;
    auto& expressions = projection->second->expressions;
    const Expression& source = *expressions[binding.column_index];
    if (source.GetExpressionType() != duckdb::ExpressionType::BOUND_COLUMN_REF) return std::nullopt;
    const auto inner = Resolve(source.Cast<duckdb::BoundColumnRefExpression>().binding, key);
    if (!inner) return std::nullopt;
    for (idx_t i = 0; i < expressions.size(); ++i) {
      if (expressions[i]->GetExpressionType() == duckdb::ExpressionType::BOUND_COLUMN_REF &&
          expressions[i]->Cast<duckdb::BoundColumnRefExpression>().binding == *inner) {
        return ColumnBinding(binding.table_index, i);
      }
    }
    expressions.push_back(duckdb::make_uniq<duckdb::BoundColumnRefExpression>(duckdb::LogicalType::VARCHAR, *inner));
    return ColumnBinding(binding.table_index, expressions.size() - 1);
  }

  std::optional<ColumnBinding> ResolveInScan(duckdb::LogicalGet& get, const ColumnBinding& binding, const std::string& key) {
    auto& bind = get.bind_data->Cast<ScanBind>();
    const LogicalColumn* column = bind.Find(get.GetColumnIds()[binding.column_index].GetPrimaryIndex());
    if (column == nullptr || !column->holds_attributes || column->form != Form::kPlain) return std::nullopt;
    size_t number = 0;
    while (number < bind.extracts.size() &&
           !(bind.extracts[number].key == key && bind.extracts[number].physical == column->physical &&
             bind.extracts[number].field == column->field)) {
      ++number;
    }
    if (number == bind.extracts.size()) {
      LogicalColumn extract = *column;
      extract.name += "['" + key + "']";
      extract.form = Form::kExtract;
      extract.key = key;
      extract.holds_attributes = false;
      bind.extracts.push_back(std::move(extract));
    }
    const duckdb::column_t id = kExtractBase + number;
    get.virtual_columns.insert({id, duckdb::TableColumn(bind.extracts[number].name, duckdb::LogicalType::VARCHAR)});
    const auto& ids = get.GetColumnIds();
    for (idx_t i = 0; i < ids.size(); ++i) {
      if (ids[i].GetPrimaryIndex() == id) return ColumnBinding(binding.table_index, i);
    }
    get.AddColumnId(id);
    return ColumnBinding(binding.table_index, get.GetColumnIds().size() - 1);
  }

  std::map<idx_t, duckdb::LogicalGet*> scans_;
  std::map<idx_t, duckdb::LogicalProjection*> projections_;
};

}  // namespace

void RewriteAttributeAccess(LogicalOperator* plan) { Rewriter().Run(*plan); }

}  // namespace sheaf::query
