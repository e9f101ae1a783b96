/// time_bucket() and date_trunc() of TIMESTAMP_NS, as all our times are. DuckDB has both for microseconds only, so a statement
/// casts each time, divides it twice and, where it wants nanoseconds again, casts the answer, a fifth to a third of what an
/// analysis by time takes.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

/// Replaces calls of the two by a constant width of weeks or less, over a cast from TIMESTAMP_NS, by one function without the
/// casts. The answers stay the same, their types and errors too. For plans after DuckDB's optimizers, which make constants of
/// intervals.
void RewriteTimeBuckets(duckdb::LogicalOperator* plan);

}  // namespace sheaf::query
