#include <ctime>

#include "core/check.h"
#include "io/clock.h"

namespace sheaf::io {
namespace {

int64_t Read(clockid_t id) {
  struct timespec now {};
  SHEAF_CHECK(::clock_gettime(id, &now) == 0);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class System : public Clock {
 public:
  int64_t NowNs() override { return Read(CLOCK_REALTIME); }
  int64_t MonotonicNs() override { return Read(CLOCK_BOOTTIME); }
};

}  // namespace

Clock* SystemClock() {
  static System clock;
  return &clock;
}

int64_t ThreadCpuNs() { return Read(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace sheaf::io
