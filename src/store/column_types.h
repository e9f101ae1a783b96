/// What types columns can have, and which may take the place of another.

#pragma once

#include <memory>
#include <string>

#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::store {

/// Deepest nesting of lists, structs and maps.
inline constexpr int kTypeDepthMax = 32;
/// Most elements of a list of fixed size.
inline constexpr int kFixedListSizeMax = 100'000;
inline constexpr int kStructFieldsMax = 2000;

/// Whether a column of `type` can be stored, sealed and read back. Error: Unsupported (names the column and a type to take
/// instead).
Status CheckColumnType(const std::string& column, const arrow::DataType& type);

/// Whether values of the type have an order, so that rows can be sorted by them.
bool CanSort(const arrow::DataType& type);

/// Whether `to` holds every value of `from`, as ALTER allows it: the same type, integers to wider ones of the same sort, float to
/// double, a decimal to one with as many digits before and behind the point.
bool IsWidening(const arrow::DataType& from, const arrow::DataType& to);

/// Whether both are lists of a fixed size that differ in the size alone: possible while a table has no rows.
bool IsResize(const arrow::DataType& from, const arrow::DataType& to);

}  // namespace sheaf::store
