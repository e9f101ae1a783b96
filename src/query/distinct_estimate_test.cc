/// Counts of distinct values: scaled up as what is drawn at random, taken from the largest part, and used to order joins.

#include "query/distinct_estimate.h"

#include <random>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"
#include "io/posix.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

TEST(ScaleDistinct, IsNearWhatManyDrawsSee) {
  std::mt19937_64 random(7);
  for (const uint64_t stock : {1, 10, 1'000, 20'000, 1'000'000}) {
    std::set<uint64_t> seen;
    size_t counted = 0;
    for (int i = 0; i < 100'000; ++i) {
      if (i == 10'000) counted = seen.size();
      seen.insert(random() % stock);
    }
    const auto estimate = static_cast<double>(ScaleDistinct(static_cast<int64_t>(counted), 10'000, 100'000));
    EXPECT_NEAR(estimate, static_cast<double>(seen.size()), 0.05 * static_cast<double>(seen.size())) << stock;
  }
}

TEST(ScaleDistinct, KeepsToItsBounds) {
  EXPECT_EQ(ScaleDistinct(5, 5, 1'000'000), 1'000'000) << "no value came twice";
  EXPECT_EQ(ScaleDistinct(1, 1'000'000, 1'000'000'000'000), 1);
  EXPECT_EQ(ScaleDistinct(700, 1'000, 10), 10) << "rows that are gone";
  EXPECT_EQ(ScaleDistinct(999'000, 1'000'000, 1'000'001), 1'000'001);
  for (int64_t counted = 1; counted <= 1000; counted += 37) {
    EXPECT_GE(ScaleDistinct(counted, 1'000, 5'000), counted);
    EXPECT_LE(ScaleDistinct(counted, 1'000, 5'000), 5'000);
  }
}

class DistinctOfTables : public ::testing::Test {
 protected:
  std::string Run(const std::string& sql) {
    const auto answer = RunToText(stored_.engine(), {.sql = sql, .trusted = true}, Format::kNdjson);
    EXPECT_TRUE(answer.ok()) << sql << "\n" << answer.status().ToString();
    return answer.ok() ? *answer : answer.status().ToString();
  }

  io::TemporaryFolder folder_;
  StoredDatabase stored_{io::PosixFileSystem(), folder_.path() + "/db"};
};

TEST_F(DistinctOfTables, TellThePlannerHowManyRowsAnEqualityAndAJoinLeave) {
  Run("CREATE TABLE prices (ticked_at TIMESTAMP_NS NOT NULL, symbol VARCHAR, venue INT) WITH (time = 'ticked_at', sort = 'ticked_at')");
  Run("INSERT INTO prices SELECT make_timestamp_ns(1700000000000000000 + i * 1000000), 'S' || (i % 50), i % 4 FROM range(10000) AS r(i)");
  Run("CREATE TABLE few (symbol VARCHAR); INSERT INTO few SELECT 'S' || i FROM range(5) AS r(i)");
  const auto rows_of = [&](const std::string& sql) {
    const std::string plan = Run("EXPLAIN (FORMAT json) " + sql);
    const std::string mark = "Estimated Cardinality\\\": \\\"";
    const size_t at = plan.rfind(mark);
    EXPECT_NE(at, std::string::npos) << plan;
    return at == std::string::npos ? -1 : std::stoll(plan.substr(at + mark.size()));
  };
  EXPECT_EQ(rows_of("SELECT * FROM prices WHERE symbol = 'S7'"), 2'000) << "in memory: the planner's own guess";
  for (const auto event : {StoredDatabase::Event::kSeal, StoredDatabase::Event::kCold}) {
    const Status passed = stored_.Pass(event);
    ASSERT_TRUE(passed.ok()) << passed.ToString();
    EXPECT_EQ(rows_of("SELECT * FROM prices WHERE symbol = 'S7'"), 200);
    EXPECT_EQ(rows_of("SELECT * FROM prices WHERE venue = 2"), 2'500);
    EXPECT_EQ(rows_of("SELECT ticked_at FROM prices JOIN few USING (symbol)"), 1'000);
  }
}

}  // namespace
}  // namespace sheaf::query
