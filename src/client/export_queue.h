/// Export requests between those who hand them in and the senders: bounded, in order, and with a folder durable.
///
/// With a folder each request is an entry of a log (wal/log.h): once Enqueue() has said so, it survives a crash. Memory holds the
/// requests up to a limit, the log all of them; what is not in memory is read from the log when its turn comes. What was delivered
/// is kept beside the log (export_progress.h), and segments that hold nothing else are removed. Without a folder memory is all
/// there is. Format: docs/formats/export_queue.md.
///
/// Requests of one kind go out together, as columns::AdaptiveBatcher decides. Those that went out in vain may be put off: they wait
/// until a time, among themselves, and others go before them.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arrow/buffer.h>

#include "client/export_progress.h"
#include "columns/batcher.h"
#include "core/mutex.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"
#include "wal/log.h"
#include "wire/otlp_json.h"

namespace sheaf::client {

/// How requests are joined. What is best within these limits is measured: see columns::AdaptiveBatcher.
struct ExportBatching {
  int64_t rows_max = 8192;
  int64_t bytes_max = int64_t{2} << 20;      // A single request may be larger.
  int64_t wait_ns_max = 200'000'000;         // A request waits no longer for others. 0: for none.
  int64_t latency_target_ns = 500'000'000;   // From a request's coming to the server's answer: where that takes long, the wait is less.
  int flushers = 1;                          // Batches under way at once.
};

struct ExportQueueOptions {
  std::string directory;                               // Empty: memory only.
  int64_t bytes_max = int64_t{1} << 30;                // Of requests that are not delivered; on disk up to three segments more.
  int64_t memory_bytes_max = int64_t{64} << 20;        // Of those, in memory. Without a folder the smaller of both counts.
  int64_t requests_max = 1'000'000;
  ExportBatching batching;
  std::string boot_id;                                 // Of this start of the machine; empty: io::BootId().
};

/// One request that waits or is being sent.
struct QueuedRequest {
  uint64_t number = 0;                    // 1 and up, in order.
  wire::OtlpRequest kind = wire::OtlpRequest::kTraces;
  int64_t rows = 0, bytes = 0;
  int64_t time_ns = 0;                    // Wall clock when it came; for the age.
  bool perhaps_sent = false;              // Before a restart or a lost answer: sent again, it may be there twice.
  int attempts = 0;                       // In vain, before it was put off.
  int64_t others_sent = 0;                // The exporter's count of batches that were taken, when it was put off.
  std::shared_ptr<arrow::Buffer> request; // Null: in the log only.
};

/// What is to be sent together: requests of one kind, one after the other.
struct ExportBatch {
  std::vector<QueuedRequest> requests;
  int64_t rows = 0, bytes = 0;
  std::vector<std::pair<QueuedRequest, Status>> unreadable;  // Taken as well, and cannot be read from the log: why.
  /// What the batcher gave, which waits to hear of its end: FlushEnded(). Nothing for requests that had been put off.
  std::optional<columns::BatchSize> flush;
};

struct ExportQueueState {
  int64_t requests = 0, rows = 0, bytes = 0;  // Not delivered: waiting or being sent.
  int64_t memory_bytes = 0, disk_bytes = 0;
  int64_t oldest_time_ns = 0;                 // 0: empty.
  int64_t put_off_requests = 0;
  int put_off_attempts = 0;                   // Of the one of them that was tried most often.
};
inline constexpr size_t kExportKinds = 3;     // Of wire::OtlpRequest.
using ExportBatchReports = std::array<columns::BatchReport, kExportKinds>;

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
  /// all), Unavailable (closed; the log is not writable: health()). `done` gets Unavailable (disk full), Unknown (a sync failed).
  Status Enqueue(wire::OtlpRequest kind, int64_t rows, std::string_view request, Done done) SHEAF_EXCLUDES(mutex_);
  /// Whether a request of so many bytes would be refused now, and why.
  Status Admit(int64_t bytes) const SHEAF_EXCLUDES(mutex_);

  /// Returns what is to be sent now: requests whose time has come again, a batch that is due, or with `flush` any. Nothing where there
  /// is none; `*due_ns` then says when there will be (monotonic; INT64_MAX: not before more comes). Bytes are in memory.
  /// Errors: Unavailable (closed).
  Result<std::optional<ExportBatch>> Take(bool flush, int64_t* due_ns) SHEAF_EXCLUDES(mutex_);
  /// The batch went out and was answered so long after that; nothing: it was not, or something else became of it. Once for each
  /// batch that has ExportBatch::flush.
  void FlushEnded(const ExportBatch& batch, std::optional<int64_t> latency_ns) SHEAF_EXCLUDES(mutex_);

  // About requests that were taken.

