/// ORDER BY that sorts up to one vector of rows (2,048) in place and hands more of them to DuckDB's own sort.
///
/// DuckDB's sort is made for many rows: binding its key functions, the layouts of its rows, its runs and merge take about 2 ms
/// for a table of 27 columns, whether a million rows come or ten. The spans of a trace are ten to a thousand.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

/// Replaces each ORDER BY in `plan`. To be run after DuckDB's optimizers, which know nothing of the replacement.
void ReplaceOrders(duckdb::unique_ptr<duckdb::LogicalOperator>* plan);

}  // namespace sheaf::query
