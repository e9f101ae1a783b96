/// Tells a slow upload from one that only pretends to go on.

#pragma once

#include <cstdint>

#include "serve/transport.h"

namespace sheaf::serve {

class UploadRate {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  explicit UploadRate(TimePoint start) : start_(start) {}

  void Add(int64_t bytes) { bytes_ += bytes; }
  /// Time in which we held the peer back does not count against it.
  void Excuse(std::chrono::steady_clock::duration time) { start_ += time; }

  bool TooSlow(TimePoint now, const TransportOptions& options) const {
    const double seconds = std::chrono::duration<double>(now - start_ - options.upload_grace).count();
    return seconds > 0 && static_cast<double>(bytes_) < seconds * static_cast<double>(options.upload_bytes_per_second_min);
  }

 private:
  TimePoint start_;
  int64_t bytes_ = 0;
};

}  // namespace sheaf::serve
