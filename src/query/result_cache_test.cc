/// Kept answers: the same as without the cache whatever is written, and gone exactly when a table they were read from changed.

#include "query/result_cache.h"

#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/memory.h"
#include "io/sim_testing.h"
#include "query/keyed_statements_testing.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;

const EngineOptions kKeeping = {.threads = 2, .result_cache_bytes_max = 1 << 20, .result_cache_work_min_us = 0};

class ResultCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937_64 random(5);
    database_.Add(decode::Signal::kTraces, RandomSpans(20, 5, 1'700'000'000'000'000'000, &random));
    database_.AddTradingTables();
    Open(kKeeping);
    Run("INSERT INTO trading.accounts (user_id, balance) SELECT 'u' || range, range FROM range(100)");
    Run("CREATE TABLE other (a INTEGER)");
  }
  void Open(const EngineOptions& options) {
    engine_.reset();
    auto engine = Engine::Open(&database_, options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }
  std::string Run(const std::string& sql, std::vector<Parameter> parameters = {}, bool trusted = false) {
    QueryStats stats;
    auto text = RunToText(engine_.get(), {.sql = sql, .parameters = std::move(parameters), .trusted = trusted}, Format::kNdjson, &stats);
    hit_ = stats.cache_hit;
    return text.ok() ? *text : text.status().ToString();
  }
  bool Hits(const std::string& sql, std::vector<Parameter> parameters = {}, bool trusted = false) {
    (void)Run(sql, std::move(parameters), trusted);
    return hit_;
  }
  /// Whether the second of two runs is a hit.
  bool IsKept(const std::string& sql) { return !Hits(sql) && Hits(sql); }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
  bool hit_ = false;
};

constexpr char kSum[] = "SELECT count(*) AS n, sum(balance) AS sum FROM trading.accounts";

TEST_F(ResultCacheTest, AnswersAgainUntilATableThatItReadChanges) {
  const std::string first = Run(kSum);
  EXPECT_FALSE(hit_);
  EXPECT_EQ(Run(kSum), first);
  EXPECT_TRUE(hit_);
  EXPECT_THAT(Run("SELECT cache_hit, rows, sql FROM sheaf.queries WHERE cache_hit"),
              HasSubstr("{\"cache_hit\":true,\"rows\":1,\"sql\":\"SELECT count"));
  Run("INSERT INTO other VALUES (1)");
  EXPECT_TRUE(Hits(kSum)) << "another table";
  for (const char* write : {"INSERT INTO trading.accounts (user_id, balance) VALUES ('u7', 1000)",
                            "UPDATE trading.accounts SET balance = balance + 1 WHERE user_id = 'u8'",
                            "DELETE FROM trading.accounts WHERE user_id = 'u9'",
                            "CREATE TABLE accounts (user_id VARCHAR, balance INTEGER)"}) {
    const std::string before = Run(kSum);
    Run(write);
    EXPECT_FALSE(Hits(kSum)) << write;
    EXPECT_TRUE(Hits(kSum)) << write;
    if (write[0] != 'C') EXPECT_NE(Run(kSum), before) << write;
  }
}

TEST_F(ResultCacheTest, NamesThatComeToMeanAnotherTableAreReadAnew) {
  const std::string sql = "SELECT count(*) AS n FROM orders";
  EXPECT_EQ(Run(sql), "{\"n\":0}\n");
  EXPECT_TRUE(Hits(sql));
  Run("CREATE TABLE main.orders (a INTEGER)");
  Run("INSERT INTO main.orders VALUES (1), (2)");
  const std::string now = Run(sql);
  EXPECT_FALSE(hit_);
  Run("DROP TABLE main.orders");
  EXPECT_FALSE(Hits(sql));
  EXPECT_EQ(Run(sql), "{\"n\":0}\n") << "beside " << now;
}

TEST_F(ResultCacheTest, TextsAndParametersAreToldApart) {
  EXPECT_FALSE(Hits(kSum));
  EXPECT_TRUE(Hits("SELECT  count(*) AS n,\t sum(balance) AS sum FROM   trading.accounts ; "));
  const std::string with = "SELECT ? AS v, count(*) AS n FROM trading.accounts";
  for (const Parameter& parameter : std::vector<Parameter>{{}, true, int64_t{1}, 1.0, std::string("1")}) {
    EXPECT_FALSE(Hits(with, {parameter})) << parameter.index();
    EXPECT_TRUE(Hits(with, {parameter})) << parameter.index();
  }
  const auto key = [](const std::string& sql) { return ResultCache::KeyOf({.sql = sql}); };
  EXPECT_NE(key("SELECT 'a  b'"), key("SELECT 'a b'"));
  EXPECT_NE(key("SELECT \"a  b\""), key("SELECT \"a b\""));
  EXPECT_NE(key("SELECT 'a'\n'b'"), key("SELECT 'a' 'b'"));
  EXPECT_NE(key("SELECT 1 -- x\n, 2"), key("SELECT 1 -- x , 2"));
  EXPECT_NE(key("SELECT $a$ x  y $a$"), key("SELECT $a$ x y $a$"));
  EXPECT_NE(key("SELECT e'\\'  '"), key("SELECT e'\\' '"));
  EXPECT_NE(key("SELECT 1"), key("select 1")) << "columns are named as they are written";
}

