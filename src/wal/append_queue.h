/// Entries between Append() and the disk: the order of the log is made here, and what is visible when.
///
/// Each entry gets its LSN as it enters. It leaves in groups, cut by the one thread that writes at a time. It
/// becomes visible strictly in LSN order: a durable one when its group is on disk, a buffered one as soon as
/// every entry before it is visible, which on an idle log is at once, on the sender's own thread.
///
/// Entries live in nodes that are linked, never move and are used again, so that a steady stream of appends
/// allocates nothing here, and the sender's thread may read its node while the writing thread writes it.

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "core/ids.h"
#include "core/mutex.h"
#include "core/status.h"
#include "io/clock.h"
#include "wal/format.h"
#include "wal/log.h"
#include "wal/log_metrics.h"

namespace sheaf::wal {

/// An entry on its way.
struct QueuedEntry {
  PendingEntry pending;
  Log::Done done;            // Empty once it was run, or where the sender runs it.
  QueuedEntry* next = nullptr;
};

/// A singly linked list; owns nothing.
struct EntryList {
  QueuedEntry* first = nullptr;
  QueuedEntry* last = nullptr;

  bool empty() const { return first == nullptr; }
  void Push(QueuedEntry* entry);
  QueuedEntry* Pop();
  /// Takes all of `other`, behind what is there.
  void Splice(EntryList* other);
};

/// Append(), SyncThrough(), Close() and the LSNs are thread-safe; WaitUntilDue() is for the writing thread. The rest is for
/// whoever writes, one at a time: the owner of the queue sees to that with a lock, the first in the order of locks. Then come
/// the publish lock and the queue's. on_visible runs under the publish lock, and not the queue's; `done` under neither.
class AppendQueue {
 public:
  /// Continues behind `last`, which is durable.
  AppendQueue(io::Clock* clock, const LogOptions& options, Lsn last, Log::VisibleCallback on_visible);

  /// As Log::Append(), for an entry that was checked and has a payload. `leads`: nobody is told of the entry; the sender is
  /// to write a group itself, or to call Tell() where another is writing.
  Status Append(PendingEntry pending, Log::Done done, bool* leads) SHEAF_EXCLUDES(publish_mutex_, mutex_);
  /// Lets the writing thread know that something waits.
  void Tell() SHEAF_EXCLUDES(mutex_);
  /// As Log::SyncThrough().
  Status SyncThrough(Lsn lsn) SHEAF_EXCLUDES(mutex_);
  /// Lets WaitUntilDue() return, now and ever after.
  void Close() SHEAF_EXCLUDES(mutex_);

  Lsn durable_lsn() const { return Lsn(durable_.load(std::memory_order_acquire)); }
  Lsn visible_lsn() const { return Lsn(visible_.load(std::memory_order_acquire)); }

  /// Waits until something is due, and a moment for senders that are expected. False: closed; what still waits is due.
  bool WaitUntilDue() SHEAF_EXCLUDES(mutex_);

  /// Returns the entries of the next block, which hold until MakeVisible() or Fail(). Empty: nothing waits. `bytes_left`: of
  /// the current segment.
  std::span<const PendingEntry* const> TakeGroup(int64_t bytes_left) SHEAF_EXCLUDES(mutex_);

  /// The group is on disk, which took `sync_ns`; MakeVisible() must follow.
  void NoteDurable(int64_t sync_ns);
  /// Makes the group visible, and the buffered entries that follow it; then runs their `done`.
  void MakeVisible() SHEAF_EXCLUDES(publish_mutex_, mutex_);

  /// The group could not be written, for `error`. What is not visible is answered with it, and its LSNs are
  /// given out anew. `poisoned`, if not OK: for good; else what is visible already is tried again later, and
  /// until a group is written nothing is buffered.
  void Fail(const Status& error, const Status& poisoned) SHEAF_EXCLUDES(publish_mutex_, mutex_);

  /// After the writing thread has ended: OK, or which visible entries never came to disk.
  Status lost() const { return lost_; }

