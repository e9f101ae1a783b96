/// Record batches back to OTLP: the inverse of decoder.h, lossless.

#pragma once

#include <cstdint>
#include <string>

#include <arrow/record_batch.h>

#include "core/status.h"
#include "decode/schemas.h"

namespace sheaf::decode {

/// Appends to `out` an Export{Trace,Logs,Metrics}ServiceRequest with the rows of `batch`, in order. Neighbours
/// with the same resource, scope (and metric) share one message. `batch` has SignalSchema(signal).
/// Error: Invalid (a column holds what no decoder writes).
Status EncodeRequest(Signal signal, const arrow::RecordBatch& batch, std::string* out);

}  // namespace sheaf::decode
