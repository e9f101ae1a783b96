/// How many statements run at once. The others wait for their turn, first come, first served; look-ups have places of their own
/// besides, so that scans do not keep them waiting.

#pragma once

#include <chrono>
#include <list>
#include <optional>

#include "core/mutex.h"

namespace sheaf::query {

/// Thread-safe. Shows its queue as metrics.
class Admission {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Place { kNone, kShared, kOfLookUps };
  enum class Outcome { kEntered, kTimedOut, kFull };

  /// `running_max` places for all, `look_ups_max` more for look-ups; as many statements as `waiting_max` wait, others are refused
  /// (look-ups never are). 0: any number.
  Admission(int running_max, int look_ups_max, int waiting_max)
      : running_max_(running_max), look_ups_max_(look_ups_max), waiting_max_(waiting_max) {}

  /// A shared place where one is free and nobody waits for it; else kNone. Never waits.
  Place TryEnter() SHEAF_EXCLUDES(mutex_);
  /// Waits for a place until `deadline` (none: without end); `place` says which it is. A look-up takes either kind.
  Outcome Enter(bool look_up, std::optional<Clock::time_point> deadline, Place* place) SHEAF_EXCLUDES(mutex_);
  /// Gives the place back. kNone: does nothing.
  void Leave(Place place) SHEAF_EXCLUDES(mutex_);

 private:
  struct Waiter {
    bool look_up = false;
    Place place = Place::kNone;  // Given by whom makes it free.
    CondVar given;
  };
  Place Take(bool look_up) SHEAF_REQUIRES(mutex_);
  void Serve() SHEAF_REQUIRES(mutex_);

  const int running_max_, look_ups_max_, waiting_max_;
  Mutex mutex_;
  int running_ SHEAF_GUARDED_BY(mutex_) = 0, look_ups_ SHEAF_GUARDED_BY(mutex_) = 0;
  int waiting_ SHEAF_GUARDED_BY(mutex_) = 0;              // Of those in the queue, what is no look-up.
  std::list<Waiter*> queue_ SHEAF_GUARDED_BY(mutex_);     // First come first. Each lies on its thread's stack.
};

}  // namespace sheaf::query
