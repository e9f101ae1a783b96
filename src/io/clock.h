/// Time, injected, so that tests can hold, jump and rewind it.

#pragma once

#include <cstdint>

namespace sheaf::io {

/// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Nanoseconds since 1970 UTC. May jump either way; never used for order or deadlines.
  virtual int64_t NowNs() = 0;
  /// Nanoseconds since some start; never goes back. For deadlines and durations.
  virtual int64_t MonotonicNs() = 0;
};

/// The system's clock (CLOCK_REALTIME, CLOCK_BOOTTIME). Lives for ever.
Clock* SystemClock();

/// Processor time of the calling thread, in nanoseconds: what it worked, without what it waited. For limiting background work.
int64_t ThreadCpuNs();

}  // namespace sheaf::io
