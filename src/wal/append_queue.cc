#include "wal/append_queue.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "core/log.h"

namespace sheaf::wal {
namespace {

/// So often the clock looks for buffered entries in vain before the writing thread rests. A sender has to
/// wake it only after such a rest.
constexpr int kIdleTicks = 10;

/// A full disk is asked again this often for what was buffered and answered.
constexpr int64_t kRetryMs = 100;

/// A group waits for senders that are expected for this part of the time that a sync takes, and no longer than that.
constexpr int64_t kGatherShare = 8, kGatherNsMax = 500'000;
constexpr int kGatherYieldsMax = 5'000;  // For clocks that stand still.
/// After waiting in vain, so many groups go without; the number doubles from 1.
constexpr int kGatherPauseMax = 63;

}  // namespace

void EntryList::Push(QueuedEntry* entry) {
  entry->next = nullptr;
  (empty() ? first : last->next) = entry;
  last = entry;
}

QueuedEntry* EntryList::Pop() {
  QueuedEntry* const entry = first;
  first = entry->next;
  if (first == nullptr) last = nullptr;
  return entry;
}

void EntryList::Splice(EntryList* other) {
  if (other->empty()) return;
  (empty() ? first : last->next) = other->first;
  last = other->last;
  *other = {};
}

AppendQueue::AppendQueue(io::Clock* clock, const LogOptions& options, Lsn last, Log::VisibleCallback on_visible)
    : clock_(clock),
      options_(options),
      on_visible_(std::move(on_visible)),
      wake_bytes_(std::min(options.queue_bytes_max / 4, kBlockBytesWish)),
      wake_entries_(options.queue_entries_max / 4),
      durable_(last.value),
      visible_(last.value),
      next_(last.Next()) {}

Status AppendQueue::Append(PendingEntry pending, Log::Done done, bool* leads) {
  const bool sender_waits = pending.logged.entry.sender_waits;
  QueuedEntry* entry = nullptr;
  bool wake = false;
  *leads = false;
  if (!pending.logged.entry.buffered) {
    {
      const MutexLock lock(&mutex_);
      // Where others wait too, they are gathered: one sync for all beats one saved change of thread.
      *leads = sender_waits && !stalled_ && expected_.load(std::memory_order_relaxed) <= 1 &&
               durable_waiting_.load(std::memory_order_relaxed) == 0;
      SHEAF_RETURN_NOT_OK(Enter(&pending, &done, /*sender_publishes=*/false, &entry));
      wake = !*leads && WakeFor(*entry);
    }
    if (wake) work_.NotifyOne();
    return Status::OK();
  }
  Lsn lsn;
  {
    const MutexLock publish(&publish_mutex_);
    bool at_once = false;
    {
      const MutexLock lock(&mutex_);
      at_once = !stalled_ && next_.value == visible_.load(std::memory_order_relaxed) + 1;
      SHEAF_RETURN_NOT_OK(Enter(&pending, &done, at_once, &entry));
      wake = WakeFor(*entry);
    }
    if (at_once) {  // Another may be writing it already, but gives it up only under the publish lock.
      lsn = entry->pending.logged.lsn;
      ShowAtRisk(*entry);
    }
  }
  if (wake) work_.NotifyOne();
  if (lsn.value != 0) done(lsn);
  return Status::OK();
}

/// Takes what was handed over only if it is accepted.
Status AppendQueue::Enter(PendingEntry* pending, Log::Done* done, bool sender_publishes, QueuedEntry** entry) {
  if (!poisoned_.ok()) return poisoned_;
  if (closing_) return MakeError(ErrorKind::kUnavailable, "the log is closed");
  const int64_t bytes = pending->logged.entry.payload->size();
  const bool full = bytes_ + bytes > options_.queue_bytes_max || entries_ >= options_.queue_entries_max;
  if (full && entries_ > 0) {  // An entry larger than the whole queue may wait alone.
    metrics_.throttled.Add();
    return MakeError(ErrorKind::kThrottled, "the log's queue is full: {} entries, {} bytes wait; try again later", entries_, bytes_);
  }
  QueuedEntry* const node = unused_.empty() ? &nodes_.emplace_back() : unused_.Pop();
  node->pending = std::move(*pending);
  node->pending.logged.lsn = next_;
  bool& buffered = node->pending.logged.entry.buffered;
  buffered = buffered && !stalled_;
  if (!sender_publishes) node->done = std::move(*done);
  next_ = next_.Next();
  bytes_ += bytes;
  ++entries_;
  queue_.Push(node);
  buffered_seen_ |= buffered;
  if (!buffered) durable_waiting_.store(durable_waiting_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  *entry = node;
  return Status::OK();
}

/// Returns whether the writing thread must be told.
bool AppendQueue::Wake() { return !std::exchange(urgent_, true); }

bool AppendQueue::WakeFor(const QueuedEntry& entry) {
  const bool buffered = entry.pending.logged.entry.buffered;
  if (!buffered || bytes_ >= wake_bytes_ || entries_ >= wake_entries_ || options_.buffered_sync_ms == 0) return Wake();
  return std::exchange(resting_, false);
}

void AppendQueue::Tell() {
  const MutexLock lock(&mutex_);
  if (Wake()) work_.NotifyOne();
}

Status AppendQueue::SyncThrough(Lsn lsn) {
  const MutexLock lock(&mutex_);
  lsn = std::min(lsn, Lsn(next_.value - 1));
  const uint64_t failures = failures_;
  ++sync_waiters_;
  while (durable_lsn() < lsn && poisoned_.ok() && failures_ == failures) {
    if (Wake()) work_.NotifyOne();
    synced_.Wait(&mutex_);
  }
  --sync_waiters_;
  if (durable_lsn() >= lsn) return Status::OK();
  return poisoned_.ok() ? last_failure_ : poisoned_;
}

void AppendQueue::Close() {
  const MutexLock lock(&mutex_);
  closing_ = true;
  work_.NotifyAll();
}

/// Until an entry is there that is not left to the clock, or the clock finds buffered ones, or closing.
void AppendQueue::WaitForWork() {
  int idle_ticks = std::exchange(buffered_seen_, false) ? 0 : kIdleTicks;
  while (!urgent_ && !closing_) {
    if (entries_ == 0 && idle_ticks >= kIdleTicks) {
      resting_ = true;
      work_.Wait(&mutex_);
      if (!std::exchange(resting_, false)) idle_ticks = 0;  // A buffered entry came.
    } else if (!work_.WaitFor(&mutex_, std::chrono::milliseconds(std::max(options_.buffered_sync_ms, stalled_ ? kRetryMs : 1)))) {
      if (entries_ > 0) return;
      ++idle_ticks;
    }
  }
}

bool AppendQueue::WaitUntilDue() {
  {
    const MutexLock lock(&mutex_);
    WaitForWork();
    if (closing_) return false;
  }
  Gather();
  return true;
}

std::span<const PendingEntry* const> AppendQueue::TakeGroup(int64_t bytes_left) {
  {
    const MutexLock lock(&mutex_);
    urgent_ = false;
    durable_waiting_.store(0, std::memory_order_relaxed);
    taken_.Splice(&queue_);
  }
  if (taken_.empty()) return {};
  const int64_t payload_bytes = CutGroup(bytes_left);
  const MutexLock lock(&mutex_);
  bytes_ -= payload_bytes;
  entries_ -= static_cast<int64_t>(group_.size());
  if (!taken_.empty() && Wake()) work_.NotifyOne();  // For the writing thread, also where this is a sender's.
  return group_pending_;
}

/// Senders that wait for their answers before they go on come again at about the same time: those that were just
/// answered and those that came meanwhile make one group, if the former get a moment. Without it, stragglers
/// split the senders into two groups that take turns, and each sync carries half.
void AppendQueue::Gather() {
  const int64_t sync_ns = sync_ns_.load(std::memory_order_relaxed);
  if (durable_waiting_.load(std::memory_order_relaxed) == 0 || sync_ns == 0) return;
  if (gather_pause_ > 0) {
    --gather_pause_;
    return;
  }
  const int64_t deadline_ns = clock_->MonotonicNs() + std::min(sync_ns / kGatherShare, kGatherNsMax);
  const int64_t expected = expected_.load(std::memory_order_relaxed);
  for (int i = 0; i < kGatherYieldsMax && durable_waiting_.load(std::memory_order_relaxed) < expected; ++i) {
    if (clock_->MonotonicNs() >= deadline_ns) {
      gather_pause_ = gather_miss_ = std::min(2 * gather_miss_ + 1, kGatherPauseMax);  // They come as they like.
      return;
    }
    std::this_thread::yield();
  }
  gather_miss_ = 0;
}

/// Moves what one block takes from taken_ to group_; returns its payload's bytes.
int64_t AppendQueue::CutGroup(int64_t bytes_left) {
  int64_t bytes = sizeof(BlockHeader), limit = 0, payload_bytes = 0;
  while (!taken_.empty()) {
    const Entry& entry = taken_.first->pending.logged.entry;
    bytes = EntryEnd(bytes, entry.batch_id.size(), entry.payload->size());
    if (group_.empty()) {
      const bool rolls = RoundUp(bytes, kPageBytes) > bytes_left;
      limit = std::min(kBlockBytesWish, rolls ? options_.segment_bytes - kPageBytes : bytes_left);
    } else if (RoundUp(bytes, kPageBytes) > limit) {
      break;
    }
    payload_bytes += entry.payload->size();
    group_.push_back(taken_.Pop());
    group_pending_.push_back(&group_.back()->pending);
  }
  return payload_bytes;
}

void AppendQueue::NoteDurable(int64_t sync_ns) {
  sync_ns_.store(sync_ns, std::memory_order_relaxed);
  durable_.store(group_.back()->pending.logged.lsn.value, std::memory_order_release);
}

void AppendQueue::Show(const QueuedEntry& entry) {
  const Lsn lsn = entry.pending.logged.lsn;
  if (on_visible_) on_visible_(entry.pending.logged);
  visible_.store(lsn.value, std::memory_order_release);  // From here on the entry may be written, forgotten and used again.
}

void AppendQueue::ShowAtRisk(const QueuedEntry& entry) {
  metrics_.buffered_bytes.Add(entry.pending.logged.entry.payload->size());
  Show(entry);
}

/// Shows the buffered entries of `list` up to the first other one. False: it did not get to the end.
bool AppendQueue::ShowBuffered(const EntryList& list) {
  for (QueuedEntry* entry = list.first; entry != nullptr; entry = entry->next) {
    if (!entry->pending.logged.entry.buffered) return false;
    ShowAtRisk(*entry);
    answers_.push_back({entry->pending.logged.lsn, std::exchange(entry->done, nullptr)});
    if (entry == list.last) break;  // A sender may be writing the next link.
  }
  return true;
}

/// Shows what of the group is not visible, and the buffered entries behind it: while something in the group
/// was not visible, nothing behind was. Returns how many entries of the group had been visible before.
size_t AppendQueue::ShowGroup() {
  const MutexLock publish(&publish_mutex_);
  size_t shown = 0;
  while (shown < group_.size() && group_[shown]->pending.logged.lsn <= visible_lsn()) ++shown;
  if (shown == group_.size()) return shown;
  for (size_t i = shown; i < group_.size(); ++i) {
    Show(*group_[i]);
    answers_.push_back({group_[i]->pending.logged.lsn, std::exchange(group_[i]->done, nullptr)});
  }
  EntryList queued;
  {
    const MutexLock lock(&mutex_);
    queued = queue_;  // No buffered entry joins it while the publish lock is held.
  }
  if (ShowBuffered(taken_)) ShowBuffered(queued);
  return shown;
}

void AppendQueue::MakeVisible() {
  size_t shown = group_.size();
  if (visible_lsn() < group_.back()->pending.logged.lsn) shown = ShowGroup();
  {
    const MutexLock lock(&mutex_);
    stalled_ = false;
    if (sync_waiters_ > 0) synced_.NotifyAll();
  }
  const int64_t came_meanwhile = durable_waiting_.load(std::memory_order_relaxed);
  expected_.store(static_cast<int64_t>(group_.size() - shown) + came_meanwhile, std::memory_order_relaxed);
  for (const Answer& answer : answers_) answer.done(answer.lsn);
  answers_.clear();
  EntryList used;
  int64_t safe_bytes = 0;
  for (size_t i = 0; i < group_.size(); ++i) {
    if (i < shown) safe_bytes += group_[i]->pending.logged.entry.payload->size();
    used.Push(group_[i]);
  }
  metrics_.buffered_bytes.Add(-safe_bytes);
  group_.clear();
  group_pending_.clear();
  Recycle(used);
}

void AppendQueue::Fail(const Status& error, const Status& poisoned) {
  EntryList all, refused, lost;
  const size_t in_group = group_.size();
  {
    const MutexLock publish(&publish_mutex_);
    const MutexLock lock(&mutex_);
    for (QueuedEntry* entry : group_) all.Push(entry);
    all.Splice(&taken_);
    all.Splice(&queue_);
    poisoned_ = poisoned;
    last_failure_ = error;
    ++failures_;
    stalled_ = true;
    urgent_ = false;
    bytes_ = entries_ = 0;
    next_ = visible_lsn().Next();
    const bool final = !poisoned.ok() || closing_;
    while (!all.empty()) {
      QueuedEntry* const entry = all.Pop();
      if (entry->pending.logged.lsn > visible_lsn()) {
        refused.Push(entry);
      } else if (final) {
        lost.Push(entry);
      } else {
        taken_.Push(entry);
        bytes_ += entry->pending.logged.entry.payload->size();
        ++entries_;
      }
    }
    synced_.NotifyAll();
  }
  group_.clear();
  group_pending_.clear();
  if (!lost.empty()) Lose(lost, error);
  Refuse(refused, Lsn(durable_lsn().value + in_group), error, poisoned.ok());
}

/// Answers what cannot be written. What was behind the group (LSN above `group_end`) is certain not to be
/// stored, unless the log is poisoned.
void AppendQueue::Refuse(EntryList refused, Lsn group_end, const Status& error, bool certain) {
  const Status behind = certain ? MakeStatus(ErrorKind::kUnavailable, error.message()) : error;
  for (QueuedEntry* entry = refused.first; entry != nullptr; entry = entry->next) {
    std::exchange(entry->done, nullptr)(entry->pending.logged.lsn <= group_end ? error : behind);
  }
  Recycle(refused);
}

/// Buffered entries that were answered and never came to disk.
void AppendQueue::Lose(EntryList lost, const Status& error) {
  int64_t bytes = 0;
  for (const QueuedEntry* entry = lost.first; entry != nullptr; entry = entry->next) {
    bytes += entry->pending.logged.entry.payload->size();
  }
  metrics_.buffered_bytes.Add(-bytes);
  metrics_.buffered_lost_bytes.Add(static_cast<uint64_t>(bytes));
  const Lsn from = lost.first->pending.logged.lsn, to = lost.last->pending.logged.lsn;
  lost_ = MakeError(ErrorKind::kUnavailable, "the buffered entries with LSN {} to {} ({} bytes) are lost: {}", from, to, bytes,
                    error.message());
  LogError("wal.buffered_lost", {{"directory", options_.directory}, {"first", from}, {"last", to}, {"bytes", bytes},
                                 {"reason", error.message()}});
  Recycle(lost);
}

/// Frees what the entries hold, then lets their nodes be used again.
void AppendQueue::Recycle(EntryList used) {
  for (QueuedEntry* entry = used.first; entry != nullptr; entry = entry->next) {
    entry->pending = {};
  }
  const MutexLock lock(&mutex_);
  unused_.Splice(&used);
}

}  // namespace sheaf::wal
