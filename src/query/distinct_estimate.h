/// How many values of a column differ in a whole table, by what its parts counted: for the order of joins and the rows that an equality
/// leaves.

#pragma once

#include <cstdint>

#include "store/database.h"

namespace sheaf::query {

/// How many values differ among `rows` that are drawn like the `counted_rows` of which `counted` differ: from a stock where each value is
/// as likely as any other. Requires: 0 < counted <= counted_rows.
int64_t ScaleDistinct(int64_t counted, int64_t counted_rows, int64_t rows);

/// An estimate for column `physical` of all of the table's rows; -1: no part has counted them, as where all is still in memory.
int64_t EstimateDistinct(const store::TableSnapshot& table, int physical);

}  // namespace sheaf::query
