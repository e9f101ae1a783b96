/// Materialised views: after random writes, merges, reopenings and restores each is what its query computes. SHEAF_QUERY_SEED=n gives
/// the first history another seed.

#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/sim_testing.h"
#include "query/engine.h"
#include "query/formats.h"
#include "query/keyed_statements_testing.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using testing::HasSubstr;

class ViewsTest : public testing::Test {
 protected:
  std::string Ask(const std::string& sql) {
    const auto text = RunToText(stored_.engine(), {.sql = sql}, Format::kCsv);
    EXPECT_TRUE(text.ok()) << sql << "\n" << text.status().ToString();
    return Replace(text.ValueOr(""), "\r", "");
  }
  std::string Refusal(const std::string& sql) {
    const auto text = RunToText(stored_.engine(), {.sql = sql}, Format::kCsv);
    EXPECT_FALSE(text.ok()) << sql << " answers " << text.ValueOr("");
    return text.ok() ? "" : text.status().message();
  }
  void MakeTables(const std::string& if_not_exists = "") {
    Ask("CREATE TABLE " + if_not_exists + "trips (time TIMESTAMP, driver INTEGER, city VARCHAR, price DECIMAL(12, 2), length DOUBLE)");
    Ask("CREATE TABLE " + if_not_exists + "drivers (id INTEGER, name VARCHAR, team VARCHAR, PRIMARY KEY (id))");
  }

  /// Until something is written, or a while.
  void Pause() { stored_.database()->WaitForVisible(stored_.database()->GetSnapshot()->lsn(), std::chrono::milliseconds(10)); }

  io::SimFileSystem disk_;
  StoredDatabase stored_{&disk_, "/db"};
};

TEST_F(ViewsTest, FollowWhatIsWritten) {
  MakeTables();
  Ask("INSERT INTO trips VALUES ('2026-01-01', 1, 'Oslo', 10, 1.5), ('2026-01-01', 2, 'Oslo', 20, 2.5)");
  Ask("CREATE MATERIALIZED VIEW by_city AS SELECT city, count(*) AS trips, sum(price) AS paid FROM trips GROUP BY city HAVING count(*) > 1 "
      "ORDER BY city");
  EXPECT_EQ(Ask("FROM by_city"), "city,trips,paid\nOslo,2,30.00\n");
  Ask("INSERT INTO trips VALUES ('2026-01-02', 1, 'Bonn', 7, 1.5)");
  EXPECT_EQ(Ask("FROM by_city"), "city,trips,paid\nOslo,2,30.00\n") << "HAVING counts when it is read";
  Ask("INSERT INTO trips VALUES ('2026-01-02', 1, 'Bonn', 8, 1.5), ('2026-01-02', 1, NULL, 1, 1), ('2026-01-02', 1, NULL, 1, 1)");
  EXPECT_EQ(Ask("FROM by_city"), "city,trips,paid\nBonn,2,15.00\nOslo,2,30.00\n,2,2.00\n");
  EXPECT_EQ(Ask("SELECT trips FROM main.by_city WHERE city = 'Oslo'"), "trips\n2\n");
  Ask("CREATE MATERIALIZED VIEW twice AS SELECT max(price) AS a, max(price) + 1 AS b FROM trips");
  EXPECT_EQ(Ask("SELECT a, b FROM twice"), "a,b\n20.00,21.00\n");
  Ask("DROP MATERIALIZED VIEW twice");
  EXPECT_THAT(Ask("EXPLAIN FROM by_city"), HasSubstr("by_city"));
  EXPECT_EQ(Ask("SELECT name, state, groups, rows_taken FROM sheaf.views"), "name,state,groups,rows_taken\nby_city,fresh,3,4\n");
  EXPECT_THAT(Ask("SHOW VIEWS"), HasSubstr("CREATE MATERIALIZED VIEW main.by_city"));
}

