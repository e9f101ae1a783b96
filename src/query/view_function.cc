#include "query/view_function.h"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "query/catalog.h"
#include "query/statement_state.h"
#include "query/store_transaction.h"

namespace sheaf::query {

namespace {

using duckdb::ClientContext;

struct ViewFunctionInfo : public duckdb::TableFunctionInfo {
  Views* views = nullptr;
  std::chrono::milliseconds wait{0};
};

struct ViewBind : public duckdb::TableFunctionData {
  std::shared_ptr<duckdb::ColumnDataCollection> rows;
  std::string name;

  duckdb::unique_ptr<duckdb::FunctionData> Copy() const override {
    auto copy = duckdb::make_uniq<ViewBind>();
    copy->rows = rows;
    copy->name = name;
    return std::move(copy);
  }
  bool Equals(const duckdb::FunctionData& other) const override { return other.Cast<ViewBind>().rows == rows; }
  bool SupportStatementCache() const override { return false; }
};

struct ViewScan : public duckdb::GlobalTableFunctionState {
  duckdb::ColumnDataScanState scan;
};

duckdb::unique_ptr<duckdb::FunctionData> Bind(ClientContext& context, duckdb::TableFunctionBindInput& input,
                                              duckdb::vector<duckdb::LogicalType>& types, duckdb::vector<std::string>& names) {
  const auto& info = input.info->Cast<ViewFunctionInfo>();
  auto bind = duckdb::make_uniq<ViewBind>();
  bind->name = input.inputs.at(0).GetValue<std::string>();
  const auto view = info.views->Find(bind->name);
  if (!view) throw duckdb::CatalogException("the materialized view %s is gone", bind->name);
  const Lsn lsn = StoreTransaction::Get(context, duckdb::Catalog::GetCatalog(context, kCatalogName)).snapshot().lsn();
  auto rows = view->Rows(lsn, info.wait, [&context] { return context.interrupted.load(); });
  if (!rows.ok()) ThrowStatus(context, rows.status());
  bind->rows = std::move(rows).ValueUnsafe();
  types = view->types();
  for (size_t i = 0; i < types.size(); ++i) names.push_back(view->ColumnName(i));
  return std::move(bind);
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> Init(ClientContext&, duckdb::TableFunctionInitInput& input) {
  auto scan = duckdb::make_uniq<ViewScan>();
  const auto& bind = input.bind_data->Cast<ViewBind>();
  bind.rows->InitializeScan(scan->scan, {input.column_ids.begin(), input.column_ids.end()});
  return std::move(scan);
}

void Scan(ClientContext&, duckdb::TableFunctionInput& input, duckdb::DataChunk& out) {
  input.bind_data->Cast<ViewBind>().rows->Scan(input.global_state->Cast<ViewScan>().scan, out);
}

}  // namespace

void RegisterViewFunction(duckdb::ExtensionLoader* loader, Views* views, std::chrono::milliseconds wait) {
  duckdb::TableFunction function(kViewFunction, {duckdb::LogicalType::VARCHAR}, Scan, Bind, Init);
  function.projection_pushdown = true;
  function.cardinality = [](ClientContext&, const duckdb::FunctionData* data) {
    const auto rows = data->Cast<ViewBind>().rows->Count();
    return duckdb::make_uniq<duckdb::NodeStatistics>(rows, rows);
  };
  function.to_string = [](duckdb::TableFunctionToStringInput& input) {
    duckdb::InsertionOrderPreservingMap<std::string> lines;
    lines["View"] = input.bind_data->Cast<ViewBind>().name;
    return lines;
  };
  auto info = duckdb::make_shared_ptr<ViewFunctionInfo>();
  info->views = views;
  info->wait = wait;
  function.function_info = std::move(info);
  loader->RegisterFunction(function);
}

}  // namespace sheaf::query
