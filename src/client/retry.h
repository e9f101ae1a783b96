/// How long to wait before an attempt: doubling, with jitter, and never less than the server asks for.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

namespace sheaf::client {

struct RetryOptions {
  std::chrono::milliseconds first{200};       // Bound of the first wait; doubles with each attempt…
  std::chrono::milliseconds longest{30'000};  // …up to this.
  std::chrono::milliseconds asked_max{300'000};  // What a server asks for counts up to this.
};

/// The waits of one request. Not thread-safe. Borrows `random`.
class Backoff {
 public:
  /// `attempts`: were made in vain before, with waits of their own.
  Backoff(const RetryOptions& options, std::mt19937_64* random, int attempts = 0)
      : options_(options), random_(random), bound_(options.first) {
    for (int i = 0; i < attempts && bound_ < options_.longest; ++i) bound_ = std::min(bound_ * 2, options_.longest);
  }

  /// Returns the next wait: between half the bound and the bound, so that senders that failed together do not come again
  /// together; at least `asked`, and then up to a tenth longer.
  std::chrono::milliseconds Next(std::optional<std::chrono::milliseconds> asked);

 private:
  std::chrono::milliseconds Between(std::chrono::milliseconds low, std::chrono::milliseconds high);

  const RetryOptions options_;
  std::mt19937_64* const random_;
  std::chrono::milliseconds bound_;
};

}  // namespace sheaf::client
