/// OTLP/JSON to OTLP/protobuf, so that one decoder serves both; and back, for the command line and tests.
///
/// The mapping is that of the OTLP specification: names in lowerCamelCase (snake_case is read too), trace and span ids as hex,
/// 64-bit numbers as text, enums as numbers (names are read too), `bytesValue` as base64. Both directions follow the tables of
/// otlp_schema.h. Thread-safe; nothing is kept between calls.

#pragma once

#include <string>
#include <string_view>

#include "core/status.h"

namespace sheaf::wire {

enum class OtlpRequest { kTraces, kLogs, kMetrics };

/// Messages inside messages that a request may hold, the request itself counted; libprotobuf's own limit.
inline constexpr int kOtlpNestingMax = 100;

/// Appends the protobuf bytes of the export request in `json`.
///
/// Read leniently: null means absent, unknown fields are ignored (but must be JSON), whole numbers may be text, integers or
/// floats without a fraction (1e3), doubles may be "NaN", "Infinity" and "-Infinity", base64 may be of either alphabet.
/// Errors: Invalid (not JSON, or not of this shape, a field or oneof given twice; the message names the path, such as
/// resourceSpans[0].scopeSpans[1].spans[2].kind), TooLarge (nested deeper than kOtlpNestingMax). `out` is untouched then.
Status OtlpJsonToProtobuf(OtlpRequest kind, std::string_view json, std::string* out);

/// Appends the OTLP/JSON text of the export request in `protobuf`. Fields that OTLP does not define, and those of another wire
/// type, are left out; text that is not UTF-8 is repaired with U+FFFD; everything else survives the way there and back.
/// Errors: Invalid (not protobuf; names the message), TooLarge (nesting). `out` is untouched then.
Status OtlpProtobufToJson(OtlpRequest kind, std::string_view protobuf, std::string* out);

}  // namespace sheaf::wire
