/// Marks the scans that comparisons of an id, or of a whole PRIMARY KEY, with constants leave few rows of (ScanBind::few_rows), before
/// DuckDB optimises.
///
/// DuckDB makes narrow what it sorts, joins or groups where it knows a column's range: two projections of all columns and a
/// function for each narrowed one, well spent on a million rows. A scan with the mark tells no ranges.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

void MarkLookUps(duckdb::LogicalOperator* plan);

}  // namespace sheaf::query
