#include "columns/dead_rows.h"

#include <set>

#include <gtest/gtest.h>

#include "columns/random_testing.h"

namespace sheaf::columns {
namespace {

using Position = DeadRows::Position;

constexpr int kGranules = 5;
constexpr int64_t kRows = 300;

std::vector<Position> RandomPositions(Random* random) {
  std::vector<Position> out((*random)() % 40);
  for (Position& p : out) p = {static_cast<int>((*random)() % kGranules), static_cast<int64_t>((*random)() % kRows)};
  return out;
}

void ExpectSame(const DeadRows& got, const std::set<Position>& want) {
  ASSERT_EQ(got.count(), static_cast<int64_t>(want.size()));
  for (int g = 0; g < kGranules + 2; ++g) {
    int64_t in_granule = 0;
    for (int64_t row = 0; row < kRows + 100; ++row) {
      const bool dead = want.contains({g, row});
      in_granule += dead ? 1 : 0;
      ASSERT_EQ(got.IsDead(g, row), dead) << "granule " << g << " row " << row;
    }
    ASSERT_EQ(got.count(g), in_granule);
    ASSERT_EQ(got.granule(g) == nullptr, in_granule == 0);
  }
}

TEST(DeadRows, IsTheSetOfPositionsThatWereAdded) {
  Random random(TestSeed());
  std::shared_ptr<const DeadRows> rows = std::make_shared<DeadRows>();
  std::set<Position> want;
  for (int step = 0; step < 60; ++step) {
    const std::vector<Position> some = RandomPositions(&random);
    const auto before = rows;
    const std::set<Position> want_before = want;
    if (random() % 3 == 0) {
      rows = rows->Without(some);
      for (const Position& p : some) want.erase(p);
    } else {
      rows = rows->With(some);
      want.insert(some.begin(), some.end());
    }
    ASSERT_NO_FATAL_FAILURE(ExpectSame(*rows, want));
    ASSERT_NO_FATAL_FAILURE(ExpectSame(*before, want_before));  // The one before did not change.
  }
}

TEST(DeadRows, SharesTheGranulesThatDoNotChange) {
  const auto first = DeadRows().With({{0, 3}, {4, 200}, {0, 3}});
  EXPECT_EQ(first->count(), 2);
  const auto second = first->With({{4, 7}});
  EXPECT_EQ(second->granule(0), first->granule(0));
  EXPECT_NE(second->granule(4), first->granule(4));
  const auto third = second->Without({{4, 7}, {4, 200}, {3, 1}, {99, 1}, {0, 500}});
  EXPECT_EQ(third->count(), 1);
  EXPECT_EQ(third->granule(4), nullptr);
}

TEST(DeadRows, CountsWhatItIsMadeFrom) {
  auto some = std::make_shared<const DeadRows::Bits>(DeadRows::Bits{0b1011, 0, 1});
  const DeadRows rows({nullptr, some, std::make_shared<const DeadRows::Bits>(DeadRows::Bits{0, 0})});
  EXPECT_EQ(rows.count(), 4);
  EXPECT_EQ(rows.count(1), 4);
  EXPECT_EQ(rows.granule(2), nullptr);
  EXPECT_TRUE(rows.IsDead(1, 128));
  EXPECT_FALSE(rows.IsDead(1, 129));
  EXPECT_FALSE(rows.IsDead(1, 100'000));
}

}  // namespace
}  // namespace sheaf::columns
