/// Changes the trace states of spans, a batch at a time, also in spans that are kept as they were sent (`original`,
/// decode/schemas.h).

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "core/status.h"

namespace sheaf::serve {

/// Appends to `changed`, which is empty, what the trace state of span `row` becomes; false: it stays.
using ChangeTraceState = std::function<bool(int64_t row, std::string_view trace_state, std::string* changed)>;

/// Returns `spans`, a batch of otel.traces, with other trace states; all other columns share its memory. Error: OutOfMemory.
Result<std::shared_ptr<arrow::RecordBatch>> ChangeTraceStates(const std::shared_ptr<arrow::RecordBatch>& spans,
                                                              const ChangeTraceState& change, arrow::MemoryPool* pool);

}  // namespace sheaf::serve
