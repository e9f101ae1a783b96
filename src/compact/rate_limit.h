/// Keeps background work to a share of the processors' time, so that ingest and queries do not feel it; and lets it have more
/// when level 0 fills up, so that ingest is never held back for work that a rate limit put off.

#pragma once

#include <cstdint>

#include "core/mutex.h"
#include "io/clock.h"

namespace sheaf::compact {

/// One for all background threads together. Thread-safe. It only counts: the caller measures its thread's processor time (never
/// waiting time) and does the waiting, so that a stop can end it.
///
///   const int64_t before = io::ThreadCpuNs();
///   … merge a granule …
///   for (int64_t ns = limit.WaitNs(io::ThreadCpuNs() - before); ns > 0; ns = limit.WaitNs(0)) wait(a tenth of a second at most);
class RateLimit {
 public:
  struct Options {
    double cpu_share = 0.10;  // Of all cores, at rest.
    int cores = 1;
    int64_t burst_ns = 100'000'000;  // What may be spent at once after a rest.
  };

  /// Borrows the clock.
  RateLimit(io::Clock* clock, const Options& options);

  /// Says that a thread spent `cpu_ns` on background work, and returns how long it has to wait before it goes on, by the share as it
  /// is now: ask again (with 0) after a part of a long wait. 0 where level 0 is so full that nothing is held back.
  int64_t WaitNs(int64_t cpu_ns);

  /// How many parts are in level 0, with those that a merge is reading. Up to PlanOptions::level0_parts the share is as in the
  /// options; from there it rises to all cores at kStallLevel0Parts, where writers would begin to wait.
  void SetLevel0Parts(int parts);

  /// Cores that background work may use while level 0 is not backed up.
  double cores_at_rest() const { return options_.cpu_share * options_.cores; }

  /// The share of all cores that background work may use now.
  double cpu_share() const;

 private:
  double ShareLocked() const SHEAF_REQUIRES(mutex_);
  /// Adds what the time since the last look allows.
  void Refill() SHEAF_REQUIRES(mutex_);

  io::Clock* const clock_;
  const Options options_;
  mutable Mutex mutex_;
  int level0_parts_ SHEAF_GUARDED_BY(mutex_) = 0;
  double balance_ns_ SHEAF_GUARDED_BY(mutex_);  // Processor time that may still be spent; below 0: debt.
  int64_t last_ns_ SHEAF_GUARDED_BY(mutex_);    // When it was computed.
};

}  // namespace sheaf::compact
