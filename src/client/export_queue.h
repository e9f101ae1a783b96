/// Export requests between those who hand them in and the senders: bounded, in order, and with a folder durable.
///
/// With a folder each request is an entry of a log (wal/log.h): once Enqueue() has said so, it survives a crash. Memory holds the
/// requests up to a limit, the log all of them; what is not in memory is read from the log when its turn comes. What was delivered
/// is kept beside the log (export_progress.h), and segments that hold nothing else are removed. Without a folder memory is all
/// there is. Format: docs/formats/export_queue.md.

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/buffer.h>

#include "client/export_progress.h"
#include "core/mutex.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"
#include "wal/log.h"
#include "wire/otlp_json.h"

namespace sheaf::client {

struct ExportQueueOptions {
  std::string directory;                               // Empty: memory only.
  int64_t bytes_max = int64_t{1} << 30;                // Of requests that are not delivered; on disk up to two segments more.
  int64_t memory_bytes_max = int64_t{64} << 20;        // Of those, in memory. Without a folder the smaller of both counts.
  int64_t requests_max = 1'000'000;
  std::string boot_id;                                 // Of this start of the machine; empty: io::BootId().
};

/// One request that waits or is being sent.
struct QueuedRequest {
  uint64_t number = 0;                    // 1 and up, in order.
  wire::OtlpRequest kind = wire::OtlpRequest::kTraces;
  int64_t rows = 0, bytes = 0;
  int64_t time_ns = 0;                    // Wall clock when it came; for the age.
  bool perhaps_sent = false;              // Before a restart or a lost answer: sent again, it may be there twice.
  std::shared_ptr<arrow::Buffer> request; // Null: in the log only.
};

/// What is to be sent together: requests of one kind, one after the other.
struct ExportBatch {
  std::vector<QueuedRequest> requests;
  int64_t rows = 0, bytes = 0;
};

/// When a batch is full, and when it goes out although it is not.
struct BatchLimits {
  int64_t rows_max = 8192;
  int64_t bytes_max = int64_t{2} << 20;  // A single request may be larger.
  int64_t flush_interval_ns = 200'000'000;
};

struct ExportQueueState {
  int64_t requests = 0, rows = 0, bytes = 0;  // Not delivered: waiting or being sent.
  int64_t memory_bytes = 0, disk_bytes = 0;
  int64_t oldest_time_ns = 0;                 // 0: empty.
};

/// What Open() found of an earlier life.
struct ExportQueueReport {
  int64_t requests = 0, rows = 0;
  int64_t perhaps_sent = 0;        // Of those requests.
  bool progress_lost = false;      // Which of them were sent is not known for sure; all count as perhaps sent.
};

/// Thread-safe.
class ExportQueue {
 public:
  using Done = std::function<void(Status)>;

  /// Opens or makes the folder; nobody else may have it open. Borrows `files` and `clock`. Errors: those of wal::Log::Open(),
  /// Unavailable (another process holds it), Corruption (the folder's log and its progress are not of one queue).
  static Result<std::unique_ptr<ExportQueue>> Open(const ExportQueueOptions& options, io::FileSystem* files, io::Clock* clock,
                                                   ExportQueueReport* report);
  ~ExportQueue();

  /// Puts in a copy of `request`. `done` is run once it is in the queue, and with a folder durable; on any thread, perhaps before this
  /// returns; it must be short. Errors (then `done` is not run): Throttled (full: says how full), TooLarge (more than fits at
  /// all), Unavailable (closed; the log is not writable). `done` gets Unavailable (disk full), Unknown (a sync failed).
  Status Enqueue(wire::OtlpRequest kind, int64_t rows, std::string_view request, Done done) SHEAF_EXCLUDES(mutex_);
  /// Whether a request of so many bytes would be refused now, and why.
  Status Admit(int64_t bytes) const SHEAF_EXCLUDES(mutex_);

  /// Returns what is to be sent now: a full batch, or the oldest requests where they have waited long enough or `flush`. Nothing where
  /// that is not so; `*due_ns` then says when it will be (monotonic; INT64_MAX: not before more comes). Bytes are in memory.
  /// Errors: those of wal::Log::Read(); the requests wait again.
  Result<std::optional<ExportBatch>> Take(const BatchLimits& limits, bool flush, int64_t* due_ns) SHEAF_EXCLUDES(mutex_);

  // About requests that were taken.

