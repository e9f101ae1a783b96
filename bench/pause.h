/// Pauses of benchmarks that keep to a rate or wait for work in the background.

#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace sheaf::bench {

inline void PauseUntil(std::chrono::steady_clock::time_point when) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (std::chrono::steady_clock::now() < when) never.wait_until(lock, when);
}
inline void Pause(std::chrono::nanoseconds time) { PauseUntil(std::chrono::steady_clock::now() + time); }

}  // namespace sheaf::bench
