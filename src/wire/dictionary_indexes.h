/// Indexes of dictionaries in batches that come from strangers.

#pragma once

#include <memory>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "core/status.h"

namespace sheaf::wire {

/// The batch with 0 in place of whatever the slots of NULLs have as their index, at every depth: neither the format nor
/// ValidateFull() bounds those, and code that is fast reads indexes before it asks what is NULL. Copies only index buffers of
/// arrays with NULLs, into memory of `pool`. Requires: ValidateFull() passed. Errors: OutOfMemory.
Result<std::shared_ptr<arrow::RecordBatch>> ZeroNullIndexes(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                            arrow::MemoryPool* pool);

}  // namespace sheaf::wire
