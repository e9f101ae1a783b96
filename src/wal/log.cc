#include "wal/log.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "core/crc32c.h"
#include "core/log.h"
#include "core/mutex.h"
#include "core/test_hooks.h"
#include "io/posix.h"
#include "wal/append_queue.h"
#include "wal/commit_file.h"
#include "wal/log_metrics.h"
#include "wal/recovery.h"
#include "wal/segment_catalog.h"
#include "wal/segment_writer.h"

namespace sheaf::wal {
namespace {

uint32_t PayloadCrc(const arrow::Buffer& payload) {
  return Crc32c({reinterpret_cast<const std::byte*>(payload.data()), static_cast<size_t>(payload.size())});
}

/// Two threads: one writes and syncs blocks and runs the callbacks, where no waiting sender does it; one keeps house: it
/// makes the next segment ready and brings the COMMIT file up to date when the log is idle.
class ThreadedLog : public Log {
 public:
  ThreadedLog(io::FileSystem* files, io::Clock* clock, const LogOptions& options, Recovered found, VisibleCallback on_visible)
      : clock_(clock),
        files_(files),
        options_(options),
        catalog_(files, options.directory, options.archive_directory, std::move(found.segments)),
        queue_(clock, options, found.last, std::move(on_visible)),
        writer_(files, clock, options, found.last.Next(), found.chain),
        committed_(found.last),
        commit_sequence_(found.commit ? found.commit->sequence : 0) {}

  ~ThreadedLog() override {
    const Status closed = Close();
    if (!closed.ok()) LogWarn("wal.close_failed", {{"directory", options_.directory}, {"reason", closed.message()}});
  }

  /// Makes the folder and rewrites an undecided last block; then starts the threads.
  Status Start(std::optional<UndecidedBlock> undecided) {
    SHEAF_RETURN_NOT_OK(files_->MakeDirectories(options_.directory));
    if (!options_.archive_directory.empty()) SHEAF_RETURN_NOT_OK(files_->MakeDirectories(options_.archive_directory));
    SHEAF_RETURN_NOT_OK(RemoveLeftovers(files_, options_.directory));
    Failpoint("wal.recovered");
    if (undecided) SHEAF_RETURN_NOT_OK(Rewrite(*std::move(undecided)));
    Failpoint("wal.end_rewritten");
    SHEAF_ASSIGN_OR_RETURN(commit_file_, CommitFile::Create(files_, io::Join(options_.directory, "COMMIT"), options_.database_id,
                                                            committed_, commit_sequence_));
    writer_thread_ = std::thread([this] { WriteGroups(); });
    keeper_thread_ = std::thread([this] { KeepHouse(); });
    return Status::OK();
  }

  Status Append(Entry entry, Done done) override {
    if (!entry.payload) entry.payload = std::make_shared<arrow::Buffer>(nullptr, 0);
    const int64_t bytes = entry.payload->size();
    if (bytes > kPayloadBytesMax) {
      return MakeError(ErrorKind::kTooLarge, "a log entry of {} bytes; at most {} fit: send less at once", bytes, kPayloadBytesMax);
    }
    if (static_cast<int64_t>(entry.batch_id.size()) > kBatchIdBytesMax) {
      return MakeError(ErrorKind::kTooLarge, "a batch id of {} bytes; at most {}", entry.batch_id.size(), kBatchIdBytesMax);
    }
    // Here, on the sender's thread, while the bytes are warm.
    const uint32_t crc = PayloadCrc(*entry.payload);
    bool leads = false;
    SHEAF_RETURN_NOT_OK(queue_.Append({{Lsn(0), clock_->NowNs(), std::move(entry)}, crc}, std::move(done), &leads));
    if (leads) Lead();
    return Status::OK();
  }

