/// Statements that write: atomicity, races, limits. What each statement answers is in tests/sql/.

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

class WritesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto engine = Engine::Open(&database_, {.threads = 2});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  Result<std::string> Try(const std::string& sql, QueryStats* stats = nullptr, bool trusted = false) {
    return RunToText(engine_.get(), {.sql = sql, .trusted = trusted}, Format::kNdjson, stats);
  }
  std::string Run(const std::string& sql, QueryStats* stats = nullptr, bool trusted = false) {
    auto answer = Try(sql, stats, trusted);
    EXPECT_TRUE(answer.ok()) << sql << ": " << answer.status().ToString();
    return answer.ok() ? *answer : "";
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(WritesTest, NoIncrementOfEightThreadsIsLost) {
  constexpr int kThreads = 8, kUpdates = 25;
  Run("CREATE TABLE counters (id INTEGER PRIMARY KEY, n BIGINT)");
  Run("INSERT INTO counters VALUES (1, 0), (2, 0)");
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kUpdates; ++i) {
        // By key, by scan, and as the update of a MERGE.
        if (i % 3 == 0) Run("UPDATE counters SET n = n + 1 WHERE id = 1");
        if (i % 3 == 1) Run(fmt::format("UPDATE counters SET n = n + 1 WHERE n >= 0 AND {} >= 0", thread));
        if (i % 3 == 2) Run("INSERT INTO counters VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET n = n + 1");
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(Run("SELECT n FROM counters WHERE id = 1"), fmt::format("{{\"n\":{}}}\n", kThreads * kUpdates));
  EXPECT_EQ(Run("SELECT n FROM counters WHERE id = 2"), fmt::format("{{\"n\":{}}}\n", kThreads * 8));
}

TEST_F(WritesTest, EachKeyIsInsertedByOneOfEightThreads) {
  constexpr int kThreads = 8, kKeys = 40;
  Run("CREATE TABLE claims (id INTEGER PRIMARY KEY, thread INTEGER)");
  std::atomic<int> claimed{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int key = 0; key < kKeys; ++key) {
        const std::string verb = key % 2 == 0 ? "INSERT OR IGNORE INTO claims VALUES ({}, {}) RETURNING id"
                                              : "MERGE INTO claims USING (VALUES ({}, {})) v(id, thread) ON claims.id = v.id "
                                                "WHEN NOT MATCHED THEN INSERT RETURNING id";
        if (!Run(fmt::format(fmt::runtime(verb), key, thread)).empty()) ++claimed;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(claimed, kKeys);
  EXPECT_EQ(Run("SELECT count(*) AS n FROM claims"), fmt::format("{{\"n\":{}}}\n", kKeys));
}

TEST_F(WritesTest, StatementSaysItsLsn) {
  QueryStats stats;
  Run("CREATE TABLE t (id INTEGER PRIMARY KEY)", &stats);
  EXPECT_EQ(stats.lsn, Lsn());
  Run("INSERT INTO t VALUES (1)", &stats);
  const Lsn first = stats.lsn;
  EXPECT_EQ(database_.GetSnapshot()->lsn(), first);
  Run("DELETE FROM t", &stats);
  EXPECT_GT(stats.lsn, first);
  Run("DELETE FROM t", &stats);
  EXPECT_EQ(stats.lsn, Lsn());
  Run("SELECT * FROM t", &stats);
  EXPECT_EQ(stats.lsn, Lsn());
}

TEST_F(WritesTest, LostRaceIsRunAgainAndOtherErrorsAreNot) {
  Run("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)");
  Run("INSERT INTO t VALUES (1, 1)");
  database_.FailNextAppend(MakeError(ErrorKind::kConflict, "changed by another"));
  EXPECT_EQ(Run("UPDATE t SET n = n + 1 RETURNING n"), "{\"n\":2}\n");
  database_.FailNextAppend(MakeError(ErrorKind::kThrottled, "full"));
  EXPECT_EQ(Run("DELETE FROM t WHERE id = 7"), "{\"Count\":0}\n");
  EXPECT_EQ(Run("UPDATE t SET n = 5"), "{\"Count\":1}\n");
  database_.FailNextAppend(MakeError(ErrorKind::kUnavailable, "disk full"));
  const auto refused = Try("UPDATE t SET n = 9");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kUnavailable);
  EXPECT_EQ(Run("SELECT n FROM t"), "{\"n\":5}\n");
}

TEST_F(WritesTest, StatementThatFailsLeavesNothing) {
  Run("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)");
  Run("INSERT INTO t SELECT range, 0 FROM range(10)");
  EXPECT_FALSE(Try("INSERT INTO t SELECT range + 10, CASE WHEN range < 29000 THEN '1' ELSE 'x' END::INTEGER FROM range(30000)").ok());
  EXPECT_FALSE(Try("UPDATE t SET n = CASE WHEN id < 9 THEN '1' ELSE 'x' END::INTEGER").ok());
  EXPECT_EQ(Run("SELECT count(*) AS n, sum(n) AS total FROM t"), "{\"n\":10,\"total\":0}\n");
  EXPECT_FALSE(Try("CREATE TABLE copy AS SELECT CASE WHEN range < 29000 THEN '1' ELSE 'x' END::INTEGER AS n FROM range(30000)").ok());
  EXPECT_FALSE(database_.FindTable("main", "copy").ok());
  EXPECT_FALSE(Try("CREATE OR REPLACE TABLE t AS SELECT 'x'::INTEGER AS n").ok());
  EXPECT_EQ(Run("SELECT count(*) AS n FROM t"), "{\"n\":10}\n");
}

TEST_F(WritesTest, LargeLoadsComeInPiecesAndLargeChangesAreRefused) {
  Run("CREATE TABLE wide (id INTEGER PRIMARY KEY, text VARCHAR)");
  const int64_t before = database_.appends();
  EXPECT_EQ(Run("INSERT INTO wide SELECT range, repeat('x', 400) FROM range(150000)"), "{\"Count\":150000}\n");
  EXPECT_EQ(database_.appends() - before, 2);
  const auto refused = Try("UPDATE wide SET text = text || 'y'");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kTooLarge) << refused.status().ToString();
  EXPECT_EQ(Run("SELECT count(*) AS n FROM wide WHERE text LIKE '%y'"), "{\"n\":0}\n");
  EXPECT_EQ(Run("UPDATE wide SET text = 'short' WHERE id < 10"), "{\"Count\":10}\n");
}

