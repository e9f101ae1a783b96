/// The order in which rows lie in a part. Results are row numbers of a RowUnion; equal rows keep theirs.

#pragma once

#include <cstdint>
#include <vector>

#include "columns/row_union.h"
#include "core/status.h"

namespace sheaf::columns {

/// Sorts by the columns, the first counting most, ascending, NULLs first. Text and bytes compare bytewise,
/// NaN after all other numbers. Works on up to `threads` threads. Error: Unsupported (lists, structs and the like have no order).
Result<std::vector<uint32_t>> SortRows(const RowUnion& rows, const std::vector<int>& columns, int threads = 1);

/// Which columns make a trace, as positions in the schema.
struct TraceColumns {
  int trace = -1;    // Id, binary of any width.
  int parent = -1;   // NULL at a root.
  int service = -1;  // Text.
  int time = -1;     // Start.
};

/// Keeps the spans of each trace together, by time. Traces come by the service of their root (a span
/// without parent, the earliest of several; where there is none the earliest span), then by their first
/// start, then in order of first sight. So a trace lies in one granule, or two at a border, and a
/// service's traces lie together.
Result<std::vector<uint32_t>> SortTraces(const RowUnion& rows, const TraceColumns& columns);

}  // namespace sheaf::columns
