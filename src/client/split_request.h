/// An OTLP request in smaller pieces, for servers that find it too large.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "wire/otlp_json.h"

namespace sheaf::client {

struct RequestPiece {
  int64_t rows = 0;
  std::string bytes;
};

/// Cuts `request` in two or more with about as many rows each; nothing of them is lost, only what they share is repeated. Decodes
/// and encodes it, so this is for the rare case. Errors: Invalid (not OTLP; only one row), those of decode.
Result<std::vector<RequestPiece>> SplitRequest(wire::OtlpRequest kind, std::string_view request);

}  // namespace sheaf::client