TEST_F(WritesTest, ExplainSaysHowRowsOfAKeyedTableAreFound) {
  Run("CREATE TABLE t (a INTEGER, b VARCHAR, n INTEGER, PRIMARY KEY (a, b))");
  Run("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
  const auto explain = [&](const std::string& where) { return Run("EXPLAIN ANALYZE SELECT n FROM t WHERE " + where); };
  EXPECT_NE(explain("a = 1 AND b = 'x'").find("point get by key"), std::string::npos);
  EXPECT_NE(explain("a IN (1, 7) AND b = 'x'").find("point get by key"), std::string::npos);
  EXPECT_NE(explain("a > 1").find("range scan by key"), std::string::npos);
  EXPECT_EQ(explain("b = 'x'").find("by key"), std::string::npos);
  EXPECT_EQ(Run("SELECT n FROM t WHERE a = 2 AND b = 'y' AND n = 2"), "{\"n\":2}\n");
  EXPECT_EQ(Run("SELECT n FROM t WHERE a = 2 AND b = 'y' AND n = 3"), "");
  EXPECT_EQ(Run("SELECT n FROM t WHERE a IN (3, 2, 2, 1) AND b IN ('y', 'x') ORDER BY n"), "{\"n\":1}\n{\"n\":2}\n");
}

TEST_F(WritesTest, OwnerCopiesFilesAndRunsSeveralStatements) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("sheaf-writes-{}", std::random_device()());
  std::filesystem::create_directories(folder);
  const std::string file = (folder / "t.csv").string();
  Run("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR); INSERT INTO t VALUES (1, 'a'), (2, NULL); "
      "COPY t TO '" + file + "'", nullptr, true);
  EXPECT_EQ(Run("DELETE FROM t; COPY t FROM '" + file + "'", nullptr, true), "{\"Count\":2}\n");
  EXPECT_EQ(Run("SELECT * FROM t ORDER BY id"), "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":null}\n");
  EXPECT_EQ(Run("ALTER TABLE t ADD COLUMN seen BOOLEAN DEFAULT true; UPDATE t SET seen = false WHERE id = 2;\n"
                "SELECT id, seen FROM t ORDER BY id", nullptr, true),
            "{\"id\":1,\"seen\":true}\n{\"id\":2,\"seen\":false}\n");
  const auto refused = Try("BEGIN; DELETE FROM t; COMMIT", nullptr, true);
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kDenied);
  EXPECT_EQ(Run("SELECT count(*) AS n FROM t"), "{\"n\":2}\n");
  std::filesystem::remove_all(folder);
}

