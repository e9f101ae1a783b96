/// Which plans give the same answer as long as the tables they read stay the same.

#pragma once

#include <optional>
#include <vector>

#include "query/duckdb_headers.h"
#include "query/result_cache.h"

namespace sheaf::query {

/// The tables that a bound plan reads, after MarkLookUps() and before DuckDB's passes; nothing where its answer depends on others: on
/// functions that are not repeatable, on system tables, on the catalog. Nothing for look-ups as well, which are as fast as the cache.
std::optional<std::vector<TableState>> ReadsOfRepeatable(duckdb::LogicalOperator* plan);

}  // namespace sheaf::query
