#include "query/copy_living.h"

#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "columns/random_testing.h"

namespace sheaf::query {
namespace {

template <typename T>
using Copy = void (*)(const T*, const uint64_t*, int64_t, T*, int64_t);

/// Words of bits of which every `one_in`-th is set at random; 0: none.
std::vector<uint64_t> RandomBits(int64_t rows, int one_in, columns::Random* random) {
  std::vector<uint64_t> bits(static_cast<size_t>(rows + 63) / 64);
  for (int64_t row = 0; one_in > 0 && row < rows; ++row) {
    if ((*random)() % static_cast<uint64_t>(one_in) == 0) bits[static_cast<size_t>(row >> 6)] |= uint64_t{1} << (row & 63);
  }
  return bits;
}

/// Copies in both ways with exactly as much memory as may be touched, for the sanitizer to see whether more is.
template <typename T>
void ExpectLivingCopied(int64_t rows, const std::vector<uint64_t>& dead, int64_t spare) {
  const auto from = std::make_unique<T[]>(static_cast<size_t>(rows));
  std::vector<T> expected;
  for (int64_t row = 0; row < rows; ++row) {
    from[static_cast<size_t>(row)] = static_cast<T>(row) * 0x01020305;
    if ((dead[static_cast<size_t>(row >> 6)] >> (row & 63) & 1) == 0) expected.push_back(from[static_cast<size_t>(row)]);
  }
  const auto room = expected.size() + static_cast<size_t>(spare);
  for (const bool one_by_one : {false, true}) {
    const auto to = std::make_unique<T[]>(room);
    const Copy<T> plain = CopyLivingOneByOne, fast = CopyLiving;
    (one_by_one ? plain : fast)(from.get(), dead.data(), rows, to.get(), static_cast<int64_t>(room));
    EXPECT_EQ(std::vector<T>(to.get(), to.get() + expected.size()), expected) << (one_by_one ? "one by one" : "");
  }
}

TEST(CopyLiving, CopiesWhatLivesInOrderAndTouchesNoMore) {
  columns::Random random(columns::TestSeed());
  for (const int64_t rows : {0, 1, 63, 64, 65, 127, 128, 1000, 2047, 2048, 2049, 5000}) {
    for (const int one_in : {0, 1, 2, 5, 64, 1000}) {
      const auto dead = RandomBits(rows, one_in, &random);
      for (const int64_t spare : {0, 1, 7, 8, 9, 100}) {
        SCOPED_TRACE(testing::Message() << rows << " rows, one of " << one_in << " dead, room for " << spare << " more");
        ExpectLivingCopied<uint32_t>(rows, dead, spare);
        ExpectLivingCopied<uint64_t>(rows, dead, spare);
      }
    }
  }
}

TEST(CopyLiving, FindsFewThatLive) {
  columns::Random random(columns::TestSeed());
  for (const int one_in : {2, 5, 7, 64, 1000}) {
    auto dead = RandomBits(5000, one_in, &random);
    for (uint64_t& word : dead) word = ~word;
    ExpectLivingCopied<uint32_t>(5000, dead, 3);
    ExpectLivingCopied<uint64_t>(5000, dead, 3);
  }
}

TEST(CopyLiving, DoesNotLookAtBitsBehindTheLastRow) {
  for (const uint64_t beyond : {uint64_t{0}, ~uint64_t{0}}) {
    ExpectLivingCopied<uint32_t>(70, {0b101, (beyond << 6) | 0b10}, 0);
    ExpectLivingCopied<uint64_t>(70, {0b101, (beyond << 6) | 0b10}, 0);
  }
}

}  // namespace
}  // namespace sheaf::query
