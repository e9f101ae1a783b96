/// What a server says to an OTLP export request that it took.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/status.h"

namespace sheaf::client {

/// What the server said of one request.
struct ExportResult {
  int64_t rejected = 0;  // Spans, log records or data points.
  std::string message;   // Why; empty where all was taken.
};

/// Reads an Export…ServiceResponse, of whatever signal. Error: Invalid.
Result<ExportResult> ReadOtlpResponse(std::string_view bytes);

}  // namespace sheaf::client
