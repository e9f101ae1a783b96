#include "parts/part_source.h"

#include <algorithm>

#include "parts/report_codec.h"

namespace sheaf::parts {

void PartSource::ReadAhead(int granule, const std::vector<int>& columns) const {
  // Both formats keep a granule's columns one after the other, so the places are known, but for padding, without reading
  // anything.
  constexpr int64_t kSlack = 4096;
  std::vector<bool> wanted(static_cast<size_t>(schema_->num_fields()));
  for (const int column : columns) wanted[static_cast<size_t>(column)] = true;
  const GranulePlace& place = index_->granule(granule);
  int64_t end = place.offset + place.bytes, run_end = end;
  const auto flush = [&](int64_t begin) {
    if (run_end > begin)
      data_->ReadAhead(std::max(begin - kSlack, place.offset), run_end - std::max(begin - kSlack, place.offset));
  };
  for (int column = schema_->num_fields(); column-- > 0;) {
    const int64_t begin = end - index_->column_bytes(granule, column);
    if (!wanted[static_cast<size_t>(column)]) {
      flush(end);
      run_end = begin;
    }
    end = begin;
  }
  flush(end);
}

Result<std::vector<columns::ColumnReport>> PartSource::ReportColumns() const {
  if (index_->has_reports()) {
    SHEAF_ASSIGN_OR_RETURN(const std::string_view bytes, index_->ReportBytes());
    auto reports = DecodeReports(bytes, schema_->num_fields());
    return reports.ok() ? std::move(reports) : WithContext(reports.status(), name());
  }
  std::vector<columns::ColumnReport> out;
  for (int column = 0; column < schema_->num_fields(); ++column) {
    columns::ColumnReport& report = out.emplace_back();
    report.column = column;
    report.path = schema_->field(column)->name();
    report.analysis.values = info_.rows;
    if (const columns::Zone* zone = index_->zone(-1, column); zone != nullptr) report.analysis.nulls = zone->null_count;
    report.stored_bytes = 0;
    for (int granule = 0; granule < index_->granules(); ++granule) report.stored_bytes += index_->column_bytes(granule, column);
  }
  return out;
}

int64_t PartSource::DistinctValues(int column) const {
  std::call_once(distinct_values_once_, [this] {
    distinct_values_.assign(static_cast<size_t>(table_schema_->num_fields()), -1);
    const auto reports = ReportColumns();
    if (!reports.ok()) return;
    for (const columns::ColumnReport& report : *reports) {
      if (report.column >= table_schema_->num_fields()) continue;  // Of attributes.
      if (arrow::is_nested(table_schema_->field(report.column)->type()->storage_id())) continue;  // It tells of items.
      distinct_values_[static_cast<size_t>(report.column)] = report.analysis.cardinality;
    }
  });
  return distinct_values_[static_cast<size_t>(column)];
}

}  // namespace sheaf::parts
