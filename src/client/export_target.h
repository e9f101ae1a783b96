/// Where an exporter sends: OTLP over gRPC or HTTP, or OTel-Arrow. Each Send() is one attempt; when to try again is the exporter's affair.

#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "client/grpc_client.h"
#include "core/status.h"
#include "wire/otlp_json.h"

namespace sheaf::client {

/// One export request, in protobuf.
struct ExportRequest {
  wire::OtlpRequest kind = wire::OtlpRequest::kTraces;
  int64_t rows = 0;
  std::string_view bytes;
};

/// What became of an attempt.
enum class ExportVerdict {
  kTaken,     // Perhaps without some records: ExportAnswer::rejected.
  kLater,     // Not taken; the same may go well later.
  kHeld,      // Not taken, for a reason that lies with the target, not with the request: credentials. As kLater.
  kLost,      // The answer is lost: it may have been taken. Sent again, it may be there twice; OTLP has no way to tell.
  kRefused,   // Never will be taken.
  kTooLarge,  // In smaller pieces, perhaps.
  kCancelled, // By Cancel(); as kLost.
};

struct ExportAnswer {
  ExportVerdict verdict = ExportVerdict::kTaken;
  int64_t rejected = 0;                                    // Spans, log records or data points.
  std::string message;                                     // Why, for people; empty where all was taken.
  std::optional<std::chrono::milliseconds> retry_after;    // What the server asks for.
  int64_t sent_bytes = 0;                                  // After compression.
  int64_t inexact = 0;                                     // Rows that were taken, of which the protocol could not say all.
};

/// Thread-safe: several requests may be under way.
class ExportTarget {
 public:
  virtual ~ExportTarget() = default;
  /// Waits for the answer, the time-out or Cancel().
  virtual ExportAnswer Send(const ExportRequest& request) = 0;
  /// Rows of one request; what has more is kTooLarge.
  virtual int64_t rows_max() const { return std::numeric_limits<int64_t>::max(); }
  /// Ends what is under way; later calls end at once.
  virtual void Cancel() = 0;
};

struct ExportTargetOptions {
  wire::Encoding compression = wire::Encoding::kGzip;  // Identity, gzip or zstd.
  std::chrono::milliseconds connect_timeout{5'000}, timeout{30'000};
  TlsOptions tls;
  GrpcMetadata headers;                                // Sent with every request, such as authorization. As CheckRequestHeaders() allows.
  bool metric_metadata = false;                        // OTel-Arrow: sends it, as OtapEncoderOptions says.
};

/// Opens the target of an address: grpc://HOST:4317, grpcs:// with TLS, http://HOST:4318[/PATH] or https://; otap://HOST:4317 or
/// otap+tls:// for OTel-Arrow. Connects with the first request. Credentials that would go over the network in
/// clear are warned of. Errors: Invalid (no such address; a header), Unsupported (flight://: the server's tables of
/// telemetry take no rows by it), Io (certificates).
Result<std::unique_ptr<ExportTarget>> MakeExportTarget(std::string_view address, const ExportTargetOptions& options);

/// What OTLP makes of the end of an Export call, and of an HTTP status.
ExportAnswer AnswerOfGrpc(const GrpcEnd& end);
ExportVerdict VerdictOfHttp(int status);

}  // namespace sheaf::client
