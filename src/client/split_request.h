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

struct SplitParts {
  std::vector<RequestPiece> pieces;
  int64_t rejected = 0;  // Rows that cannot be decoded, and are in no piece…
  std::string reason;    // …and why.
};

/// Cuts `request` in two or more with about as many rows each; only what they share is repeated. Decodes and encodes it, so this is for
/// the rare case. One piece only where all rows but one are rejected. Errors: Invalid (not OTLP; only one row; no row is sound), TooLarge
/// (a piece), those of decode.
Result<SplitParts> SplitRequest(wire::OtlpRequest kind, std::string_view request);

}  // namespace sheaf::client
