#include "query/lookup_plan.h"

#include <random>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

extern "C" int duckdb_je_mallctl(const char* name, void* old, size_t* old_bytes, void* value, size_t bytes);

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kSmall = 7, kLarge = 2500;  // Spans of a trace: less than one vector, and more.

class LookUpPlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937_64 random(3);
    database_.Add(decode::Signal::kTraces, RandomSpans(50, kSmall, 1'700'000'000'000'000'000, &random));
    database_.Add(decode::Signal::kTraces, RandomSpans(1, kLarge, 1'700'000'000'000'000'000, &random), {}, 100);
    database_.Add(decode::Signal::kTraces, RandomSpans(5, kSmall, 1'700'000'100'000'000'000, &random), "memtable");
    auto engine = Engine::Open(&database_, {.threads = 4});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
    for (const int64_t spans : {kSmall, kLarge}) {
      const std::string row = Run(fmt::format(
          "SELECT min(t) AS t FROM (SELECT trace_id::VARCHAR AS t FROM traces GROUP BY trace_id HAVING count(*) = {})", spans));
      ids_.push_back(row.substr(6, 32));  // {"t":"…"}
    }
  }

  std::string Run(const std::string& sql, std::vector<Parameter> parameters = {}) {
    auto text = RunToText(engine_.get(), {.sql = sql, .parameters = std::move(parameters)}, Format::kNdjson);
    return text.ok() ? *text : text.status().ToString();
  }

  /// `statement` with `condition` in place of {}.
  static std::string With(std::string statement, const std::string& condition) {
    for (size_t at; (at = statement.find("{}")) != std::string::npos;) statement.replace(at, 2, condition);
    return statement;
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::string> ids_;  // A small trace's and a large one's.
};

/// {} is the condition that makes a look-up of it. All are in an order that leaves nothing open.
constexpr const char* kStatements[] = {
    "SELECT * FROM traces WHERE {} ORDER BY start_time, span_id",
    "SELECT * FROM traces WHERE {} ORDER BY start_time DESC, span_id LIMIT 3",
    "SELECT * FROM traces WHERE {} ORDER BY span_id LIMIT 3 OFFSET 5",
    "SELECT * FROM traces WHERE {} ORDER BY span_id LIMIT 0",
    "SELECT * FROM traces WHERE {} ORDER BY span_id LIMIT 10%",
    "SELECT span_id FROM traces WHERE {} ORDER BY start_time, span_id",
    "SELECT upper(name) || kind AS n, span_id FROM traces WHERE {} AND duration_ns + 1 > 1000000 ORDER BY n, span_id DESC",
    "SELECT 1 AS one FROM traces WHERE {}",
    "SELECT span_id FROM traces WHERE {} AND false",
    "SELECT span_id FROM traces WHERE {} AND trace_id = '00000000000000000000000000000001'",
    "SELECT span_id FROM traces WHERE name IN ('SELECT', 'publish', 'x', 'y', 'z', 'v') AND {} ORDER BY span_id",
    "SELECT span_id FROM traces WHERE (name = 'SELECT' OR kind = 'SERVER') AND name LIKE 'S%' AND {} ORDER BY span_id",
    "SELECT span_id FROM traces WHERE regexp_matches(name, '^GET') AND {} ORDER BY span_id",
    "SELECT span_id FROM traces WHERE parent_span_id IS NULL AND {} ORDER BY span_id",
    "SELECT attributes['http.status'] AS s, span_id FROM traces WHERE {} AND attributes['http.route'] = '/other' ORDER BY span_id",
    "SELECT a['http.status'] AS s, i FROM (SELECT attributes AS a, span_id AS i FROM traces WHERE {} ORDER BY name) WHERE i IS NOT NULL "
    "ORDER BY i LIMIT 100",
    "SELECT n FROM (SELECT name AS n, span_id AS i FROM (SELECT * FROM traces WHERE {})) WHERE n > 'H' ORDER BY n, i",
    "SELECT rowid > 0 AS r, span_id, attributes_json FROM traces WHERE {} ORDER BY span_id",
    "SELECT count(*) AS n, min(start_time) AS t FROM traces WHERE {}",
    "SELECT DISTINCT name FROM traces WHERE {} ORDER BY name",
    "SELECT span_id, row_number() OVER (ORDER BY span_id) AS r FROM traces WHERE {} ORDER BY span_id",
    "SELECT span_id, (SELECT count(*) FROM traces t WHERE t.parent_span_id = s.span_id) AS children FROM traces s WHERE {} "
    "ORDER BY span_id",
    "SELECT span_id FROM traces WHERE {} AND name IN (SELECT name FROM traces WHERE kind = 'CLIENT') ORDER BY span_id",
    "SELECT a.span_id FROM traces a JOIN (SELECT * FROM traces WHERE {}) b USING (span_id) ORDER BY span_id",
    "WITH t AS (SELECT * FROM traces WHERE {}) SELECT a.span_id FROM t a JOIN t b ON a.span_id = b.parent_span_id "
    "ORDER BY a.span_id, b.span_id",
    "SELECT span_id FROM traces WHERE {} UNION ALL SELECT span_id FROM traces WHERE {} ORDER BY span_id",
};

