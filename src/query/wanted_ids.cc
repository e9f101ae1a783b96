#include "query/wanted_ids.h"

#include "query/pruning.h"

namespace sheaf::query {

namespace {

constexpr size_t kIdsMax = 65'536;  // Longer lists come from nobody's keyboard, and DuckDB joins with them.

/// The bytes that rows must hold one of for `filter` to let them pass.
std::optional<std::vector<std::string>> BytesOf(const PushedFilter& filter, const GranulePlan& plan, size_t number) {
  if (plan.keys(number)) return plan.keys(number);
  if (filter.type.id() != duckdb::LogicalTypeId::BIGINT && filter.type.id() != duckdb::LogicalTypeId::UBIGINT) {
    return ImpliedKeys(*filter.filter, kIdsMax);
  }
  const auto values = ImpliedValues(*filter.filter, kIdsMax);
  if (!values) return std::nullopt;
  std::vector<std::string> numbers;
  for (const duckdb::Value& value : *values) {
    if (value.IsNull()) continue;  // Equals nothing.
    if (value.type() != filter.type) return std::nullopt;
    const auto number_bits = value.GetValueUnsafe<uint64_t>();
    numbers.emplace_back(reinterpret_cast<const char*>(&number_bits), sizeof number_bits);
  }
  return numbers;
}

}  // namespace

std::optional<WantedIds> FindWantedIds(const std::vector<PushedFilter>& filters, const GranulePlan& plan,
                                       const arrow::Schema& schema) {
  std::optional<WantedIds> fewest;
  for (size_t i = 0; i < filters.size(); ++i) {
    const LogicalColumn* column = filters[i].logical;
    if (column == nullptr || column->field != Field::kWhole || column->form != Form::kPlain) continue;
    const arrow::DataType& type = *schema.field(column->physical)->type();
    if (!columns::IdSearch::CanSearch(type)) continue;
    const auto ids = BytesOf(filters[i], plan, i);
    if (!ids || (fewest && fewest->search.size() <= ids->size())) continue;
    auto search = columns::IdSearch::Make(type, *ids);
    if (search.ok())
      fewest = WantedIds{.filter = i, .search = std::move(search).ValueUnsafe()};  // Else the filter alone decides.
  }
  return fewest;
}

}  // namespace sheaf::query
