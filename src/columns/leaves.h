/// The leaves of columns: what is left of lists, structs and maps once they are taken apart, as Parquet stores them. A column
/// that is not nested is its own only leaf.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::columns {

struct Leaf {
  int column = -1;                        // Position in the schema.
  std::string path;                       // Names from the column down, without those of list items: "events.attributes.key".
  std::shared_ptr<arrow::DataType> type;  // Of an extension, what it is stored as.
};

/// In the order of the columns, and inside of each depth first.
std::vector<Leaf> LeavesOf(const arrow::Schema& schema);

/// Calls `visit` for each leaf of a column, in the order of LeavesOf(), with the values that its rows use: those of lists have as
/// many as the lists have items. Lists that are NULL have no items, structs that are NULL have what stands in their place.
/// Errors: Corruption (offsets of a list outside of its items), those of `visit`.
Status EachLeaf(const std::shared_ptr<arrow::ArrayData>& data, const std::function<Status(const arrow::ArrayData&)>& visit);

}  // namespace sheaf::columns
