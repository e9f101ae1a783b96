/// Runs functions on one I/O thread, from wherever they come.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "core/mutex.h"

namespace sheaf::serve {

/// A pending call; destroying it cancels the call. Only on the I/O thread.
class IoTimer {
 public:
  virtual ~IoTimer() = default;
};

/// Thread-safe. Handlers may keep it for longer than the thread lives: after Close() nothing runs any more.
class IoExecutor {
 public:
  virtual ~IoExecutor() = default;

  /// Runs `task` on the I/O thread, in the order of the calls, never inside this call. Dropped after Close().
  void Post(std::function<void()> task) SHEAF_EXCLUDES(mutex_);

  /// Runs `task` at or after `when`. Only on the I/O thread.
  virtual std::unique_ptr<IoTimer> At(std::chrono::steady_clock::time_point when, std::function<void()> task) = 0;

  /// Drops what waits and all that comes.
  void Close() SHEAF_EXCLUDES(mutex_);

 protected:
  /// Asks the I/O thread to call RunPosted() soon.
  virtual void Wake() = 0;
  void RunPosted() SHEAF_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::vector<std::function<void()>> posted_ SHEAF_GUARDED_BY(mutex_);
  bool closed_ SHEAF_GUARDED_BY(mutex_) = false;
};

}  // namespace sheaf::serve
