#include "query/view_function.h"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "query/catalog.h"
#include "query/statement_rights.h"
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
  RequireRight(context, access::Action::kRead, view->definition().schema_name);
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

/// view_changes('main.v', after := 7): the view's own query, of the groups that changed since.
duckdb::unique_ptr<duckdb::TableRef> Changes(ClientContext& context, duckdb::TableFunctionBindInput& input) {
  const auto& info = input.info->Cast<ViewFunctionInfo>();
  std::string name = input.inputs.at(0).IsNull() ? "" : input.inputs[0].GetValue<std::string>();
  const size_t dot = name.find('.');
  const auto view = dot == std::string::npos ? info.views->Find("main", name) : info.views->Find(name.substr(0, dot), name.substr(dot + 1));
  if (!view) throw duckdb::CatalogException("view_changes: there is no materialized view '%s'", name);
  RequireRight(context, access::Action::kRead, view->definition().schema_name);
  if (view->is_refreshed()) {
    throw duckdb::BinderException("view_changes: %s is computed anew with each refresh, so nobody knows what changed in it", name);
  }
  const auto after = input.named_parameters.find("after");
  const bool is_given = after != input.named_parameters.end() && !after->second.IsNull();
  duckdb::Parser parser(context.GetParserOptions());
  parser.ParseQuery(view->ChangesSql(is_given ? after->second.GetValue<int64_t>() : -1));
  return duckdb::make_uniq<duckdb::SubqueryRef>(
      duckdb::unique_ptr_cast<duckdb::SQLStatement, duckdb::SelectStatement>(std::move(parser.statements.at(0))));
}

/// A group of rows, not a function of one: PlanView() takes it out of the queries of views.
void SessionStart(duckdb::DataChunk&, duckdb::ExpressionState&, duckdb::Vector&) {
  throw duckdb::InvalidInputException(
      "session_start() groups the rows of a materialized view that follows the log: CREATE MATERIALIZED VIEW v AS SELECT "
      "session_start(time, INTERVAL '30 minutes') AS started, … GROUP BY …");
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
  function.function_info = info;
  loader->RegisterFunction(function);

  duckdb::TableFunction changes("view_changes", {duckdb::LogicalType::VARCHAR}, nullptr, nullptr);
  changes.bind_replace = Changes;
  changes.named_parameters["after"] = duckdb::LogicalType::BIGINT;
  changes.function_info = std::move(info);
  loader->RegisterFunction(changes);

  duckdb::ScalarFunctionSet sessions(kSessionFunction);
  for (const auto& time : {duckdb::LogicalType::TIMESTAMP, duckdb::LogicalType::TIMESTAMP_TZ, duckdb::LogicalType::TIMESTAMP_NS}) {
    duckdb::ScalarFunction session({time, duckdb::LogicalType::INTERVAL}, time, SessionStart);
    session.SetFallible();
    sessions.AddFunction(session);
  }
  loader->RegisterFunction(sessions);
}

}  // namespace sheaf::query