TEST_F(LookUpPlanTest, AnswersAreThoseOfAPlanWithAllPasses) {
  for (const char* statement : kStatements) {
    for (const std::string& id : ids_) {
      const std::string condition = fmt::format("trace_id = '{}'", id);
      const std::string answer = Run(With(statement, condition));
      // No look-up before DuckDB's passes, and the same after them.
      EXPECT_EQ(answer, Run(With(statement, "(" + condition + " OR 1 = 0)"))) << statement;
      EXPECT_THAT(answer, Not(HasSubstr("rror"))) << statement;
    }
  }
}

TEST_F(LookUpPlanTest, ParametersAndMacrosLookUp) {
  const std::string rows = Run(fmt::format("SELECT * FROM traces WHERE trace_id = '{}' ORDER BY start_time, span_id", ids_[0]));
  EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), kSmall);
  EXPECT_EQ(Run("SELECT * FROM traces WHERE trace_id = ? ORDER BY start_time, span_id", {ids_[0]}), rows);
  EXPECT_EQ(Run("SELECT * FROM traces WHERE ? = trace_id ORDER BY start_time, span_id LIMIT ?", {ids_[0], int64_t{kSmall}}), rows);
  EXPECT_EQ(Run(fmt::format("SELECT * FROM find_trace('{}')", ids_[0])), rows);
}

/// Common subexpressions are one of the passes left out: with it, there is a projection more.
TEST_F(LookUpPlanTest, MostPassesAreLeftOut) {
  const auto projections = [&](const std::string& where, const std::string& before = "EXPLAIN ") {
    const std::string plan = Run(before + "SELECT length(name || 'a') AS a, length(name || 'a') AS b FROM traces WHERE " + where);
    int count = 0;
    for (size_t at = 0; (at = plan.find("PROJECTION", at)) != std::string::npos; ++at) ++count;
    EXPECT_THAT(plan, HasSubstr("trace_id='")) << "pushed into the scan";
    return count;
  };
  const std::string condition = fmt::format("trace_id = '{}'", ids_[0]);
  EXPECT_EQ(projections(condition), 1);
  EXPECT_EQ(projections(condition, "EXPLAIN ANALYZE "), 1);
  EXPECT_EQ(projections("(" + condition + " OR 1 = 0)"), 2);
}

TEST_F(LookUpPlanTest, OnlyWhatIsAskedForIsRead) {
  const std::string plan = Run(fmt::format("EXPLAIN SELECT name FROM traces WHERE trace_id = '{}' ORDER BY start_time LIMIT 5", ids_[1]));
  EXPECT_THAT(plan, HasSubstr("TOP_N"));
  EXPECT_THAT(plan, Not(HasSubstr("FILTER ")));
  EXPECT_THAT(plan, Not(HasSubstr("service_name")));
}

TEST_F(LookUpPlanTest, DuckDbsAllocatorKeepsAStatementsVectorsAtHand) {
  unsigned slots = 0;
  size_t bytes = sizeof(slots);
  ASSERT_EQ(duckdb_je_mallctl("opt.tcache_nslots_large", &slots, &bytes, nullptr, 0), 0);
  EXPECT_EQ(slots, 128u);
}

}  // namespace
}  // namespace sheaf::query
