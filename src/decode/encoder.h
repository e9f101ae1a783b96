/// Record batches back to OTLP: the inverse of decoder.h, lossless.

#pragma once

#include <cstddef>
#include <limits>
#include <string>

#include <arrow/record_batch.h>

#include "core/status.h"
#include "decode/schemas.h"

namespace sheaf::decode {

/// Appends to `out` an Export{Trace,Logs,Metrics}ServiceRequest with the rows of `batch`, in order. Neighbours
/// with the same resource, scope (and metric) share one message. `batch` has SignalSchema(signal).
/// Errors: Invalid (a column holds what no decoder writes), TooLarge (`out` would grow beyond `bytes_max`, as it can: every row
/// has its own copy of what a dictionary holds once; `out` then holds a part of the rows).
Status EncodeRequest(Signal signal, const arrow::RecordBatch& batch, std::string* out,
                     size_t bytes_max = std::numeric_limits<size_t>::max());

}  // namespace sheaf::decode
