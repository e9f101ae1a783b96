/// Filters that let only rows with some ids pass (`= id`, `IN (…)`, the keys that a join brings): a scan finds those rows by
/// their stored bytes, before it makes values of anything, and reads the other columns for them only.

#pragma once

#include <optional>
#include <vector>

#include "columns/id_search.h"
#include "query/granule_plan.h"

namespace sheaf::query {

/// Every row that passes holds one of the ids in the column of filter number `filter`.
struct WantedIds {
  size_t filter = 0;
  columns::IdSearch search;
};

/// The filter with the fewest ids; nothing where none names ids of a column that can be searched.
std::optional<WantedIds> FindWantedIds(const std::vector<PushedFilter>& filters, const GranulePlan& plan,
                                       const arrow::Schema& schema);

}  // namespace sheaf::query
