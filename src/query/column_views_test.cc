/// sheaf.columns: what parts tell of their columns, hot and cold.

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"
#include "io/posix.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

class ColumnsOfParts : public ::testing::Test {
 protected:
  std::string Run(const std::string& sql) {
    const auto answer = RunToText(stored_.engine(), {.sql = sql, .trusted = true}, Format::kNdjson);
    EXPECT_TRUE(answer.ok()) << sql << "\n" << answer.status().ToString();
    return answer.ok() ? *answer : answer.status().ToString();
  }
  void Pass(StoredDatabase::Event event) {
    const Status passed = stored_.Pass(event);
    ASSERT_TRUE(passed.ok()) << passed.ToString();
  }
  void MakeTable() {
    Run("CREATE TABLE prices (ticked_at TIMESTAMP_NS NOT NULL, symbol VARCHAR, side VARCHAR, price BIGINT, note VARCHAR) "
        "WITH (time = 'ticked_at', sort = 'ticked_at')");
    Run("INSERT INTO prices SELECT make_timestamp_ns(1700000000000000000 + i * 1000000), 'S' || (i // 100), "
        "CASE WHEN i % 2 = 0 THEN 'BUY' ELSE 'SELL' END, 1000 + i % 3, CASE WHEN i < 10 THEN 'order ' || i END FROM range(1000) "
        "AS r(i)");
  }

  io::TemporaryFolder folder_;
  StoredDatabase stored_{io::PosixFileSystem(), folder_.path() + "/db"};
};

constexpr const char* kCounts =
    "SELECT column_name, rows, nulls, rows_looked_at, cardinality, cardinality_is_exact AS exact, runs, "
    "round(mean_run)::INT AS mean_run, longest_run, bytes_before FROM sheaf.columns WHERE table_name = 'main.prices' ORDER BY column_name";
constexpr const char* kWant =
    "{\"column_name\":\"note\",\"rows\":1000,\"nulls\":990,\"rows_looked_at\":1000,\"cardinality\":10,\"exact\":true,\"runs\":11,"
    "\"mean_run\":91,\"longest_run\":990,\"bytes_before\":110}\n"
    "{\"column_name\":\"price\",\"rows\":1000,\"nulls\":0,\"rows_looked_at\":1000,\"cardinality\":3,\"exact\":true,\"runs\":1000,"
    "\"mean_run\":1,\"longest_run\":1,\"bytes_before\":8000}\n"
    "{\"column_name\":\"side\",\"rows\":1000,\"nulls\":0,\"rows_looked_at\":1000,\"cardinality\":2,\"exact\":true,\"runs\":1000,"
    "\"mean_run\":1,\"longest_run\":1,\"bytes_before\":7500}\n"
    "{\"column_name\":\"symbol\",\"rows\":1000,\"nulls\":0,\"rows_looked_at\":1000,\"cardinality\":10,\"exact\":true,\"runs\":10,"
    "\"mean_run\":100,\"longest_run\":100,\"bytes_before\":6000}\n"
    "{\"column_name\":\"ticked_at\",\"rows\":1000,\"nulls\":0,\"rows_looked_at\":1000,\"cardinality\":1000,\"exact\":true,"
    "\"runs\":1000,\"mean_run\":1,\"longest_run\":1,\"bytes_before\":8000}\n";

TEST_F(ColumnsOfParts, TellOfHotAndOfColdOnesTheSameValuesStoredInOtherWays) {
  MakeTable();
  EXPECT_EQ(Run(kCounts), "") << "rows in memory are in no part";
  Pass(StoredDatabase::Event::kSeal);
  EXPECT_EQ(Run(kCounts), kWant);
  EXPECT_EQ(Run("SELECT DISTINCT encoding, reason FROM sheaf.columns WHERE table_name = 'main.prices'"),
            "{\"encoding\":\"plain\",\"reason\":\"read in place, as the table has it\"}\n");
  Pass(StoredDatabase::Event::kCold);
  EXPECT_EQ(Run(kCounts), kWant);
  EXPECT_EQ(
      Run("SELECT column_name, encoding, reason, bytes_after > 0 AS stored, round(ratio * bytes_after) = bytes_before AS ratio "
          "FROM sheaf.columns WHERE table_name = 'main.prices' AND column_name <> 'note' ORDER BY column_name"),
      "{\"column_name\":\"price\",\"encoding\":\"delta\",\"reason\":\"small differences\",\"stored\":true,\"ratio\":true}\n"
      "{\"column_name\":\"side\",\"encoding\":\"dictionary\",\"reason\":\"few distinct values\",\"stored\":true,\"ratio\":true}\n"
      "{\"column_name\":\"symbol\",\"encoding\":\"dictionary\",\"reason\":\"few distinct values\",\"stored\":true,\"ratio\":true}\n"
      "{\"column_name\":\"ticked_at\",\"encoding\":\"delta\",\"reason\":\"small differences\",\"stored\":true,\"ratio\":true}\n");
  EXPECT_EQ(Run("SELECT count(*) AS n FROM sheaf.columns AS c JOIN sheaf.parts AS p USING (table_name, part_id) "
                "WHERE c.rows <> p.rows AND table_name = 'main.prices'"),
            "{\"n\":0}\n");
}

TEST_F(ColumnsOfParts, HaveTheirNamesOfNow) {
  MakeTable();
  Pass(StoredDatabase::Event::kSeal);
  Run("ALTER TABLE prices RENAME COLUMN symbol TO instrument");
  EXPECT_EQ(Run("SELECT column_name, cardinality FROM sheaf.columns WHERE table_name = 'main.prices' AND cardinality = 10 AND "
                "nulls = 0"),
            "{\"column_name\":\"instrument\",\"cardinality\":10}\n");
}

}  // namespace
}  // namespace sheaf::query
