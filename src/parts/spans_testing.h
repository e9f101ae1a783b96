/// Made-up but plausible spans in the physical schema of otel.traces, for tests and benchmarks of parts.

#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "parts/part.h"

namespace sheaf::parts {

/// Layout of otel.traces: traces together, filters on ids, service and name.
Layout SpanLayout();

/// `batches` batches of `batch_rows` spans each: about ten spans a trace, interleaved as requests arrive, twelve
/// services, six attributes a span, some events and links. The same seed gives the same spans.
std::vector<std::shared_ptr<arrow::RecordBatch>> MakeSpans(uint64_t seed, int batches, int64_t batch_rows);

}  // namespace sheaf::parts