TEST_F(ViewsTest, OfKeyedTablesFollowUpdatesAndDeletes) {
  MakeTables();
  Ask("CREATE MATERIALIZED VIEW teams AS SELECT team, count(*) AS members, max(name) AS last FROM drivers GROUP BY team");
  Ask("INSERT INTO drivers VALUES (1, 'Ada', 'red'), (2, 'Bo', 'red'), (3, 'Cy', 'blue')");
  EXPECT_EQ(Ask("FROM teams ORDER BY team"), "team,members,last\nblue,1,Cy\nred,2,Bo\n");
  Ask("UPDATE drivers SET team = 'blue' WHERE id = 2");
  EXPECT_EQ(Ask("FROM teams ORDER BY team"), "team,members,last\nblue,2,Cy\nred,1,Ada\n");
  Ask("DELETE FROM drivers WHERE id = 3");
  Ask("DELETE FROM drivers WHERE id = 1");
  EXPECT_EQ(Ask("FROM teams"), "team,members,last\nblue,1,Bo\n");
  Ask("CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(id) AS s FROM drivers");
  Ask("DELETE FROM drivers");
  EXPECT_EQ(Ask("FROM totals"), "n,s\n0,\n") << "one row of nothing";
}

TEST_F(ViewsTest, OutliveTheirDatabase) {
  MakeTables();
  Ask("CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM trips");
  Ask("CREATE OR REPLACE MATERIALIZED VIEW n AS SELECT count(*) AS n, max(price) AS most FROM trips");
  Ask("INSERT INTO trips VALUES ('2026-01-01', 1, 'Oslo', 10, 1.5)");
  for (const auto event : StoredDatabase::kEvents) {
    ASSERT_TRUE(stored_.Pass(event).ok());
    EXPECT_EQ(Ask("FROM n"), "n,most\n1,10.00\n");
  }
  Ask("DROP MATERIALIZED VIEW n");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_THAT(Refusal("FROM n"), HasSubstr("n does not exist"));
}

