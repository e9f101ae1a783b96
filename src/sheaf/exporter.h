/// Sends telemetry (OpenTelemetry's traces, logs and metrics) to a server, and does not lose it.
///
///     auto exporter = sheaf::Exporter::Open("grpc://collector:4317", {.queue_directory = "queue"}).ValueOrDie();
///     exporter->Export(sheaf::TelemetrySignal::kTraces, request);           // On disk when this returns.
///     exporter->Stop(std::chrono::seconds(10));                             // What is left is sent by the next one.
///
/// Requests are joined into batches, sent from a bounded queue that is durable where it has a directory, and sent again for as long as
/// it takes. Only Arrow and the standard library are needed to compile against this header. No exception leaves it.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arrow/result.h>
#include <arrow/status.h>

#include "sheaf/database.h"

namespace sheaf {

struct ExportOptions {
  std::string queue_directory = {};                           // Of this exporter alone. Empty: the queue is in memory only.
  int64_t queue_bytes_max = int64_t{1} << 30;                 // Undelivered; beyond, Export() fails with throttled.
  int64_t memory_bytes_max = int64_t{64} << 20;               // Of those, in memory; without a directory the smaller counts.
  int64_t batch_rows_max = 8192;                              // Spans, log records or data points sent together…
  int64_t batch_bytes_max = int64_t{2} << 20;                 // …and bytes, before compression.
  std::chrono::milliseconds wait_max{200};                    // That a request waits for others; less where that gains nothing.
  std::chrono::milliseconds latency_target{500};              // From Export() to the server's answer, which bounds that wait too.
  std::chrono::milliseconds timeout{30'000};                  // Of one attempt.
  int senders = 4;                                            // Batches under way at once, 1 to 64.
  std::string compression = "gzip";                           // Or "zstd", "none".
  std::vector<std::pair<std::string, std::string>> headers = {};  // Sent with every request, such as {"authorization", "Bearer …"}.
  std::string ca_file = {};                                   // PEM; empty: the system's certificates.
  std::string certificate_file = {}, key_file = {};           // PEM; for servers that ask clients for a certificate.
};

enum class TelemetrySignal { kTraces, kLogs, kMetrics };

/// How a request is written: an Export…ServiceRequest of OTLP.
enum class TelemetryFormat { kProtobuf, kJson };

/// Figures since the start. Rows are spans, log records or data points.
struct ExportFigures {
  int64_t queued_requests = 0, queued_rows = 0, queued_bytes = 0;
  int64_t oldest_age_ms = 0;        // Of what is queued.
  int64_t sent_rows = 0;            // The server took them.
  int64_t rejected_rows = 0;        // Left out by the server, which took the rest of their request.
  int64_t refused_rows = 0;         // Of requests that the server will never take; logged.
  int64_t unreadable_rows = 0;      // Given up, since the queue is damaged on disk; logged.
  int64_t dropped_rows = 0;         // Left in a queue without a directory at the end.
  int64_t perhaps_twice_rows = 0;   // Sent again after their answer was lost: OTLP cannot tell whether they are there twice.
  int64_t retries = 0;
  std::string last_error = {};      // Of the last attempt, where it failed.
};

/// Thread-safe. What an error is, in one word: ErrorCode().
class SHEAF_API Exporter {
 public:
  /// Opens the queue, and begins to send what it holds of an earlier life. `address`: grpc://HOST[:4317], grpcs:// (TLS),
  /// http://HOST[:4318][/PATH], https://, otap://HOST[:4317] (OTel-Arrow), otap+tls://. Connects by and by.
  /// Errors: invalid (address, options, headers), unavailable (another process has the queue), corruption, unsupported, io.
  static arrow::Result<std::shared_ptr<Exporter>> Open(const std::string& address, const ExportOptions& options = {});
  /// Stops at once; what is queued on disk stays there.
  ~Exporter();
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  /// Queues a request; returns once it is in the queue, and on disk where that has a directory.
  /// Errors: invalid (no such request), throttled (the queue is full: try again later), too_large, unavailable (stopped; the disk is full
  /// or failed), unknown (a sync failed: it may be sent or not).
  arrow::Status Export(TelemetrySignal signal, std::string_view request, TelemetryFormat format = TelemetryFormat::kProtobuf);

  /// The same without waiting: `done` is told how it went, on another thread or before this returns; it must be short.
  /// Errors without `done`: as above, but for unknown.
  using ExportDone = std::function<void(arrow::Status)>;
  arrow::Status ExportAsync(TelemetrySignal signal, std::string_view request, TelemetryFormat format, ExportDone done);

  /// Sends what is queued at once; waits until all is delivered, at most so long. False: it is not.
  bool Flush(std::chrono::milliseconds timeout);

  /// Takes nothing more, flushes for at most `drain`, closes. Errors: unavailable (there is no directory, and rows are lost), io.
  arrow::Status Stop(std::chrono::milliseconds drain);

  ExportFigures figures() const;
  /// All figures as Prometheus text, what was chosen for batches and why among them.
  std::string MetricsText() const;

 private:
  class Inner;
  explicit Exporter(std::unique_ptr<Inner> inner);

  const std::unique_ptr<Inner> inner_;
};

}  // namespace sheaf
