#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

constexpr int64_t kStart = 1'700'000'000'000'000'000;

class WantedIdsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto engine = Engine::Open(&database_, {.threads = 2});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  std::string Run(const std::string& sql) {
    auto text = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson, &stats_);
    return text.ok() ? *text : text.status().ToString();
  }
  int64_t Bytes(const std::string& sql) {
    Run(sql);
    return stats_.bytes_read;
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
  QueryStats stats_;
};

/// A part and a memtable chunk of 1,000 spans each in granules of 100; spans have no index.
class WantedSpansTest : public WantedIdsTest {
 protected:
  void SetUp() override {
    std::mt19937_64 random(7);
    database_.Add(decode::Signal::kTraces, RandomSpans(200, 5, kStart, &random), "", 100);
    database_.Add(decode::Signal::kTraces, RandomSpans(200, 5, kStart + 1'000'000'000, &random), "memtable", 100);
    WantedIdsTest::SetUp();
  }
  std::string Id(const std::string& column, int nth) {
    const std::string line = Run("SELECT " + column + "::VARCHAR AS id FROM traces ORDER BY start_time, span_id LIMIT 1 OFFSET " +
                                 std::to_string(nth));
    return "'" + line.substr(7, column == "span_id" ? 16 : 32) + "'";
  }
};

TEST_F(WantedSpansTest, OtherColumnsAreReadOnlyWhereAnIdIs) {
  const std::string a = Id("span_id", 10), b = Id("span_id", 1990);
  const int64_t all = Bytes("SELECT span_id, name, attributes, duration_ns FROM traces");
  const int64_t ids = Bytes("SELECT span_id FROM traces");
  for (const std::string& condition : {"span_id = " + a, "span_id IN (" + a + ", " + b + ")",
                                       "span_id IN (SELECT unnest([" + a + "::SPAN_ID, " + b + "::SPAN_ID]))"}) {
    const int64_t found = Bytes("SELECT span_id, name, attributes, duration_ns FROM traces WHERE " + condition);
    EXPECT_GE(found, ids) << condition;
    EXPECT_LT(found, ids + (all - ids) / 5) << condition << ": a granule in twenty, or two";
  }
  EXPECT_LE(Bytes("SELECT name, attributes FROM traces WHERE span_id = '0123456789abcdef'"), ids) << "an id that is nowhere";
}

TEST_F(WantedSpansTest, ListsOfTracesAndSpansAreTakenTogether) {
  const std::string trace = Id("trace_id", 700), other = Id("trace_id", 1500), span = Id("span_id", 700);
  EXPECT_EQ(Run("SELECT count(name) AS n FROM traces WHERE trace_id IN (" + trace + ", " + other + ")"), "{\"n\":10}\n");
  EXPECT_EQ(Run("SELECT count(name) AS n FROM traces WHERE trace_id IN (" + trace + ", " + other + ") AND span_id = " + span),
            "{\"n\":1}\n");
  EXPECT_EQ(Run("SELECT count(name) AS n FROM traces WHERE trace_id = " + other + " AND span_id = " + span), "{\"n\":0}\n");
  EXPECT_EQ(Run("SELECT count(name) AS n FROM traces WHERE trace_id IN (" + trace + ", NULL)"), "{\"n\":5}\n");
  EXPECT_EQ(Run("SELECT count(name) AS n FROM traces WHERE trace_id NOT IN (" + trace + ")"), "{\"n\":1995}\n");
  EXPECT_EQ(Run("SELECT count(*) AS n FROM traces WHERE parent_span_id = " + span + " OR span_id = " + span),
            Run("SELECT count(*) FILTER (parent_span_id = " + span + " OR span_id = " + span + ") AS n FROM traces"));
}

/// Numbers that are rare and frequent, NULLs and rows that are dead: what a scan finds is what a count without the filter finds.
TEST_F(WantedIdsTest, NumbersInTablesWithDeadRows) {
  ASSERT_EQ(Run("CREATE TABLE t (k BIGINT PRIMARY KEY, g BIGINT, u UBIGINT, v VARCHAR)"), "");
  Run("INSERT INTO t SELECT i, CASE WHEN i % 7 = 0 THEN NULL ELSE i % 1000 END, i // 2000, 'v' || i FROM range(20000) r(i)");
  for (const char* change : {"DELETE FROM t WHERE k % 3 = 0", "UPDATE t SET v = 'new' WHERE k % 1000 = 17"}) {
    for (const char* condition : {"g = 17", "g IN (17, 18, -5)", "g IN (0, NULL, 999)", "g = -17", "g IS NULL OR g = 17", "u = 3",
                                  "u IN (3, 9)", "u IN (0,1,2,3,4,5,6,7,8,9)", "g = 17 AND u = 3",
                                  "g IN (17, 18) AND u IN (3, 4, 5)", "g IN (SELECT unnest([17, 19, 20]))"}) {
      const std::string scanned = Run(std::string("SELECT count(v) AS n, sum(k) AS s, max(v) AS m FROM t WHERE ") + condition);
      EXPECT_EQ(scanned,
                Run(std::string("SELECT count(v) FILTER (c) AS n, sum(k) FILTER (c) AS s, max(v) FILTER (c) AS m FROM (SELECT "
                                "*, coalesce(") +
                    condition + ", false) AS c FROM t)"))
          << condition << " before " << change;
    }
    Run(change);
  }
}

}  // namespace
}  // namespace sheaf::query
