/// Sends telemetry to a server and does not lose it: batches, a bounded queue, durable where it has a folder, retries for as long as it
/// takes, and figures of all of it.
///
///   auto target = MakeExportTarget("grpc://collector:4317", {});
///   auto exporter = Exporter::Open({.name = "collector", .queue = {.directory = "queue"}}, *std::move(target));
///   (*exporter)->Enqueue(wire::OtlpRequest::kTraces, request, [](Status taken) { … });
///   (*exporter)->Stop(std::chrono::seconds(10));
///
/// What is handed in are OTLP requests; neighbours of one kind are joined into batches as they are, since the bytes of two requests,
/// one after the other, are one request. A batch that the server refuses is sent again request by request, and one that is too large
/// in halves, so that one bad record takes no others with it.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>

#include "client/export_queue.h"
#include "client/export_target.h"
#include "client/retry.h"
#include "core/mutex.h"
#include "core/status.h"
#include "decode/schemas.h"
#include "io/clock.h"
#include "io/posix.h"

namespace sheaf::client {

struct ExporterOptions {
  std::string name;           // In logs and figures: where it sends to.
  ExportQueueOptions queue;
  RetryOptions retry;
  /// Attempts that a sender makes in a row; then the requests are put off, and the sender takes others. 0: it stays with them.
  int attempts_in_hand = 6;
  int64_t split_bytes_min = int64_t{64} << 10;  // A request that is smaller and too large for the server is refused: it is not its size.
  int senders = 4;            // Batches under way at once; 0: none but what SendDue() sends, for tests.
  uint64_t jitter_seed = 1;
  io::FileSystem* files = io::PosixFileSystem();
  io::Clock* clock = io::SystemClock();
  /// Waits before another attempt; empty: really waits, until Stop() runs out of patience.
  std::function<void(std::chrono::milliseconds)> pause;
};

/// Figures since the start. Rows are spans, log records or data points.
struct ExporterStats {
  ExportQueueState queue;
  int64_t oldest_age_ms = 0;         // Of what is queued.
  int64_t sent_requests = 0, sent_rows = 0, sent_bytes = 0;  // Taken by the server; bytes after compression, of all attempts.
  int64_t retries = 0;               // Attempts after the first.
  int64_t rejected_rows = 0;         // Left out by the server, which took the rest (partial success); or of no use in a request in pieces.
  int64_t refused_rows = 0;          // Of requests that the server will never take; the reason is logged.
  int64_t unreadable_rows = 0;       // Given up, since the queue's log is damaged where they stand; logged.
  int64_t dropped_rows = 0;          // In memory at the end, without a folder.
  int64_t inexact_rows = 0;          // Taken, but the protocol could not say all of them: of OTel-Arrow only.
  int64_t perhaps_twice_rows = 0;    // Sent again after their answer was lost, by either side's death too: OTLP cannot tell.
                                     // As often as they were sent again.
  int64_t held = 0;                  // Senders that wait because the target takes nothing from this sender: credentials.
  std::string last_error;            // Of the last attempt that failed; empty once one went well.
  ExportBatchReports batches;        // What the batchers chose, by signal.
};

/// Thread-safe.
class Exporter {
 public:
  using Done = ExportQueue::Done;

  /// Opens the queue, and begins to send what it holds of an earlier life. Errors: those of ExportQueue::Open().
  static Result<std::unique_ptr<Exporter>> Open(ExporterOptions options, std::unique_ptr<ExportTarget> target);
  /// Stops at once: Stop(0).
  ~Exporter();

  /// Queues an OTLP request in protobuf. As ExportQueue::Enqueue(); further error: Invalid (its outer messages are no protobuf).
  Status Enqueue(wire::OtlpRequest kind, std::string_view request, Done done);
  /// Queues rows with decode::SignalSchema(signal). Further errors: those of decode::EncodeRequest().
  Status Enqueue(decode::Signal signal, const arrow::RecordBatch& rows, Done done);
  /// Whether a request of so many bytes would be refused now, and why.
  Status Admit(int64_t bytes) const { return queue_->Admit(bytes); }
  /// OK, or why nothing more can be queued until the program starts anew: Unavailable.
  Status health() const { return queue_->health(); }

  /// Sends what is queued without waiting for batches to fill; waits until all is delivered, at most so long. False: it is not.
  bool Flush(std::chrono::milliseconds timeout) SHEAF_EXCLUDES(mutex_);

