#include "query/engine.h"

#include <thread>

#include <arrow/buffer.h>
#include <arrow/table.h>
#include <arrow/util/key_value_metadata.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/memory.h"
#include "core/metrics.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;

constexpr char kTwoSpans[] = R"({"resourceSpans":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"cart"}},{"key":"host","value":{"stringValue":"h1"}}]},
  "scopeSpans":[{"scope":{"name":"lib","version":"1.2"},"spans":[
    {"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"GET /","kind":2,
     "startTimeUnixNano":"1700000000000000001","endTimeUnixNano":"1700000000000000101",
     "attributes":[{"key":"http.route","value":{"stringValue":"/cart"}},{"key":"n","value":{"intValue":"7"}},
                   {"key":"ok","value":{"boolValue":true}},{"key":"d","value":{"doubleValue":1.5}}],
     "status":{"code":2,"message":"no"}},
    {"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b8","parentSpanId":"00f067aa0ba902b7","name":"SELECT",
     "kind":3,"startTimeUnixNano":"1700000000000000011","endTimeUnixNano":"1700000000000000021"}]}]}]})";

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    database_.Add(decode::Signal::kTraces, BatchFromOtlpJson(decode::Signal::kTraces, kTwoSpans));
    options_.threads = 2;
    auto engine = Engine::Open(&database_, options_);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  std::string Ndjson(const std::string& sql, std::vector<Parameter> parameters = {}) {
    auto text = RunToText(engine_.get(), {.sql = sql, .parameters = std::move(parameters)}, Format::kNdjson);
    return text.ok() ? *text : text.status().ToString();
  }
  Status Error(const std::string& sql) { return RunAll(engine_.get(), {.sql = sql}).status(); }

  MemoryDatabase database_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, TracesMeansOtelTraces) {
  EXPECT_EQ(Ndjson("SELECT name FROM traces ORDER BY start_time"), "{\"name\":\"GET /\"}\n{\"name\":\"SELECT\"}\n");
  EXPECT_EQ(Ndjson("SELECT count(*) AS n FROM otel.traces"), "{\"n\":2}\n");
}

TEST_F(EngineTest, IdsAreHexAndCompareWithText) {
  EXPECT_EQ(Ndjson("SELECT trace_id, span_id, parent_span_id FROM traces WHERE span_id = '00F067AA0BA902B7'"),
            "{\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span_id\":\"00f067aa0ba902b7\",\"parent_span_id\":null}\n");
  EXPECT_EQ(Ndjson("SELECT count(*) AS n FROM traces WHERE trace_id IN ('4BF92F3577B34DA6A3CE929D0E0E4736', "
                   "'00000000000000000000000000000001')"),
            "{\"n\":2}\n");
  EXPECT_EQ(Ndjson("SELECT count(*) AS n FROM traces WHERE trace_id = ?", {std::string("4bf92f3577b34da6a3ce929d0e0e4736")}),
            "{\"n\":2}\n");
  EXPECT_EQ(Ndjson("SELECT c.name FROM traces p JOIN traces c ON c.parent_span_id = p.span_id"), "{\"name\":\"SELECT\"}\n");
  EXPECT_EQ(Ndjson("SELECT span_id::VARCHAR || '!' AS t FROM traces WHERE parent_span_id IS NOT NULL"), "{\"t\":\"00f067aa0ba902b8!\"}\n");
  EXPECT_EQ(Ndjson("SELECT DISTINCT trace_id_prefix(trace_id, 4) AS p FROM traces"), "{\"p\":\"4bf9\"}\n");
  EXPECT_THAT(Error("SELECT 1 FROM traces WHERE trace_id = 'xyz'").message(), HasSubstr("not a trace id"));
}

TEST_F(EngineTest, AttributesAreTextMapsAndKeepTheirTypesAside) {
  EXPECT_EQ(Ndjson("SELECT attributes FROM traces ORDER BY start_time"),
            "{\"attributes\":{\"http.route\":\"/cart\",\"n\":\"7\",\"ok\":\"true\",\"d\":\"1.5\"}}\n{\"attributes\":{}}\n");
  EXPECT_EQ(Ndjson("SELECT attributes_json, attributes_types FROM traces ORDER BY start_time LIMIT 1"),
            "{\"attributes_json\":{\"http.route\":\"/cart\",\"n\":7,\"ok\":true,\"d\":1.5},"
            "\"attributes_types\":{\"http.route\":\"string\",\"n\":\"int\",\"ok\":\"bool\",\"d\":\"double\"}}\n");
}

