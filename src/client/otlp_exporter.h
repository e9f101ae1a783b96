/// Sends OTLP export requests over HTTP, as the specification asks of a well-behaved client.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "client/http_client.h"
#include "client/otlp_response.h"

namespace sheaf::client {

enum class OtlpSignal { kTraces, kLogs, kMetrics };

/// Not thread-safe.
class OtlpExporter {
 public:
  explicit OtlpExporter(std::unique_ptr<HttpClient> client) : client_(std::move(client)) {}

  /// Sends the protobuf bytes of an export request, with gzip. Retries overload and lost connections,
  /// so that the server may get a request twice where an answer was lost.
  /// Errors: those of HttpClient, and the server's: Invalid (400), TooLarge (413), Throttled (429),
  /// Unavailable (5xx), with its message.
  Result<ExportResult> Export(OtlpSignal signal, std::string_view request);

  /// Bytes sent, after compression.
  int64_t sent_bytes() const { return sent_bytes_; }

 private:
  std::unique_ptr<HttpClient> client_;
  int64_t sent_bytes_ = 0;
};

/// Makes the error that an HTTP answer other than 2xx stands for.
Status ErrorOfResponse(const HttpResponse& response);

}  // namespace sheaf::client
