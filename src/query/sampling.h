/// is_sampled(trace_id, probability): whether a consistent probability sampler of OpenTelemetry with that probability keeps the trace.
/// The randomness of a trace is the low 56 bits of its id; it is kept where that is at least the threshold, (1 - probability) * 2^56.
/// A trace that is kept at one probability is kept at every higher one.

#pragma once

#include <cstdint>

#include "query/duckdb_headers.h"

namespace sheaf::query {

/// From 0 (keep all) to 2^56 (keep none), to the nearest; `probability` is from 0 to 1.
uint64_t RejectionThreshold(double probability);

void RegisterSampling(duckdb::ExtensionLoader* loader);

}  // namespace sheaf::query