  /// They are about to be sent. Call before the first byte goes out.
  void NoteBegun(std::span<const QueuedRequest> requests) SHEAF_EXCLUDES(mutex_);
  /// They were certainly not taken by the other side.
  void NoteNotTaken(std::span<const QueuedRequest> requests) SHEAF_EXCLUDES(mutex_);
  /// They are done with: delivered, or refused for good.
  void NoteDelivered(std::span<const QueuedRequest> requests) SHEAF_EXCLUDES(mutex_);
  /// They wait again, and are the first to be taken.
  void GiveBack(std::span<const QueuedRequest> requests) SHEAF_EXCLUDES(mutex_) {
    const bool waits = PutOff(requests, /*not_before_ns=*/0, requests.size(), /*always=*/true);
    (void)waits;
  }
  /// They wait until `not_before_ns` (monotonic), then go out again with at most `join_max` of them together. False, and nothing
  /// was done: kPutOffMax requests wait so already. That bounds what is sent to a server that takes nothing. `always`: all the same.
  [[nodiscard]] bool PutOff(std::span<const QueuedRequest> requests, int64_t not_before_ns, size_t join_max, bool always = false)
      SHEAF_EXCLUDES(mutex_);
  static constexpr size_t kPutOffMax = 256;

  /// Runs when something changed that a sender may wait for; set before the first Enqueue(). Under no lock of the queue.
  void OnChange(std::function<void()> changed) { changed_ = std::move(changed); }

  ExportQueueState state() const SHEAF_EXCLUDES(mutex_);
  /// What the batchers chose, and why, by kind.
  ExportBatchReports batch_reports() const SHEAF_EXCLUDES(mutex_);
  /// OK, or why nothing can be taken until the program starts anew: Unavailable.
  Status health() const SHEAF_EXCLUDES(mutex_);
  /// Syncs and closes; later calls fail.
  Status Close() SHEAF_EXCLUDES(mutex_);

 private:
  enum class Place : uint8_t { kOutOfReach, kWaiting, kPutOff, kTaken, kDelivered };
  struct Slot {
    QueuedRequest request;
    Place place = Place::kOutOfReach;  // Of the window, at first.
    size_t join_max = 0;               // Where put off.
  };
  /// Requests of one kind that wait for others.
  struct Lane {
    columns::AdaptiveBatcher batcher;
    std::deque<uint64_t> waiting;  // The batcher's items.
  };
  ExportQueue(const ExportQueueOptions& options, io::FileSystem* files, io::Clock* clock);

  Status OpenLog(ExportQueueReport* report);
  Result<uint64_t> RemovedThrough(bool trusted) SHEAF_EXCLUDES(mutex_);
  Status Replay(const wal::LoggedEntry& entry, ExportQueueReport* report);
  void Add(QueuedRequest request) SHEAF_EXCLUDES(mutex_);
  void AddLocked(QueuedRequest request) SHEAF_REQUIRES(mutex_);
  Slot& At(uint64_t number) SHEAF_REQUIRES(mutex_);
  Status AdmitLocked(int64_t bytes) const SHEAF_REQUIRES(mutex_);
  void FillLanes() SHEAF_REQUIRES(mutex_);
  Lane& LaneOf(wire::OtlpRequest kind) SHEAF_REQUIRES(mutex_) { return lanes_[static_cast<size_t>(kind)]; }
  void PutInto(ExportBatch* batch, uint64_t number) SHEAF_REQUIRES(mutex_);
  bool TakePutOff(int64_t now_ns, ExportBatch* batch, int64_t* due_ns) SHEAF_REQUIRES(mutex_);
  bool TakeWaiting(int64_t now_ns, bool flush, ExportBatch* batch, int64_t* due_ns) SHEAF_REQUIRES(mutex_);
  void Load(ExportBatch* batch);
  Status ReadInto(std::span<QueuedRequest> requests);
  void NoteAppended(int64_t bytes, const Status& status) SHEAF_EXCLUDES(mutex_);
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
  std::array<Lane, kExportKinds> lanes_ SHEAF_GUARDED_BY(mutex_);
  uint64_t next_out_of_reach_ SHEAF_GUARDED_BY(mutex_) = 1;  // All below it came into reach.
  std::set<std::pair<int64_t, uint64_t>> put_off_ SHEAF_GUARDED_BY(mutex_);  // Until when, and number.
  int64_t pending_bytes_ SHEAF_GUARDED_BY(mutex_) = 0, pending_requests_ SHEAF_GUARDED_BY(mutex_) = 0;  // On their way to the log.
  int64_t requests_ SHEAF_GUARDED_BY(mutex_) = 0, rows_ SHEAF_GUARDED_BY(mutex_) = 0, bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  int64_t memory_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  int64_t passed_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;  // Of the log at most, that are not wanted since the last truncation.
  Status broken_ SHEAF_GUARDED_BY(mutex_);
  bool progress_failed_ SHEAF_GUARDED_BY(mutex_) = false;
  bool closed_ SHEAF_GUARDED_BY(mutex_) = false;
};

/// The payload of a log entry: a head of 16 bytes, then the request. For tests and fuzzing.
Result<QueuedRequest> ReadQueueEntry(const wal::Entry& entry);
wal::Entry MakeQueueEntry(wire::OtlpRequest kind, int64_t rows, std::string_view request);

}  // namespace sheaf::client