TEST_F(ResultCacheTest, WhatMayDifferNextTimeIsNotKept) {
  EXPECT_TRUE(IsKept("WITH a AS (SELECT * FROM traces) SELECT name, (SELECT count(*) FROM a) AS n, row_number() OVER (ORDER BY span_id) "
                     "FROM a JOIN range(3) ON true WHERE kind IN (SELECT kind FROM a) ORDER BY ALL"));
  EXPECT_TRUE(IsKept("SELECT * FROM slow_operations('2023-11-14', '2023-11-15', 0)"));
  for (const char* sql : {"SELECT now() AS t, count(*) FROM traces", "SELECT count(*) FROM traces WHERE random() < 0.5",
                          "SELECT count(*) FROM traces WHERE start_time < current_timestamp", "SELECT uuid() FROM traces",
                          "SELECT * FROM traces USING SAMPLE 10 ROWS", "SELECT name FROM traces LIMIT (SELECT (random() * 10)::BIGINT)",
                          "SELECT count(*) FROM sheaf.queries", "SELECT count(*) FROM traces, sheaf.parts", "SHOW TABLES",
                          "DESCRIBE traces",
                          "SELECT count(*) FROM traces, information_schema.tables", "SELECT count(*) FROM traces, duckdb_tables()",
                          "EXPLAIN SELECT count(*) FROM traces", "SELECT 1", "SELECT balance FROM wrong"}) {
    EXPECT_FALSE(IsKept(sql)) << sql;
  }
  Run(kSum);
  EXPECT_FALSE(Hits(kSum, {}, true)) << "the owner's connections have settings of their own";
  Open({.threads = 2});
  EXPECT_FALSE(IsKept(kSum)) << "off";
  Open({.threads = 2, .result_cache_bytes_max = 1 << 20, .result_cache_work_min_us = 60'000'000});
  EXPECT_FALSE(IsKept(kSum)) << "cheap";
}

TEST_F(ResultCacheTest, EveryFunctionThatMayDifferIsKnownByName) {
  const std::string names = Run("SELECT DISTINCT function_name AS f FROM duckdb_functions() WHERE stability <> 'CONSISTENT' AND "
                                "function_name <> 'error' AND "
                                "function_type IN ('scalar', 'aggregate') AND regexp_matches(function_name, '^[a-z]') ORDER BY f",
                                {}, true);
  ASSERT_THAT(names, HasSubstr("random"));
  std::string unknown;
  for (size_t at = 0; at < names.size();) {
    const size_t end = names.find('\n', at);
    const std::string name = names.substr(at + 6, end - at - 8);  // {"f":"…"}
    if (ResultCache::IsRepeatableText("SELECT " + name + "()")) unknown += name + " ";
    at = end + 1;
  }
  EXPECT_EQ(unknown, "");
}

