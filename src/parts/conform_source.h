/// Rows that were written under an older version of a table's schema, seen under the current one: columns that were renamed or
/// moved are found again, those added since are filled, widened ones cast, dropped ones left out. Pure: nothing is
/// rewritten; compaction reads through the same and so writes the current version.

#pragma once

#include <memory>
#include <vector>

#include <arrow/scalar.h>
#include <arrow/type.h>

#include "columns/granules.h"
#include "core/status.h"

namespace sheaf::parts {

/// Metadata key of a field: a number that stays with a column when it is renamed, and is given to no other.
inline constexpr const char* kColumnIdKey = "sheaf.column_id";

/// Whether every value of `from` is one of `to`, exactly: integers to wider ones, to double (up to 32 bits) and to decimals with enough
/// digits; float to double; decimals to more digits; text and binary to their large kinds. False for equal types.
bool CanWiden(const arrow::DataType& from, const arrow::DataType& to);

/// Returns `source` as if it had been written under `schema`, or itself where it was. A field finds its column by kColumnIdKey;
/// one without it (hidden columns) by name. `fills`, one a field of `schema`, perhaps shorter: values of columns that the source does
/// not have, by default NULL: the default that the column had when it was added, since rows that were there keep it.
/// Zones and filters go along where they stay true. Read() may fail with OutOfMemory too. Immutable and thread-safe as the source is.
/// Errors: Unsupported (a change of type that CanWiden() denies; names the column), Invalid (no fill for a column without NULLs).
Result<std::shared_ptr<const columns::GranuleSource>> ConformSource(std::shared_ptr<const columns::GranuleSource> source,
                                                                    std::shared_ptr<arrow::Schema> schema,
                                                                    const std::vector<std::shared_ptr<arrow::Scalar>>& fills);

}  // namespace sheaf::parts