  /// They are about to be sent. Call before the first byte goes out.
  void NoteBegun(std::span<const QueuedRequest> requests) SHEAF_EXCLUDES(mutex_);
  /// They were certainly not taken by the other side.
  void NoteNotTaken(std::span<const QueuedRequest> requests) SHEAF_EXCLUDES(mutex_);
  /// They are done with: delivered, or refused for good.
  void NoteDelivered(std::span<const QueuedRequest> requests) SHEAF_EXCLUDES(mutex_);
  /// They wait again, in their place.
  void GiveBack(std::span<const QueuedRequest> requests) SHEAF_EXCLUDES(mutex_);

  /// Runs when something changed that a sender may wait for; set before the first Enqueue(). Under no lock of the queue.
  void OnChange(std::function<void()> changed) { changed_ = std::move(changed); }

  ExportQueueState state() const SHEAF_EXCLUDES(mutex_);
  /// Syncs and closes; later calls fail.
  Status Close() SHEAF_EXCLUDES(mutex_);

 private:
  enum class Place : uint8_t { kWaiting, kTaken, kDelivered };
  struct Slot {
    QueuedRequest request;
    Place place = Place::kWaiting;
    int64_t came_ns = 0;  // Monotonic.
  };
  ExportQueue(const ExportQueueOptions& options, io::FileSystem* files, io::Clock* clock)
      : options_(options), files_(files), clock_(clock) {}

  Status OpenLog(ExportQueueReport* report);
  Result<uint64_t> RemovedThrough(bool trusted) SHEAF_EXCLUDES(mutex_);
  Status Replay(const wal::LoggedEntry& entry, ExportQueueReport* report);
  void Add(QueuedRequest request) SHEAF_EXCLUDES(mutex_);
  void AddLocked(QueuedRequest request) SHEAF_REQUIRES(mutex_);
  Slot& At(uint64_t number) SHEAF_REQUIRES(mutex_);
  Status AdmitLocked(int64_t bytes) const SHEAF_REQUIRES(mutex_);
  bool TakeLocked(const BatchLimits& limits, bool flush, ExportBatch* batch, int64_t* due_ns) SHEAF_REQUIRES(mutex_);
  Status Load(ExportBatch* batch);
  Status WriteProgress() SHEAF_REQUIRES(mutex_);
  void PopDelivered() SHEAF_REQUIRES(mutex_);
  void TruncateIfWorthwhile() SHEAF_EXCLUDES(mutex_);
  Status SyncProgress(uint64_t* through) SHEAF_EXCLUDES(mutex_);
  void Changed() const {
    if (changed_) changed_();
  }

  const ExportQueueOptions options_;
  io::FileSystem* const files_;  // Borrowed.
  io::Clock* const clock_;       // Borrowed.
  std::function<void()> changed_;
  std::unique_ptr<io::FileLock> lock_;
  std::unique_ptr<wal::Log> log_;  // Null: memory only.
  int64_t segment_bytes_ = 0;

  std::atomic<bool> truncating_ = false;

  mutable Mutex mutex_;
  std::unique_ptr<ExportProgress> progress_ SHEAF_GUARDED_BY(mutex_);  // Null: memory only.
  DeliveryWindow memory_window_ SHEAF_GUARDED_BY(mutex_);
  DeliveryWindow* window_ SHEAF_GUARDED_BY(mutex_) = &memory_window_;
  std::deque<Slot> slots_ SHEAF_GUARDED_BY(mutex_);  // Numbers first_ and up, without gaps.
  uint64_t first_ SHEAF_GUARDED_BY(mutex_) = 1;
  uint64_t next_waiting_ SHEAF_GUARDED_BY(mutex_) = 1;  // None below it waits.
  int64_t pending_bytes_ SHEAF_GUARDED_BY(mutex_) = 0, pending_requests_ SHEAF_GUARDED_BY(mutex_) = 0;  // On their way to the log.
  int64_t requests_ SHEAF_GUARDED_BY(mutex_) = 0, rows_ SHEAF_GUARDED_BY(mutex_) = 0, bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  int64_t memory_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  int64_t delivered_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;  // Since the last truncation.
  bool progress_failed_ SHEAF_GUARDED_BY(mutex_) = false;
  bool closed_ SHEAF_GUARDED_BY(mutex_) = false;
};

/// The payload of a log entry: a head of 16 bytes, then the request. For tests and fuzzing.
Result<QueuedRequest> ReadQueueEntry(const wal::Entry& entry);
wal::Entry MakeQueueEntry(wire::OtlpRequest kind, int64_t rows, std::string_view request);

}  // namespace sheaf::client
