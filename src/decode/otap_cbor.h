/// CBOR (RFC 8949) to OTLP and back: how OTel-Arrow sends attribute values that are maps or slices.

#pragma once

#include <string>
#include <string_view>

#include "core/status.h"
#include "decode/attributes.h"

namespace sheaf::decode {

/// Appends to `out` the OTLP bytes of an ArrayValue or a KeyValueList (`type`), read from `cbor`; lengths may be definite or not,
/// and nothing at all is the empty value. `depth_max` is the nesting of AnyValue that is taken, as in Limits. Errors: Invalid
/// (cut off, not of that type, bytes after the value, keys that are not text, integers beyond 64 bits signed, tags: OTLP has no
/// such values), TooLarge (nested too deeply).
Status CborToOtlp(ValueType type, std::string_view cbor, int depth_max, std::string* out);

/// Appends to `cbor` the ArrayValue or KeyValueList (`type`) whose OTLP bytes these are, with arrays and
/// maps of indefinite length, which is how the Go library writes them. Sets `*exact` to false where CBOR says less: text that is
/// not UTF-8, which is repaired, and fields of OTLP that OTel-Arrow has no word for; else leaves it. Errors: Invalid (not
/// protobuf, or nested deeper than any decoder lets through).
Status OtlpToCbor(ValueType type, std::string_view bytes, std::string* cbor, bool* exact);

}  // namespace sheaf::decode