TEST_F(ViewsTest, SessionsEndAfterAPause) {
  MakeTables();
  Ask("INSERT INTO trips VALUES ('2026-01-01 10:00', 1, 'Oslo', 10, 1), ('2026-01-01 10:25', 1, 'Oslo', 20, 2), "
      "('2026-01-01 11:30', 1, 'Oslo', 7, 4), ('2026-01-01 10:10', 2, NULL, 1, 1), (NULL, 2, NULL, 1, 1)");
  Ask("CREATE MATERIALIZED VIEW visits AS SELECT driver, session_start(time, INTERVAL '30 minutes') AS started, max(time) AS ended, "
      "count(*) AS trips, median(price) AS mid, arg_max(price, time) AS last FROM trips GROUP BY ALL");
  const std::string ask = "SELECT driver, started::VARCHAR AS started, ended::VARCHAR AS ended, trips, mid, last FROM visits ORDER BY ALL";
  EXPECT_EQ(Ask(ask), "driver,started,ended,trips,mid,last\n1,2026-01-01 10:00:00,2026-01-01 10:25:00,2,15.00,20.00\n"
                      "1,2026-01-01 11:30:00,2026-01-01 11:30:00,1,7.00,7.00\n2,2026-01-01 10:10:00,2026-01-01 10:10:00,1,1.00,1.00\n"
                      "2,,,1,1.00,\n");
  Ask("INSERT INTO trips VALUES ('2026-01-01 10:55', 1, 'Oslo', 1, 1)");
  EXPECT_THAT(Ask(ask), HasSubstr("1,2026-01-01 10:00:00,2026-01-01 10:55:00,3,10.00,1.00\n1,2026-01-01 11:30:00"));
  Ask("INSERT INTO trips VALUES ('2026-01-01 11:10', 1, 'Oslo', 1, 1)");
  EXPECT_THAT(Ask(ask), HasSubstr("1,2026-01-01 10:00:00,2026-01-01 11:30:00,5,7.00,7.00\n2,")) << "two are one";
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_THAT(Ask(ask), HasSubstr("1,2026-01-01 10:00:00,2026-01-01 11:30:00,5,7.00,7.00\n2,"));
  EXPECT_THAT(Refusal("SELECT session_start(time, INTERVAL '30 minutes') FROM trips"), HasSubstr("CREATE MATERIALIZED VIEW"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW w AS SELECT session_start(time, INTERVAL '-1 s'), count(*) FROM trips GROUP BY 1"),
              HasSubstr("the pause that ends a session"));
}

TEST_F(ViewsTest, WatermarksTellWhatIsCompleteAndWhatIsTooLate) {
  MakeTables();
  Ask("INSERT INTO trips VALUES ('2026-01-01 10:00', 1, 'Oslo', 10, 1)");
  Ask("CREATE MATERIALIZED VIEW hours WATERMARK FOR time DELAY INTERVAL '5 minutes' ALLOWED LATENESS INTERVAL '2 hours' AS "
      "SELECT time_bucket(INTERVAL '1 hour', time) AS hour, count(*) AS n FROM trips GROUP BY ALL HAVING count(*) > 0");
  const auto changes = [this](int64_t after) {
    return Ask(fmt::format("SELECT hour::VARCHAR AS hour, n, is_complete FROM view_changes('hours', after := {}) ORDER BY ALL", after));
  };
  const auto lsn = [this] { return std::stoll(Replace(Ask("SELECT lsn FROM sheaf.views"), "lsn\n", "")); };
  EXPECT_EQ(changes(0), "hour,n,is_complete\n2026-01-01 10:00:00,1,false\n");
  const int64_t first = lsn();
  EXPECT_EQ(changes(first), "hour,n,is_complete\n");
  Ask("INSERT INTO trips VALUES ('2026-01-01 11:04', 1, 'Oslo', 10, 1)");
  EXPECT_EQ(changes(first), "hour,n,is_complete\n2026-01-01 11:00:00,1,false\n");
  const int64_t second = lsn();
  Ask("INSERT INTO trips VALUES ('2026-01-01 11:05', 1, 'Oslo', 10, 1)");
  EXPECT_EQ(changes(second), "hour,n,is_complete\n2026-01-01 10:00:00,1,true\n2026-01-01 11:00:00,2,false\n")
      << "complete without another row";
  const int64_t third = lsn();
  Ask("INSERT INTO trips VALUES ('2026-01-01 10:30', 1, 'Oslo', 10, 1)");
  EXPECT_EQ(changes(third), "hour,n,is_complete\n2026-01-01 10:00:00,2,true\n") << "a correction";
  Ask("INSERT INTO trips VALUES ('2026-01-01 08:59:59', 1, 'Oslo', 10, 1), ('2026-01-01 09:00', 1, 'Oslo', 10, 1)");
  EXPECT_EQ(changes(third), "hour,n,is_complete\n2026-01-01 09:00:00,1,true\n2026-01-01 10:00:00,2,true\n");
  const std::string status = "SELECT watermark::VARCHAR AS watermark, late_rows FROM sheaf.views";
  EXPECT_EQ(Ask(status), "watermark,late_rows\n2026-01-01 11:00:00,1\n");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_EQ(changes(0), "hour,n,is_complete\n2026-01-01 09:00:00,1,true\n2026-01-01 10:00:00,2,true\n2026-01-01 11:00:00,2,false\n");
  EXPECT_EQ(Ask(status), "watermark,late_rows\n2026-01-01 11:00:00,1\n") << "as saved";
  EXPECT_THAT(Ask("SHOW VIEWS"), HasSubstr("WATERMARK FOR \"\"time\"\" DELAY INTERVAL"));
}

TEST_F(ViewsTest, WatermarksPassOverTimesThatAreNone) {
  MakeTables();
  Ask("INSERT INTO trips VALUES ('infinity', 1, 'Oslo', 10, 1)");
  Ask("CREATE MATERIALIZED VIEW hours WATERMARK FOR \"TIME\" DELAY INTERVAL 0 seconds ALLOWED LATENESS INTERVAL 1 hour AS "
      "SELECT time_bucket(INTERVAL '1 hour', time) AS hour, count(*) AS n, '$after' AS text FROM trips GROUP BY ALL");
  const std::string status = "SELECT watermark::VARCHAR AS watermark, late_rows FROM sheaf.views";
  EXPECT_EQ(Ask(status), "watermark,late_rows\n,0\n");
  Ask("INSERT INTO trips VALUES ('2026-01-01 10:30', 1, 'Oslo', 10, 1), ('infinity', 1, 'Oslo', 10, 1)");
  Ask("INSERT INTO trips VALUES ('-infinity', 1, 'Oslo', 10, 1), (NULL, 1, 'Oslo', 10, 1), ('294247-01-10 04:00:00', 1, 'Oslo', 1, 1)");
  EXPECT_EQ(Ask("SELECT n, is_complete, text FROM view_changes('hours', after := 0) WHERE hour = '2026-01-01 10:00'"),
            "n,is_complete,text\n1,true,$after\n");
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM hours"), "n\n5\n");
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM view_changes('hours') WHERE is_complete"), "n\n1\n");
  Ask("CREATE MATERIALIZED VIEW shifted WATERMARK FOR time DELAY INTERVAL 0 seconds AS "
      "SELECT time_bucket(INTERVAL '1 hour', time - INTERVAL 1 day) AS hour, count(*) AS n FROM trips GROUP BY ALL");
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM view_changes('shifted') WHERE is_complete IS NOT NULL"), "n\n0\n")
      << "windows of something else than the watermark's time";
}

TEST_F(ViewsTest, ThatCannotTakeARowSaySo) {
  Ask("CREATE TABLE big (k INTEGER, x DECIMAL(38, 0), y DOUBLE)");
  Ask("CREATE MATERIALIZED VIEW sums AS SELECT k, count(*) AS n, sum(x) AS s FROM big GROUP BY k");
  Ask("CREATE MATERIALIZED VIEW spread AS SELECT k, stddev(y) AS s FROM big GROUP BY k");
  Ask("INSERT INTO big VALUES (1, 99999999999999999999999999999999999999, 1)");
  EXPECT_EQ(Ask("SELECT n FROM sums"), "n\n1\n");
  Ask("INSERT INTO big VALUES (1, 99999999999999999999999999999999999999, 'NaN')");
  for (int tries = 0; tries < 1000 && Ask("SELECT state FROM sheaf.views WHERE name = 'sums'") != "state\nfailed\n"; ++tries) Pause();
  EXPECT_THAT(Refusal("FROM sums"), HasSubstr("sums is being computed anew"));
  EXPECT_THAT(Refusal("FROM spread"), HasSubstr("out of range"));
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_THAT(Refusal("FROM spread"), HasSubstr("out of range"));
  EXPECT_THAT(Refusal("FROM sums"), HasSubstr("sums is being computed anew"));
  EXPECT_EQ(Ask("SELECT saved_lsn IS NOT NULL AS saved FROM sheaf.views WHERE name = 'spread'"), "saved\ntrue\n")
      << "its answer cannot be had, but its state can";
  Ask("DROP MATERIALIZED VIEW sums");
  Ask("DROP MATERIALIZED VIEW spread");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM sheaf.view_states"), "n\n0\n") << "with the last view its state goes";
}

TEST_F(ViewsTest, KeepTheirStateWhileTheyCannotBeMade) {
  MakeTables();
  Ask("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM trips");
  Ask("CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM drivers");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  const auto trips = stored_.database()->FindTable("main", "trips").ValueOrDie();
  ASSERT_TRUE(stored_.database()->DropTable(trips->id).ok());  // As only the library can.
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
    EXPECT_EQ(Ask("SELECT DISTINCT name FROM sheaf.view_states ORDER BY name"), "name\nother\nv\n");
  }
  Ask("DROP MATERIALIZED VIEW v");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_EQ(Ask("SELECT DISTINCT name FROM sheaf.view_states ORDER BY name"), "name\nother\n");
}

