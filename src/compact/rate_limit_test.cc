#include "compact/rate_limit.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "compact/plan.h"
#include "io/sim_testing.h"

namespace sheaf::compact {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1000 * kMs;

/// Works `granule_ns` at a time on `threads` threads that all are always running, for `wall_ns`. Returns the processor time.
int64_t Work(io::SimClock* clock, RateLimit* limit, int threads, int64_t granule_ns, int64_t wall_ns) {
  std::vector<int64_t> free_at(static_cast<size_t>(threads), clock->MonotonicNs());
  const int64_t end = clock->MonotonicNs() + wall_ns;
  int64_t cpu = 0;
  while (true) {
    auto next = std::min_element(free_at.begin(), free_at.end());
    if (*next >= end) break;
    clock->Advance(std::max<int64_t>(0, *next + granule_ns - clock->MonotonicNs()));
    cpu += granule_ns;
    *next = clock->MonotonicNs() + limit->WaitNs(granule_ns);
  }
  clock->Advance(std::max<int64_t>(0, end - clock->MonotonicNs()));
  return cpu;
}

double ShareOf(int64_t cpu_ns, int64_t wall_ns, int cores) {
  return static_cast<double>(cpu_ns) / static_cast<double>(wall_ns * cores);
}

TEST(RateLimit, TakesItsShareOfAllCoresHoweverManyThreadsWork) {
  for (const int cores : {1, 2, 16}) {
    for (const int threads : {1, 3}) {
      for (const int64_t granule_ns : {kMs / 10, 5 * kMs, 70 * kMs}) {
        io::SimClock clock;
        RateLimit limit(&clock, {.cpu_share = 0.10, .cores = cores});
        const double could = static_cast<double>(threads) / cores;  // What the threads can do at most.
        const double share = ShareOf(Work(&clock, &limit, threads, granule_ns, 100 * kSecond), 100 * kSecond, cores);
        EXPECT_LE(share, 0.103) << cores << " cores, " << threads << " threads, granules of " << granule_ns << " ns";
        EXPECT_GE(share, std::min(0.097, could * 0.95))
            << cores << " cores, " << threads << " threads, granules of " << granule_ns << " ns";
      }
    }
  }
}

TEST(RateLimit, RisesWithLevelZeroUntilNothingIsHeldBack) {
  io::SimClock clock;
  RateLimit limit(&clock, {.cpu_share = 0.10, .cores = 2});
  double before = 0;
  for (int parts = 0; parts <= 10; ++parts) {
    limit.SetLevel0Parts(parts);
    const double allowed = limit.cpu_share();
    EXPECT_GE(allowed, before);
    EXPECT_EQ(allowed > 0.10 + 1e-9, parts > PlanOptions().level0_parts);
    EXPECT_EQ(allowed > before + 1e-9, parts == 0 || (parts > PlanOptions().level0_parts && parts <= kStallLevel0Parts));
    if (parts >= kStallLevel0Parts) {
      EXPECT_DOUBLE_EQ(allowed, 1);
      EXPECT_EQ(limit.WaitNs(1000 * kSecond), 0);
    } else {
      Work(&clock, &limit, 2, kMs, kSecond);  // What was saved up is gone.
      EXPECT_NEAR(ShareOf(Work(&clock, &limit, 2, kMs, 50 * kSecond), 50 * kSecond, 2), std::min(allowed, 1.0), 0.02)
          << parts << " parts";
    }
    before = allowed;
  }
}

TEST(RateLimit, WhatWasSpentInNeedIsNotPaidBack) {
  io::SimClock clock;
  RateLimit limit(&clock, {.cpu_share = 0.10, .cores = 2});
  limit.SetLevel0Parts(kStallLevel0Parts);
  Work(&clock, &limit, 2, kMs, 100 * kSecond);
  limit.SetLevel0Parts(0);
  EXPECT_EQ(limit.WaitNs(0), 0);
  EXPECT_NEAR(ShareOf(Work(&clock, &limit, 2, kMs, 100 * kSecond), 100 * kSecond, 2), 0.10, 0.003);
}

TEST(RateLimit, RestSavesUpNoMoreThanABurst) {
  io::SimClock clock;
  RateLimit limit(&clock, {.cpu_share = 0.10, .cores = 1, .burst_ns = 50 * kMs});
  clock.Advance(3600 * kSecond);
  EXPECT_EQ(limit.WaitNs(50 * kMs), 0);
  EXPECT_EQ(limit.WaitNs(1 * kMs), 10 * kMs);
  EXPECT_EQ(limit.WaitNs(1000 * kMs), 10'010 * kMs);
  clock.Advance(50 * kMs);
  EXPECT_EQ(limit.WaitNs(0), 9'960 * kMs) << "the rest of the debt stays";
}

}  // namespace
}  // namespace sheaf::compact
