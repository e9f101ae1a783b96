#include "parts/granule_cache.h"

#include <thread>

#include <gtest/gtest.h>

#include "columns/random_testing.h"

namespace sheaf::parts {
namespace {

std::shared_ptr<const CachedGranule> Of(int64_t bytes) {
  auto out = std::make_shared<CachedGranule>();
  out->bytes = bytes;
  return out;
}

TEST(GranuleCache, KeepsWhatWasUsedLastWithinItsLimit) {
  GranuleCache cache(100);
  const uint64_t owner = GranuleCache::NewOwner();
  const auto first = Of(40);
  cache.Insert({owner, 1, false}, first);
  cache.Insert({owner, 2, false}, Of(40));
  EXPECT_EQ(cache.Find({owner, 1, false}), first);
  cache.Insert({owner, 3, false}, Of(40));
  EXPECT_EQ(cache.Find({owner, 2, false}), nullptr) << "the least recently used went";
  EXPECT_NE(cache.Find({owner, 1, false}), nullptr);
  EXPECT_NE(cache.Find({owner, 3, false}), nullptr);
  EXPECT_EQ(cache.Find({owner, 3, true}), nullptr) << "keys are not rows";
  EXPECT_EQ(cache.Find({owner + 1, 3, false}), nullptr) << "nor of another part";
  const GranuleCache::Stats stats = cache.stats();
  EXPECT_EQ(stats.bytes, 80);
  EXPECT_EQ(stats.granules, 2);
  EXPECT_EQ(stats.hits, 3u);
  EXPECT_EQ(stats.misses, 3u);
  EXPECT_EQ(stats.evictions, 1u);
}

TEST(GranuleCache, OneThatIsTooLargePushesNothingOut) {
  GranuleCache cache(100);
  const uint64_t owner = GranuleCache::NewOwner();
  cache.Insert({owner, 1, false}, Of(60));
  cache.Insert({owner, 2, false}, Of(101));
  EXPECT_NE(cache.Find({owner, 1, false}), nullptr);
  EXPECT_EQ(cache.Find({owner, 2, false}), nullptr);
}

TEST(GranuleCache, ForgetsAllOfAnOwner) {
  GranuleCache cache(int64_t{256} << 20);
  const uint64_t a = GranuleCache::NewOwner(), b = GranuleCache::NewOwner();
  for (int g = 0; g < 100; ++g) {
    cache.Insert({a, g, false}, Of(10));
    cache.Insert({b, g, true}, Of(10));
  }
  cache.Drop(a);
  EXPECT_EQ(cache.stats().bytes, 1000);
  EXPECT_EQ(cache.Find({a, 7, false}), nullptr);
  EXPECT_NE(cache.Find({b, 7, true}), nullptr);
}

TEST(GranuleCache, StaysWithinItsLimitUnderManyThreads) {
  const uint64_t seed = columns::TestSeed();
  constexpr int64_t kLimit = int64_t{64} << 20;
  GranuleCache cache(kLimit);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, seed, t] {
      columns::Random random(seed + t);
      for (int i = 0; i < 3000; ++i) {
        const GranuleCache::Key key{1 + random() % 3, static_cast<int>(random() % 200), random() % 2 == 0};
        if (random() % 50 == 0) cache.Drop(key.owner);
        if (cache.Find(key) == nullptr) cache.Insert(key, Of(static_cast<int64_t>(random() % (1 << 20))));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(cache.stats().bytes, kLimit);
  for (uint64_t owner = 1; owner <= 3; ++owner) cache.Drop(owner);
  EXPECT_EQ(cache.stats().bytes, 0);
  EXPECT_EQ(cache.stats().granules, 0);
}

}  // namespace
}  // namespace sheaf::parts