TEST_F(ViewsTest, WrongWatermarksSayWhatIsWrong) {
  MakeTables();
  const std::string rest = " AS SELECT count(*) FROM trips";
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW v WATERMARK FOR time" + rest), HasSubstr("DELAY INTERVAL"));
  for (const char* column : {"moment", "city"}) {
    EXPECT_THAT(Refusal(fmt::format("CREATE MATERIALIZED VIEW v WATERMARK FOR {} DELAY INTERVAL '1 s'{}", column, rest)),
                HasSubstr("no timestamp of that name"));
  }
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW v WATERMARK FOR time DELAY 7" + rest), HasSubstr("DELAY needs an interval"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW v WATERMARK FOR time DELAY INTERVAL '-1 s'" + rest), HasSubstr("less than nothing"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW v WATERMARK FOR id DELAY INTERVAL '1 s' AS SELECT count(*) FROM drivers"),
              HasSubstr("keyed tables only"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW v WATERMARK FOR trips.time DELAY INTERVAL '1 s'" + rest), HasSubstr("name of a column"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW v WATERMARK FOR time DELAY current_setting('threads')::INTERVAL" + rest),
              HasSubstr("written out"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW v WATERMARK FOR time DELAY INTERVAL '1 s' ALLOWED LATENESS INTERVAL '1 hour' AS "
                      "SELECT count(*) FROM trips JOIN drivers ON driver = id"), HasSubstr("joined with a keyed table"));
  EXPECT_THAT(Refusal("FROM view_changes('v')"), HasSubstr("no materialized view 'v'"));
  Ask("CREATE MATERIALIZED VIEW v REFRESH EVERY INTERVAL '1 hour' AS SELECT 1 AS one");
  EXPECT_THAT(Refusal("FROM view_changes('main.v')"), HasSubstr("computed anew"));
}

