/// How many records an OTLP export request holds, without decoding them: a walk over its outer messages.

#pragma once

#include <cstdint>
#include <string_view>

#include "core/status.h"
#include "wire/otlp_json.h"

namespace sheaf::wire {

/// "traces", "logs" or "metrics".
const char* OtlpSignalName(OtlpRequest kind);

/// Returns the spans, log records or data points of `request`, in protobuf. What lies inside a record is not looked at.
/// Error: Invalid (the outer messages are not protobuf; the offset is named).
Result<int64_t> CountOtlpRecords(OtlpRequest kind, std::string_view request);

}  // namespace sheaf::wire
