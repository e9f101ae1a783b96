#include "columns/batcher.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"

namespace sheaf::columns {
namespace {

constexpr int64_t kMs = 1'000'000, kSecond = 1'000 * kMs;
constexpr uint64_t kSeed = 7;  // Of tests that measure: with other seeds their figures differ a little. Those of promises take any.

TEST(DynamicBatcher, IsDueBySizeByTimeAndWhenClosed) {
  DynamicBatcher batcher({.min = {100, 1000}, .wait_ns = 5 * kMs, .max = {200, 2000}});
  EXPECT_EQ(batcher.Due(0), BatchReason::kNone);
  EXPECT_EQ(batcher.DeadlineNs(), INT64_MAX);
  batcher.Add({10, 10}, 1 * kMs);
  batcher.Add({10, 10}, 3 * kMs);
  EXPECT_EQ(batcher.Due(5 * kMs), BatchReason::kNone);
  EXPECT_EQ(batcher.DeadlineNs(), 6 * kMs) << "that of the oldest";
  EXPECT_EQ(batcher.Due(6 * kMs), BatchReason::kDeadline);
  BatchSize size;
  EXPECT_EQ(batcher.Take(6 * kMs, &size), 2u);
  EXPECT_EQ(size, (BatchSize{20, 20}));
  EXPECT_EQ(batcher.Due(100 * kMs), BatchReason::kNone);

  batcher.Add({100, 1}, 7 * kMs);
  EXPECT_EQ(batcher.Due(7 * kMs), BatchReason::kRows);
  EXPECT_EQ(batcher.DeadlineNs(), 7 * kMs) << "due now";
  batcher.Take(7 * kMs, &size);
  batcher.Add({1, 1000}, 8 * kMs);
  EXPECT_EQ(batcher.Due(8 * kMs), BatchReason::kBytes);
  batcher.Take(8 * kMs, &size);
  batcher.Add({1, 1}, 9 * kMs);
  batcher.Close();
  EXPECT_EQ(batcher.Due(9 * kMs), BatchReason::kClosed);
  batcher.Take(9 * kMs, &size);
  EXPECT_EQ(batcher.Due(9 * kMs), BatchReason::kNone) << "closed, and nothing is left";

  const BatchReport& report = batcher.report();
  EXPECT_EQ(report.batches_total(), 4);
  EXPECT_EQ(report.items, 5);
  EXPECT_EQ(report.taken, (BatchSize{122, 1022}));
  EXPECT_EQ(report.waited_ns_max, 5 * kMs);
  EXPECT_EQ(report.last, BatchReason::kClosed);
}

TEST(DynamicBatcher, AnItemLargerThanABatchMayBeGoesAlone) {
  DynamicBatcher batcher({.min = {50, INT64_MAX}, .wait_ns = kMs, .max = {50, INT64_MAX}});
  for (const int64_t rows : {20, 20, 90, 20, 30, 1}) batcher.Add({rows, 1}, 0);
  BatchSize size;
  for (const auto& [items, rows] : std::vector<std::pair<size_t, int64_t>>{{2, 40}, {1, 90}, {2, 50}}) {
    EXPECT_EQ(batcher.Due(0), BatchReason::kRows);
    EXPECT_EQ(batcher.Take(0, &size), items);
    EXPECT_EQ(size.rows, rows);
  }
  EXPECT_EQ(batcher.Due(0), BatchReason::kNone) << "a row is left, which waits";
}

/// What arrives, what flushing costs, and what came of it.
struct World {
  int64_t now_ns = 0;
  std::function<int64_t()> gap_ns;         // Until the next item.
  std::function<BatchSize()> size = [] { return BatchSize{10, 2'000}; };
  std::function<int64_t(const BatchSize&)> flush_ns;
  int flushers = 1;
  int64_t drop_each = 0;                   // So many flushes fail; 0: none.

  struct Item {
    int64_t number, arrived_ns;
    BatchSize size;
  };
  struct Done {
    Item item;
    int64_t taken_ns, done_ns;
  };
  std::vector<Done> done;
  std::vector<std::pair<Batch<Item>, int64_t>> batches;  // And when they were taken.
  std::vector<int64_t> waits_ns;                         // In force after each flush…
  std::array<int64_t, kWaitReasons> reasons{};           // …and why.
  int64_t busy_ns = 0, waiting_bytes_max = 0, held_bytes_max = 0, refused = 0;

  int64_t LatencyNs(double quantile, int64_t from_ns) const {
    std::vector<int64_t> all;
    for (const Done& one : done) {
      if (one.item.arrived_ns >= from_ns) all.push_back(one.done_ns - one.item.arrived_ns);
    }
    if (all.empty()) return -1;
    std::sort(all.begin(), all.end());
    return all[static_cast<size_t>(quantile * static_cast<double>(all.size() - 1))];
  }
  double ShareOf(WaitReason reason) const {
    return static_cast<double>(reasons[static_cast<size_t>(reason)]) / static_cast<double>(waits_ns.size());
  }
  double ItemsABatch(int64_t from_ns) const {
    double items = 0, count = 0;
    for (const auto& [batch, taken_ns] : batches) {
      if (taken_ns < from_ns) continue;
      items += static_cast<double>(batch.items.size());
      ++count;
    }
    return items / count;
  }
};

void Learn(DynamicBatcher*, const BatchSize&, int64_t, int64_t, bool) {}
void Learn(AdaptiveBatcher* batcher, const BatchSize& size, int64_t latency_ns, int64_t now_ns, bool dropped) {
  dropped ? batcher->Dropped(size) : batcher->Flushed(size, latency_ns, now_ns);
}
bool Fits(const DynamicBatcher&, int64_t) { return true; }
bool Fits(const AdaptiveBatcher& batcher, int64_t bytes) { return batcher.Fits(bytes); }

/// Runs `world` for `ns` more, then, where asked, closes the batcher and lets it run empty. A flush takes place on a flusher of its
/// own; batches wait where none is free. Items that do not fit are refused.
template <typename Batcher>
void Simulate(World* world, BatchQueue<World::Item, Batcher>* queue, int64_t ns, bool close = false) {
  struct Flush {
    BatchSize size;
    int64_t begin_ns;
  };
  std::multimap<int64_t, Flush> flushing;  // By their end.
  const int64_t end_ns = world->now_ns + ns;
  int64_t arrival_ns = world->now_ns + world->gap_ns(), number = static_cast<int64_t>(world->done.size());
  while (world->now_ns < end_ns || !queue->empty() || !flushing.empty()) {
    int64_t next_ns = world->now_ns < end_ns ? std::min(arrival_ns, end_ns) : INT64_MAX;
    if (!flushing.empty()) next_ns = std::min(next_ns, flushing.begin()->first);
    const bool free = static_cast<int>(flushing.size()) < world->flushers;
    if (free) next_ns = std::min(next_ns, queue->batcher().DeadlineNs());
    world->now_ns = std::max(world->now_ns, next_ns);
    const int64_t now = world->now_ns;
    while (!flushing.empty() && flushing.begin()->first <= now) {
      const Flush flush = flushing.begin()->second;
      flushing.erase(flushing.begin());
      world->busy_ns += now - flush.begin_ns;
      const auto flushes = static_cast<int64_t>(world->waits_ns.size()) + 1;
      Learn(&queue->batcher(), flush.size, now - flush.begin_ns, now, world->drop_each > 0 && flushes % world->drop_each == 0);
      world->waits_ns.push_back(queue->batcher().limits().wait_ns);
      ++world->reasons[static_cast<size_t>(queue->batcher().wait_reason())];
    }
    if (arrival_ns <= now && now < end_ns) {
      const BatchSize size = world->size();
      if (Fits(queue->batcher(), size.bytes)) {
        queue->Add({number++, now, size}, size, now);
      } else {
        ++world->refused;
      }
      arrival_ns = now + world->gap_ns();
    }
    if (now >= end_ns && close) queue->batcher().Close();
    while (static_cast<int>(flushing.size()) < world->flushers) {
      Batch<World::Item> batch = queue->Take(now);
      if (batch.items.empty()) break;
      const int64_t done_ns = now + world->flush_ns(batch.size);
      flushing.emplace(done_ns, Flush{batch.size, now});
      for (const World::Item& item : batch.items) world->done.push_back({item, now, done_ns});
      world->batches.emplace_back(std::move(batch), now);
    }
    int64_t held = 0;
    for (const auto& [at, flush] : flushing) held += flush.size.bytes;
    world->held_bytes_max = std::max(world->held_bytes_max, held + queue->batcher().waiting().bytes);
    if (now >= end_ns && flushing.empty() && !close && queue->batcher().DeadlineNs() == INT64_MAX) break;
  }
}

std::function<int64_t()> Poisson(Random* random, double per_second) {
  return [random, per_second] {
    return static_cast<int64_t>(std::exponential_distribution<double>(per_second)(*random) * static_cast<double>(kSecond));
  };
}

std::function<int64_t(const BatchSize&)> Cost(Random* random, double fixed_ms, double ns_per_byte, double noise = 0.1) {
  return [=](const BatchSize& size) {
    const double ns = fixed_ms * kMs + ns_per_byte * static_cast<double>(size.bytes);
    return static_cast<int64_t>(ns * std::uniform_real_distribution<double>(1 - noise, 1 + noise)(*random));
  };
}

/// All that arrived is in the batches, once, in its order; batches keep their limits; nobody who could be flushed waited too long.
void ExpectWhole(const World& world, const BatchLimits& bounds, bool flusher_always_free) {
  int64_t number = 0;
  for (const auto& [batch, taken_ns] : world.batches) {
    ASSERT_FALSE(batch.items.empty());
    ASSERT_NE(batch.reason, BatchReason::kNone);
    BatchSize size;
    for (const World::Item& item : batch.items) {
      ASSERT_EQ(item.number, number++);
      size += item.size;
      if (flusher_always_free) {
        ASSERT_LE(taken_ns - item.arrived_ns, bounds.wait_ns);
      }
    }
    ASSERT_EQ(size, batch.size);
    if (batch.items.size() > 1) {
      ASSERT_LE(size.rows, bounds.max.rows);
      ASSERT_LE(size.bytes, bounds.max.bytes);
    }
  }
  ASSERT_EQ(number, static_cast<int64_t>(world.done.size()));
}

/// A world of random arrivals, sizes and costs: single ones, bursts, pauses; items of nothing, and larger than a batch may be.
World RandomWorld(Random* random) {
  const auto pick = [random](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(*random); };
  World world;
  const int64_t gap = pick(1, 5 * kMs), burst = pick(1, 50), pause = pick(0, 500 * kMs), largest = pick(1, 200);
  world.gap_ns = [=, n = int64_t{0}]() mutable { return ++n % burst == 0 ? pick(0, pause) : pick(0, 2 * gap); };
  world.size = [=] {
    const int64_t rows = pick(0, largest);
    return BatchSize{rows, rows * pick(1, 300)};
  };
  world.flush_ns = Cost(random, static_cast<double>(pick(0, 20)), static_cast<double>(pick(0, 100)), 0.9);
  world.flushers = static_cast<int>(pick(1, 4));
  world.drop_each = pick(0, 1) * pick(2, 10);
  return world;
}

BatchLimits RandomLimits(Random* random) {
  const auto pick = [random](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(*random); };
  BatchLimits limits{.min = {pick(1, 100), pick(1, 20'000)}, .wait_ns = pick(0, 1) * pick(0, 100 * kMs), .max = {}};
  limits.max = {limits.min.rows + pick(0, 200), limits.min.bytes + pick(0, 40'000)};
  return limits;
}

TEST(DynamicBatcher, LosesNothingKeepsTheOrderTheLimitsAndTheLongestWait) {
  Random random(TestSeed());
  for (int round = 0; round < 300; ++round) {
    World world = RandomWorld(&random);
    if (round % 2 == 0) world.flushers = 1 << 20;
    const BatchLimits limits = RandomLimits(&random);
    BatchQueue<World::Item, DynamicBatcher> queue(limits);
    Simulate(&world, &queue, 2 * kSecond, /*close=*/true);
    ASSERT_NO_FATAL_FAILURE(ExpectWhole(world, limits, round % 2 == 0));
    EXPECT_EQ(queue.batcher().report().items, static_cast<int64_t>(world.done.size()));
  }
}

TEST(AdaptiveBatcher, LosesNothingKeepsTheOrderTheLimitsTheLongestWaitAndTheMemory) {
  Random random(TestSeed());
  for (int round = 0; round < 300; ++round) {
    World world = RandomWorld(&random);
    if (round % 2 == 0) world.flushers = 1 << 20;
    AdaptiveBatcher::Options options{.bounds = RandomLimits(&random)};
    options.latency_target_ns = std::uniform_int_distribution<int64_t>(1, 200 * kMs)(random);
    options.memory_bytes_max = std::uniform_int_distribution<int64_t>(1'000, 1'000'000)(random);
    options.busy_share = 0.3 * static_cast<double>(random() % 4);
    options.flushers = std::min(world.flushers, 8);
    options.idle_is_due = random() % 2 == 0;
    BatchQueue<World::Item> queue(options);
    Simulate(&world, &queue, 2 * kSecond, /*close=*/true);
    ASSERT_NO_FATAL_FAILURE(ExpectWhole(world, options.bounds, round % 2 == 0));
    EXPECT_LE(world.held_bytes_max, std::max<int64_t>(options.memory_bytes_max, 200 * 300));
    const BatchReport report = queue.batcher().Report(world.now_ns);
    EXPECT_EQ(report.items, static_cast<int64_t>(world.done.size()));
    EXPECT_EQ(report.flushes, 0);
    EXPECT_EQ(report.flushing, BatchSize());
  }
}

AdaptiveBatcher::Options Within(int64_t target_ns) {
  return {.bounds = {.min = {1, 1}, .wait_ns = kSecond, .max = {INT64_MAX, INT64_MAX}}, .latency_target_ns = target_ns};
}

/// How far the wait still moves, as its standard deviation in parts of its mean, over the last half of the flushes since `from`.
double Unrest(const World& world, size_t from) {
  double count = 0, sum = 0, squares = 0;
  for (size_t i = (from + world.waits_ns.size()) / 2; i < world.waits_ns.size(); ++i) {
    const auto wait = static_cast<double>(world.waits_ns[i]);
    ++count, sum += wait, squares += wait * wait;
  }
  const double mean = sum / count;
  return std::sqrt(std::max(squares / count - mean * mean, 0.0)) / mean;
}

TEST(AdaptiveBatcher, FillsTheTargetAndNoMoreWhereArrivalsAreSteady) {
  Random random(kSeed);
  for (const double per_second : {200.0, 2'000.0, 10'000.0}) {
    for (const int64_t target : {20 * kMs, 100 * kMs, 400 * kMs}) {
      World world{.gap_ns = Poisson(&random, per_second), .flush_ns = Cost(&random, 3, 5)};
      BatchQueue<World::Item> queue(Within(target));
      Simulate(&world, &queue, 12 * kSecond);
      EXPECT_LE(world.LatencyNs(0.99, 5 * kSecond), target * 11 / 10) << per_second << "/s, target " << target / kMs << " ms";
      EXPECT_GE(world.LatencyNs(0.99, 5 * kSecond), target / 2) << per_second << "/s, target " << target / kMs << " ms";
      EXPECT_LT(Unrest(world, 0), 0.35) << per_second << "/s, target " << target / kMs << " ms";
      EXPECT_GT(world.ShareOf(WaitReason::kTarget), 0.85);
    }
  }
}

TEST(AdaptiveBatcher, KeepsTheTargetInBursts) {
  Random random(kSeed);
  for (const int64_t burst : {10, 100, 1'000}) {
    World world{.flush_ns = Cost(&random, 3, 5)};
    world.gap_ns = [&, n = int64_t{0}]() mutable {
      const auto within = Poisson(&random, 20'000), between = Poisson(&random, 5);
      return ++n % burst == 0 ? between() : within();
    };
    BatchQueue<World::Item> queue(Within(100 * kMs));
    Simulate(&world, &queue, 60 * kSecond);
    EXPECT_LE(world.LatencyNs(0.99, 5 * kSecond), 120 * kMs) << burst;
    EXPECT_GE(world.ItemsABatch(5 * kSecond), static_cast<double>(burst) / 10) << burst;
  }
}

TEST(AdaptiveBatcher, FollowsChangesOfRateAndCost) {
  Random random(kSeed);
  World world;
  BatchQueue<World::Item> queue(Within(100 * kMs));
  const struct {
    double per_second, fixed_ms, ns_per_byte;
  } kPhases[] = {{500, 2, 5}, {20'000, 2, 5}, {20'000, 30, 10}, {300, 30, 10}, {300, 2, 200}, {2'000, 2, 150}, {5'000, 1, 1}};
  for (const auto& phase : kPhases) {
    world.gap_ns = Poisson(&random, phase.per_second);
    world.flush_ns = Cost(&random, phase.fixed_ms, phase.ns_per_byte);
    const int64_t begin = world.now_ns;
    const size_t flushes = world.waits_ns.size();
    Simulate(&world, &queue, 20 * kSecond);
    const std::string what = fmt::format("{}/s, {} ms, {} ns/B", phase.per_second, phase.fixed_ms, phase.ns_per_byte);
    EXPECT_LE(world.LatencyNs(0.99, begin + 10 * kSecond), 125 * kMs) << what;
    EXPECT_GE(world.LatencyNs(0.99, begin + 10 * kSecond), 60 * kMs) << what;
    EXPECT_LT(Unrest(world, flushes), 0.35) << what;
  }
}

TEST(AdaptiveBatcher, MakesBatchesThatKeepUpWhereTheTargetCannotBeKept) {
  Random random(kSeed);
  World world{.gap_ns = Poisson(&random, 2'000), .flush_ns = Cost(&random, 50, 20)};
  BatchQueue<World::Item> queue(Within(20 * kMs));  // A flush alone takes longer.
  Simulate(&world, &queue, 60 * kSecond);
  EXPECT_GT(world.ShareOf(WaitReason::kOverload), 0.85);
  EXPECT_LE(world.LatencyNs(0.99, 10 * kSecond), 250 * kMs) << "far from the target, but no queue that grows";
  EXPECT_LT(world.busy_ns, world.now_ns);
}

TEST(AdaptiveBatcher, WaitsOnlyAsTheLoadNeedsWhereToldSo) {
  Random random(kSeed);
  AdaptiveBatcher::Options options = Within(200 * kMs);
  options.busy_share = 0.5;
  for (const double per_second : {20.0, 100.0}) {  // A flush takes 4 ms: at most 0.4 of the time.
    World world{.gap_ns = Poisson(&random, per_second), .flush_ns = Cost(&random, 4, 0)};
    BatchQueue<World::Item> queue(options);
    Simulate(&world, &queue, 60 * kSecond);
    EXPECT_GT(world.ShareOf(WaitReason::kLightLoad), 0.95) << per_second;
    EXPECT_LE(world.LatencyNs(0.8, 0), 8 * kMs) << "two flushes at most: nothing waits but for the flusher";
  }
  for (const double per_second : {1'000.0, 4'000.0}) {
    World world{.gap_ns = Poisson(&random, per_second), .flush_ns = Cost(&random, 4, 0)};
    BatchQueue<World::Item> queue(options);
    Simulate(&world, &queue, 60 * kSecond);
    EXPECT_GT(world.ShareOf(WaitReason::kBusy), 0.85) << per_second;
    EXPECT_NEAR(static_cast<double>(world.busy_ns) / static_cast<double>(world.now_ns), 0.5, 0.1);
    EXPECT_LE(world.LatencyNs(0.99, kSecond), 20 * kMs) << "not the 200 ms that it might take";
  }
}

TEST(AdaptiveBatcher, DoesNotMakeASenderWaitThatWaitsForItsAnswer) {
  AdaptiveBatcher batcher(Within(100 * kMs));
  int64_t now = 0, waited = 0;
  constexpr int kRounds = 10'000;
  for (int i = 0; i < kRounds; ++i) {  // 500 a second would come in 50 ms, if this sender did not wait.
    batcher.Add({1, 100}, now);
    waited += std::max(batcher.DeadlineNs(), now) - now;
    now = std::max(batcher.DeadlineNs(), now);
    BatchSize size;
    batcher.Take(now, &size);
    now += 2 * kMs;
    batcher.Flushed(size, 2 * kMs, now);
  }
  EXPECT_LT(waited / kRounds, 3 * kMs);
}

TEST(AdaptiveBatcher, ALoneItemAfterAPauseGoesAtOnce) {
  Random random(kSeed);
  World world{.gap_ns = Poisson(&random, 5'000), .flush_ns = Cost(&random, 3, 5)};
  BatchQueue<World::Item> queue(Within(100 * kMs));
  Simulate(&world, &queue, 5 * kSecond);
  EXPECT_GT(queue.batcher().limits().wait_ns, 50 * kMs);
  const int64_t later = world.now_ns + 30 * kSecond;
  queue.Add({0, later, {1, 1}}, {1, 1}, later);
  EXPECT_EQ(queue.batcher().Due(later), BatchReason::kIdle);
  EXPECT_EQ(queue.batcher().Report(later).wait_reason, WaitReason::kFewItems);
}

TEST(AdaptiveBatcher, WhileNothingIsBeingFlushedNothingWaitsWhereToldSo) {
  AdaptiveBatcher::Options options = Within(100 * kMs);
  options.idle_is_due = true;
  BatchQueue<int> queue(options);
  int64_t now = 0;
  const auto learn = [&] {  // A busy time, so that there is a wait.
    for (int i = 0; i < 2'000; ++i) {
      queue.Add(i, {1, 100}, now += kMs / 10);
      const Batch<int> batch = queue.Take(now);
      if (!batch.items.empty()) queue.batcher().Flushed(batch.size, 3 * kMs, now);
    }
  };
  learn();
  queue.Add(1, {1, 100}, now);
  EXPECT_EQ(queue.batcher().Due(now), BatchReason::kIdle);
  const Batch<int> under_way = queue.Take(now);
  queue.Add(2, {1, 100}, now);
  EXPECT_EQ(queue.batcher().Due(now), BatchReason::kNone) << "one is under way";
  EXPECT_GT(queue.batcher().DeadlineNs(), now);
  queue.batcher().Flushed(under_way.size, 3 * kMs, now);
  EXPECT_EQ(queue.batcher().Due(now), BatchReason::kIdle);
}

TEST(AdaptiveBatcher, IsDueWhenItsMemoryIsFullAndHasNoRoomThen) {
  AdaptiveBatcher::Options options = Within(kSecond);
  options.memory_bytes_max = 1'000;
  AdaptiveBatcher batcher(options);
  EXPECT_TRUE(batcher.Fits(5'000)) << "alone";
  int64_t now = 0;
  BatchSize size;
  for (int i = 0; i < 5'000; ++i) {
    batcher.Add({1, 10}, now += kMs / 5);
    if (batcher.Due(now) == BatchReason::kNone) continue;
    batcher.Take(now, &size);
    batcher.Flushed(size, kMs, now);
  }
  while (!batcher.empty()) batcher.Take(now, &size), batcher.Dropped(size);
  batcher.Add({1, 10}, now);
  ASSERT_EQ(batcher.Due(now), BatchReason::kNone);
  EXPECT_FALSE(batcher.Fits(991));
  EXPECT_TRUE(batcher.Fits(990));
  batcher.Add({1, 600}, now);
  batcher.Take(now, &size);
  batcher.Add({1, 390}, now);
  EXPECT_EQ(batcher.Due(now), BatchReason::kMemory) << "what is being flushed counts, too";
  EXPECT_FALSE(batcher.Fits(1));
  batcher.Dropped(size);
  EXPECT_TRUE(batcher.Fits(610));
}

TEST(AdaptiveBatcher, MakesBatchesNoLargerThanTheirFlushKeepsTheTarget) {
  Random random(kSeed);
  World world{.gap_ns = Poisson(&random, 200), .flush_ns = Cost(&random, 1, 100)};  // 2 kB an item: 0.2 ms each.
  BatchQueue<World::Item> queue(Within(50 * kMs));
  Simulate(&world, &queue, 20 * kSecond);
  EXPECT_GT(queue.batcher().limits().max.bytes, 49'000'000 / 100 * 2 / 3) << "(50 ms - 1 ms) at 100 ns a byte";
  EXPECT_LT(queue.batcher().limits().max.bytes, 49'000'000 / 100 * 3 / 2);
}

TEST(ArrivalRate, IsRightFromTheFirstTenthOfItsWindowAndFollowsChanges) {
  ArrivalRate rate(kSecond);
  EXPECT_EQ(rate.PerSecond(0), 0);
  int64_t now = 0;
  for (int i = 0; i < 300; ++i) rate.Add(2, now += kMs);
  EXPECT_NEAR(rate.PerSecond(now), 2'000, 100);
  for (int i = 0; i < 10'000; ++i) rate.Add(2, now += kMs);
  EXPECT_NEAR(rate.PerSecond(now), 2'000, 20);
  for (int i = 0; i < 50'000; ++i) rate.Add(2, now += kMs / 10);
  EXPECT_NEAR(rate.PerSecond(now), 20'000, 300);
  EXPECT_LT(rate.PerSecond(now + 10 * kSecond), 2);
}

TEST(FlushCost, FindsTheFixedPartAndThatOfABytesUnlessSizesAreAlike) {
  Random random(kSeed);
  FlushCost cost;
  for (int i = 0; i < 200; ++i) {
    const auto bytes = static_cast<double>(random() % 100'000);
    cost.Add(bytes, 2e6 + 50 * bytes);
  }
  EXPECT_NEAR(cost.fixed_ns(), 2e6, 3e5);
  EXPECT_NEAR(cost.ns_per_byte(), 50, 5);
  FlushCost alike;
  for (int i = 0; i < 200; ++i) alike.Add(1'000, 2e6);
  EXPECT_EQ(alike.fixed_ns(), 2e6);
  EXPECT_EQ(alike.ns_per_byte(), 0);
  alike.Add(1'000, 1e10);
  EXPECT_LT(alike.fixed_ns(), 3e6) << "one that is out of the ordinary";
}

}  // namespace
}  // namespace sheaf::columns
