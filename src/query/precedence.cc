#include "query/precedence.h"

#include <chrono>
#include <thread>

namespace sheaf::query {

namespace {

// A chunk takes 20 to 200 µs: a scan keeps a fifth of its speed or more.
constexpr std::chrono::microseconds kPause(50);
constexpr int kPausesMax = 4;

}  // namespace

void Precedence::Pause() {
  for (int i = 0; i < kPausesMax && short_work_.load(std::memory_order_relaxed) > 0; ++i) std::this_thread::sleep_for(kPause);
}

}  // namespace sheaf::query
