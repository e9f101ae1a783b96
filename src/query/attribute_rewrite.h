/// Turns attributes['key'] with a constant key into a column of its own before DuckDB optimises: the scan
/// then reads that one value instead of building the whole map, and filters on it are pushed down.
///
/// Covers references that reach the scan directly or through projections (sub-selects, views, CTEs that
/// are inlined). Elsewhere (behind aggregates, UNION, DISTINCT) the map is built: slower, same answer.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

/// Rewrites `plan` in place.
void RewriteAttributeAccess(duckdb::LogicalOperator* plan);

}  // namespace sheaf::query
