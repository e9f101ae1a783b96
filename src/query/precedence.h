/// What is short by nature goes first: the planning of a statement, and look-ups by id or key. Scans look between two chunks whether such
/// work is going on, and leave the processors to it. Without that a look-up that needs half a millisecond waits for time slices of as many
/// scans as there are processors.

#pragma once

#include <atomic>

namespace sheaf::query {

/// Of the whole process, as its processors are. Thread-safe.
class Precedence {
 public:
  /// While one lives, scans make way.
  class Hold {
   public:
    Hold() { short_work_.fetch_add(1); }
    ~Hold() {
      if (short_work_.fetch_sub(1) == 1 && waiting_.load() > 0) WakeScans();
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
  };

  /// Called by a scan before each chunk: pauses while there is short work, but for a fraction of a millisecond at most, so that the scan
  /// comes to its end however much of that there is.
  static void MakeWay() {
    if (short_work_.load(std::memory_order_relaxed) > 0) Pause();
  }

 private:
  static void Pause();
  static void WakeScans();
  static inline std::atomic<int> short_work_{0}, waiting_{0};
};

}  // namespace sheaf::query
