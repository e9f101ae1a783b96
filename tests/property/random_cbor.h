/// AnyValue as CBOR, in any of the ways that RFC 8949 allows to write it.

#pragma once

#include <string>

#include "opentelemetry/proto/common/v1/common.pb.h"
#include "property/random_otlp.h"

namespace sheaf::property {

/// Appends `value` to `out`: lengths definite or not, numbers longer than need be, strings in pieces, doubles as floats where
/// they are exact. kBadText is sent as kBadBytes.
void AppendCbor(const opentelemetry::proto::common::v1::AnyValue& value, Random* random, std::string* out);

}  // namespace sheaf::property
