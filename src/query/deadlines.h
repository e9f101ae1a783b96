/// Calls a function when a time is reached, unless it is withdrawn first. One thread for all statements.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>

#include "core/mutex.h"

namespace sheaf::query {

/// Thread-safe.
class Deadlines {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Ticket = std::pair<Time, uint64_t>;

  Deadlines();
  ~Deadlines();

  /// `expired` runs on the timer's thread; it must be quick.
  Ticket Add(Time when, std::function<void()> expired) SHEAF_EXCLUDES(mutex_);
  /// Afterwards the function does not run any more. Waits for it where it is running: never call from within it.
  void Remove(const Ticket& ticket) SHEAF_EXCLUDES(mutex_);

 private:
  void Run() SHEAF_EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::map<Ticket, std::function<void()>> waiting_ SHEAF_GUARDED_BY(mutex_);
  Time wakes_ SHEAF_GUARDED_BY(mutex_) = Time::min();  // When the thread will look again by itself.
  uint64_t next_ SHEAF_GUARDED_BY(mutex_) = 0;
  bool running_one_ SHEAF_GUARDED_BY(mutex_) = false;
  bool stopping_ SHEAF_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sheaf::query
