/// Values as unsigned numbers that sort as the values do, and sorting by such numbers. For row_order.cc.

#pragma once

#include <cstdint>
#include <vector>

#include "columns/column_union.h"
#include "core/status.h"

namespace sheaf::columns {

/// One number a row.
using Keys = std::vector<uint64_t>;

/// A column as numbers: words[0] counts most. None at all where all rows are equal.
struct KeyWords {
  std::vector<Keys> words;
};
/// NULLs come first; text and bytes compare bytewise, NaN after all other numbers.
/// Error: Unsupported (lists, structs and the like have no order).
Result<KeyWords> KeysOf(const ColumnUnion& column, int64_t rows);

/// The same as one number a row. Of values that take several words (ids, decimals) only the last is taken.
Result<Keys> OneWord(const ColumnUnion& column, int64_t rows);

/// Sorts `order` by keys[row], keeping equal rows in order: least digit first, only as many digits as the
/// keys' spread needs, nothing at all where they are in order already.
void StableSortBy(const Keys& keys, std::vector<uint32_t>* order);

}  // namespace sheaf::columns
