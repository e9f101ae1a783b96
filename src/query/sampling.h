/// SQL's view of consistent probability sampling (columns/sampler.h, columns/trace_state.h):
///   is_sampled(trace_id, probability)        whether a sampler of OpenTelemetry with that probability keeps the trace;
///   sampling_threshold(trace_state)          the threshold that samplers noted, or NULL;
///   sampling_adjusted_count(trace_state)     how many spans such a span stands for; one where no sampler noted anything.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

void RegisterSampling(duckdb::ExtensionLoader* loader);

}  // namespace sheaf::query
