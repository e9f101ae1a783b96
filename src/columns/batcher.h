/// Batchers: join small pieces of data (items) into batches that are worth their fixed cost, without holding any back for long.
///
/// They decide only: when a batch is due, of how many of the waiting items it is made, and why. Items stay in their order. Time is
/// an argument (a clock that never goes back, in nanoseconds), so that every decision can be repeated; there is no thread and no
/// lock in here. Whoever uses one calls Add() for what arrives, Take() when Due() says so, at the latest at DeadlineNs(), and, with
/// an AdaptiveBatcher, Flushed() when a batch is done. BatchQueue keeps the items themselves.
///
/// Not thread-safe: stands under its user's mutex.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "core/check.h"

namespace sheaf::columns {

/// What an item or a batch holds.
struct BatchSize {
  int64_t rows = 0, bytes = 0;

  void operator+=(const BatchSize& other) { rows += other.rows, bytes += other.bytes; }
  void operator-=(const BatchSize& other) { rows -= other.rows, bytes -= other.bytes; }
  bool operator==(const BatchSize&) const = default;
};

/// When a batch is due, and how large it may be.
struct BatchLimits {
  BatchSize min{INT64_MAX, INT64_MAX};  // Due with so many rows, or so many bytes…
  int64_t wait_ns = 0;                  // …or once its oldest item has waited so long.
  BatchSize max{INT64_MAX, INT64_MAX};  // No batch holds more, but for an item that does so alone: that is a batch of its own.

  bool operator==(const BatchLimits&) const = default;
};

/// Why a batch was taken.
enum class BatchReason : uint8_t {
  kNone,      // It is not due.
  kRows,      // It holds min.rows.
  kBytes,     // It holds min.bytes.
  kDeadline,  // Its oldest item has waited wait_ns.
  kMemory,    // What waits and what is being flushed reach the memory allowed.
  kIdle,      // To wait would gain nothing: no flush is under way, or too little arrives; or it was taken before it was due.
  kClosed,    // No more will come.
};
inline constexpr size_t kBatchReasons = 7;
/// "rows", "bytes", "deadline"…: for metrics and reports.
std::string_view BatchReasonName(BatchReason reason);

/// Why the wait of an AdaptiveBatcher is what it is.
enum class WaitReason : uint8_t {
  kFixed,      // It is given (DynamicBatcher), or nothing was flushed yet.
  kFewItems,   // No wait: another item is not to be expected in time, or those expected did not come.
  kLightLoad,  // No wait: flushing each item alone keeps the flushes below `busy_share`.
  kBusy,       // As long as keeps them below it.
  kTarget,     // As long as the latency target allows.
  kOverload,   // The target cannot be kept: as long as the flushes need to keep up.
  kMaximum,    // The longest that is allowed.
};
inline constexpr size_t kWaitReasons = 7;
std::string_view WaitReasonName(WaitReason reason);

/// What a batcher chose, and why. Times are nanoseconds.
struct BatchReport {
  BatchLimits limits;                            // In force now.
  WaitReason wait_reason = WaitReason::kFixed;
  BatchReason last = BatchReason::kNone;         // Of the last batch.
  std::array<int64_t, kBatchReasons> batches{};  // Taken so far, by reason.
  int64_t items = 0;                             // In them.
  BatchSize taken;                               // In them.
  int64_t waited_ns_max = 0;                     // The longest that an item waited for its batch, so far.
  int64_t waiting_items = 0;
  BatchSize waiting;
  // AdaptiveBatcher only, as measured lately:
  int64_t flushes = 0;                           // Under way.
  BatchSize flushing;
  double items_per_second = 0, rows_per_second = 0, bytes_per_second = 0;
  double flush_ns_fixed = 0, flush_ns_per_byte = 0;  // A flush takes the one and the other a byte…
  double flush_ns_deviation = 0;                     // …and differs from that so much on average.

  int64_t batches_total() const;
};

/// Fixed limits.
class DynamicBatcher {
 public:
  /// Requires: 1 <= min, min <= max (where min is not INT64_MAX), wait_ns >= 0.
  explicit DynamicBatcher(const BatchLimits& limits) { SetLimits(limits); }

