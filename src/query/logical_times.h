/// Values of DuckDB's types of time as microseconds since 1970.

#pragma once

#include <cstdint>
#include <limits>

#include "query/duckdb_headers.h"

namespace sheaf::query {

/// NULL, an infinite time, or a value of another type.
inline constexpr int64_t kNoTime = std::numeric_limits<int64_t>::min();

bool IsTime(const duckdb::LogicalType& type);

/// Of a flat vector of DATE, or of TIMESTAMP of any unit, with or without a zone; nanoseconds are cut off.
int64_t MicrosOf(const duckdb::Vector& times, duckdb::idx_t row);

}  // namespace sheaf::query