TEST_F(EngineTest, OneAttributeIsReadByItself) {
  EXPECT_EQ(Ndjson("SELECT attributes['http.route'] AS r, attributes['n'] AS n FROM traces ORDER BY start_time"),
            "{\"r\":\"/cart\",\"n\":\"7\"}\n{\"r\":null,\"n\":null}\n");
  EXPECT_EQ(Ndjson("SELECT name FROM traces WHERE attributes['http.route'] = '/cart'"), "{\"name\":\"GET /\"}\n");
  EXPECT_EQ(Ndjson("SELECT resource_attributes['host'] AS h, count(*) AS n FROM traces GROUP BY ALL"), "{\"h\":\"h1\",\"n\":2}\n");
  EXPECT_EQ(Ndjson("SELECT a['http.route'] AS r FROM (SELECT attributes AS a, name FROM traces) WHERE name = 'GET /'"),
            "{\"r\":\"/cart\"}\n");
  EXPECT_THAT(Ndjson("EXPLAIN SELECT name FROM traces WHERE attributes['http.route'] = '/cart'"), HasSubstr("attributes['http.route']='"));
  EXPECT_EQ(Ndjson("SELECT c.attributes['http.route'] AS r FROM traces p JOIN traces c USING (trace_id) "
                   "WHERE p.attributes['n'] = '7' AND c.attributes['n'] = p.attributes['n']"),
            "{\"r\":\"/cart\"}\n");
}

TEST_F(EngineTest, EnvelopesAreColumns) {
  EXPECT_EQ(Ndjson("SELECT service_name, resource_attributes, scope_name, scope_version FROM traces LIMIT 1"),
            "{\"service_name\":\"cart\",\"resource_attributes\":{\"service.name\":\"cart\",\"host\":\"h1\"},"
            "\"scope_name\":\"lib\",\"scope_version\":\"1.2\"}\n");
}

TEST_F(EngineTest, FindTraceAndSlowOperations) {
  EXPECT_EQ(Ndjson("SELECT name FROM find_trace('4bf92f3577b34da6a3ce929d0e0e4736')"), "{\"name\":\"GET /\"}\n{\"name\":\"SELECT\"}\n");
  EXPECT_EQ(Ndjson("SELECT service_name, name, count, max_ms FROM slow_operations('2023-11-14', '2023-11-15', 0)"),
            "{\"service_name\":\"cart\",\"name\":\"GET /\",\"count\":1,\"max_ms\":0.0001}\n"
            "{\"service_name\":\"cart\",\"name\":\"SELECT\",\"count\":1,\"max_ms\":1e-05}\n");
}

TEST_F(EngineTest, ShowTablesListsOurs) {
  const std::string tables = Ndjson("SHOW TABLES");
  for (const char* name : {"traces", "logs", "metrics_gauge", "metrics_exponential_histogram", "\"metrics\""}) {
    EXPECT_THAT(tables, HasSubstr(name));
  }
  EXPECT_THAT(Ndjson("DESCRIBE traces"), HasSubstr("TRACE_ID"));
  for (const char* asked : {"SHOW VIEWS", " show  views ;\n"}) {
    EXPECT_THAT(Ndjson(asked), HasSubstr("{\"schema\":\"otel\",\"name\":\"metrics\",\"sql\":\"CREATE VIEW")) << asked;
  }
  EXPECT_THAT(Ndjson("DESCRIBE views"), HasSubstr("views"));
  EXPECT_THAT(Ndjson("SELECT table_name FROM information_schema.tables"), HasSubstr("traces"));
}

TEST_F(EngineTest, SystemTablesAnswer) {
  EXPECT_EQ(Ndjson("SELECT table_name, rows FROM sheaf.parts"), "{\"table_name\":\"otel.traces\",\"rows\":2}\n");
  EXPECT_THAT(Ndjson("SELECT * FROM sheaf.settings"), HasSubstr("query.timeout_ms"));
  EXPECT_THAT(Ndjson("SELECT * FROM sheaf.memory WHERE component = 'query'"),
              HasSubstr(fmt::format("\"limit_bytes\":{}", options_.memory_bytes_max)));
  TrackingPool& pool = NamedPool("engine_test");
  const auto held = arrow::AllocateBuffer(1000, &pool).ValueOrDie();
  (void)arrow::AllocateBuffer(1000, &pool).ValueOrDie();
  EXPECT_EQ(Ndjson("SELECT current_bytes = total_bytes - freed_bytes AS adds_up, freed_bytes > 0 AS freed, peak_bytes >= 2000 AS peak, "
                   "allocations, limit_bytes FROM sheaf.memory WHERE component = 'engine_test'"),
            "{\"adds_up\":true,\"freed\":true,\"peak\":true,\"allocations\":2,\"limit_bytes\":null}\n");
  EXPECT_THAT(Ndjson("SELECT state, sql FROM sheaf.queries"), HasSubstr("\"state\":\"running\",\"sql\":\"SELECT state, sql"));
}