  /// An item arrived. Requires: not closed, sizes >= 0, time does not fall.
  void Add(const BatchSize& item, int64_t now_ns);
  /// Whether a batch is due, and why: kNone where it is not.
  BatchReason Due(int64_t now_ns) const;
  /// When a batch will be due if nothing more arrives; INT64_MAX where nothing waits.
  int64_t DeadlineNs() const;
  /// Takes the next batch: returns of how many of the oldest items it is made, at least one. It may be taken before it is due, and
  /// is as large as max and what waits allow. Requires: something waits. `size`: of the batch.
  size_t Take(int64_t now_ns, BatchSize* size);
  /// No more will come: what waits is due until nothing does.
  void Close() { closed_ = true; }

  /// For what waits, too.
  void SetLimits(const BatchLimits& limits);
  bool empty() const { return waiting_.empty(); }
  const BatchSize& waiting() const { return report_.waiting; }
  const BatchLimits& limits() const { return report_.limits; }
  WaitReason wait_reason() const { return report_.wait_reason; }
  const BatchReport& report() const { return report_; }

 private:
  friend class AdaptiveBatcher;
  struct Waiting {
    BatchSize size;
    int64_t since_ns;
  };
  BatchReason DueBySize() const;
  size_t TakeFor(BatchReason reason, int64_t now_ns, BatchSize* size);

  std::deque<Waiting> waiting_;
  BatchReport report_;
  bool closed_ = false;
};

/// How much arrives in a second, the last `window_ns` counting most: a sum that decays exponentially.
class ArrivalRate {
 public:
  explicit ArrivalRate(int64_t window_ns) : window_ns_(static_cast<double>(window_ns)) {}
  void Add(double amount, int64_t now_ns);
  double PerSecond(int64_t now_ns) const;

 private:
  double DecayedAt(int64_t now_ns) const;

  const double window_ns_;
  double sum_ = 0;
  int64_t first_ns_ = 0, last_ns_ = 0;
  bool started_ = false;
};

/// What a flush costs: fixed, and a byte. Least squares over the last flushes, older ones counting less; with sizes that
/// do not differ, all is fixed.
class FlushCost {
 public:
  void Add(double bytes, double ns);
  bool empty() const { return weight_ == 0; }
  double fixed_ns() const { return fixed_ns_; }
  double ns_per_byte() const { return ns_per_byte_; }
  double deviation_ns() const { return deviation_ns_; }

 private:
  double weight_ = 0, mean_bytes_ = 0, mean_ns_ = 0, variance_ = 0, covariance_ = 0;
  double fixed_ns_ = 0, ns_per_byte_ = 0, deviation_ns_ = 0;
};

/// Moves its limits with what arrives and with how long flushes take.
///
/// An item's latency is its wait and its flush. With a fixed cost a and b a byte of a flush, a margin m for their deviation and R
/// bytes arriving a second, items that wait up to t make batches of R t bytes and are done after t + a + m + b R t: the longest wait
/// within a target T is (T - a - m) / (1 + b R). Flushes then keep a / t + b R of the time busy; `busy_share` B allows to wait no
/// longer than a / (B - b R), which keeps them below B, and not at all where they are with each item flushed alone. What arrives in
/// the wait chosen is the size that makes a batch due. A batch is never so large that its own flush misses the target. Each flush
/// moves the wait a quarter of the way, so that one that was out of the ordinary moves little. Where less than one item is expected
/// within the wait, or waits were in vain, there is none.
class AdaptiveBatcher {
 public:
  struct Options {
    BatchLimits bounds{.min = {1, 1}, .wait_ns = 0, .max = {INT64_MAX, INT64_MAX}};  // Limits stay within: due at sizes
                                                     // from min to max, waits up to wait_ns, batches up to max.
    int64_t latency_target_ns = 100'000'000;         // From an item's arrival to the end of its flush.
    int64_t memory_bytes_max = int64_t{64} << 20;    // Waiting and being flushed: beyond, batches are due at once, and Fits() is false.
    double busy_share = 0;                           // Of the time that flushes may take (all `flushers` together: 1). 0: items
                                                     // wait as long as the target allows, for the largest batches.
    int flushers = 1;                                // Flushes that go on at once.
    bool idle_is_due = false;                        // While no flush is under way, nothing waits.
    int64_t window_ns = 1'000'000'000;               // Over which the rate of arrivals is measured.
  };