 private:
  Status Enter(PendingEntry* pending, Log::Done* done, bool sender_publishes, QueuedEntry** entry) SHEAF_REQUIRES(mutex_);
  bool WakeFor(const QueuedEntry& entry) SHEAF_REQUIRES(mutex_);
  bool Wake() SHEAF_REQUIRES(mutex_);
  void WaitForWork() SHEAF_REQUIRES(mutex_);
  void Gather() SHEAF_EXCLUDES(mutex_);
  int64_t CutGroup(int64_t bytes_left);
  size_t ShowGroup() SHEAF_EXCLUDES(publish_mutex_, mutex_);
  void Show(const QueuedEntry& entry) SHEAF_REQUIRES(publish_mutex_);
  void ShowAtRisk(const QueuedEntry& entry) SHEAF_REQUIRES(publish_mutex_);
  bool ShowBuffered(const EntryList& list) SHEAF_REQUIRES(publish_mutex_);
  void Refuse(EntryList refused, Lsn group_end, const Status& error, bool certain) SHEAF_EXCLUDES(mutex_);
  void Lose(EntryList lost, const Status& error) SHEAF_EXCLUDES(mutex_);
  void Recycle(EntryList used) SHEAF_EXCLUDES(mutex_);

  io::Clock* const clock_;  // Borrowed.
  const LogOptions options_;
  const Log::VisibleCallback on_visible_;
  const int64_t wake_bytes_, wake_entries_;  // Buffered entries that are not left to the clock.
  LogMetrics& metrics_ = TheLogMetrics();
  std::atomic<uint64_t> durable_, visible_;  // The latter changes under the publish lock only.

  // Only whoever writes.
  EntryList taken_;                    // Out of the queue, in no group yet.
  std::vector<QueuedEntry*> group_;
  std::vector<const PendingEntry*> group_pending_;
  struct Answer {
    Lsn lsn;
    Log::Done done;
  };
  std::vector<Answer> answers_;        // To be given once no lock is held.
  Status lost_;
  bool stalled_ = false;               // The last group failed and is tried again. Written under mutex_, read by senders too.
  std::atomic<int64_t> sync_ns_{0};    // How long the last group took. Read by all.
  std::atomic<int64_t> expected_{0};   // Durable entries in the next group, if senders come again at once. Read by all.

  // Only the writing thread.
  int gather_pause_ = 0, gather_miss_ = 0;

  Mutex publish_mutex_;  // Serialises on_visible. Before mutex_.
  Mutex mutex_;
  CondVar work_;         // urgent_, closing_, or the first entry after a rest.
  CondVar synced_;       // durable_ or failures_ went on; only for SyncThrough().
  EntryList queue_ SHEAF_GUARDED_BY(mutex_);
  EntryList unused_ SHEAF_GUARDED_BY(mutex_);
  std::deque<QueuedEntry> nodes_ SHEAF_GUARDED_BY(mutex_);  // All that ever were; at most as many as may wait.
  Lsn next_ SHEAF_GUARDED_BY(mutex_);
  int64_t bytes_ SHEAF_GUARDED_BY(mutex_) = 0;    // Of queue_ and taken_.
  int64_t entries_ SHEAF_GUARDED_BY(mutex_) = 0;
  bool urgent_ SHEAF_GUARDED_BY(mutex_) = false;  // Something waits that is not left to the clock.
  bool resting_ SHEAF_GUARDED_BY(mutex_) = false;  // The writing thread waits without a time limit; a buffered entry ends that.
  bool buffered_seen_ SHEAF_GUARDED_BY(mutex_) = false;  // Since the last rest: the clock must look.
  std::atomic<int64_t> durable_waiting_ = 0;  // In queue_, not buffered. Written under mutex_.
  bool closing_ SHEAF_GUARDED_BY(mutex_) = false;
  int sync_waiters_ SHEAF_GUARDED_BY(mutex_) = 0;
  uint64_t failures_ SHEAF_GUARDED_BY(mutex_) = 0;
  Status last_failure_ SHEAF_GUARDED_BY(mutex_);
  Status poisoned_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::wal
