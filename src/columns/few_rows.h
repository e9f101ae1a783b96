/// Sources that can bring a few rows of a granule for less than the whole costs.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <arrow/record_batch.h>

#include "core/status.h"

namespace sheaf::columns {

/// What a GranuleSource may be besides. Thread-safe as that is.
class FewRowsSource {
 public:
  virtual ~FewRowsSource() = default;

  /// GranuleSource::Read(), but only `rows` (positions in the granule, rising) of the batch may be looked at: damage of the others
  /// is not found, and what stands there is anything. Counting a column's NULLs is allowed.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> ReadRows(int granule, const std::vector<int>& columns,
                                                               std::span<const int64_t> rows) const = 0;
};

}  // namespace sheaf::columns