  /// Requires: bounds as DynamicBatcher's with min not INT64_MAX; latency_target_ns, memory_bytes_max, flushers, window_ns > 0;
  /// 0 <= busy_share < 1.
  explicit AdaptiveBatcher(const Options& options);

  // As DynamicBatcher's.
  void Add(const BatchSize& item, int64_t now_ns);
  BatchReason Due(int64_t now_ns) const;
  int64_t DeadlineNs() const;
  /// The batch counts as being flushed until Flushed() or Dropped().
  size_t Take(int64_t now_ns, BatchSize* size);
  void Close() { batcher_.Close(); }
  bool empty() const { return batcher_.empty(); }
  const BatchSize& waiting() const { return batcher_.waiting(); }

  /// A batch that Take() gave is done, `latency_ns` after the flush of it began.
  void Flushed(const BatchSize& size, int64_t latency_ns, int64_t now_ns);
  /// It failed, or went elsewhere: nothing is learnt from it.
  void Dropped(const BatchSize& size);
  /// Whether the memory allowed has room for `bytes` more; one item always has where nothing else is there. Add() does not ask:
  /// whoever adds decides what becomes of what does not fit (wait, refuse, or put it elsewhere).
  bool Fits(int64_t bytes) const;

  const BatchLimits& limits() const { return batcher_.limits(); }
  WaitReason wait_reason() const { return batcher_.wait_reason(); }
  const Options& options() const { return options_; }
  BatchReport Report(int64_t now_ns) const;

 private:
  struct Choice {
    double wait_ns;
    WaitReason reason;
  };
  Choice ChooseWait(double items_per_ns, double bytes_per_ns) const;
  void Adapt(int64_t now_ns, double step);
  void NoteGain(BatchReason reason, size_t items);

  const Options options_;
  DynamicBatcher batcher_;
  ArrivalRate items_, rows_, bytes_;
  FlushCost cost_;
  int64_t flushes_ = 0;
  BatchSize flushing_;
  double wait_ns_ = 0;                         // As it moves.
  int64_t vain_pause_ = 0, vain_miss_ = 0;     // Batches that do not wait after waits in vain; grows with each of those.
};

/// A batch of items in the order in which they arrived.
template <typename Item>
struct Batch {
  std::vector<Item> items;
  BatchSize size;
  BatchReason reason = BatchReason::kNone;
};

/// Items that wait, and the batcher that decides about them (Batcher: DynamicBatcher or AdaptiveBatcher).
template <typename Item, typename Batcher = AdaptiveBatcher>
class BatchQueue {
 public:
  template <typename Options>
  explicit BatchQueue(const Options& options) : batcher_(options) {}

  void Add(Item item, const BatchSize& size, int64_t now_ns) {
    batcher_.Add(size, now_ns);
    items_.push_back(std::move(item));
  }
  /// The next batch where one is due; else an empty one. `even_early`: also where it is not due yet.
  Batch<Item> Take(int64_t now_ns, bool even_early = false) {
    Batch<Item> batch;
    if (items_.empty()) return batch;
    batch.reason = batcher_.Due(now_ns);
    if (batch.reason == BatchReason::kNone && !even_early) return batch;
    if (batch.reason == BatchReason::kNone) batch.reason = BatchReason::kIdle;
    const auto end = items_.begin() + static_cast<std::ptrdiff_t>(batcher_.Take(now_ns, &batch.size));
    batch.items.assign(std::move_iterator(items_.begin()), std::move_iterator(end));
    items_.erase(items_.begin(), end);
    return batch;
  }
  bool empty() const { return items_.empty(); }
  Batcher& batcher() { return batcher_; }
  const Batcher& batcher() const { return batcher_; }

 private:
  std::deque<Item> items_;
  Batcher batcher_;
};

}  // namespace sheaf::columns