TEST_F(ViewsTest, KeepWhatTheirTablesLetGo) {
  Ask("CREATE TABLE trips (time TIMESTAMP, driver INTEGER, city VARCHAR, price DECIMAL(12, 2), length DOUBLE) WITH (time = 'time')");
  Ask("CREATE MATERIALIZED VIEW v AS SELECT city, count(*) AS n, sum(price) AS paid, arg_max(driver, time) AS last, median(length) AS mid "
      "FROM trips GROUP BY city ORDER BY city");
  Ask("CREATE MATERIALIZED VIEW other AS SELECT mode(city) AS most FROM trips");
  Ask("INSERT INTO trips VALUES ('2020-01-01', 1, 'Oslo', 10, 1), ('2020-01-02', 2, 'Oslo', 20, 2), ('2020-01-02', 3, 'Bonn', 7, 4)");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kSeal).ok());
  Ask("ALTER TABLE trips SET (retention = '1 day')");
  for (int tries = 0; tries < 1000 && Ask("SELECT count(*) AS n FROM trips") != "n\n0\n"; ++tries) {
    ASSERT_TRUE(stored_.database()->Flush().ok());
    Pause();
  }
  ASSERT_EQ(Ask("SELECT count(*) AS n FROM trips"), "n\n0\n");
  const std::string kept = "city,n,paid,last,mid\nBonn,1,7.00,3,4\nOslo,2,30.00,2,1.5\n";
  EXPECT_EQ(Ask("FROM v"), kept);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
    EXPECT_EQ(Ask("FROM v"), kept);
  }
  EXPECT_EQ(Ask("SELECT name, saved_lsn IS NOT NULL AS saved, saved_bytes > 0 AS any, unsaved_because FROM sheaf.views ORDER BY name"),
            "name,saved,any,unsaved_because\nother,false,false,what mode() has seen cannot be written to disk\nv,true,true,\n");
  Ask("INSERT INTO trips VALUES (now()::TIMESTAMP, 4, 'Oslo', 100, 10)");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_EQ(Ask("FROM v"), "city,n,paid,last,mid\nBonn,1,7.00,3,4\nOslo,3,130.00,4,2\n");
  Ask("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT city, count(*) AS n FROM trips GROUP BY city");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_EQ(Ask("FROM v"), "city,n\nOslo,1\n") << "another view: of what is there";
  Ask("DROP MATERIALIZED VIEW v");
  for (int tries = 0; tries < 1000 && Ask("SELECT count(*) AS n FROM sheaf.view_states") != "n\n0\n"; ++tries) {
    Pause();
  }
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM sheaf.view_states"), "n\n0\n");
}

TEST_F(ViewsTest, ThatCannotBeMadeAnyMoreCanBeDropped) {
  MakeTables();
  Ask("CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM trips");
  const auto trips = stored_.database()->FindTable("main", "trips").ValueOrDie();
  ASSERT_TRUE(stored_.database()->DropTable(trips->id).ok());  // As only the library can.
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_THAT(Refusal("FROM n"), HasSubstr("n does not exist"));
  Ask("DROP MATERIALIZED VIEW n");
  EXPECT_THAT(Refusal("DROP MATERIALIZED VIEW n"), HasSubstr("no materialized view main.n"));
  MakeTables("IF NOT EXISTS ");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM sheaf.views"), "n\n0\n");
}

TEST_F(ViewsTest, AreReplacedWhateverTheCaseOfTheirLetters) {
  MakeTables();
  Ask("CREATE MATERIALIZED VIEW Trips_Made AS SELECT count(*) AS n FROM trips");
  Ask("CREATE OR REPLACE MATERIALIZED VIEW trips_made AS SELECT count(*) AS n, max(price) AS most FROM trips");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM sheaf.views"), "n\n1\n");
  EXPECT_EQ(Ask("FROM TRIPS_MADE"), "n,most\n0,\n");
  Ask("DROP MATERIALIZED VIEW trips_MADE");
  ASSERT_TRUE(stored_.Pass(StoredDatabase::Event::kReopen).ok());
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM sheaf.views"), "n\n0\n");
}

