#include "query/distinct_estimate.h"

#include <algorithm>
#include <cmath>

#include "columns/column_report.h"

namespace sheaf::query {

int64_t ScaleDistinct(int64_t counted, int64_t counted_rows, int64_t rows) {
  if (rows <= counted_rows) return std::min(counted, rows);
  // Of a stock of S values, n draws see S (1 - e^(-n / S)), which grows with S towards n: halve until that is what was counted.
  const auto seen = [](double stock, double draws) { return stock * -std::expm1(-draws / stock); };
  const auto all = static_cast<double>(counted), draws = static_cast<double>(counted_rows);
  if (all >= draws * 0.999) return rows;  // No value came twice, but for the counter's error.
  double low = all, high = all;
  while (seen(high, draws) < all) high *= 2;
  for (int i = 0; i < 30; ++i) {
    const double middle = (low + high) / 2;
    (seen(middle, draws) < all ? low : high) = middle;
  }
  return std::clamp(std::llround(seen(high, static_cast<double>(rows))), static_cast<long long>(counted), static_cast<long long>(rows));
}

int64_t EstimateDistinct(const store::TableSnapshot& table, int physical) {
  int64_t counted = -1, counted_rows = 0, rows = 0;
  for (const auto& view : table.sources) {
    rows += view.source->rows();
    if (view.source->rows() <= counted_rows) continue;  // The largest part tells most.
    const auto* reports = dynamic_cast<const columns::ColumnReportSource*>(view.source.get());
    const int64_t here = reports == nullptr ? -1 : reports->DistinctValues(physical);
    if (here < 0) continue;
    counted = here;
    counted_rows = view.source->rows();
  }
  return counted <= 0 ? -1 : ScaleDistinct(std::min(counted, counted_rows), counted_rows, rows);
}

}  // namespace sheaf::query
