#include "compact/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"

namespace sheaf::compact {
namespace {

using columns::Random;
using columns::TestSeed;
using parts::Format;
using testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

/// A row of a table of parts.
PartFacts Part(uint64_t id, int level, const std::string& keys, int64_t mib, int dead_percent = 0, bool busy = false) {
  const size_t dash = keys.find('-');
  PartFacts out{
      .id = PartId(id), .level = level, .rows = 1000, .dead_rows = dead_percent * 10, .bytes = mib * kMiB, .busy = busy};
  out.format = level >= 2 ? Format::kCold : Format::kHot;
  out.key_min = keys.substr(0, dash);
  out.key_max = keys.substr(dash + 1);
  out.created_ns = static_cast<int64_t>(id);
  return out;
}

/// "1+2+3>1 cold move", or "" for nothing to do.
std::string Planned(const std::vector<PartFacts>& parts, int64_t now_ns = 0, const PlanOptions& options = {}) {
  const auto merge = NextMerge(parts, now_ns, options);
  if (!merge) return "";
  std::vector<uint64_t> ids;
  for (const PartId id : merge->inputs) ids.push_back(id.value);
  std::sort(ids.begin(), ids.end());
  if (merge->drop_only) return fmt::format("drop {}", fmt::join(ids, "+"));
  return fmt::format("{}>{}{}{}", fmt::join(ids, "+"), merge->output_level, merge->output_format == Format::kCold ? " cold" : "",
                     merge->move_only ? " move" : "");
}

TEST(Plan, TablesOfParts) {
  struct Case {
    const char* what;
    std::vector<PartFacts> parts;
    std::string want;
  };
  const std::vector<Case> cases = {
      {"nothing", {}, ""},
      {"level 0 waits for four parts", {Part(1, 0, "a-z", 128), Part(2, 0, "a-z", 128), Part(3, 0, "a-z", 128)}, ""},
      {"four go down together",
       {Part(1, 0, "a-m", 128), Part(2, 0, "c-z", 128), Part(3, 0, "a-z", 128), Part(4, 0, "b-c", 128)},
       "1+2+3+4>1"},
      {"with what they overlap below",
       {Part(1, 0, "c-f", 128), Part(2, 0, "c-f", 128), Part(3, 0, "k-l", 128), Part(4, 0, "d-e", 128), Part(5, 1, "a-b", 64),
        Part(6, 1, "f-g", 64), Part(7, 1, "h-i", 64), Part(8, 1, "m-n", 64)},
       "1+2+3+4+6+7>1"},
      {"apart from one another they only move",
       {Part(1, 0, "a-b", 128), Part(2, 0, "c-d", 128), Part(3, 0, "e-f", 128), Part(4, 0, "g-h", 128), Part(5, 1, "i-k", 64)},
       "1+2+3+4>1 move"},
      {"with many dead rows they are written anew all the same",
       {Part(1, 0, "a-b", 128, 20), Part(2, 0, "c-d", 128), Part(3, 0, "e-f", 128), Part(4, 0, "g-h", 128)},
       "1+2+3+4>1"},
      {"one merge out of level 0 at a time",
       {Part(1, 0, "a-z", 128, 0, true), Part(2, 0, "a-z", 128), Part(3, 0, "a-z", 128), Part(4, 0, "a-z", 128),
        Part(5, 0, "a-z", 128)},
       ""},
      {"small parts stay in level 0 while there is much below",
       {Part(1, 0, "a-z", 1), Part(2, 0, "a-z", 1), Part(3, 0, "a-z", 1), Part(4, 0, "a-z", 10), Part(5, 1, "a-m", 64),
        Part(6, 1, "n-z", 64)},
       "1+2+3>0"},
      {"but not when they are as many as make writers wait",
       {Part(1, 0, "a-z", 1), Part(2, 0, "a-z", 1), Part(3, 0, "a-z", 1), Part(4, 0, "a-z", 1), Part(5, 0, "a-z", 1),
        Part(6, 0, "a-z", 1), Part(7, 0, "a-z", 1), Part(8, 0, "a-z", 1), Part(9, 1, "a-z", 64)},
       "1+2+3+4+5+6+7+8+9>1"},
      {"while parts below are busy, small ones are merged where they are",
       {Part(1, 0, "a-z", 30), Part(2, 0, "a-z", 30), Part(3, 0, "a-z", 30), Part(4, 0, "a-z", 30),
        Part(5, 1, "a-z", 64, 0, true)},
       "1+2+3+4>0"},
      {"and large ones wait",
       {Part(1, 0, "a-z", 128), Part(2, 0, "a-z", 128), Part(3, 0, "a-z", 128), Part(4, 0, "a-z", 128),
        Part(5, 1, "a-z", 64, 0, true)},
       ""},
      {"level 1 within its size", {Part(1, 1, "a-b", 500), Part(2, 2, "a-z", 64)}, ""},
      {"above it the part that meets least below goes down, as a cold one",
       {Part(1, 1, "a-b", 256), Part(2, 1, "c-d", 256), Part(3, 2, "a-a", 64), Part(4, 2, "b-c", 64), Part(5, 2, "e-f", 64)},
       "2+4>2 cold"},
      {"among equals the oldest",
       {Part(2, 1, "a-b", 256), Part(1, 1, "c-d", 256), Part(3, 2, "a-b", 64), Part(4, 2, "c-d", 64)},
       "1+4>2 cold"},
      {"a busy part below is left alone",
       {Part(1, 1, "a-b", 256), Part(2, 1, "c-d", 300), Part(3, 2, "c-d", 64, 0, true)},
       "1>2 cold"},
      {"a cold part that meets nothing moves",
       {Part(1, 2, "a-b", 3000), Part(2, 2, "c-d", 3000), Part(3, 3, "c-d", 64)},
       "1>3 cold move"},
      {"a hot part is written as a cold one", {Part(1, 1, "a-b", 600)}, "1>2 cold"},
      {"the lowest level has no bound", {Part(1, 6, "a-b", int64_t{1} << 40)}, ""},
      {"half of the rows dead: by itself, where it is", {Part(1, 1, "a-b", 64, 50), Part(2, 1, "c-d", 64, 0)}, "1>1"},
      {"less: not, while little is dead altogether", {Part(1, 1, "a-b", 64, 49), Part(2, 1, "c-d", 64)}, ""},
      {"a fourth of all: the worst", {Part(1, 1, "a-b", 64, 20), Part(2, 1, "c-d", 64, 30)}, "2>1"},
      {"less than a fourth of all: none", {Part(1, 1, "a-b", 64, 20), Part(2, 1, "c-d", 64, 29)}, ""},
      {"a cold one stays cold", {Part(1, 3, "a-b", 64, 40)}, "1>3 cold"},
      {"small neighbours come along, up to one part's size",
       {Part(1, 1, "a-b", 20), Part(2, 1, "c-d", 20), Part(3, 1, "e-f", 64, 75), Part(4, 1, "g-h", 60), Part(5, 1, "i-k", 4)},
       "1+2+3>1"},
      {"level 0 parts with many dead rows become one",
       {Part(1, 0, "a-z", 128, 60), Part(2, 0, "a-z", 128, 30), Part(3, 0, "a-z", 128)},
       "1+2>0"},
      {"nothing alive costs nothing",
       {Part(1, 0, "a-z", 128, 100), Part(2, 3, "a-z", 128, 100), Part(3, 1, "a-z", 128)},
       "drop 1+2"},
      {"busy ones are not dropped", {Part(1, 0, "a-z", 128, 100, true)}, ""},
      {"the greater need first: level 1 at four times its size before five parts in level 0",
       {Part(1, 0, "a-b", 128), Part(2, 0, "a-b", 128), Part(3, 0, "a-b", 128), Part(4, 0, "a-b", 128), Part(5, 0, "a-b", 128),
        Part(6, 1, "c-d", 2048)},
       "6>2 cold"},
      {"dead rows all over: before all else",
       {Part(1, 0, "a-b", 128), Part(2, 0, "a-b", 128), Part(3, 0, "a-b", 128), Part(4, 0, "a-b", 128),
        Part(5, 2, "c-d", 900, 65)},
       "5>2 cold"},
      {"but not before level 0 when writers wait for it",
       {Part(1, 0, "a-b", 128), Part(2, 0, "a-b", 128), Part(3, 0, "a-b", 128), Part(4, 0, "a-b", 128), Part(5, 0, "a-b", 128),
        Part(6, 0, "a-b", 128), Part(7, 0, "a-b", 128), Part(8, 0, "a-b", 128), Part(9, 0, "a-b", 128), Part(10, 0, "a-b", 128),
        Part(11, 0, "a-b", 128), Part(12, 0, "a-b", 128), Part(13, 2, "c-d", 1000, 65)},
       "1+2+3+4+5+6+7+8+9+10+11+12>1"},
  };
  for (const Case& c : cases) EXPECT_EQ(Planned(c.parts), c.want) << c.what;
}

TEST(Plan, HotPartsThatAreOldBecomeColdWhereTheyAre) {
  PlanOptions options;
  options.cold_after_ns = 100;
  const std::vector<PartFacts> parts = {Part(1, 1, "a-b", 30), Part(2, 1, "c-d", 30), Part(3, 1, "e-f", 30),
                                        Part(4, 1, "g-h", 30)};
  EXPECT_EQ(Planned(parts, 100, options), "");
  EXPECT_EQ(Planned(parts, 101, options), "1>1 cold");
  EXPECT_EQ(Planned(parts, 500, options), "1+2>1 cold");
  const std::vector<PartFacts> above = {Part(1, 0, "a-b", 30), Part(2, 0, "c-d", 30), Part(3, 1, "b-b", 30)};
  EXPECT_EQ(Planned(above, 101, options), "");
  EXPECT_EQ(Planned(above, 102, options), "1+2+3>1 cold");
  EXPECT_EQ(Planned(above, 500), "");
}

TEST(Plan, SaysWhy) {
  const std::vector<PartFacts> parts = {Part(7, 1, "a-b", 64, 25)};
  EXPECT_THAT(NextMerge(parts, 0, {})->reason, HasSubstr("25 % of the rows of part 7 are dead"));
}

TEST(Plan, LevelsGrowTenfold) {
  EXPECT_EQ(LevelBytes(1, {}), 512 * kMiB);
  EXPECT_EQ(LevelBytes(3, {}), 51'200 * kMiB);
  EXPECT_EQ(LevelBytes(6, {}), INT64_MAX);
}

TEST(WriteStall, GrowsSmoothlyAndThenRefuses) {
  EXPECT_EQ(WriteStall(0, 0), (Stall{0, false}));
  EXPECT_EQ(WriteStall(8, 0.6), (Stall{0, false}));
  EXPECT_EQ(WriteStall(20, 0), (Stall{kStallFullUs, false}));
  EXPECT_EQ(WriteStall(0, 0.9), (Stall{kStallFullUs, false}));
  EXPECT_FALSE(WriteStall(35, 0.99).refuse);
  EXPECT_TRUE(WriteStall(36, 0).refuse);
  EXPECT_TRUE(WriteStall(0, 1).refuse);
  int64_t before = 0, step_before = 0;
  for (int parts = 8; parts <= 36; ++parts) {
    const int64_t delay = WriteStall(parts, 0).delay_us;
    EXPECT_GE(delay, before);
    EXPECT_LE(delay - before, step_before + 20) << "no cliff at " << parts;
    step_before = delay - before;
    before = delay;
  }
}

/// A table as sets of keys, written by a model and merged as the plan says: what each key costs in writes and in space.
class Simulation {
 public:
  explicit Simulation(uint64_t keys) : keys_(keys) {
    options_.memtable_bytes = kMemtable * kRow;
    options_.level1_bytes = 4 * options_.memtable_bytes;
    options_.level_factor = 4;
    options_.output_bytes = kMemtable * kRow / 2;
  }

  /// Seals a memtable of these keys, then merges until there is nothing to do.
  void Seal(const std::set<uint64_t>& keys) {
    for (const uint64_t key : keys) {
      if (const auto at = where_.find(key); at != where_.end()) parts_[at->second].dead.insert(key);
    }
    Add(0, keys);
    user_rows_ += static_cast<int64_t>(keys.size());
    for (int step = 0; Step(); ++step) ASSERT_LT(step, 1000) << "the plan never rests";
    CheckLevels();
    int64_t stored = 0;
    for (const auto& [id, part] : parts_) stored += static_cast<int64_t>(part.keys.size());
    space_worst_ = std::max(space_worst_, static_cast<double>(stored) / static_cast<double>(where_.size()));
  }
  std::set<uint64_t> RandomKeys(Random* random) const {
    std::set<uint64_t> out;
    for (int i = 0; i < kMemtable; ++i) out.insert((*random)() % keys_);
    return out;
  }
  double write_amplification() const { return static_cast<double>(written_rows_) / static_cast<double>(user_rows_); }
  double space_worst() const { return space_worst_; }
  size_t alive() const { return where_.size(); }

  static constexpr int kMemtable = 200;

 private:
  struct Held {
    int level = 0;
    Format format = Format::kHot;
    std::set<uint64_t> keys, dead;
  };
  static constexpr int64_t kRow = 100;

  static std::string KeyOf(uint64_t key) { return fmt::format("{:08}", key); }

  void Add(int level, const std::set<uint64_t>& keys, Format format = Format::kHot) {
    const uint64_t id = next_id_++;
    for (const uint64_t key : keys) where_[key] = id;
    written_rows_ += static_cast<int64_t>(keys.size());
    parts_[id] = {level, format, keys, {}};
  }

  bool Step() {
    std::vector<PartFacts> facts;
    for (const auto& [id, part] : parts_) {
      PartFacts f{.id = PartId(id), .level = part.level, .format = part.format, .rows = static_cast<int64_t>(part.keys.size())};
      f.dead_rows = static_cast<int64_t>(part.dead.size());
      f.bytes = f.rows * kRow;
      f.key_min = KeyOf(*part.keys.begin());
      f.key_max = KeyOf(*part.keys.rbegin());
      f.created_ns = static_cast<int64_t>(id);
      facts.push_back(f);
    }
    const auto merge = NextMerge(facts, 0, options_);
    if (!merge) return false;
    std::set<uint64_t> alive;
    for (const PartId id : merge->inputs) {
      Held& part = parts_.at(id.value);
      if (merge->move_only) {
        EXPECT_EQ(part.format, merge->output_format);
        part.level = merge->output_level;
        continue;
      }
      for (const uint64_t key : part.keys) {
        EXPECT_TRUE(part.dead.contains(key) || alive.insert(key).second) << "alive twice";
      }
      parts_.erase(id.value);
    }
    EXPECT_TRUE(alive.empty() || !merge->drop_only);
    std::set<uint64_t> out;
    for (const uint64_t key : alive) {
      out.insert(key);
      if (static_cast<int64_t>(out.size()) * kRow >= options_.output_bytes) {
        Add(merge->output_level, out, merge->output_format);
        out.clear();
      }
    }
    if (!out.empty()) Add(merge->output_level, out, merge->output_format);
    return true;
  }

  void CheckLevels() {
    int zero = 0;
    std::map<int, std::map<uint64_t, uint64_t>> ranges;
    for (const auto& [id, part] : parts_) {
      zero += part.level == 0 ? 1 : 0;
      EXPECT_LT(2 * part.dead.size(), part.keys.size());
      EXPECT_TRUE(part.level < 2 || part.format == Format::kCold);
      if (part.level > 0) ranges[part.level][*part.keys.begin()] = *part.keys.rbegin();
    }
    EXPECT_LT(zero, options_.level0_parts);
    for (const auto& [level, parts] : ranges) {
      std::optional<uint64_t> end;
      for (const auto& [first, last] : parts) {
        EXPECT_TRUE(!end || *end < first) << "parts of level " << level << " overlap";
        end = last;
      }
    }
  }

  const uint64_t keys_;
  PlanOptions options_;
  std::map<uint64_t, Held> parts_;
  std::map<uint64_t, uint64_t> where_;  // Each key's part.
  uint64_t next_id_ = 1;
  int64_t user_rows_ = 0, written_rows_ = 0;
  double space_worst_ = 0;
};

TEST(Plan, SpaceStaysBelowHalfAsMuchAgainUnderOverwriting) {
  Random random(TestSeed());
  Simulation table(4000);  // Twenty memtables.
  for (int i = 0; i < 200; ++i) ASSERT_NO_FATAL_FAILURE(table.Seal(table.RandomKeys(&random)));
  std::printf("overwriting: %.2f times the space, every row written %.1f times\n", table.space_worst(),
              table.write_amplification());
  EXPECT_LT(table.space_worst(), 1.5);
  EXPECT_LT(table.write_amplification(), 12);
}

TEST(Plan, OverwritingOneMemtablesWorthWritesLittleTwice) {
  Random random(TestSeed());
  Simulation table(200);
  for (int i = 0; i < 100; ++i) ASSERT_NO_FATAL_FAILURE(table.Seal(table.RandomKeys(&random)));
  std::printf("small: every row written %.1f times\n", table.write_amplification());
  EXPECT_LT(table.write_amplification(), 3);
}

TEST(Plan, NewRowsInNoOrderAreWrittenAsOftenAsThereAreLevels) {
  Random random(TestSeed());
  Simulation table(uint64_t{100'000'000});  // Hardly any key twice.
  for (int i = 0; i < 200; ++i) ASSERT_NO_FATAL_FAILURE(table.Seal(table.RandomKeys(&random)));
  std::printf("new keys: every row written %.1f times\n", table.write_amplification());
  EXPECT_LT(table.write_amplification(), 12);
}

TEST(Plan, RowsInOrderAreWrittenOnceOrTwice) {
  Simulation table(1);
  uint64_t next = 0;
  for (int i = 0; i < 200; ++i) {
    std::set<uint64_t> keys;
    while (keys.size() < Simulation::kMemtable) keys.insert(next++);
    ASSERT_NO_FATAL_FAILURE(table.Seal(keys));
  }
  std::printf("in order: every row written %.1f times\n", table.write_amplification());
  EXPECT_LE(table.write_amplification(), 2.1);
  EXPECT_LE(table.space_worst(), 1.01);
}

}  // namespace
}  // namespace sheaf::compact
