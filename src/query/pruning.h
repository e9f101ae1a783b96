/// Which sources and granules a pushed filter rules out by their statistics, before any data is read.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "columns/granules.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// How many rows of a zone pass a filter, as far as the zone tells.
enum class Passing { kNone, kPerhapsSome, kAll };

/// Of the rows within `zone`, by `filter`, a filter on a column of SQL type `type`.
Passing PassingOfZone(const duckdb::TableFilter& filter, const duckdb::LogicalType& type, const columns::Zone& zone, int64_t rows);

/// Whether no row within `zone` can pass `filter`.
inline bool ZoneRulesOut(const duckdb::TableFilter& filter, const duckdb::LogicalType& type, const columns::Zone& zone, int64_t rows) {
  return PassingOfZone(filter, type, zone, rows) == Passing::kNone;
}

/// Statistics that hold `zone`; nothing where the zone says nothing about the type.
std::optional<duckdb::BaseStatistics> ZoneStatistics(const duckdb::LogicalType& type, const columns::Zone& zone, int64_t rows);

/// The values of which a row that passes `filter` must equal one, as stored bytes (see FindGranules());
/// nothing where the filter implies no such list or one longer than `values_max`.
std::optional<std::vector<std::string>> ImpliedKeys(const duckdb::TableFilter& filter, size_t values_max);

/// The same as SQL values, NULLs included. A value may come twice.
std::optional<std::vector<duckdb::Value>> ImpliedValues(const duckdb::TableFilter& filter, size_t values_max);

}  // namespace sheaf::query
