/// What is told of a statement that ended: metrics, and a line in the log where it was slow.

#pragma once

#include <cstdint>

#include "query/query_log.h"

namespace sheaf::query {

/// Counts the statement. From `slow_ms` of work on it is written to the log as `query.slow`; 0: none is. Thread-safe.
void ReportStatement(const LoggedQuery& query, int64_t slow_ms);

}  // namespace sheaf::query
