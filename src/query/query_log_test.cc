/// What sheaf.queries, the log and the metrics tell of statements.

#include "query/query_log.h"

#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/metrics.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class QueryLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937_64 random(5);
    for (int part = 0; part < 3; ++part) {
      const int64_t time_ns = (1'700'000'000 + part * 10'000) * int64_t{1'000'000'000};
      database_.Add(decode::Signal::kTraces, RandomSpans(80, 5, time_ns, &random), {}, 200);
    }
    database_.AddTradingTables();
    Open({.threads = 2});
    Run("INSERT INTO trading.accounts (user_id, balance) SELECT 'u' || range, range FROM range(100)");
  }
  void Open(const EngineOptions& options) {
    engine_.reset();
    auto engine = Engine::Open(&database_, options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }
  std::string Run(const std::string& sql) {
    auto text = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson);
    return text.ok() ? *text : text.status().ToString();
  }
  /// Runs `sql` and shows `columns` of what is kept of it.
  std::string Told(const std::string& sql, const std::string& columns) {
    (void)Run(sql);
    return Run("SELECT " + columns + " FROM sheaf.queries WHERE id = (SELECT max(id) FROM sheaf.queries WHERE state <> 'running')");
  }
  /// The value of a metric's line, or 0.
  static double Metric(const std::string& name) {
    const std::string text = "\n" + Metrics().ToText();
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? 0 : std::stod(text.substr(at + name.size() + 2));
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(QueryLogTest, ScanTellsWhatItReadAndWhatItRuledOut) {
  EXPECT_EQ(Told("SELECT name, duration_ns FROM traces WHERE start_time >= make_timestamp_ns(1700020000000000000)",
                 "kind, state, rows, rows_scanned, bytes_read > 0 AS read, parts_read, parts_pruned, granules_read, granules_pruned, "
                 "index_used, cache_hit, error, spilled_bytes"),
            "{\"kind\":\"select\",\"state\":\"done\",\"rows\":400,\"rows_scanned\":400,\"read\":true,\"parts_read\":1,\"parts_pruned\":2,"
            "\"granules_read\":2,\"granules_pruned\":4,\"index_used\":null,\"cache_hit\":false,\"error\":null,\"spilled_bytes\":0}\n");
}

TEST_F(QueryLogTest, LookUpsAreOnesOfTheirOwnKind) {
  const std::string id = Run("SELECT min(trace_id::VARCHAR) AS t FROM traces").substr(6, 32);
  EXPECT_EQ(Told("SELECT name FROM traces WHERE trace_id = '" + id + "'", "kind, rows, granules_read <= 2 AS few, index_used"),
            "{\"kind\":\"lookup\",\"rows\":5,\"few\":true,\"index_used\":\"filter\"}\n");
  EXPECT_EQ(Told("SELECT balance FROM trading.accounts WHERE user_id = 'u7'", "kind, rows, rows_scanned, index_used"),
            "{\"kind\":\"lookup\",\"rows\":1,\"rows_scanned\":1,\"index_used\":\"key\"}\n");
  EXPECT_EQ(Told("SELECT a.balance FROM trading.accounts a, traces t WHERE a.user_id = 'u7' LIMIT 1", "kind"), "{\"kind\":\"select\"}\n");
  EXPECT_EQ(Told("SELECT name FROM traces ORDER BY start_time DESC LIMIT 3", "kind, index_used"),
            "{\"kind\":\"select\",\"index_used\":\"top-n\"}\n");
  EXPECT_EQ(Told("SELECT 1", "kind, rows"), "{\"kind\":\"select\",\"rows\":1}\n");
}

TEST_F(QueryLogTest, TimesAddUpAndErrorsAreKept) {
  EXPECT_EQ(Told("SELECT count(*) FROM traces WHERE name <> 'x'",
                 "parse_ms > 0 AS parsed, plan_ms > 0 AS planned, execute_ms > 0 AS ran, queue_ms >= 0 AS waited, "
                 "queue_ms + parse_ms + plan_ms + execute_ms <= duration_ms AS adds_up"),
            "{\"parsed\":true,\"planned\":true,\"ran\":true,\"waited\":true,\"adds_up\":true}\n");
  EXPECT_EQ(Told("INSERT INTO trading.accounts (user_id, balance) VALUES ('u7', 1)", "kind, state"),
            "{\"kind\":\"write\",\"state\":\"done\"}\n");
  EXPECT_EQ(Told("CREATE TABLE t (a INTEGER)", "kind"), "{\"kind\":\"definition\"}\n");
  EXPECT_THAT(Told("SELECT wrong FROM traces", "state, error"), HasSubstr("{\"state\":\"invalid\",\"error\":\"Binder Error"));
  EXPECT_THAT(Run("SELECT state, kind, rows FROM sheaf.queries LIMIT 1"), HasSubstr("\"state\":\"running\""));
}

TEST_F(QueryLogTest, SlowStatementsAreLoggedWithTheirFigures) {
  Open({.threads = 2, .slow_ms = 1});
  const double before = Metric("sheaf_query_slow_total"), read = Metric("sheaf_query_rows_scanned_total");
  ::testing::internal::CaptureStderr();
  (void)Run("SELECT count(*) AS \"a\nb\" FROM traces, range(100) WHERE name <> 'x' /* " + std::string(1000, 'x') + " */");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("event=query.slow"));
  EXPECT_THAT(log, HasSubstr(" kind=select state=done ms="));
  EXPECT_THAT(log, HasSubstr(" rows=1 rows_scanned=1200 "));
  EXPECT_THAT(log, HasSubstr("sql=\"SELECT count(*) AS \\\"a\\u000ab\\\" FROM traces"));
  EXPECT_THAT(log, Not(HasSubstr(std::string(500, 'x')))) << "texts are cut";
  EXPECT_EQ(Metric("sheaf_query_slow_total"), before + 1);
  EXPECT_EQ(Metric("sheaf_query_rows_scanned_total"), read + 1200);

  Open({.threads = 2, .slow_ms = 0});
  ::testing::internal::CaptureStderr();
  (void)Run("SELECT count(*) FROM traces, range(100) WHERE name <> 'x'");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(QueryLogTest, MetricsCountByKind) {
  const double look_ups = Metric("sheaf_query_seconds_count{kind=\"lookup\"}"), pruned = Metric("sheaf_query_parts_pruned_total");
  (void)Run("SELECT balance FROM trading.accounts WHERE user_id = 'u7'");
  (void)Run("SELECT count(*) FROM traces WHERE start_time >= make_timestamp_ns(1700020000000000000) AND name <> 'x'");
  EXPECT_EQ(Metric("sheaf_query_seconds_count{kind=\"lookup\"}"), look_ups + 1);
  EXPECT_EQ(Metric("sheaf_query_parts_pruned_total"), pruned + 2);
}

TEST(Shortened, NeverCutsACharacter) {
  EXPECT_EQ(Shortened("abc", 5), "abc");
  EXPECT_EQ(Shortened("abcdef", 3), "abc");
  EXPECT_EQ(Shortened("ab\xC3\xA9", 3), "ab");
  EXPECT_EQ(NamesOfIndexes(kByKey | kByTopN), "key, top-n");
  EXPECT_EQ(NamesOfIndexes(kByFilter | kByTokens), "filter, tokens");
}

}  // namespace
}  // namespace sheaf::query