TEST_F(ViewsTest, AreRefreshedByOneAtATime) {
  MakeTables();
  Ask("INSERT INTO trips SELECT '2026-01-01', range % 7, 'Oslo', 1, 1 FROM range(2000)");
  Ask("CREATE MATERIALIZED VIEW v REFRESH EVERY INTERVAL '100 ms' AS SELECT driver, row_number() OVER () AS r FROM trips");
  std::vector<std::thread> askers;
  for (int i = 0; i < 3; ++i) {
    askers.emplace_back([this] {
      for (int round = 0; round < 15; ++round) Ask("REFRESH MATERIALIZED VIEW v");
    });
  }
  for (std::thread& asker : askers) asker.join();
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM v"), "n\n2000\n");
  EXPECT_EQ(Ask("SELECT state FROM sheaf.views"), "state\nfresh\n");
}

TEST_F(ViewsTest, WrongStatementsSayWhatIsWrong) {
  MakeTables();
  Ask("CREATE MATERIALIZED VIEW v AS SELECT city, count(*) AS n FROM trips GROUP BY ALL");
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM trips"), HasSubstr("main.v is there already"));
  Ask("CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT count(*) FROM trips");
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW trips AS SELECT count(*) FROM trips"), HasSubstr("main.trips is a table"));
  EXPECT_THAT(Refusal("CREATE TABLE v (a INTEGER)"), HasSubstr("main.v is a materialized view"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW w AS SELECT count(*) FROM nowhere"), HasSubstr("nowhere"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW w AS SELECT cty, count(*) FROM trips GROUP BY 1"), HasSubstr("\"city\""));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW sheaf.w AS SELECT count(*) FROM trips"), HasSubstr("no schema sheaf for views"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW w AS SELECT count(*) FROM read_csv('/etc/passwd')"), HasSubstr("read_csv"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW w AS SELECT 1; DROP TABLE trips"), HasSubstr("nothing else"));
  EXPECT_THAT(Refusal("DROP MATERIALIZED VIEW w"), HasSubstr("no materialized view main.w"));
  Ask("DROP MATERIALIZED VIEW IF EXISTS w");
  EXPECT_THAT(Refusal("DROP TABLE trips"), HasSubstr("DROP MATERIALIZED VIEW main.v first"));
  EXPECT_THAT(Refusal("ALTER TABLE trips DROP COLUMN length"), HasSubstr("main.v is made of it"));
  Ask("ALTER TABLE trips ADD COLUMN tip INTEGER");
  Ask("INSERT INTO trips VALUES ('2026-01-01', 1, 'Oslo', 10, 1.5, 1)");
  EXPECT_EQ(Ask("FROM v"), "city,n\nOslo,1\n");
}

