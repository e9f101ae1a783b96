#include "store/upkeep_plan.h"

#include <cstring>
#include <span>

#include <gtest/gtest.h>

#include "core/crc32c.h"
#include "store/batch_id_file.h"
#include "store/ready_tables.h"
#include "store/retention_clock.h"

namespace sheaf::store {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000, kHourNs = 3600 * kSecondNs, kYearNs = 365 * 24 * kHourNs;
constexpr int64_t kNowNs = 1'700'000'000 * kSecondNs;

TableVersion Traces(std::optional<int64_t> retention_ms = {}) {
  auto info = std::make_shared<TableInfo>(ReadyTables().front());
  info->retention_ms = retention_ms;
  TableVersion table;
  table.info = std::move(info);
  return table;
}

void AddPart(TableVersion* table, parts::Format format, int64_t age_ns, int64_t bytes = 1000) {
  auto part = std::make_shared<Part>();
  part->info.id = PartId(table->parts.size() + 1);
  part->info.format = format;
  part->info.created_ns = part->info.time_max = kNowNs - age_ns;
  part->info.data_bytes = bytes;
  part->info.rows = 10;
  table->parts.push_back(std::move(part));
}

std::vector<uint64_t> IdsOf(const std::vector<std::shared_ptr<const Part>>& parts) {
  std::vector<uint64_t> ids;
  for (const auto& part : parts) ids.push_back(part->info.id.value);
  return ids;
}

TEST(UpkeepPlan, OnlyPartsWhollyPastTheRetentionExpire) {
  TableVersion table = Traces(2 * 3'600'000);
  for (const int64_t hours : {5, 3, 1}) AddPart(&table, parts::Format::kHot, hours * kHourNs);
  EXPECT_EQ(PartsToExpire(table, kNowNs), (std::vector<PartId>{PartId(1), PartId(2)}));
  TableVersion kept = Traces();
  kept.parts = table.parts;
  EXPECT_TRUE(PartsToExpire(kept, kNowNs).empty());
  TableVersion huge = Traces(INT64_MAX);
  huge.parts = table.parts;
  EXPECT_TRUE(PartsToExpire(huge, kNowNs).empty());
}

TEST(UpkeepPlan, OldNeighboursBecomeOneColdPart) {
  TableVersion table = Traces();
  AddPart(&table, parts::Format::kCold, 5 * kHourNs);
  AddPart(&table, parts::Format::kHot, 2 * kHourNs);
  AddPart(&table, parts::Format::kHot, kHourNs * 3 / 4);
  AddPart(&table, parts::Format::kHot, kHourNs / 4);
  EXPECT_EQ(IdsOf(PartsToConvert(table, kNowNs, kHourNs)), (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(IdsOf(PartsToConvert(table, INT64_MAX, 0)), (std::vector<uint64_t>{2, 3, 4}));
  EXPECT_TRUE(PartsToConvert(table, kNowNs, 3 * kHourNs).empty());
}

TEST(UpkeepPlan, AConversionTakesBoundedInput) {
  TableVersion table = Traces();
  for (int i = 0; i < 5; ++i) AddPart(&table, parts::Format::kHot, 2 * kHourNs, kColdInputBytesMax / 2);
  EXPECT_EQ(PartsToConvert(table, kNowNs, kHourNs).size(), 2u);
  TableVersion large = Traces();
  AddPart(&large, parts::Format::kHot, 2 * kHourNs, kColdInputBytesMax * 3);
  EXPECT_EQ(PartsToConvert(large, kNowNs, kHourNs).size(), 1u);
}

TEST(UpkeepPlan, ConversionsRestSoThatTheyKeepToTheirShare) {
  constexpr int64_t kTookNs = 2 * kSecondNs;
  EXPECT_EQ(ConversionPauseNs(kTookNs, 0, 0.2), 8 * kSecondNs);
  EXPECT_EQ(ConversionPauseNs(kTookNs, kColdBacklogBytes - 1, 0.2), 8 * kSecondNs);
  EXPECT_EQ(ConversionPauseNs(kTookNs, kColdBacklogBytes, 0.2), 2 * kSecondNs);  // Half of a core.
  EXPECT_EQ(ConversionPauseNs(kTookNs, kColdBacklogBytes, 0.8), kSecondNs / 2);
  EXPECT_EQ(ConversionPauseNs(kTookNs, 0, 2), 0);
}

TEST(UpkeepPlan, WhatWaitsIsHotAndOld) {
  TableVersion table = Traces();
  AddPart(&table, parts::Format::kCold, 5 * kHourNs, 1);
  AddPart(&table, parts::Format::kHot, 2 * kHourNs, 10);
  AddPart(&table, parts::Format::kHot, kHourNs / 2, 100);
  EXPECT_EQ(BytesToConvert(table, kNowNs, kHourNs), 10);
  EXPECT_EQ(BytesToConvert(table, kNowNs, kHourNs / 4), 110);
}

TEST(RetentionClock, FollowsTheWallClockButNeverBack) {
  RetentionClock clock;
  clock.Start(0, kNowNs, 0);
  clock.Tick(kNowNs + kSecondNs, kSecondNs);
  EXPECT_EQ(clock.now_ns(), kNowNs + kSecondNs);
  clock.Tick(kNowNs - 10 * kYearNs, 2 * kSecondNs);
  EXPECT_EQ(clock.now_ns(), kNowNs + kSecondNs);
  EXPECT_FALSE(clock.paused());
  clock.Tick(kNowNs + 3 * kSecondNs, 3 * kSecondNs);
  EXPECT_EQ(clock.now_ns(), kNowNs + 3 * kSecondNs);
  EXPECT_FALSE(clock.paused());
}

TEST(RetentionClock, ALeapPausesUntilTheClockIsBack) {
  RetentionClock clock;
  clock.Start(0, kNowNs, 0);
  for (int64_t hour = 1; hour < 100; ++hour) {
    clock.Tick(kNowNs + 10 * kYearNs + hour * kHourNs, hour * kHourNs);
    EXPECT_TRUE(clock.paused());
    EXPECT_EQ(clock.now_ns(), kNowNs);
  }
  clock.Tick(kNowNs + 100 * kHourNs, 100 * kHourNs);
  EXPECT_FALSE(clock.paused());
  EXPECT_EQ(clock.now_ns(), kNowNs + 100 * kHourNs);
}

TEST(RetentionClock, ALongStopPausesUntilTheClockHasProvedSteady) {
  RetentionClock clock;
  clock.Start(kNowNs, kNowNs + 48 * kHourNs, 0);
  EXPECT_TRUE(clock.paused());
  clock.Tick(kNowNs + 48 * kHourNs + kHourNs / 2, kHourNs / 2);
  EXPECT_TRUE(clock.paused());
  clock.Tick(kNowNs + 49 * kHourNs, kHourNs);
  EXPECT_FALSE(clock.paused());
  EXPECT_EQ(clock.now_ns(), kNowNs + 49 * kHourNs);
}

TEST(BatchIds, AreForgottenByAgeAndTheRestStays) {
  BatchIds ids;
  ids.Remember({"old", Lsn(1), 0});
  ids.Remember({"new", Lsn(2), kBatchIdWindowNs});
  EXPECT_EQ(ids.size(), 2u);
  ids.Remember({"newest", Lsn(3), kBatchIdWindowNs + 1});
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids.Ask("old", {}).kind, BatchIds::Claim::Kind::kFirst);
  EXPECT_EQ(ids.Ask("new", {}).lsn, Lsn(2));
  EXPECT_EQ(ids.Between(Lsn(2), Lsn(9)).size(), 1u);
}

TEST(BatchIdFile, ComesBackEqualAndDamageIsSeen) {
  const std::vector<BatchIdRecord> records = {{"a", Lsn(1), 5}, {std::string(64, 'x'), Lsn(7), -3}};
  const std::string bytes = EncodeBatchIds(records);
  const auto read = DecodeBatchIds(bytes, "f").ValueOrDie();
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[1].id, records[1].id);
  EXPECT_EQ(read[1].lsn, Lsn(7));
  EXPECT_EQ(read[1].time_ns, -3);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    EXPECT_FALSE(DecodeBatchIds(flipped, "f").ok()) << i;
    if (i > 0) {
      EXPECT_FALSE(DecodeBatchIds(bytes.substr(0, i), "f").ok()) << i;
    }
  }
  std::string versionless = bytes;
  versionless[4] = 0;
  const uint32_t crc = Crc32c(std::as_bytes(std::span(versionless)).first(versionless.size() - sizeof(uint32_t)));
  std::memcpy(versionless.data() + versionless.size() - sizeof crc, &crc, sizeof crc);
  EXPECT_EQ(KindOf(DecodeBatchIds(versionless, "f").status()), ErrorKind::kCorruption) << "no program wrote version 0";
}

}  // namespace
}  // namespace sheaf::store
