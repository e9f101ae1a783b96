/// Counts failed log-ins by user and by address, and says when it has been too many.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/mutex.h"

namespace sheaf::access {

/// Thread-safe. Times are of a monotonic clock.
class FailureLimit {
 public:
  /// `per_window`: failures of one key within `window_ns` of the first of them; further tries are then refused until that is
  /// over.
  FailureLimit(int per_window, int64_t window_ns) : per_window_(per_window), window_ns_(window_ns) {}

  bool Exceeded(std::string_view key, int64_t now_ns) const SHEAF_EXCLUDES(mutex_);
  void Count(std::string_view key, int64_t now_ns) SHEAF_EXCLUDES(mutex_);

 private:
  /// Who tries from very many addresses makes us forget some, rather than run out of memory: hashing is bounded anyway.
  static constexpr size_t kKeysMax = 10'000;
  struct Window {
    int64_t start_ns = 0;
    int failures = 0;
  };

  const int per_window_;
  const int64_t window_ns_;
  mutable Mutex mutex_;
  std::unordered_map<std::string, Window> windows_ SHEAF_GUARDED_BY(mutex_);
};

/// The address of "127.0.0.1:5555" or "[::1]:5555", without the port.
std::string_view AddressOf(std::string_view peer);

}  // namespace sheaf::access
