/// CBOR (RFC 8949) to OTLP: how OTel-Arrow sends attribute values that are maps or slices.

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

}  // namespace sheaf::decode