TEST_F(EngineTest, MetricsViewIsThereWhenEmpty) { EXPECT_EQ(Ndjson("SELECT count(*) AS n FROM otel.metrics"), "{\"n\":0}\n"); }

TEST_F(EngineTest, WrongNamesGetTheNearest) {
  const Status table = Error("SELECT 1 FROM trace");
  EXPECT_EQ(KindOf(table), ErrorKind::kInvalid);
  EXPECT_THAT(table.message(), HasSubstr("traces"));
  const Status column = Error("SELECT servise_name FROM traces");
  EXPECT_THAT(column.message(), HasSubstr("service_name"));
  EXPECT_EQ(ErrorPosition(column), 7);
  EXPECT_EQ(ErrorPosition(Error("SELEC 1")), 0);
  EXPECT_EQ(ErrorPosition(Status::OK()), -1);
}

TEST_F(EngineTest, TimeOutStopsAStatement) {
  const auto stopped = RunAll(
      engine_.get(),
      {.sql = "SELECT count(*) FROM range(100000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3", .timeout_ms = 30});
  EXPECT_EQ(KindOf(stopped.status()), ErrorKind::kTimeout) << stopped.status().ToString();
  EXPECT_EQ(Ndjson("SELECT 1 AS a"), "{\"a\":1}\n");
}

TEST_F(EngineTest, CancelStopsAStatementFromAnotherThread) {
  auto query = engine_->Start({.sql = "SELECT count(*) FROM range(100000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"});
  ASSERT_TRUE(query.ok());
  std::thread canceller([&] { (*query)->Cancel(); });
  EXPECT_EQ(KindOf((*query)->Next().status()), ErrorKind::kCancelled);
  canceller.join();
}

TEST_F(EngineTest, DroppedQueriesLeaveTheEngineUsable) {
  for (int i = 0; i < 20; ++i) {
    auto query = engine_->Start({.sql = "SELECT * FROM range(1000000)"});
    ASSERT_TRUE(query.ok());
    if (i % 2 == 0) {
      ASSERT_TRUE((*query)->Next().ok());
    }
  }
  EXPECT_EQ(Ndjson("SELECT 1 AS a"), "{\"a\":1}\n");
}

TEST_F(EngineTest, StatementBeyondTheLimitWaitsAndIsThrottled) {
  auto engine = Engine::Open(&database_, {.threads = 1, .concurrent_queries_max = 1});
  ASSERT_TRUE(engine.ok());
  auto first = (*engine)->Start({.sql = "SELECT * FROM range(1000000)"});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(KindOf((*engine)->Start({.sql = "SELECT 1", .timeout_ms = 20}).status()), ErrorKind::kThrottled);
  first->reset();
  EXPECT_TRUE((*engine)->Start({.sql = "SELECT 1", .timeout_ms = 1000}).ok());
}

