#include "query/alive_rows.h"

#include <gtest/gtest.h>

namespace sheaf::query {
namespace {

using Bits = columns::DeadRows::Bits;

std::vector<int64_t> Walk(int64_t rows, const Bits* dead, int64_t count_max) {
  std::vector<int64_t> seen;
  AliveRows alive(rows, dead);
  while (alive.HasMore()) {
    const Window window = alive.Take(count_max);
    EXPECT_LE(window.count, count_max);
    for (duckdb::idx_t i = 0; i < window.alive; ++i) {
      seen.push_back(window.offset + (window.whole() ? static_cast<int64_t>(i) : window.living.get_index(i)));
      EXPECT_LT(seen.back(), window.offset + window.count);
    }
  }
  return seen;
}

TEST(AliveRows, WithoutDeadRowsAreARange) {
  AliveRows alive(5000, nullptr);
  const Window first = alive.Take(2048);
  EXPECT_TRUE(first.whole());
  EXPECT_EQ(first.count, 2048);
  EXPECT_EQ(alive.Take(2048).offset, 2048);
  EXPECT_EQ(alive.Take(2048).count, 904);
  EXPECT_FALSE(alive.HasMore());
}

TEST(AliveRows, DeadRowsAtTheEndsAreCutOff) {
  const Bits dead = {0, ~uint64_t{0}, 0b11};
  AliveRows alive(192, &dead);
  const Window first = alive.Take(100);
  EXPECT_TRUE(first.whole());
  EXPECT_EQ(first.offset, 0);
  EXPECT_EQ(first.count, 64);
  const Window second = alive.Take(100);
  EXPECT_TRUE(second.whole());
  EXPECT_EQ(second.offset, 130);
  EXPECT_EQ(second.count, 62);
}

TEST(AliveRows, AllDeadIsNothing) {
  const Bits dead = {~uint64_t{0}, ~uint64_t{0}};
  EXPECT_TRUE(Walk(100, &dead, 7).empty());
}

TEST(AliveRows, ShowEveryLivingRowOnceAndInOrder) {
  for (const int64_t rows : {1, 63, 64, 65, 127, 1000}) {
    for (const int64_t count_max : {1, 3, 64, 2048}) {
      // The bitmap may be shorter than the granule: rows behind it live.
      Bits dead(static_cast<size_t>(rows / 80 + 1));
      std::vector<int64_t> expected;
      for (int64_t row = 0; row < rows; ++row) {
        const bool is_dead = (row * 7919 + count_max) % 5 < 2 && static_cast<size_t>(row >> 6) < dead.size();
        if (is_dead) {
          dead[static_cast<size_t>(row >> 6)] |= uint64_t{1} << (row & 63);
        } else {
          expected.push_back(row);
        }
      }
      EXPECT_EQ(Walk(rows, &dead, count_max), expected) << rows << " rows by " << count_max;
    }
  }
}

}  // namespace
}  // namespace sheaf::query