TEST_F(ViewsTest, QueriesThatCannotBeKeptAreRefusedWithTheReason) {
  MakeTables();
  Ask("CREATE TABLE other (time TIMESTAMP, driver INTEGER)");
  const std::pair<const char*, const char*> wrong[] = {
      {"SELECT city FROM trips", "neither groups nor aggregates"},
      {"SELECT count(*) FROM trips WHERE time > now()", "gives another value each time"},
      {"SELECT count(*) FROM trips WHERE random() > 0.5", "random() gives another value each time"},
      {"SELECT count(*) FROM trips JOIN other USING (driver)", "joins two tables without a PRIMARY KEY"},
      {"SELECT count(*) FROM trips LEFT JOIN drivers ON driver = id", "other than by an inner join"},
      {"SELECT count(*) FROM drivers a JOIN drivers b ON a.id = b.id + 1", "stands in it twice"},
      {"SELECT first(city) FROM trips", "depends on the order of rows"},
      {"SELECT min(city COLLATE NOCASE) FROM trips", "by a COLLATE"},
      {"SELECT city COLLATE NOCASE AS c, count(*) FROM trips GROUP BY c", "by a COLLATE"},
      {"SELECT sum(DISTINCT driver) FROM trips", "kept for count() only"},
      {"SELECT max(n) FROM (SELECT count(*) AS n FROM trips GROUP BY city)", "aggregates a query that aggregates"},
      {"SELECT city, count(*), row_number() OVER () FROM trips GROUP BY city", "window function"},
      {"SELECT count(*) FROM trips UNION SELECT 1", "UNION"},
      {"SELECT count(*) FROM range(10)", "it reads no table"},
      {"SELECT count(*) FROM sheaf.parts", "which is no table"},
  };
  for (const auto& [select, reason] : wrong) {
    const std::string refusal = Refusal(fmt::format("CREATE MATERIALIZED VIEW v AS {}", select));
    EXPECT_THAT(refusal, HasSubstr(reason)) << select;
    EXPECT_THAT(refusal, HasSubstr("REFRESH EVERY")) << select;
  }
  Ask("INSERT INTO trips VALUES ('2026-01-01', 1, 'Oslo', 10, 1.5)");
  Ask("CREATE MATERIALIZED VIEW v REFRESH EVERY INTERVAL '1 hour' AS SELECT city, row_number() OVER () AS r FROM trips");
  EXPECT_EQ(Ask("FROM v"), "city,r\nOslo,1\n");
  Ask("INSERT INTO trips VALUES ('2026-01-01', 1, 'Bonn', 10, 1.5)");
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM v"), "n\n1\n");
  Ask("REFRESH MATERIALIZED VIEW v");
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM v"), "n\n2\n");
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW w REFRESH EVERY 5 AS SELECT 1"), HasSubstr("needs an interval"));
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW w REFRESH EVERY INTERVAL '1 ms' AS SELECT 1"), HasSubstr("100 milliseconds"));
}

/// Views of all sorts, whose contents are the same however their rows come.
const std::vector<std::string> kSelects = {
    "SELECT city, count(*) AS n, sum(price) AS paid, min(price) AS least, max(price) AS most, avg(price) AS mean FROM trips GROUP BY city",
    "SELECT time_bucket(INTERVAL 1 HOUR, time) AS hour, city, arg_min(price, time) AS opened, arg_max(price, time) AS closed, "
    "max(price) AS high, count(DISTINCT driver) AS drivers FROM trips WHERE driver <> 3 GROUP BY 1, 2",
    "SELECT count(*) AS n, count(*) FILTER (WHERE price > 50) AS dear, sum(price) FILTER (WHERE city = 'Oslo') AS oslo FROM trips",
    "SELECT driver % 3 AS k, max(price, 2) AS top, approx_count_distinct(city) AS cities FROM trips GROUP BY k",
    "SELECT DISTINCT city, driver FROM trips WHERE price < 90",
    "SELECT team, count(*) AS n, max(name) AS last, count(DISTINCT name) AS names FROM drivers GROUP BY team",
    "SELECT count(*) AS n, sum(id) AS ids FROM drivers WHERE team <> 'red'",
    "SELECT team, city, count(*) AS n, sum(price) AS paid FROM trips JOIN drivers ON driver = id GROUP BY ALL",
    "SELECT d.team, l.label, count(*) AS n FROM drivers d, labels l WHERE d.team = l.team AND d.id > 2 GROUP BY ALL",
    "SELECT w AS window_start, count(*) AS n FROM trips, unnest(generate_series(time_bucket(INTERVAL 1 HOUR, time) - INTERVAL 1 HOUR, "
    "time_bucket(INTERVAL 1 HOUR, time), INTERVAL 1 HOUR)) AS u(w) GROUP BY w",
};

/// Views of sessions, and the queries that find the same ones.
const std::vector<std::pair<std::string, std::string>> kSessions = {
    {"SELECT driver, session_start(time, INTERVAL '20 minutes') AS started, max(time) AS ended, count(*) AS n, sum(price) AS paid, "
     "min(city) AS city, count(DISTINCT city) AS cities, arg_max(price, time) AS last FROM trips GROUP BY ALL",
     "SELECT driver, min(time) AS started, max(time) AS ended, count(*) AS n, sum(price) AS paid, min(city) AS city, "
     "count(DISTINCT city) AS cities, arg_max(price, time) AS last FROM (SELECT *, sum(is_first::INT) OVER (PARTITION BY driver ORDER BY "
     "time) AS session FROM (SELECT *, coalesce(time > lag(time) OVER (PARTITION BY driver ORDER BY time) + INTERVAL '20 minutes', true) "
     "AS is_first FROM trips)) GROUP BY driver, session"},
    {"SELECT session_start(time, INTERVAL '1 minute') AS started, count(*) AS n FROM trips GROUP BY 1",
     "SELECT min(time) AS started, count(*) AS n FROM (SELECT *, sum(is_first::INT) OVER (ORDER BY time) AS session FROM (SELECT *, "
     "coalesce(time > lag(time) OVER (ORDER BY time) + INTERVAL '1 minute', true) AS is_first FROM trips)) GROUP BY session"},
};

