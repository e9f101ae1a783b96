/// Lets statements that lost a race run one after the other, so that one of them wins each time.

#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include "core/mutex.h"

namespace sheaf::query {

/// A turn is held while a statement runs, waits and writes: no lock is. Thread-safe.
class WriteTurn {
 public:
  /// Gives the turn back when it goes.
  class Hold {
   public:
    explicit Hold(WriteTurn* turn) : turn_(turn) {}
    Hold(Hold&& other) noexcept : turn_(std::exchange(other.turn_, nullptr)) {}
    Hold& operator=(Hold&& other) noexcept {
      std::swap(turn_, other.turn_);
      return *this;
    }
    ~Hold() {
      if (turn_ != nullptr) turn_->GiveBack();
    }

   private:
    WriteTurn* turn_;
  };

  /// The turn, or nothing where it was not free within `wait`.
  std::optional<Hold> Take(std::chrono::milliseconds wait) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    if (taken_) free_.WaitFor(&mutex_, wait);
    if (taken_) return std::nullopt;
    taken_ = true;
    return Hold(this);
  }

 private:
  void GiveBack() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    taken_ = false;
    free_.NotifyOne();
  }

  Mutex mutex_;
  CondVar free_;
  bool taken_ SHEAF_GUARDED_BY(mutex_) = false;
};

}  // namespace sheaf::query