TEST_F(ResultCacheTest, IsBounded) {
  const std::string large = "SELECT repeat('x', 1000) AS x FROM traces, range(2)";  // 200 KB of 1 MB.
  EXPECT_FALSE(IsKept(large));
  const auto sql = [](int i) { return fmt::format("SELECT repeat('x', 1000) AS x, {} AS i FROM traces", i); };
  for (int i = 0; i < 20; ++i) Run(sql(i));
  EXPECT_FALSE(Hits(sql(0)));
  EXPECT_TRUE(Hits(sql(19)));
  for (const MemoryUse& use : MemoryUses()) {
    if (use.component != "result_cache") continue;
    EXPECT_GT(use.current_bytes, 200'000);
    EXPECT_LE(*use.peak_bytes, 1 << 20);
  }
}

TEST_F(ResultCacheTest, AnswersMayBeCancelledAndDropped) {
  Run(kSum);
  (void)engine_->Start({.sql = kSum}).ValueOrDie();
  auto query = engine_->Start({.sql = kSum}).ValueOrDie();
  query->Cancel();
  EXPECT_EQ(KindOf(query->Next().status()), ErrorKind::kCancelled);
  query.reset();
  EXPECT_EQ(Run("SELECT state, count(*) AS n FROM sheaf.queries WHERE cache_hit GROUP BY ALL"), "{\"state\":\"cancelled\",\"n\":2}\n");
}

TEST(ResultCacheOfStore, NamesThatComeToMeanAViewAreReadAnew) {
  io::SimFileSystem disk;
  StoredDatabase stored(&disk, "/db");
  auto engine = Engine::Open(stored.database(), kKeeping).ValueOrDie();
  bool hit = false;
  const auto run = [&](const std::string& sql) {
    QueryStats stats;
    auto text = RunToText(engine.get(), {.sql = sql}, Format::kNdjson, &stats);
    hit = stats.cache_hit;
    return text.ok() ? *text : text.status().ToString();
  };
  run("CREATE TABLE t (a BIGINT)");
  run("INSERT INTO t VALUES (1), (2), (3)");
  const std::string count = "SELECT count(*) AS n FROM orders", view = "SELECT n FROM main.orders";
  run(count);
  EXPECT_EQ(run(count), "{\"n\":0}\n");
  EXPECT_TRUE(hit);
  run("CREATE MATERIALIZED VIEW main.orders AS SELECT a, count(*) AS n FROM t GROUP BY a");
  EXPECT_EQ(run(count), "{\"n\":3}\n");
  EXPECT_FALSE(hit);
  run(view);
  run(view);
  EXPECT_FALSE(hit) << "views are kept fresh by themselves";
  run("DROP MATERIALIZED VIEW main.orders");
  EXPECT_EQ(run(count), "{\"n\":0}\n");
}

/// Random writes to two tables of a real store, which is sealed and made cold between them, and questions asked again and again: of an
/// engine that keeps answers and of one that does not.
TEST(ResultCacheProperty, KeptAnswersAreThoseOfTheMoment) {
  const char* given = std::getenv("SHEAF_QUERY_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE(fmt::format("replay: SHEAF_QUERY_SEED={} query_test --gtest_filter=ResultCacheProperty.*", seed));
  io::SimFileSystem disk;
  StoredDatabase stored(&disk, "/db");
  auto keeping = Engine::Open(stored.database(), kKeeping).ValueOrDie();
  auto plain = Engine::Open(stored.database(), {.threads = 2}).ValueOrDie();
  KeyedStatements statements(seed, false);
  std::string done;
  const auto write = [&](const std::string& sql) {
    done += sql + ";\n";
    (void)RunAll(statements.Chance(2) ? keeping.get() : plain.get(), {.sql = Replace(sql, "$t", "main.t")});
  };
  write(statements.Create("main.t"));
  write("CREATE TABLE main.events (time TIMESTAMP_NS, n BIGINT) WITH (time = 'time')");
  write(statements.Insert().sql);
  std::vector<std::string> questions = {statements.Contents(), "SELECT count(*) AS n, sum(n) AS s FROM main.events",
                                        "SELECT (SELECT count(*) FROM main.t) AS t, (SELECT max(n) FROM main.events) AS e"};
  int hits = 0;
  for (int step = 0; step < 80 && !testing::Test::HasFailure(); ++step) {
    switch (statements.Pick(10)) {
      case 0:
      case 1: write(statements.Write().sql); break;
      case 2: write(statements.Insert().sql); break;
      case 3:
        write(fmt::format("INSERT INTO main.events SELECT make_timestamp_ns(range), range FROM range({})", statements.Pick(50)));
        break;
      case 4:
        if (statements.Chance(3)) write(statements.Chance(3) ? statements.CreateAnew().sql : statements.Alter().sql);
        break;
      case 5: ASSERT_TRUE(stored.Pass(statements.Chance(2) ? StoredDatabase::Event::kSeal : StoredDatabase::Event::kCold).ok()); break;
      default: break;
    }
    if (questions.size() < 10) questions.push_back(statements.Question());
    const std::string sql = Replace(questions[statements.Pick(questions.size())], "$t", "main.t");
    QueryStats stats;
    const auto kept = RunToText(keeping.get(), {.sql = sql}, Format::kNdjson, &stats);
    const auto now = RunToText(plain.get(), {.sql = sql}, Format::kNdjson);
    hits += stats.cache_hit ? 1 : 0;
    ASSERT_EQ(kept.ok(), now.ok()) << kept.status().ToString() << "\nbeside " << now.status().ToString() << "\n" << done << sql;
    if (kept.ok()) EXPECT_EQ(*kept, *now) << done << sql;
  }
  EXPECT_GT(hits, 0);
}

}  // namespace
}  // namespace sheaf::query