class ViewsPropertyTest : public ViewsTest {
 protected:
  std::string Write(std::mt19937_64* random) {
    const auto pick = [random](uint64_t below) { return (*random)() % below; };
    const char* const cities[] = {"'Oslo'", "'Bonn'", "'Rome'", "NULL"};
    const char* const teams[] = {"'red'", "'blue'", "NULL"};
    switch (pick(9)) {
      case 0: return fmt::format("DELETE FROM drivers WHERE id = {}", pick(9));
      case 1: return fmt::format("UPDATE drivers SET team = {} WHERE id % 4 = {}", teams[pick(3)], pick(4));
      case 2: return fmt::format("INSERT INTO labels VALUES ({}, 'l{}')", pick(2) == 0 ? "'red'" : "'blue'", pick(3));
      case 3: return fmt::format("DELETE FROM labels WHERE team = {}", pick(2) == 0 ? "'red'" : "'blue'");
      case 4:
      case 5: {
        std::string rows;
        for (uint64_t i = 0, n = 1 + pick(4); i < n; ++i) {
          rows += fmt::format("{}({}, 'n{}', {})", i == 0 ? "" : ", ", pick(9), pick(5), teams[pick(3)]);
        }
        return "INSERT INTO drivers VALUES " + rows;
      }
      default: {
        std::string rows;
        for (uint64_t i = 0, n = 1 + pick(30); i < n; ++i) {
          rows += fmt::format("{}(TIMESTAMP '2026-01-01' + INTERVAL {} SECOND, {}, {}, {}, {})", i == 0 ? "" : ", ",
                              next_second_++ * 7 % 90'000, pick(9), cities[pick(4)], pick(100), pick(10));
        }
        return "INSERT INTO trips VALUES " + rows;
      }
    }
  }

  uint64_t next_second_ = 0;  // Different times: which row opens an hour is certain then.
};

TEST_F(ViewsPropertyTest, EachIsWhatItsQueryComputes) {
  const char* const given = std::getenv("SHEAF_QUERY_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  SCOPED_TRACE(fmt::format("replay with SHEAF_QUERY_SEED={}", seed));
  std::mt19937_64 random(seed);
  MakeTables();
  Ask("CREATE TABLE labels (team VARCHAR, label VARCHAR, PRIMARY KEY (team))");
  for (int i = 0; i < 5; ++i) Ask(Write(&random));
  for (size_t i = 0; i < kSelects.size(); ++i) Ask(fmt::format("CREATE MATERIALIZED VIEW v{} AS {}", i, kSelects[i]));
  for (size_t i = 0; i < kSessions.size(); ++i) Ask(fmt::format("CREATE MATERIALIZED VIEW s{} AS {}", i, kSessions[i].first));
  for (int step = 0; step < 25 && !HasFailure(); ++step) {
    const std::string write = Write(&random);
    Ask(write);
    if (random() % 6 == 0) {
      ASSERT_TRUE(stored_.Pass(StoredDatabase::kEvents[random() % StoredDatabase::kEvents.size()]).ok());
    }
    for (size_t i = 0; i < kSessions.size(); ++i) {
      EXPECT_EQ(Ask(fmt::format("FROM s{} ORDER BY ALL", i)), Ask(fmt::format("FROM ({}) ORDER BY ALL", kSessions[i].second)))
          << kSessions[i].first << "\nafter " << write;
    }
    for (size_t i = 0; i < kSelects.size(); ++i) {
      EXPECT_EQ(Ask(fmt::format("FROM v{} ORDER BY ALL", i)), Ask(fmt::format("FROM ({}) ORDER BY ALL", kSelects[i])))
          << kSelects[i] << "\nafter " << write;
    }
  }
  EXPECT_EQ(Ask("SELECT count(*) AS n FROM sheaf.views WHERE state <> 'fresh'"), "n\n0\n");
}

}  // namespace
}  // namespace sheaf::query