/// Random statements against a std::map: scans skip dead rows whatever the filters, counts and bounds.
TEST_F(WritesTest, RandomStatementsAgreeWithAModel) {
  const char* given = std::getenv("SHEAF_QUERY_SEED");
  const uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
  SCOPED_TRACE(fmt::format("replay: SHEAF_QUERY_SEED={} query_test --gtest_filter=WritesTest.RandomStatements*", seed));
  std::mt19937_64 random(seed);
  Run("CREATE TABLE m (id INTEGER PRIMARY KEY, n BIGINT, s VARCHAR)");
  std::map<int, int64_t> model;
  for (int step = 0; step < 120; ++step) {
    const int low = static_cast<int>(random() % 3000), high = low + static_cast<int>(random() % 600);
    const auto from = model.lower_bound(low), to = model.lower_bound(high);
    switch (random() % 4) {
      case 0:
      case 1:
        Run(fmt::format("INSERT INTO m SELECT range, range * {0}, 's' || range % 3 FROM range({1}, {2})", step, low, high));
        for (int id = low; id < high; ++id) model[id] = int64_t{id} * step;
        break;
      case 2:
        EXPECT_EQ(Run(fmt::format("UPDATE m SET n = n + 1 WHERE id >= {} AND id < {}", low, high)),
                  fmt::format("{{\"Count\":{}}}\n", std::distance(from, to)));
        for (auto it = from; it != to; ++it) ++it->second;
        break;
      case 3:
        EXPECT_EQ(Run(fmt::format("DELETE FROM m WHERE id >= {} AND id < {}", low, high)),
                  fmt::format("{{\"Count\":{}}}\n", std::distance(from, to)));
        model.erase(from, to);
        break;
    }
    if (step % 10 != 9) continue;
    int64_t total = 0, some = 0;
    for (const auto& [id, n] : model) total += n, some += id % 2 == 0 && n > 100;
    EXPECT_EQ(Run("SELECT count(*) AS n FROM m"), fmt::format("{{\"n\":{}}}\n", model.size()));
    EXPECT_EQ(Run("SELECT count(*) AS n, coalesce(sum(n), 0)::BIGINT AS total, count(s) AS texts FROM m"),
              fmt::format("{{\"n\":{},\"total\":{},\"texts\":{}}}\n", model.size(), total, model.size()));
    EXPECT_EQ(Run("SELECT count(*) AS n FROM m WHERE id % 2 = 0 AND n > 100"), fmt::format("{{\"n\":{}}}\n", some));
    if (model.empty()) continue;
    EXPECT_EQ(Run("SELECT min(id) AS low, max(id) AS high FROM m"),
              fmt::format("{{\"low\":{},\"high\":{}}}\n", model.begin()->first, model.rbegin()->first));
    EXPECT_EQ(Run(fmt::format("SELECT n FROM m WHERE id = {}", model.begin()->first)),
              fmt::format("{{\"n\":{}}}\n", model.begin()->second));
  }
}

}  // namespace
}  // namespace sheaf::query
