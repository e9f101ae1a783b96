/// Marks the scans that a comparison of an id with a constant leaves few rows of (ScanBind::few_rows), before DuckDB optimises.
///
/// DuckDB makes narrow what it sorts, joins or groups where it knows a column's range: two projections of all columns and a
/// function for each narrowed one, well spent on a million rows. A scan with the mark tells no ranges.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

void MarkLookUps(duckdb::LogicalOperator* plan);

}  // namespace sheaf::query