  /// Takes nothing more, flushes for at most `drain`, ends what is under way, closes. With a folder the rest stays for the next start;
  /// without one it is dropped, counted, and said (Unavailable). Further errors: those of closing the log. A second call returns the same.
  Status Stop(std::chrono::milliseconds drain) SHEAF_EXCLUDES(mutex_);

  ExporterStats stats() const SHEAF_EXCLUDES(mutex_);

  /// Sends what is due, or with `flush` all that is queued, on this thread; returns the batches. Only with senders = 0.
  Result<int> SendDue(bool flush);

 private:
  using milliseconds = std::chrono::milliseconds;
  Exporter(ExporterOptions options, std::unique_ptr<ExportTarget> target);
  void Run(uint64_t seed);
  void Handle(const ExportBatch& batch, std::mt19937_64* random);
  void SetAside(const QueuedRequest& request, const Status& why, std::mt19937_64* random);
  /// Returns how long the server took for the whole, where it was taken at once.
  std::optional<int64_t> Deliver(const ExportBatch& batch, std::mt19937_64* random);
  enum class Outcome { kDone, kRefused, kTooLarge, kLeft, kPutOff };
  /// What goes out in one piece.
  struct Parcel {
    ExportRequest request;
    std::vector<QueuedRequest> requests;  // What its bytes are of.
    bool part = false;                    // Of one request, whose other parts may be delivered already.
    int64_t latency_ns = 0;               // Of the last attempt.
  };
  /// Sends until the server has decided, the exporter stops (kLeft), or others are to go first (kPutOff: they wait again).
  Outcome SendUntilDecided(Parcel* parcel, std::string* reason, std::mt19937_64* random);
  ExportAnswer SendOnce(Parcel* parcel);
  /// False: too many others are put off already.
  bool PutOff(Parcel* parcel, int attempts, bool others_go, milliseconds wait, const std::string& reason);
  Outcome SendInPieces(const Parcel& parcel, std::string* reason, std::mt19937_64* random);
  void LogRetry(const Parcel& parcel, const ExportAnswer& answer, milliseconds wait) SHEAF_EXCLUDES(mutex_);
  void LogSentAgain(const Parcel& parcel) const;
  void CountAgain(const Parcel& parcel);
  void CountTaken(const Parcel& parcel, const ExportAnswer& answer);
  void Refuse(const QueuedRequest& request, const std::string& reason);
  bool Pause(std::chrono::milliseconds wait) SHEAF_EXCLUDES(mutex_);
  void Wake() SHEAF_EXCLUDES(mutex_);
  bool ended() const SHEAF_EXCLUDES(mutex_);

  const ExporterOptions options_;
  const std::unique_ptr<ExportTarget> target_;
  std::unique_ptr<ExportQueue> queue_;
  std::mt19937_64 random_;  // Of SendDue().

  struct Counters {
    std::atomic<int64_t> sent_requests{0}, sent_rows{0}, sent_bytes{0}, retries{0}, rejected_rows{0}, refused_rows{0}, unreadable_rows{0},
        dropped_rows{0}, inexact_rows{0}, perhaps_twice_rows{0}, held{0};
  };
  Counters counters_;

  mutable Mutex mutex_;
  CondVar wake_;
  uint64_t changes_ SHEAF_GUARDED_BY(mutex_) = 0;  // Of the queue.
  int flushing_ SHEAF_GUARDED_BY(mutex_) = 0;      // Those who wait in Flush().
  bool stopping_ SHEAF_GUARDED_BY(mutex_) = false; // Nothing more is taken.
  bool ended_ SHEAF_GUARDED_BY(mutex_) = false;    // Nothing more is sent.
  bool closed_ SHEAF_GUARDED_BY(mutex_) = false;   // Stop() is done.
  bool stopped_ SHEAF_GUARDED_BY(mutex_) = false;
  Status stop_status_ SHEAF_GUARDED_BY(mutex_);
  std::string last_error_ SHEAF_GUARDED_BY(mutex_);
  int64_t next_retry_log_ns_ SHEAF_GUARDED_BY(mutex_) = 0;  // Monotonic.
  int64_t unlogged_retries_ SHEAF_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> senders_;
};

/// The figures of exporters, by name, as Prometheus text.
std::string ExporterMetricsText(std::span<const std::pair<std::string, ExporterStats>> exporters);

}  // namespace sheaf::client
