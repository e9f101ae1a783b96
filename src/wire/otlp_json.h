/// OTLP/JSON to OTLP/protobuf, so that one decoder serves both.

#pragma once

#include <string>
#include <string_view>

#include "core/status.h"

namespace sheaf::wire {

enum class OtlpRequest { kTraces, kLogs, kMetrics };

/// Appends the protobuf bytes of the export request in `json`. Ids are hex, 64-bit numbers text or
/// number, enums names or numbers, unknown fields ignored, bytes base64.
/// Errors: Invalid (not JSON, or not of this shape; says where), TooLarge (nesting over the limit).
Status OtlpJsonToProtobuf(OtlpRequest kind, std::string_view json, std::string* out);
/// Appends the response ({"partialSuccess":…}) or google.rpc.Status for a protobuf one as JSON is in serve.

}  // namespace sheaf::wire
