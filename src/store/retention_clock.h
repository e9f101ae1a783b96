/// The clock by which rows expire: never goes back, and does not follow the wall clock's leaps, since a
/// wrong clock must not delete data.

#pragma once

#include <algorithm>
#include <cstdint>

namespace sheaf::store {

/// The largest wall-clock time seen. A leap of more than an hour (ahead of the monotonic clock, or since
/// the time that the last manifest saw) pauses it: after a restart, until the wall clock has kept step
/// with the monotonic one for an hour; while running, until the wall clock is back or the database is
/// opened again. Not thread-safe.
class RetentionClock {
 public:
  static constexpr int64_t kLeapNs = int64_t{3600} * 1'000'000'000;

  /// Starts at `last_ns`, the time that was seen last, or at the wall clock's where that is 0.
  void Start(int64_t last_ns, int64_t wall_ns, int64_t monotonic_ns) {
    now_ns_ = last_ns == 0 ? wall_ns : std::max(last_ns, std::min(wall_ns, last_ns + kLeapNs));
    wall_ns_ = wall_ns;
    monotonic_ns_ = monotonic_ns;
    leapt_ = last_ns != 0 && wall_ns > last_ns + kLeapNs;
    confirm_at_ns_ = leapt_ ? monotonic_ns + kLeapNs : 0;
  }

  /// Call now and then, at least once an hour.
  void Tick(int64_t wall_ns, int64_t monotonic_ns) {
    const int64_t expected_ns = wall_ns_ + (monotonic_ns - monotonic_ns_);
    if (wall_ns > expected_ns + kLeapNs) {
      leapt_ = true;
      confirm_at_ns_ = 0;
      return;  // The clock that is expected stays the old one, so that going back ends the pause.
    }
    if (wall_ns < expected_ns - kLeapNs) return;  // Gone back: nothing more expires until it has caught up.
    if (leapt_ && confirm_at_ns_ == 0) leapt_ = false;
    if (leapt_ && monotonic_ns >= confirm_at_ns_) leapt_ = false;
    wall_ns_ = wall_ns;
    monotonic_ns_ = monotonic_ns;
    if (!leapt_) now_ns_ = std::max(now_ns_, wall_ns);
  }

  /// Whether nothing may expire now.
  bool paused() const { return leapt_; }
  int64_t now_ns() const { return now_ns_; }

 private:
  int64_t now_ns_ = 0;
  int64_t wall_ns_ = 0, monotonic_ns_ = 0;  // At the last tick that was believed.
  bool leapt_ = false;
  int64_t confirm_at_ns_ = 0;               // Monotonic; 0: only the clock going back ends the pause.
};

}  // namespace sheaf::store
