#include "query/alive_rows.h"

#include <gtest/gtest.h>

namespace sheaf::query {
namespace {

using Bits = columns::DeadRows::Bits;

constexpr uint64_t kAll = ~uint64_t{0};

/// The rows that a walk shows.
std::vector<int64_t> Walk(int64_t rows, const Bits* dead, int64_t living_max) {
  std::vector<int64_t> seen, living;
  AliveRows alive(rows, dead);
  while (alive.HasMore()) {
    const Window window = alive.Take(living_max);
    EXPECT_LE(window.living, living_max);
    EXPECT_LE(window.offset + window.count, rows);
    if (window.whole()) {
      EXPECT_EQ(window.living, window.count);
      for (int64_t i = 0; i < window.count; ++i) seen.push_back(window.offset + i);
    } else {
      ListLivingRows(window, &living);
      seen.insert(seen.end(), living.begin(), living.end());
    }
  }
  return seen;
}

std::vector<int64_t> Expected(int64_t rows, const Bits& dead) {
  std::vector<int64_t> expected;
  for (int64_t row = 0; row < rows; ++row) {
    const auto word = static_cast<size_t>(row >> 6);
    if (word >= dead.size() || (dead[word] >> (row & 63) & 1) == 0) expected.push_back(row);
  }
  return expected;
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

TEST(AliveRows, StretchesThatAllLiveAreNotCopied) {
  Bits dead(40, 0);  // 2,560 rows: 64 dead, 1,024 that live, one dead in the next 64, and no more.
  dead[0] = kAll;
  dead[17] = 1;
  AliveRows alive(5000, &dead);
  const Window first = alive.Take(2048);
  EXPECT_TRUE(first.whole());
  EXPECT_EQ(first.offset, 64);
  EXPECT_EQ(first.count, 1024);
  const Window second = alive.Take(2048);
  EXPECT_FALSE(second.whole());
  EXPECT_EQ(second.offset, 1088);
  EXPECT_EQ(second.living, second.count - 1);
  const Window third = alive.Take(2048);
  EXPECT_TRUE(third.whole());
  EXPECT_EQ(third.offset, 2560);
  EXPECT_EQ(third.count, 2048);
}

TEST(AliveRows, WindowsAreFilledWithLivingRows) {
  const Bits dead(256, 0x1111111111111111);  // Every fourth of 16,384 rows.
  AliveRows alive(16'384, &dead);
  for (int i = 0; i < 6; ++i) {
    const Window window = alive.Take(2048);
    EXPECT_EQ(window.living, 2016) << i;  // 42 words of 48.
    EXPECT_EQ(window.offset, i * 2688);
  }
  EXPECT_EQ(alive.Take(2048).living, 192);
  EXPECT_FALSE(alive.HasMore());
}

TEST(AliveRows, AllDeadIsNothing) {
  const Bits dead = {kAll, kAll};
  for (const int64_t rows : {1, 64, 100, 128}) EXPECT_TRUE(Walk(rows, &dead, 64).empty()) << rows;
}

TEST(AliveRows, ShowEveryLivingRowOnceAndInOrder) {
  for (const int64_t rows : {1, 63, 64, 65, 127, 128, 1000, 2047, 2048, 2049, 16'384}) {
    for (const int64_t living_max : {64, 128, 2048}) {
      for (const int64_t stretch : {1, 64, 100, 3000}) {  // Rows next to each other that live or die together.
        // The bitmap may be shorter than the granule: rows behind it live.
        Bits dead(static_cast<size_t>(rows / 80 + 1));
        for (int64_t row = 0; row < static_cast<int64_t>(dead.size()) * 64 && row < rows; ++row) {
          if ((row / stretch * 7919 + living_max) % 5 < 2) dead[static_cast<size_t>(row >> 6)] |= uint64_t{1} << (row & 63);
        }
        EXPECT_EQ(Walk(rows, &dead, living_max), Expected(rows, dead)) << rows << " rows by " << living_max << ", " << stretch;
      }
    }
  }
}

}  // namespace
}  // namespace sheaf::query