  Status SyncThrough(Lsn lsn) override { return queue_.SyncThrough(lsn); }
  Lsn durable_lsn() const override { return queue_.durable_lsn(); }
  Lsn visible_lsn() const override { return queue_.visible_lsn(); }
  Status TruncateThrough(Lsn lsn) override { return catalog_.TruncateThrough(std::min(lsn, durable_lsn())); }
  Status Read(Lsn after, Lsn through, const Replay& visit) override {
    return catalog_.Read(after, std::min(through, durable_lsn()), visit);
  }
  int64_t disk_bytes() const override { return catalog_.disk_bytes(); }

  Status Close() override SHEAF_EXCLUDES(mutex_) {
    queue_.Close();
    const MutexLock once(&close_mutex_);
    if (std::exchange(joined_, true)) return closed_status_;
    if (writer_thread_.joinable()) writer_thread_.join();  // Writes all that waits first.
    {
      const MutexLock lock(&mutex_);
      stop_keeper_ = true;
      housework_.NotifyAll();
    }
    if (keeper_thread_.joinable()) keeper_thread_.join();
    closed_status_ = Finish();
    return closed_status_;
  }

 private:
  /// Puts the last block, whose sync nobody can vouch for, into a segment of its own.
  Status Rewrite(UndecidedBlock undecided) {
    std::vector<PendingEntry> entries;
    for (LoggedEntry& entry : undecided.entries) {
      const uint32_t crc = PayloadCrc(*entry.entry.payload);
      entries.push_back({std::move(entry), crc});
    }
    std::vector<const PendingEntry*> group;
    for (const PendingEntry& entry : entries) group.push_back(&entry);
    SegmentWriter writer(files_, clock_, options_, undecided.mark.next, undecided.mark.chain);
    Result<Segment> segment = writer.Roll({}, kPageBytes + BlockBytes(group), group);
    const Status& written = segment.status();
    if (!written.ok()) {  // Nobody waits for an answer here, so nothing is unknown to anybody.
      return MakeError(KindOf(written) == ErrorKind::kUnavailable ? ErrorKind::kUnavailable : ErrorKind::kIo,
                       "rewriting the end of the log: {}", written.message());
    }
    catalog_.Add(*std::move(segment));
    return Status::OK();
  }

  /// The writing thread.
  void WriteGroups() SHEAF_EXCLUDES(writing_, mutex_) {
    if (options_.cpu >= 0) {
      const Status pinned = io::PinThread({options_.cpu});
      if (!pinned.ok()) LogWarn("wal.cpu_refused", {{"cpu", options_.cpu}, {"reason", pinned.message()}});
    }
    while (true) {
      const bool open = queue_.WaitUntilDue();
      const MutexLock writing(&writing_);
      if (!WriteNextGroup() && !open) return;
    }
  }

  /// A sender that waits for its own entry.
  void Lead() SHEAF_EXCLUDES(writing_, mutex_) {
    if (!writing_.TryLock()) return queue_.Tell();
    WriteNextGroup();
    writing_.Unlock();
  }

  /// False: nothing waits.
  bool WriteNextGroup() SHEAF_REQUIRES(writing_) SHEAF_EXCLUDES(mutex_) {
    const std::span<const PendingEntry* const> group = queue_.TakeGroup(writer_.bytes_left());
    if (group.empty()) return false;
    Status written = WriteGroup(group);
    if (written.ok()) {
      Failpoint("wal.group_durable");
      queue_.MakeVisible();
      Failpoint("wal.group_visible");
      return true;
    }
    metrics_.failed_groups.Add();
    if (!writer_.poisoned().ok()) {
      metrics_.poisoned.Set(1);
      written = MakeStatus(ErrorKind::kUnknown, written.message());
    }
    queue_.Fail(written, writer_.poisoned());
    return true;
  }

