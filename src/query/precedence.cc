#include "query/precedence.h"

#include <chrono>

#include "core/mutex.h"

namespace sheaf::query {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kPauseMax(200);  // A chunk takes 20 to 200 µs: a scan keeps a tenth of its speed or more.

struct Waiting {
  Mutex mutex;
  CondVar work_done;
};
Waiting& Scans() {
  static auto* const waiting = new Waiting;  // Never destroyed: threads of DuckDB may be the last to go.
  return *waiting;
}

}  // namespace

void Precedence::Pause() {
  Waiting& scans = Scans();
  const auto end = Clock::now() + kPauseMax;
  MutexLock lock(&scans.mutex);
  waiting_.fetch_add(1);
  while (short_work_.load() > 0) {
    const auto rest = end - Clock::now();
    if (rest.count() <= 0) break;
    scans.work_done.WaitFor(&scans.mutex, rest);
  }
  waiting_.fetch_sub(1);
}

void Precedence::WakeScans() {
  Waiting& scans = Scans();
  MutexLock lock(&scans.mutex);
  scans.work_done.NotifyAll();
}

}  // namespace sheaf::query
