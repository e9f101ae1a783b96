/// The side of libprotobuf: rows to message objects, and what a reader of those objects gets.

#pragma once

#include <cstdint>
#include <string>

#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"
#include "spans.h"

namespace sheaf::bench {

using OtlpRequest = opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;

/// Adds the rows to `request`, which may live on an arena.
void BuildRequest(const RequestRows& rows, OtlpRequest* request);

/// A number over all values of all spans, equal to DigestColumns() of the same spans: proof that both sides read the same.
uint64_t DigestObjects(const OtlpRequest& request);

}  // namespace sheaf::bench
