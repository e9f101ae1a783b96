#include <random>

#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kStart = 1'700'000'000'000'000'000;  // 2023-11-14 22:13:20 UTC
constexpr int64_t kHour = 3'600'000'000'000;
constexpr int kParts = 6;

/// Six parts an hour apart and a memtable chunk, with 200 traces of 5 spans each, in granules of 100 rows.
class PruningTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937_64 random(20261121);
    for (int part = 0; part < kParts; ++part) {
      database_.Add(decode::Signal::kTraces, RandomSpans(200, 5, kStart + part * kHour, &random), "", 100);
    }
    database_.Add(decode::Signal::kTraces, RandomSpans(200, 5, kStart + kParts * kHour, &random), "memtable", 100);
    auto engine = Engine::Open(&database_, {.threads = 2});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  std::string Ndjson(const std::string& sql) {
    auto text = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson, &stats_);
    return text.ok() ? *text : text.status().ToString();
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
  QueryStats stats_;
};

TEST_F(PruningTest, TimeRangeReadsOnePart) {
  EXPECT_EQ(Ndjson("SELECT count(name) AS n FROM traces WHERE start_time >= '2023-11-15 00:13:20' AND start_time < '2023-11-15 00:14:20'"),
            "{\"n\":300}\n");
  EXPECT_EQ(stats_.parts, kParts);
  EXPECT_EQ(stats_.parts_pruned, kParts - 1);
  EXPECT_LE(stats_.rows_scanned, 1000);
}

TEST_F(PruningTest, TraceIdIsLookedUp) {
  const std::string id = Ndjson("SELECT trace_id::VARCHAR AS id FROM traces ORDER BY start_time LIMIT 1 OFFSET 2500").substr(7, 32);
  EXPECT_THAT(Ndjson("SELECT count(name) AS n FROM traces WHERE trace_id = '" + id + "'"), HasSubstr("{\"n\":5}"));
  EXPECT_EQ(stats_.parts_pruned, kParts - 1);
  EXPECT_LE(stats_.granules - stats_.granules_pruned, 3 + 10) << "up to three of the part, and the memtable's ten, which have no index";
}

TEST_F(PruningTest, ExplainAnalyzeSaysWhatWasPruned) {
  const std::string plan = Ndjson("EXPLAIN ANALYZE SELECT count(name) FROM traces WHERE start_time < '2023-11-14 22:14:20'");
  EXPECT_THAT(plan, HasSubstr("pruned 5 of 6 parts"));
  EXPECT_THAT(plan, HasSubstr("row groups"));
  EXPECT_THAT(plan, HasSubstr("Bytes read"));
  EXPECT_THAT(Ndjson("EXPLAIN ANALYZE SELECT name FROM find_trace('4bf92f3577b34da6a3ce929d0e0e4736')"), HasSubstr("trace_id"));
}

TEST_F(PruningTest, CountComesFromMetadata) {
  EXPECT_EQ(Ndjson("SELECT count(*) AS n FROM traces"), "{\"n\":7000}\n");
  EXPECT_EQ(stats_.rows_scanned, 0);
}

TEST_F(PruningTest, TopNByTimeReadsLittle) {
  EXPECT_THAT(Ndjson("SELECT name, attributes, start_time FROM traces ORDER BY start_time DESC LIMIT 3"), HasSubstr("2023-11-15T04:16:39"));
  EXPECT_LT(stats_.rows_scanned, 3500);
}

TEST_F(PruningTest, JoinKeysPrune) {
  EXPECT_THAT(Ndjson("SELECT count(*) AS n FROM traces t JOIN (SELECT trace_id FROM traces WHERE start_time < '2023-11-14 "
                     "22:13:21') s USING (trace_id)"),
              HasSubstr("{\"n\":25}"));
  EXPECT_LT(stats_.rows_scanned, 14'000);
}

TEST_F(PruningTest, EqualityOnTextPrunesByZone) {
  EXPECT_EQ(Ndjson("SELECT count(trace_id) AS n FROM traces WHERE service_name = 'zzz'"), "{\"n\":0}\n");
  EXPECT_EQ(stats_.rows_scanned, 0);
}

}  // namespace
}  // namespace sheaf::query
