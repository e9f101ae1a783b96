/// How many statements run at once; the others wait in no particular order.

#pragma once

#include <chrono>

#include "core/mutex.h"

namespace sheaf::query {

/// Thread-safe.
class Admission {
 public:
  explicit Admission(int running_max) : running_max_(running_max) {}

  /// Waits for a place. Returns false when `timeout` passed first (zero: waits without end).
  bool Enter(std::chrono::milliseconds timeout) SHEAF_EXCLUDES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    MutexLock lock(&mutex_);
    while (running_ >= running_max_) {
      if (timeout.count() == 0) {
        left_.Wait(&mutex_);
        continue;
      }
      const auto rest = deadline - std::chrono::steady_clock::now();
      if (rest.count() <= 0) return false;
      left_.WaitFor(&mutex_, rest);
    }
    ++running_;
    return true;
  }

  void Leave() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    --running_;
    left_.NotifyOne();
  }

 private:
  const int running_max_;
  Mutex mutex_;
  CondVar left_;
  int running_ SHEAF_GUARDED_BY(mutex_) = 0;
};

}  // namespace sheaf::query
