/// Tail sampling: traces with an error, or with a span that is slow, are kept whole, whatever head sampling (head_sampler.h)
/// decided.
///
/// Head sampling's decision stands at once for the spans that it keeps: they go to the log and are answered when they are
/// durable. The others are held in memory for a while, a window. Where a span of their trace comes that has an error or is slow,
/// kept or not, those that are held go to the log with it, and what comes of the trace within another window is kept, too. A
/// window has a limit in bytes: beyond it the oldest spans leave early, and are counted. Nobody was promised that spans that head
/// sampling left out are stored, so a crash may lose what is held.
///
/// Spans that are kept thus are marked in their trace states and count nothing in estimates (columns/trace_state.h): those that
/// head sampling keeps stand for all.

#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>

#include "core/metrics.h"
#include "core/mutex.h"
#include "core/status.h"
#include "io/clock.h"
#include "serve/head_sampler.h"

namespace sheaf::serve {

struct TailRules {
  bool errors = false;  // Traces with a span whose status is ERROR.
  int64_t slow_ns = 0;  // Traces with a span that takes at least so long; 0: none.
  int64_t window_ns = 10'000'000'000;
  int64_t window_bytes = int64_t{64} << 20;

  bool empty() const { return !errors && slow_ns == 0; }
};

/// Thread-safe. What is given back must not outlive it.
class TailSampler {
 public:
  static constexpr size_t kKeptTracesMax = 262'144;  // Remembered at once; the oldest are forgotten first.

  /// Borrows `clock`.
  TailSampler(const TailRules& rules, io::Clock* clock);
  TailSampler(const TailSampler&) = delete;
  TailSampler& operator=(const TailSampler&) = delete;

  using TraceId = std::array<uint64_t, 2>;

  /// Spans of one request that head sampling left out.
  struct Held {
    std::shared_ptr<arrow::RecordBatch> spans;  // In memory of its own.
    int64_t bytes = 0;
    int64_t until_ns = 0;     // By the clock's MonotonicNs().
    std::vector<bool> taken;  // Which went to the log. Guarded by the sampler's mutex.
    int64_t left = 0;         // How many did not; guarded likewise.
  };

  /// What goes to the log with a request.
  struct Taken {
    std::shared_ptr<arrow::RecordBatch> spans;                                 // Null: none.
    std::vector<std::pair<std::shared_ptr<Held>, std::vector<int64_t>>> from;  // Where their rows were held.
    std::shared_ptr<Held> own;    // What is held of the request itself; null: nothing.
    std::vector<TraceId> traces;  // That are kept since this request…
    int64_t kept_until_ns = 0;    // …and until when.
  };

  /// Takes what head sampling left out of `spans`, a batch of otel.traces, and gives what is to be logged besides what it kept.
  /// Errors: OutOfMemory, TooLarge; then nothing has changed.
  Result<Taken> Take(const SpanDecisions& decisions, const std::shared_ptr<arrow::RecordBatch>& spans) SHEAF_EXCLUDES(mutex_);
  /// Counts what a Take() brought to the log.
  void CountLogged(const Taken& taken);
  /// Undoes a Take() whose request was not logged: its sender will repeat it.
  void GiveBack(const Taken& taken) SHEAF_EXCLUDES(mutex_);

  int64_t held_bytes() const SHEAF_EXCLUDES(mutex_);

 private:
  struct HashOfId {
    size_t operator()(const TraceId& id) const { return id[0] * 0x9E3779B97F4A7C15 ^ id[1]; }
  };

  std::vector<TraceId> TriggersOf(const arrow::RecordBatch& spans) const;
  void Expire(int64_t now_ns) SHEAF_REQUIRES(mutex_);
  /// Remembers the traces to keep; returns those that are new.
  std::vector<TraceId> Remember(const std::vector<TraceId>& traces, int64_t now_ns) SHEAF_REQUIRES(mutex_);
  Status TakeHeld(std::span<const TraceId> traces, Taken* taken) SHEAF_REQUIRES(mutex_);
  void TakeOwn(Taken* taken) SHEAF_REQUIRES(mutex_);
  void Hold(const std::shared_ptr<Held>& held, int64_t now_ns) SHEAF_REQUIRES(mutex_);
  void DropOldest() SHEAF_REQUIRES(mutex_);

  const TailRules rules_;
  io::Clock* const clock_;  // Borrowed.
  Counter* const taken_spans_;
  Counter* const spilled_spans_;
  Gauge* const bytes_gauge_;
  mutable Mutex mutex_;
  std::deque<std::shared_ptr<Held>> held_ SHEAF_GUARDED_BY(mutex_);  // Oldest first.
  int64_t held_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  std::unordered_map<TraceId, int64_t, HashOfId> kept_ SHEAF_GUARDED_BY(mutex_);  // Until when, by MonotonicNs().
  std::deque<std::pair<int64_t, TraceId>> kept_order_ SHEAF_GUARDED_BY(mutex_);   // The same, soonest first.
};

}  // namespace sheaf::serve
