#include "store/ready_tables.h"

#include <initializer_list>

#include "core/check.h"

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
  return tables;
}

}  // namespace sheaf::store
