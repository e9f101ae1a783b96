#include "memtable/memtable.h"

#include <string>
#include <thread>

#include <arrow/api.h>
#include <gtest/gtest.h>

namespace sheaf::memtable {
namespace {

std::string IdOf(int64_t n) {
  std::string id(16, '\0');
  for (int i = 0; i < 8; ++i) id[static_cast<size_t>(15 - i)] = static_cast<char>(n >> (8 * i));
  return id;
}

std::shared_ptr<arrow::Schema> TestSchema() {
  static const auto schema = arrow::schema({arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO)),
                                            arrow::field("id", arrow::fixed_size_binary(16)),
                                            arrow::field("service", arrow::dictionary(arrow::int32(), arrow::utf8())),
                                            arrow::field("n", arrow::int64())});
  return schema;
}

/// Rows first, first + 1, …: time and n are the number, the id its bytes, the service s<number modulo 3>.
std::shared_ptr<arrow::RecordBatch> Rows(int64_t first, int64_t count, bool null_times = false) {
  arrow::TimestampBuilder time(arrow::timestamp(arrow::TimeUnit::NANO), arrow::default_memory_pool());
  arrow::FixedSizeBinaryBuilder id(arrow::fixed_size_binary(16));
  arrow::StringDictionary32Builder service;
  arrow::Int64Builder n;
  for (int64_t i = first; i < first + count; ++i) {
    EXPECT_TRUE((null_times ? time.AppendNull() : time.Append(i)).ok());
    EXPECT_TRUE(id.Append(IdOf(i)).ok());
    EXPECT_TRUE(service.Append("s" + std::to_string(i % 3)).ok());
    EXPECT_TRUE(n.Append(i).ok());
  }
  return arrow::RecordBatch::Make(
      TestSchema(), count,
      {time.Finish().ValueOrDie(), id.Finish().ValueOrDie(), service.Finish().ValueOrDie(), n.Finish().ValueOrDie()});
}

Memtable MakeTable() { return Memtable(TestSchema(), 0, {1, 2}, 42); }

TEST(Memtable, SourceHoldsExactlyTheEntriesThroughTheLsn) {
  Memtable table = MakeTable();
  EXPECT_EQ(table.Source(Lsn(100)), nullptr);
  for (uint64_t lsn = 2; lsn <= 400; lsn += 2) table.Add(Lsn(lsn), Rows(static_cast<int64_t>(lsn) * 10, 5), 100);
  EXPECT_EQ(table.Source(Lsn(1)), nullptr);
  const auto source = table.Source(Lsn(7));
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->rows(), 15);
  EXPECT_EQ(source->num_granules(), 3);
  EXPECT_EQ(source->min_lsn(), Lsn(2));
  EXPECT_EQ(source->max_lsn(), Lsn(6));
  EXPECT_EQ(source->ordinal(), 42u);
  EXPECT_EQ(table.Source(Lsn(400))->rows(), 1000);
  EXPECT_EQ(table.bytes(), 20'000);
  EXPECT_EQ(table.min_lsn(), Lsn(2));
  EXPECT_EQ(table.max_lsn(), Lsn(400));
}

TEST(Memtable, ReadGivesTheColumnsAskedForWithoutCopying) {
  Memtable table = MakeTable();
  const auto rows = Rows(0, 10);
  table.Add(Lsn(1), rows, 1);
  const auto batch = table.Source(Lsn(1))->Read(0, {3, 0}).ValueOrDie();
  ASSERT_EQ(batch->num_columns(), 2);
  EXPECT_EQ(batch->schema()->field(0)->name(), "n");
  EXPECT_EQ(batch->column_data(0)->buffers[1].get(), rows->column_data(3)->buffers[1].get());
}

TEST(Memtable, ZonesBoundEveryGranuleAndThePrefix) {
  Memtable table = MakeTable();
  table.Add(Lsn(1), Rows(100, 10), 1);
  table.Add(Lsn(2), Rows(50, 10), 1);
  table.Add(Lsn(3), Rows(0, 4, true), 1);
  const auto source = table.Source(Lsn(3));
  ASSERT_NE(source->source_zone(0), nullptr);
  EXPECT_EQ(source->source_zone(0)->int_min, 50);
  EXPECT_EQ(source->source_zone(0)->int_max, 109);
  EXPECT_EQ(source->source_zone(0)->null_count, 4);
  EXPECT_EQ(source->granule_zone(0, 0)->int_min, 100);
  EXPECT_EQ(source->granule_zone(1, 0)->int_max, 59);
  EXPECT_EQ(source->granule_zone(2, 0), nullptr);
  EXPECT_EQ(source->granule_zone(0, 2)->bytes_min, "s0");
  EXPECT_EQ(source->granule_zone(0, 2)->bytes_max, "s2");
  EXPECT_EQ(table.Source(Lsn(1))->source_zone(0)->int_min, 100);
}

TEST(Memtable, FindGranulesNeverLeavesOutAGranuleThatHoldsTheValue) {
  Memtable table = MakeTable();
  for (int i = 0; i < 50; ++i) table.Add(Lsn(static_cast<uint64_t>(i) + 1), Rows(i * 100, 100), 1);
  const auto source = table.Source(Lsn(50));
  EXPECT_TRUE(source->has_filter(1));
  EXPECT_TRUE(source->has_filter(2));
  EXPECT_FALSE(source->has_filter(0));
  EXPECT_FALSE(source->has_filter(3));
  for (int64_t n = 0; n < 5000; n += 7) {
    std::vector<int> granules;
    ASSERT_TRUE(source->FindGranules(1, IdOf(n), &granules).ok());
    EXPECT_EQ(granules, std::vector<int>{static_cast<int>(n / 100)});
  }
  std::vector<int> granules;
  ASSERT_TRUE(source->FindGranules(1, IdOf(999'999), &granules).ok());
  ASSERT_TRUE(source->FindGranules(1, "short", &granules).ok());
  ASSERT_TRUE(source->FindGranules(2, "s9", &granules).ok());
  EXPECT_TRUE(granules.empty());
  ASSERT_TRUE(source->FindGranules(2, "s1", &granules).ok());
  EXPECT_EQ(granules.size(), 50u);
}

TEST(Memtable, ReadersSeePrefixesThatNeverChangeWhileRowsAreAdded) {
  Memtable table = MakeTable();
  constexpr uint64_t kEntries = 2000;
  std::thread writer([&] {
    for (uint64_t lsn = 1; lsn <= kEntries; ++lsn) table.Add(Lsn(lsn), Rows(static_cast<int64_t>(lsn), 1), 1);
  });
  int64_t before = 0;
  while (before < static_cast<int64_t>(kEntries)) {
    const auto source = table.Source(Lsn(kEntries));
    if (source == nullptr) continue;
    const int64_t rows = source->rows();
    ASSERT_GE(rows, before);
    ASSERT_EQ(source->num_granules(), rows);
    for (int granule = 0; granule < rows; granule += 97) {
      const auto batch = source->Read(granule, {3}).ValueOrDie();
      ASSERT_EQ(static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(0), granule + 1);
    }
    before = rows;
  }
  writer.join();
}

}  // namespace
}  // namespace sheaf::memtable
