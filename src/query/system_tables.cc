#include "query/system_tables.h"

#include <algorithm>
#include <memory>

namespace sheaf::query {

namespace {

using Rows = std::vector<duckdb::vector<duckdb::Value>>;

struct RowsBind : public duckdb::TableFunctionData {
  std::shared_ptr<const Rows> rows;

  duckdb::unique_ptr<duckdb::FunctionData> Copy() const override {
    auto copy = duckdb::make_uniq<RowsBind>();
    copy->rows = rows;
    return std::move(copy);
  }
  bool Equals(const duckdb::FunctionData& other) const override { return other.Cast<RowsBind>().rows == rows; }
};

struct RowsState : public duckdb::GlobalTableFunctionState {
  duckdb::vector<duckdb::column_t> columns;
  size_t next = 0;
};

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> InitRows(duckdb::ClientContext&, duckdb::TableFunctionInitInput& input) {
  auto state = duckdb::make_uniq<RowsState>();
  state->columns = input.column_ids;
  return std::move(state);
}

void ScanRows(duckdb::ClientContext&, duckdb::TableFunctionInput& input, duckdb::DataChunk& out) {
  const Rows& rows = *input.bind_data->Cast<RowsBind>().rows;
  auto& state = input.global_state->Cast<RowsState>();
  const size_t count = std::min<size_t>(STANDARD_VECTOR_SIZE, rows.size() - state.next);
  for (size_t i = 0; i < state.columns.size(); ++i) {
    for (size_t row = 0; row < count; ++row) {
      const auto& values = rows[state.next + row];
      const bool is_row_id = state.columns[i] >= values.size();
      out.SetValue(i, row, is_row_id ? duckdb::Value::BIGINT(static_cast<int64_t>(state.next + row)) : values[state.columns[i]]);
    }
  }
  state.next += count;
  out.SetCardinality(count);
}

}  // namespace

duckdb::TableFunction MakeRowsFunction() {
  duckdb::TableFunction function("sheaf_rows", {}, ScanRows, nullptr, InitRows);
  function.projection_pushdown = true;
  return function;
}

duckdb::unique_ptr<duckdb::FunctionData> MakeRowsBind(const SystemTable& table) {
  auto bind = duckdb::make_uniq<RowsBind>();
  bind->rows = std::make_shared<const Rows>(table.rows());
  return std::move(bind);
}

}  // namespace sheaf::query
