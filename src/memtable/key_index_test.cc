#include "memtable/key_index.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "memtable/key_order.h"

namespace sheaf::memtable {
namespace {

TEST(KeyIndex, FindsEveryKeyAndNoOtherThroughAllItsSplits) {
  columns::Random random(columns::TestSeed());
  KeyIndex index;
  std::map<uint64_t, RecordRef> want;
  RecordRef next = 1;
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t hash = random();
    if (!want.emplace(hash, next).second) continue;
    index.Insert(hash, next++);
    if (i % 1000 == 0) {
      EXPECT_EQ(index.Find(hash ^ 1, [&](RecordRef ref) { return want[hash] != ref; }), 0u);
    }
  }
  for (const auto& [hash, ref] : want) ASSERT_EQ(index.Find(hash, [&, r = ref](RecordRef found) { return found == r; }), ref);
  EXPECT_LT(index.bytes(), 100'000 * 40);
}

TEST(KeyIndex, KeysThatShareTheirHashAreFoundAndDoNotBlowItUp) {
  KeyIndex index;
  for (RecordRef ref = 1; ref <= 3000; ++ref) index.Insert(uint64_t{0xABCDEF12} << 32 | ref, ref);
  for (RecordRef ref = 1; ref <= 3000; ++ref) {
    ASSERT_EQ(index.Find(uint64_t{0xABCDEF12} << 32, [&](RecordRef found) { return found == ref; }), ref);
  }
  EXPECT_LT(index.bytes(), 1 << 20);
}

TEST(KeyOrder, WalksAllKeysInOrderFromAnyWhereverTheyCame) {
  columns::Random random(columns::TestSeed());
  KeyVersions versions;
  KeyOrder::Keys keys;
  const KeyOrder order(&versions, &keys);
  std::map<std::string, RecordRef> want;
  for (int round = 0; round < 60; ++round) {
    for (uint64_t i = random() % 200; i > 0; --i) {
      std::string key(random() % 12, 'k');  // Many begin alike, some are as long as others' heads, some have zeros.
      for (size_t at = random() % 10; at < key.size(); ++at) key[at] = static_cast<char>(random() % 3);
      if (!want.emplace(key, 0).second) continue;
      keys.Push(want[key] = versions.AddKey(key, 1, 0, 0));
    }
    std::string from(random() % 10, 'k');
    if (!from.empty()) from.back() = static_cast<char>(random() % 3);
    KeyWalk walk(&order, from);
    for (auto expected = want.lower_bound(from); expected != want.end(); ++expected) ASSERT_EQ(walk.Next(), expected->second);
    ASSERT_EQ(walk.Next(), 0u);
  }
  size_t entries = 0;
  const auto runs = order.Runs();
  for (const auto& run : runs) entries += run->size();
  EXPECT_EQ(entries, want.size());
  EXPECT_LT(runs.size(), 8u);
}

}  // namespace
}  // namespace sheaf::memtable
