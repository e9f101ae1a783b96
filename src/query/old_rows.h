/// Rows read again by the row numbers that a scan of the same statement gave out.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/record_batch.h>

#include "core/status.h"
#include "query/store_transaction.h"

namespace sheaf::query {

/// The given columns of the rows, in the order of the row numbers. `table` is the transaction's. Errors: Corruption, Io, OutOfMemory.
Result<std::shared_ptr<arrow::RecordBatch>> ReadRows(const StoreTransaction& transaction, const store::TableSnapshot& table,
                                                     const std::vector<int64_t>& row_numbers, const std::vector<int>& columns);

}  // namespace sheaf::query
