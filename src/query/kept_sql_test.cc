/// Views and macros that SQL made: who sees them, what they may do, how large they may become. What they answer is in
/// tests/sql/views_and_macros.test.

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/clock.h"
#include "io/sim_testing.h"
#include "query/engine.h"
#include "query/formats.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using testing::HasSubstr;

class KeptSqlTest : public testing::Test {
 protected:
  void SetUp() override { Open({.threads = 1}); }
  void Open(const EngineOptions& options) {
    engine_.reset();
    auto engine = Engine::Open(&database_, options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  std::string Ask(const std::string& sql, bool trusted = false) {
    const auto text = RunToText(engine_.get(), {.sql = sql, .trusted = trusted}, Format::kNdjson);
    EXPECT_TRUE(text.ok()) << sql << "\n" << text.status().ToString();
    return text.ValueOr("");
  }
  Status Refusal(const std::string& sql, bool trusted = false) {
    const auto text = RunToText(engine_.get(), {.sql = sql, .trusted = trusted}, Format::kNdjson);
    EXPECT_FALSE(text.ok()) << sql << " answers " << text.ValueOr("");
    return text.status();
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(KeptSqlTest, AreTheSameToClientsAndOwner) {
  Ask("CREATE VIEW mine AS SELECT 1 AS n");
  Ask("CREATE MACRO twice(a) AS a * 2", true);
  EXPECT_EQ(Ask("SELECT twice(n) AS n FROM mine", true), "{\"n\":2}\n");
  EXPECT_EQ(Ask("SELECT twice(n) AS n FROM mine"), "{\"n\":2}\n");
  Ask("CREATE OR REPLACE VIEW mine AS SELECT 2 AS n", true);
  EXPECT_EQ(Ask("SELECT twice(n) AS n FROM mine"), "{\"n\":4}\n");
  Ask("DROP VIEW mine");
  EXPECT_THAT(Refusal("FROM mine", true).message(), HasSubstr("mine does not exist"));
}

TEST_F(KeptSqlTest, OfTheOwnerGiveClientsNothingTheyMayNotHave) {
  for (const char* sql :
       {"CREATE VIEW v AS SELECT * FROM read_csv('/etc/passwd')", "CREATE VIEW v AS SELECT current_setting('threads') AS a",
        "CREATE MACRO m(a) AS (SELECT content FROM read_text(a))", "CREATE MACRO m(a) AS TABLE SELECT * FROM read_text(a)",
        "CREATE MACRO m(a) AS TABLE SELECT * FROM duckdb_settings()", "CREATE MACRO m(a) AS TABLE SELECT * FROM query(a)",
        "CREATE MACRO m(a) AS TABLE SELECT * FROM query_table(a)", "CREATE MACRO m(a, b) AS a + b, (a) AS current_setting(a)"}) {
    for (const bool trusted : {false, true}) {
      const Status refused = Refusal(sql, trusted);
      EXPECT_EQ(KindOf(refused), ErrorKind::kDenied) << sql << ": " << refused.ToString();
    }
  }
  Ask("CREATE VIEW scratch.v AS SELECT current_setting('threads') AS a", true);  // DuckDB's own, which nobody else sees.
  EXPECT_EQ(KindOf(Refusal("SELECT * FROM scratch.v")), ErrorKind::kInvalid);
}

TEST_F(KeptSqlTest, DoNotOpenDoorsOfTheirName) {
  Ask("CREATE MACRO passwords(a) AS TABLE SELECT a AS a");
  EXPECT_EQ(Ask("FROM passwords(1)"), "{\"a\":1}\n");
  EXPECT_EQ(KindOf(Refusal("FROM passwords(read_text('/etc/passwd'))")), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(Refusal("FROM passwords(current_setting('threads'))")), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(Refusal("FROM trading.passwords(1)")), ErrorKind::kDenied) << "there is none of that schema";
  Ask("DROP MACRO TABLE passwords");
  EXPECT_EQ(KindOf(Refusal("FROM passwords(1)")), ErrorKind::kDenied);
}

/// Definitions come from the disk, too.
TEST_F(KeptSqlTest, ThatSomebodyWroteIntoTheTableAreCheckedWhereTheyAreUsed) {
  Ask("CREATE MACRO spy(a) AS TABLE SELECT a AS a");
  Ask("CREATE VIEW seen AS SELECT 1 AS a");
  Ask("UPDATE sheaf.definitions SET definition = 'CREATE MACRO main.spy(a) AS TABLE SELECT * FROM read_text(a)' WHERE name = 'spy'", true);
  Ask("UPDATE sheaf.definitions SET definition = 'CREATE VIEW main.seen AS SELECT current_setting(''threads'')' WHERE name = 'seen'", true);
  Ask("INSERT INTO sheaf.definitions VALUES ('macro', 'main', 'abs', 'CREATE MACRO main.abs(a) AS 7', NULL, now()), "
      "('view', 'main', 'broken', 'CREATE VIEW main.', NULL, now()), ('view', 'main', 'other', 'DROP TABLE x', NULL, now()), "
      "('of later versions', 'main', 'new', 'NEW', NULL, now())", true);
  Open({.threads = 1});
  EXPECT_EQ(KindOf(Refusal("FROM spy('/etc/passwd')")), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(Refusal("FROM seen")), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(Refusal("DESCRIBE seen")), ErrorKind::kDenied);
  EXPECT_EQ(Ask("SELECT abs(-1) AS a"), "{\"a\":1}\n");
  EXPECT_THAT(Refusal("FROM broken").message(), HasSubstr("does not exist"));
  Ask("CREATE OR REPLACE VIEW broken AS SELECT 1 AS a");
  EXPECT_EQ(Ask("FROM broken"), "{\"a\":1}\n");
}

TEST_F(KeptSqlTest, DoNotGrowWithoutEnd) {
  Ask("CREATE MACRO d0(a) AS a + a");
  Status refused;
  int made = 1;
  for (; made < 40 && refused.ok(); ++made) {
    const auto text = RunToText(engine_.get(), {.sql = fmt::format("CREATE MACRO d{}(a) AS d{}(d{}(a))", made, made - 1, made - 1)},
                                Format::kNdjson);
    refused = text.status();
  }
  EXPECT_EQ(KindOf(refused), ErrorKind::kTooLarge);
  EXPECT_LT(made, 8) << "the square each time";
  std::string nested = "1";
  for (int i = 0; i < 30; ++i) nested = "d0(" + nested + ")";
  EXPECT_EQ(KindOf(Refusal("SELECT " + nested)), ErrorKind::kTooLarge);

  Ask("CREATE VIEW v0 AS SELECT 1 AS a");
  refused = Status::OK();
  for (made = 1; made < 40 && refused.ok(); ++made) {
    const std::string sql = fmt::format("CREATE VIEW v{} AS SELECT x.a FROM v{} x JOIN v{} y ON x.a = y.a", made, made - 1, made - 1);
    refused = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson).status();
  }
  EXPECT_EQ(KindOf(refused), ErrorKind::kTooLarge);
  EXPECT_LT(made, 12);
  refused = Status::OK();
  Ask("CREATE VIEW c0 AS SELECT 1 AS a");
  for (made = 1; made < 100 && refused.ok(); ++made) {
    refused = RunToText(engine_.get(), {.sql = fmt::format("CREATE VIEW c{} AS FROM c{}", made, made - 1)}, Format::kNdjson).status();
  }
  EXPECT_THAT(refused.message(), HasSubstr("in a row"));
  EXPECT_EQ(Ask("FROM c40"), "{\"a\":1}\n");
  EXPECT_EQ(KindOf(Refusal("CREATE VIEW large AS SELECT '" + std::string(70'000, 'x') + "' AS a")), ErrorKind::kTooLarge);
}

/// By ways that are no recursion while they are made.
TEST_F(KeptSqlTest, ThatComeToUseThemselvesAreRefused) {
  Ask("CREATE VIEW a AS SELECT 1 AS n");
  Ask("CREATE VIEW otel.b AS SELECT n FROM a");
  EXPECT_THAT(Refusal("CREATE VIEW trading.a AS SELECT n FROM b").message(), HasSubstr("would use itself"));
  EXPECT_THAT(Refusal("CREATE OR REPLACE VIEW a AS SELECT n FROM b").message(), HasSubstr("would use itself"));
  Ask("CREATE MACRO f(x) AS x");
  Ask("CREATE MACRO g(x) AS f(x)");
  EXPECT_THAT(Refusal("CREATE OR REPLACE MACRO f(x) AS g(x)", true).message(), HasSubstr("would use itself"));
  EXPECT_THAT(Refusal("CREATE OR REPLACE MACRO f(x) AS (SELECT max(n) FROM (SELECT g(x) AS n))").message(), HasSubstr("would use itself"));
  EXPECT_EQ(Ask("SELECT g(n) AS n FROM otel.b"), "{\"n\":1}\n");
}

TEST_F(KeptSqlTest, ChangedMakeKeptAnswersOld) {
  Open({.threads = 1, .result_cache_bytes_max = 1 << 20, .result_cache_work_min_us = 0});
  Ask("CREATE TABLE t (a INTEGER)");
  Ask("INSERT INTO t VALUES (1), (2)");
  Ask("CREATE VIEW v AS SELECT max(a) AS a FROM t");
  Ask("CREATE MACRO m(x) AS x * 10");
  const auto hit = [&](const std::string& sql) {
    QueryStats stats;
    const auto table = RunAll(engine_.get(), {.sql = sql}, &stats);
    EXPECT_TRUE(table.ok()) << table.status().ToString();
    return stats.cache_hit;
  };
  const std::string sql = "SELECT m(a) AS a FROM v";
  EXPECT_EQ(Ask(sql), "{\"a\":20}\n");
  EXPECT_TRUE(hit(sql));
  Ask("CREATE OR REPLACE MACRO m(x) AS x * 100");
  EXPECT_EQ(Ask(sql), "{\"a\":200}\n");
  EXPECT_TRUE(hit(sql));
  Ask("CREATE OR REPLACE VIEW v AS SELECT min(a) AS a FROM t");
  EXPECT_EQ(Ask(sql), "{\"a\":100}\n");
  Ask("DROP VIEW v");
  EXPECT_THAT(Refusal(sql).message(), HasSubstr("v does not exist"));
}

TEST_F(KeptSqlTest, WhatTheyTellOfTheTimeIsNotKept) {
  Open({.threads = 1, .result_cache_bytes_max = 1 << 20, .result_cache_work_min_us = 0});
  Ask("CREATE TABLE t (a INTEGER)");
  Ask("INSERT INTO t VALUES (1)");
  Ask("CREATE VIEW v AS SELECT a, now() AS seen, current_date AS day FROM t");
  Ask("CREATE MACRO moment() AS current_timestamp");
  for (const char* sql : {"SELECT seen FROM v", "SELECT day FROM v", "SELECT moment(), a FROM t"}) {
    for (int i = 0; i < 2; ++i) {
      QueryStats stats;
      ASSERT_TRUE(RunAll(engine_.get(), {.sql = sql}, &stats).ok());
      EXPECT_FALSE(stats.cache_hit) << sql;
    }
  }
}

TEST_F(KeptSqlTest, ChangeWhileOthersUseThem) {
  Ask("CREATE VIEW v AS SELECT 0 AS n");
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        const auto text = RunToText(engine_.get(), {.sql = "SELECT n, n - m(n) AS z FROM v"}, Format::kNdjson);
        if (text.ok()) { EXPECT_THAT(*text, HasSubstr("\"z\":0")); }
      }
    });
  }
  for (int i = 1; i <= 40; ++i) {
    Ask(fmt::format("CREATE OR REPLACE VIEW v AS SELECT {} AS n", i));
    Ask(fmt::format("CREATE OR REPLACE MACRO m(a) AS a + {} - {}", i, i));
  }
  done = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(Ask("FROM v"), "{\"n\":40}\n");
}

/// A view that follows the log would be made of rows before a change and rows after it.
TEST_F(KeptSqlTest, MayBeInMaterializedViewsThatAreComputedAnew) {
  Open({.threads = 1, .view_wait_ms = 60'000});
  Ask("CREATE TABLE t (a INTEGER)");
  Ask("CREATE MACRO tens(x) AS x // 10");
  Ask("CREATE VIEW positive AS SELECT a FROM t WHERE a > 0");
  EXPECT_EQ(KindOf(Refusal("CREATE MATERIALIZED VIEW m AS SELECT tens(a) AS tens, count(*) AS n FROM t GROUP BY ALL")),
            ErrorKind::kUnsupported);
  EXPECT_THAT(Refusal("CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM positive").message(), HasSubstr("REFRESH EVERY"));
  Ask("INSERT INTO t VALUES (1), (11), (12), (-1)");
  Ask("CREATE MATERIALIZED VIEW m REFRESH EVERY INTERVAL 1 HOUR AS SELECT tens(a) AS tens, count(*) AS n FROM positive GROUP BY ALL");
  EXPECT_EQ(Ask("FROM m ORDER BY tens"), "{\"tens\":0,\"n\":1}\n{\"tens\":1,\"n\":2}\n");
  Ask("CREATE OR REPLACE VIEW positive AS SELECT a FROM t WHERE a > 10");
  Ask("REFRESH MATERIALIZED VIEW m");
  EXPECT_EQ(Ask("FROM m"), "{\"tens\":1,\"n\":2}\n");
  Ask("CREATE VIEW of_it AS SELECT sum(n) AS n FROM m");
  EXPECT_EQ(Ask("FROM of_it"), "{\"n\":2}\n");
  EXPECT_THAT(Refusal("DROP VIEW m").message(), HasSubstr("DROP MATERIALIZED VIEW"));
  EXPECT_EQ(KindOf(Refusal("CREATE VIEW m AS SELECT 1 AS one")), ErrorKind::kAlreadyExists);
}

TEST_F(KeptSqlTest, DoNotTakeTheTablesOfMaterializedViewsAway) {
  Ask("CREATE MATERIALIZED VIEW m AS SELECT name, count(*) AS n FROM traces GROUP BY name");
  EXPECT_THAT(Refusal("CREATE VIEW main.Traces AS SELECT 'x' AS name").message(), HasSubstr("main.m is made of the table traces"));
  Ask("DROP MATERIALIZED VIEW m");
  Ask("CREATE VIEW main.traces AS SELECT 'x' AS name");
  EXPECT_EQ(Ask("FROM traces"), "{\"name\":\"x\"}\n");
}

TEST_F(KeptSqlTest, AreThereToReadADatabaseThatCannotBeWritten) {
  io::SimFileSystem disk;
  for (const bool read_only : {false, true}) {
    auto database = store::Database::Open(&disk, io::SystemClock(), {.directory = "/db", .read_only = read_only});
    ASSERT_TRUE(database.ok()) << database.status().ToString();
    auto engine = Engine::Open(database->get(), {.threads = 1});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
    if (!read_only) Ask("CREATE VIEW v AS SELECT 1 AS n");
    EXPECT_EQ(Ask("FROM v"), "{\"n\":1}\n");
    if (read_only) { EXPECT_FALSE(Refusal("CREATE VIEW w AS SELECT 1 AS n").ok()); }
    if (read_only) { EXPECT_FALSE(Refusal("DROP VIEW v").ok()); }
    EXPECT_EQ(Ask("FROM v"), "{\"n\":1}\n");
    engine_.reset();
    ASSERT_TRUE((*database)->Close().ok());
  }
}

}  // namespace
}  // namespace sheaf::query
