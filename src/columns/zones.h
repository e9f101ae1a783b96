/// Zone maps: the range of a column's values, small enough to keep for every granule.

#pragma once

#include <cstddef>

#include <arrow/array/data.h>

#include "columns/granules.h"
#include "core/status.h"

namespace sheaf::columns {

/// Bytes of a text bound that are kept; a longer upper bound is cut and rounded up, a lower one cut.
inline constexpr size_t kZoneBytesMax = 48;

/// Returns the zone of an array. Kinds: integers, dates, times, durations, bool (0, 1) and decimals whose
/// unscaled bounds fit 64 bits are kInt64, unsigned integers kUint64, floats kDouble, text, binary and ids
/// kBytes; a dictionary array has the zone of the values in use. Other types, arrays without a value and
/// of nothing but NaN have kNone, with counts of NULLs all the same.
/// Error: Corruption (an index outside its dictionary).
Result<Zone> ComputeZone(const arrow::ArrayData& data);

/// Widens `zone` by `other` (of the same column). Kind kNone on a side that has values makes the result kNone:
/// `zone_rows` and `other_rows` tell it apart from a side of NULLs only.
void MergeZone(const Zone& other, int64_t other_rows, int64_t zone_rows, Zone* zone);

}  // namespace sheaf::columns
