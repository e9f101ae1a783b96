/// Which rows of a column have the same value: the numbers by which rows of a trace are brought together when a part is sealed.

#pragma once

#include <cstdint>

#include "columns/column_union.h"
#include "columns/uninitialized.h"
#include "core/status.h"

namespace sheaf::columns {

/// What a row's group is: sums, counts and the like of a group go into an array by these numbers.
struct RowGroups {
  UninitializedVector<uint32_t> of_row;  // From 1 on, in order of first sight; 0 for NULL.
  uint32_t groups = 0;                   // Distinct values, NULL not counted.
};

/// Groups all rows by value. Values of 8 and 16 bytes (ids, numbers, times) cost one cache miss each, and those of several rows
/// overlap; others go through a dictionary. The hash is seeded per process: who sends values cannot choose which ones collide.
/// -0 and 0 are two values, as are NaNs of different bits. Takes 8 to 16 bytes a row, and 32 to 96 a group where that is more.
/// Error: Unsupported (lists, structs and the like).
Result<RowGroups> GroupRows(const ColumnUnion& column, int64_t rows);

}  // namespace sheaf::columns