  Status WriteGroup(std::span<const PendingEntry* const> group) SHEAF_REQUIRES(writing_) SHEAF_EXCLUDES(mutex_) {
    const int64_t bytes = BlockBytes(group);
    const int64_t start_ns = clock_->MonotonicNs();
    SHEAF_RETURN_NOT_OK(MakeRoom(bytes));
    const Mark mark{writer_.next_lsn(), writer_.offset(), writer_.chain()};
    SHEAF_RETURN_NOT_OK(writer_.Commit(group, durable_lsn()));
    catalog_.Extend(mark, writer_.offset());
    const int64_t took_ns = clock_->MonotonicNs() - start_ns;
    queue_.NoteDurable(took_ns);  // Before the keeper is woken: it looks at this.
    metrics_.commit_seconds.Observe(static_cast<double>(took_ns) * 1e-9);
    metrics_.groups.Add();
    metrics_.entries.Add(group.size());
    metrics_.written_bytes.Add(static_cast<uint64_t>(bytes));
    int64_t payload_bytes = 0;
    for (const PendingEntry* entry : group) payload_bytes += entry->logged.entry.payload->size();
    metrics_.payload_bytes.Add(static_cast<uint64_t>(payload_bytes));
    const MutexLock lock(&mutex_);
    last_write_ns_ = start_ns;
    const bool ask = !spare_asked_ && writer_.bytes_left() < options_.segment_bytes / 2;
    if (ask) want_spare_ = spare_asked_ = true;
    if (ask || keeper_waits_) housework_.NotifyAll();
    return Status::OK();
  }

  /// Goes to a new segment if a block of `bytes` does not fit the current one.
  Status MakeRoom(int64_t bytes) SHEAF_REQUIRES(writing_) SHEAF_EXCLUDES(mutex_) {
    if (bytes <= writer_.bytes_left()) return Status::OK();
    const int64_t wanted = std::max(options_.segment_bytes, kPageBytes + bytes);
    std::optional<SpareSegment> spare;
    {
      const MutexLock lock(&mutex_);
      while (making_spare_) housework_.Wait(&mutex_);
      if (spare_ && spare_->bytes >= wanted) spare = std::exchange(spare_, std::nullopt);
      want_spare_ = false;
      spare_asked_ = spare_.has_value();
    }
    if (!spare) metrics_.rolls_waited.Add();
    SHEAF_ASSIGN_OR_RETURN(Segment segment, writer_.Roll(std::move(spare), wanted));
    catalog_.Add(std::move(segment));
    return Status::OK();
  }

  void KeepHouse() SHEAF_EXCLUDES(mutex_) {
    while (true) {
      bool make_spare = false;
      {
        const MutexLock lock(&mutex_);
        while (!stop_keeper_ && !want_spare_ && !CommitIsDue()) {
          if (options_.commit_delay_ms > 0 && durable_lsn() > committed_) {
            housework_.WaitFor(&mutex_, std::chrono::milliseconds(options_.commit_delay_ms));
          } else {
            keeper_waits_ = true;
            housework_.Wait(&mutex_);
            keeper_waits_ = false;
          }
        }
        if (stop_keeper_) return;
        make_spare = making_spare_ = std::exchange(want_spare_, false);
      }
      if (make_spare) {
        PrepareSpare();
      } else {
        WriteCommit(durable_lsn());
      }
    }
  }

  bool CommitIsDue() const SHEAF_REQUIRES(mutex_) {
    return options_.commit_delay_ms > 0 && durable_lsn() > committed_ &&
           clock_->MonotonicNs() - last_write_ns_ >= options_.commit_delay_ms * 1'000'000;
  }

  void PrepareSpare() SHEAF_EXCLUDES(mutex_) {
    Result<SpareSegment> spare = MakeSpare(files_, options_.directory, "next", options_.segment_bytes);
    if (!spare.ok()) {  // No harm yet: when the segment is full, the writing thread tries again.
      LogWarn("wal.spare_failed", {{"directory", options_.directory}, {"reason", spare.status().message()}});
    }
    Failpoint("wal.spare_made");
    const MutexLock lock(&mutex_);
    if (spare.ok()) spare_ = *std::move(spare);
    making_spare_ = false;
    housework_.NotifyAll();
  }

  /// The file is a witness only, so a failure is told and not acted upon; CommitFile never syncs it again.
  void WriteCommit(Lsn durable) {
    const Status written = commit_file_->Write(durable, false);
    if (!written.ok()) LogWarn("wal.commit_failed", {{"directory", options_.directory}, {"reason", written.message()}});
    committed_ = durable;
  }

