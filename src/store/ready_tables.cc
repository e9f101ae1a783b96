#include "store/ready_tables.h"

#include <initializer_list>

#include "core/check.h"
#include "store/names.h"
#include "store/table_change.h"

namespace sheaf::store {
namespace {

int ColumnOf(const arrow::Schema& schema, const char* name) {
  const int column = schema.GetFieldIndex(name);
  SHEAF_CHECK(column >= 0);
  return column;
}

std::vector<int> ColumnsOf(const arrow::Schema& schema, std::initializer_list<const char*> names) {
  std::vector<int> columns;
  for (const char* name : names) columns.push_back(ColumnOf(schema, name));
  return columns;
}

/// Ids are text, since exchanges and people name things so; amounts are exact.
std::shared_ptr<arrow::DataType> Text() { return arrow::utf8(); }
std::shared_ptr<arrow::DataType> Time() { return arrow::timestamp(arrow::TimeUnit::NANO); }
std::shared_ptr<arrow::DataType> Amount() { return arrow::decimal128(18, 6); }

NewTable Orders() {
  NewTable table;
  table.schema_name = "trading";
  table.name = "orders";
  table.schema =
      arrow::schema({arrow::field("order_id", Text()), arrow::field("user_id", Text()), arrow::field("instrument_id", Text()),
                     arrow::field("direction", Text()), arrow::field("offset_flag", Text()), arrow::field("price", Amount()),
                     arrow::field("volume", arrow::int64()), arrow::field("filled_volume", arrow::int64()),
                     arrow::field("status", Text()), arrow::field("created_at", Time()), arrow::field("updated_at", Time())});
  table.primary_key = {"order_id"};
  table.settings.filters = {"user_id", "instrument_id"};
  return table;
}

NewTable Trades() {
  NewTable table;
  table.schema_name = "trading";
  table.name = "trades";
  table.schema =
      arrow::schema({arrow::field("trade_id", Text()), arrow::field("order_id", Text()), arrow::field("counter_order_id", Text()),
                     arrow::field("user_id", Text()), arrow::field("instrument_id", Text()), arrow::field("direction", Text()),
                     arrow::field("offset_flag", Text()), arrow::field("price", Amount()), arrow::field("volume", arrow::int64()),
                     arrow::field("time", Time(), /*nullable=*/false)});
  table.settings.time_column = "time";
  table.settings.sort = {"instrument_id", "time"};
  table.settings.filters = {"trade_id", "order_id", "user_id", "instrument_id"};
  return table;
}

NewTable Accounts() {
  NewTable table;
  table.schema_name = "trading";
  table.name = "accounts";
  table.schema =
      arrow::schema({arrow::field("user_id", Text()), arrow::field("balance", Amount()), arrow::field("available", Amount()),
                     arrow::field("frozen", Amount()), arrow::field("margin", Amount()), arrow::field("realized_pnl", Amount()),
                     arrow::field("unrealized_pnl", Amount()), arrow::field("updated_at", Time())});
  table.primary_key = {"user_id"};
  return table;
}

NewTable Records() {
  NewTable table;
  table.schema_name = "memory";
  table.name = "records";
  table.schema =
      arrow::schema({arrow::field("memory_id", Text()), arrow::field("category", Text()), arrow::field("created_at", Time()),
                     arrow::field("content", Text()), arrow::field("entities", arrow::list(Text())),
                     arrow::field("embedding", arrow::fixed_size_list(arrow::float32(), kEmbeddingSize)),
                     arrow::field("diff_data", arrow::binary()), arrow::field("metadata", Text())});
  table.primary_key = {"category", "memory_id"};
  return table;
}

}  // namespace

parts::Layout SignalLayout(decode::Signal signal) {
  const arrow::Schema& schema = *decode::SignalSchema(signal);
  parts::Layout layout;
  switch (signal) {
    case decode::Signal::kTraces:
      layout.time_column = ColumnOf(schema, "start_time");
      layout.sort_columns = ColumnsOf(schema, {"service_name", "start_time"});
      layout.filter_columns = ColumnsOf(schema, {"trace_id", "span_id", "service_name", "name"});
      layout.cluster_traces = true;
      layout.trace_column = ColumnOf(schema, "trace_id");
      layout.service_column = ColumnOf(schema, "service_name");
      layout.parent_column = ColumnOf(schema, "parent_span_id");
      break;
    case decode::Signal::kLogs:
      layout.time_column = ColumnOf(schema, "time");
      layout.sort_columns = ColumnsOf(schema, {"service_name", "time"});
      layout.filter_columns = ColumnsOf(schema, {"trace_id", "span_id", "service_name", "severity_text", "event_name"});
      layout.token_columns = ColumnsOf(schema, {"body"});
      layout.trace_column = ColumnOf(schema, "trace_id");
      layout.service_column = ColumnOf(schema, "service_name");
      break;
    default:
      layout.time_column = ColumnOf(schema, "time");
      layout.sort_columns = ColumnsOf(schema, {"metric_name", "service_name", "time"});
      layout.filter_columns = ColumnsOf(schema, {"metric_name", "service_name"});
      layout.service_column = ColumnOf(schema, "service_name");
  }
  return layout;
}

std::vector<TableInfo> ReadyTables() {
  std::vector<TableInfo> tables;
  for (int i = 0; i < decode::kSignals; ++i) {
    const auto signal = static_cast<decode::Signal>(i);
    TableInfo table;
    table.schema_name = kOtelSchema;
    table.name = decode::SignalTable(signal);
    table.schema = decode::SignalSchema(signal);
    table.layout = SignalLayout(signal);
    tables.push_back(std::move(table));
  }
  for (const NewTable& asked : {Orders(), Trades(), Accounts(), Records()}) {
    auto table = MakeTable(asked);
    SHEAF_CHECK(table.ok());
    tables.push_back(*std::move(table));
  }
  return tables;
}

const TableInfo* FindReadyTable(std::string_view schema_name, std::string_view name) {
  static const std::vector<TableInfo>& tables = *new std::vector<TableInfo>(ReadyTables());
  for (const TableInfo& table : tables) {
    if (SameName(table.schema_name, schema_name) && SameName(table.name, name)) return &table;
  }
  return nullptr;
}

}  // namespace sheaf::store