TEST_F(EngineTest, ScansDoNotKeepLookUpsWaiting) {
  database_.AddTradingTables();
  auto opened = Engine::Open(&database_, {.threads = 2, .concurrent_queries_max = 8});
  ASSERT_TRUE(opened.ok());
  Engine* engine = opened->get();
  ASSERT_TRUE(RunAll(engine, {.sql = "INSERT INTO trading.accounts (user_id, balance) SELECT 'u' || range, range FROM range(100)"}).ok());
  std::vector<std::unique_ptr<Query>> scans;
  for (int i = 0; i < 8; ++i) {
    scans.push_back(engine->Start({.sql = "SELECT name, range FROM traces, range(1000000)"}).ValueOrDie());
    ASSERT_TRUE(scans.back()->Next().ok());
  }
  const std::string id = "'4bf92f3577b34da6a3ce929d0e0e4736'";
  const std::string look_ups[] = {
      "SELECT name FROM traces WHERE trace_id = " + id,
      "SELECT name FROM find_trace(" + id + ")",
      "SELECT count(*) AS n FROM traces WHERE trace_id = " + id + " AND kind = 'SERVER'",
      "SELECT balance FROM trading.accounts WHERE user_id = 'u7'",
      "SELECT user_id, balance FROM trading.accounts WHERE user_id IN ('u7', 'u8') ORDER BY balance LIMIT 1",
  };
  for (int round = 0; round < 3; ++round) {
    for (const std::string& sql : look_ups) {
      QueryStats stats;
      const auto rows = RunAll(engine, {.sql = sql, .timeout_ms = 20'000}, &stats);
      ASSERT_TRUE(rows.ok()) << sql << ": " << rows.status().ToString();
      EXPECT_GE((*rows)->num_rows(), 1) << sql;
      EXPECT_LT(stats.queue_seconds, 1) << sql;
    }
  }
  for (const char* scan : {"SELECT count(*) FROM traces WHERE name = 'SELECT'", "SELECT 1", "EXPLAIN SELECT 1",
                           "SELECT a.balance FROM trading.accounts a, range(10) WHERE user_id = 'u7'",
                           "DELETE FROM trading.accounts WHERE user_id = 'u8'"}) {
    EXPECT_EQ(KindOf(RunAll(engine, {.sql = scan, .timeout_ms = 30}).status()), ErrorKind::kThrottled) << scan;
  }
  // Look-ups have two places of their own, and no more.
  auto first = engine->Start({.sql = look_ups[0]}), second = engine->Start({.sql = look_ups[3]});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(KindOf(engine->Start({.sql = look_ups[0], .timeout_ms = 30}).status()), ErrorKind::kThrottled);
  scans.pop_back();
  EXPECT_TRUE(RunAll(engine, {.sql = "SELECT 1", .timeout_ms = 20'000}).ok());
}

TEST_F(EngineTest, WhoWaitsIsServedInOrderAndSeenWaiting) {
  auto opened = Engine::Open(&database_, {.threads = 2, .concurrent_queries_max = 1, .waiting_queries_max = 1});
  ASSERT_TRUE(opened.ok());
  Engine* engine = opened->get();
  auto running = engine->Start({.sql = "SELECT * FROM range(1000000)"}).ValueOrDie();
  QueryStats stats;
  std::thread waiting([&] { EXPECT_TRUE(RunAll(engine, {.sql = "SELECT 7 AS seven"}, &stats).ok()); });
  const Gauge& queue = Metrics().AddGauge("sheaf_query_queue_length", "");
  while (queue.value() == 0) std::this_thread::yield();
  // No place is free for another than the one that waits.
  EXPECT_THAT(RunAll(engine, {.sql = "SELECT 1"}).status().message(), HasSubstr("1 statements run and 1 wait already"));
  running.reset();
  waiting.join();
  EXPECT_GT(stats.queue_seconds, 0);
  EXPECT_LT(stats.plan_seconds, stats.queue_seconds + 1);
  const auto kept = RunToText(engine, {.sql = "SELECT state, queue_ms > 0 AS waited FROM sheaf.queries WHERE sql LIKE '%AS seven' "
                                              "AND state <> 'running'"}, Format::kNdjson);
  EXPECT_EQ(*kept, "{\"state\":\"done\",\"waited\":true}\n");
}

TEST_F(EngineTest, OwnerMayWriteFilesAndRunSeveralStatements) {
  const std::string file = ::testing::TempDir() + "sheaf_query_owner.csv";
  const auto done = RunAll(engine_.get(), {.sql = "COPY (SELECT name FROM traces) TO '" + file +
                                                  "' (HEADER); SELECT count(*) FROM read_csv('" + file + "')",
                                           .trusted = true});
  ASSERT_TRUE(done.ok()) << done.status().ToString();
  EXPECT_EQ((*done)->column(0)->GetScalar(0).ValueOrDie()->ToString(), "2");
}

TEST_F(EngineTest, ResultSchemaMarksIds) {
  auto query = engine_->Start({.sql = "SELECT trace_id, span_id, links, attributes FROM traces"});
  ASSERT_TRUE(query.ok()) << query.status().ToString();
  const auto& schema = *(*query)->schema();
  EXPECT_TRUE(schema.field(0)->type()->Equals(arrow::fixed_size_binary(16)));
  EXPECT_TRUE(schema.field(1)->type()->Equals(arrow::fixed_size_binary(8)));
  EXPECT_EQ(schema.field(0)->metadata()->Get("sheaf.type").ValueOrDie(), "trace_id");
  EXPECT_EQ(schema.field(1)->metadata()->Get("sheaf.type").ValueOrDie(), "span_id");
  EXPECT_EQ(schema.field(3)->type()->id(), arrow::Type::MAP);
  auto batch = (*query)->Next();
  ASSERT_TRUE(batch.ok() && *batch);
  EXPECT_TRUE((*batch)->ValidateFull().ok());
}

}  // namespace
}  // namespace sheaf::query
