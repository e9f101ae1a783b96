#include "query/column_views.h"

#include <string>
#include <utility>

#include "columns/column_report.h"

namespace sheaf::query {

namespace {

using duckdb::LogicalType;
using duckdb::Value;
using Rows = std::vector<duckdb::vector<Value>>;

Value Known(int64_t number) { return number < 0 ? Value() : Value::BIGINT(number); }
Value Known(std::string_view text) { return text.empty() ? Value() : Value(std::string(text)); }

void AddRow(const std::string& table, uint64_t part, const columns::ColumnReport& report, Rows* rows) {
  const columns::ColumnAnalysis& analysis = report.analysis;
  const bool has_ratio = analysis.plain_bytes >= 0 && report.stored_bytes > 0;
  const double ratio = has_ratio ? static_cast<double>(analysis.plain_bytes) / static_cast<double>(report.stored_bytes) : 0;
  rows->push_back({Value(table),
                   Value::UBIGINT(part),
                   Value(report.path),
                   Known(analysis.values),
                   Known(analysis.nulls),
                   Known(analysis.looked_at),
                   Known(analysis.cardinality),
                   analysis.cardinality < 0 ? Value() : Value::BOOLEAN(analysis.cardinality_is_exact),
                   Known(analysis.runs),
                   analysis.runs < 0 ? Value() : Value::DOUBLE(analysis.mean_run()),
                   Known(analysis.longest_run),
                   Known(columns::NameOf(report.stored.encoding)),
                   Known(columns::TextOf(report.stored.reason)),
                   Known(analysis.plain_bytes),
                   Known(report.stored_bytes),
                   has_ratio ? Value::DOUBLE(ratio) : Value(),
                   Known(analysis.dictionary_bytes),
                   Known(analysis.run_end_bytes),
                   Known(analysis.delta_bytes),
                   Known(analysis.frame_bytes)});
}

void AddRows(const store::TableSnapshot& table, Rows* rows) {
  const std::string name = table.info->schema_name + "." + table.info->name;
  for (const auto& view : table.sources) {
    const auto* source = dynamic_cast<const columns::ColumnReportSource*>(view.source.get());
    if (source == nullptr) continue;
    const auto reports = source->ReportColumns();
    if (!reports.ok()) throw duckdb::IOException("%s", reports.status().message());
    for (const columns::ColumnReport& report : *reports) AddRow(name, view.source->ordinal(), report, rows);
  }
}

}  // namespace

SystemTable ColumnsTable(const store::Database* database) {
  SystemTable table;
  table.name = "columns";
  table.columns = {"table_name",
                   "part_id",
                   "column_name",
                   "rows",
                   "nulls",
                   "rows_looked_at",
                   "cardinality",
                   "cardinality_is_exact",
                   "runs",
                   "mean_run",
                   "longest_run",
                   "encoding",
                   "reason",
                   "bytes_before",
                   "bytes_after",
                   "ratio",
                   "dictionary_bytes",
                   "run_end_bytes",
                   "delta_bytes",
                   "frame_of_reference_bytes"};
  const LogicalType text = LogicalType::VARCHAR, count = LogicalType::BIGINT, ratio = LogicalType::DOUBLE;
  table.types = {text,  LogicalType::UBIGINT,
                 text,  count,
                 count, count,
                 count, LogicalType::BOOLEAN,
                 count, ratio,
                 count, text,
                 text,  count,
                 count, ratio,
                 count, count,
                 count, count};
  table.rows = [database] {
    Rows rows;
    const auto snapshot = database->GetSnapshot();
    for (const auto& info : snapshot->tables()) {
      const auto found = snapshot->Table(info->id);
      if (!found.ok()) throw duckdb::IOException("%s", found.status().message());
      AddRows(*found, &rows);
    }
    return rows;
  };
  return table;
}

}  // namespace sheaf::query
