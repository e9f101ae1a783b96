/// Threads on which handlers run.
///
/// A handler may wait (for the log, a query, a slow reader), and would then keep its thread from the others. So the
/// pool adds a thread when all of them have been busy for a while with work waiting, up to a limit, and lets it go
/// when it has had nothing to do for some seconds.

#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "core/mutex.h"

namespace sheaf::serve {

/// Thread-safe. The queue is not bounded here: requests waiting in it hold their memory shares, which are.
class WorkerPool {
 public:
  static constexpr size_t kThreadsMax = 64;
  static constexpr std::chrono::milliseconds kPatience{20};
  static constexpr std::chrono::seconds kIdle{10};

  /// Starts no thread yet; `threads` of them stay once they are started.
  explicit WorkerPool(size_t threads) : threads_kept_(threads == 0 ? 1 : threads) {}
  ~WorkerPool() { Stop(); }

  /// Runs `task` on a worker. Dropped after Stop().
  void Post(std::function<void()> task) SHEAF_EXCLUDES(mutex_);

  /// Adds a thread if work has waited too long. Call a few times a second.
  void Check() SHEAF_EXCLUDES(mutex_);

  /// Drops what waits, lets running tasks end, and joins. Not from a worker.
  void Stop() SHEAF_EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;
  void AddThread() SHEAF_REQUIRES(mutex_);
  void AddThreadIfStuck() SHEAF_REQUIRES(mutex_);
  void Run() SHEAF_EXCLUDES(mutex_);

  const size_t threads_kept_;
  Mutex mutex_;
  CondVar work_;
  std::deque<std::function<void()>> tasks_ SHEAF_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ SHEAF_GUARDED_BY(mutex_);
  std::vector<std::thread> finished_ SHEAF_GUARDED_BY(mutex_);
  size_t idle_ SHEAF_GUARDED_BY(mutex_) = 0;
  Clock::time_point last_start_ SHEAF_GUARDED_BY(mutex_){};  // When a worker last took a task.
  bool stopped_ SHEAF_GUARDED_BY(mutex_) = false;
};

}  // namespace sheaf::serve