  /// After the threads have ended.
  Status Finish() SHEAF_EXCLUDES(writing_, mutex_) {
    const MutexLock writing(&writing_);  // A late sender may be looking whether something waits.
    std::optional<SpareSegment> spare;
    {
      const MutexLock lock(&mutex_);
      spare = std::exchange(spare_, std::nullopt);
    }
    if (!commit_file_) return Status::OK();  // Start() failed; nothing was begun.
    SHEAF_RETURN_NOT_OK(writer_.Finish());
    if (spare) SHEAF_RETURN_NOT_OK(files_->Remove(spare->path));
    SHEAF_RETURN_NOT_OK(commit_file_->Write(durable_lsn(), true));
    return queue_.lost();
  }

  io::Clock* const clock_;        // Borrowed.
  io::FileSystem* const files_;   // Borrowed.
  const LogOptions options_;
  LogMetrics& metrics_ = TheLogMetrics();
  SegmentCatalog catalog_;        // Thread-safe.
  AppendQueue queue_;             // Thread-safe, as its header says.

  /// Held by whoever writes, across I/O on purpose. Before mutex_ and the queue's locks.
  Mutex writing_;
  SegmentWriter writer_ SHEAF_GUARDED_BY(writing_);

  // Only the keeping thread, and Start() and Close() while it does not run.
  std::unique_ptr<CommitFile> commit_file_;
  Lsn committed_;                   // What it says.
  const uint64_t commit_sequence_;  // Of the file found at open.

  Mutex mutex_;
  CondVar housework_;  // want_spare_, making_spare_, stop_keeper_ or something to commit.
  bool want_spare_ SHEAF_GUARDED_BY(mutex_) = false;
  bool making_spare_ SHEAF_GUARDED_BY(mutex_) = false;
  bool spare_asked_ SHEAF_GUARDED_BY(mutex_) = false;  // Once a segment: a full disk is not asked at every group.
  bool keeper_waits_ SHEAF_GUARDED_BY(mutex_) = false;  // Without a time limit: it has nothing to commit.
  int64_t last_write_ns_ SHEAF_GUARDED_BY(mutex_) = 0;
  bool stop_keeper_ SHEAF_GUARDED_BY(mutex_) = false;
  std::optional<SpareSegment> spare_ SHEAF_GUARDED_BY(mutex_);

  Mutex close_mutex_;
  bool joined_ SHEAF_GUARDED_BY(close_mutex_) = false;
  Status closed_status_ SHEAF_GUARDED_BY(close_mutex_);
  std::thread writer_thread_, keeper_thread_;
};

}  // namespace

Result<std::unique_ptr<Log>> Log::Open(io::FileSystem* files, io::Clock* clock, const LogOptions& options, Lsn applied,
                                       Lsn durable_floor, const Replay& replay, VisibleCallback on_visible,
                                       RecoveryReport* report) {
  SHEAF_ASSIGN_OR_RETURN(Recovered found, Recover(files, options, applied, durable_floor, replay));
  const bool clean = found.segments.empty() || (found.commit && found.commit->closed && found.commit->durable == found.last);
  if (!clean) TheLogMetrics().recoveries.Add();
  if (!found.torn_path.empty()) {
    LogWarn("wal.torn_tail", {{"path", found.torn_path}, {"offset", found.torn_offset}, {"bytes", found.report.torn_bytes},
                              {"reason", found.torn_reason}, {"next_lsn", found.last.Next()}});
  }
  TheLogMetrics().torn_bytes.Add(static_cast<uint64_t>(found.report.torn_bytes));
  if (report != nullptr) *report = found.report;
  std::optional<UndecidedBlock> undecided = std::move(found.undecided);
  auto log = std::make_unique<ThreadedLog>(files, clock, options, std::move(found), std::move(on_visible));
  SHEAF_RETURN_NOT_OK(log->Start(std::move(undecided)));
  return log;
}

}  // namespace sheaf::wal
