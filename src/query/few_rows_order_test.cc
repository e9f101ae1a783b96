#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <arrow/builder.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kRows = 40'000;

/// `numbers`: i from 0 on in granules of 100 rows, so that each of four threads brings some to a sort.
class FewRowsOrderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    arrow::Int64Builder builder;
    for (int64_t i = 0; i < kRows; ++i) ASSERT_TRUE(builder.Append(i).ok());
    auto schema = arrow::schema({arrow::field("i", arrow::int64(), false)});
    const TableId table = database_.AddTable("main", "numbers", schema);
    database_.AddSource(table,
                        MakeMemorySource("part", 1, arrow::RecordBatch::Make(schema, kRows, {*builder.Finish()}), 100, {}));
    auto engine = Engine::Open(&database_, {.threads = 4});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  std::string Run(const std::string& sql) {
    auto text = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson);
    return text.ok() ? *text : text.status().ToString();
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(FewRowsOrderTest, EachNumberOfRowsIsSortedWhole) {
  for (const int64_t rows : {0, 1, 2, 100, 2047, 2048, 2049, 2500, 4096, 8192, 40'000}) {
    std::string expected;
    for (int64_t i = rows; i-- > 0;) expected += fmt::format("{{\"i\":{}}}\n", i * (kRows / std::max<int64_t>(rows, 1)));
    const int64_t step = kRows / std::max<int64_t>(rows, 1);
    for (int turn = 0; turn < 5; ++turn) {  // Which thread comes first is never the same.
      ASSERT_EQ(Run(fmt::format("SELECT i FROM numbers WHERE i % {} = 0 AND i < {} ORDER BY i DESC", step, rows * step)),
                expected)
          << rows << " rows";
    }
  }
}

TEST_F(FewRowsOrderTest, KeysMayBeExpressionsAndNeedNotBeAnswered) {
  EXPECT_EQ(Run("SELECT 'n' || i AS n FROM numbers WHERE i < 4 ORDER BY i % 2 DESC, -i"),
            "{\"n\":\"n3\"}\n{\"n\":\"n1\"}\n{\"n\":\"n2\"}\n{\"n\":\"n0\"}\n");
  EXPECT_EQ(Run("SELECT list(n) AS l FROM (SELECT 'n' || i AS n FROM numbers WHERE i IN (3, 11, 2) ORDER BY n)"),
            "{\"l\":[\"n11\",\"n2\",\"n3\"]}\n");
}

TEST_F(FewRowsOrderTest, NullsStandWhereTheyAreAsked) {
  const std::string rows = "SELECT * FROM (VALUES (2, 'b'), (NULL, 'c'), (1, NULL), (1, 'A'), (1, 'a')) t(k, v) ORDER BY ";
  EXPECT_EQ(Run("SELECT string_agg(coalesce(k::VARCHAR, '-') || coalesce(v, '-'), ' ') AS s FROM (" + rows +
                "k NULLS FIRST, v DESC NULLS LAST)"),
            "{\"s\":\"-c 1a 1A 1- 2b\"}\n");
  EXPECT_EQ(Run("SELECT string_agg(coalesce(k::VARCHAR, '-') || coalesce(v, '-'), ' ') AS s FROM (" + rows +
                "k DESC NULLS LAST, v NULLS FIRST)"),
            "{\"s\":\"2b 1- 1A 1a -c\"}\n");
  EXPECT_EQ(Run("SELECT string_agg(v, ' ') AS s FROM (" + rows + "v COLLATE NOCASE, k)"), "{\"s\":\"A a b c\"}\n");
}

TEST_F(FewRowsOrderTest, NestedValuesAreCarriedAndCompared) {
  const std::string rows =
      "(SELECT i, [i, i + 1] AS l, {'a': 'x' || i, 'm': MAP {'k' || i: [i]}} AS s, repeat('long text ', i::INT) AS t FROM "
      "numbers)";
  EXPECT_EQ(Run("SELECT l, s, t FROM " + rows + " WHERE i IN (1, 2) ORDER BY l DESC"),
            "{\"l\":[2,3],\"s\":{\"a\":\"x2\",\"m\":{\"k2\":[2]}},\"t\":\"long text long text \"}\n"
            "{\"l\":[1,2],\"s\":{\"a\":\"x1\",\"m\":{\"k1\":[1]}},\"t\":\"long text \"}\n");
  EXPECT_EQ(Run("SELECT i FROM " + rows + " WHERE i IN (9, 10, 100) ORDER BY s"), "{\"i\":10}\n{\"i\":100}\n{\"i\":9}\n");
}

TEST_F(FewRowsOrderTest, StandsInTheMiddleOfAStatementAndInsideOthers) {
  EXPECT_EQ(
      Run("SELECT count(*) AS n, min(r) AS r FROM (SELECT i, row_number() OVER (ORDER BY i) AS r FROM numbers ORDER BY i) t "
          "JOIN (SELECT i FROM numbers WHERE i >= 39990 ORDER BY i DESC) u USING (i)"),
      "{\"n\":10,\"r\":39991}\n");
  EXPECT_EQ(
      Run("(SELECT i FROM numbers WHERE i < 2 ORDER BY i DESC) UNION ALL (SELECT i + 10 FROM numbers WHERE i < 2 ORDER BY i)"),
      "{\"i\":1}\n{\"i\":0}\n{\"i\":10}\n{\"i\":11}\n");
  EXPECT_EQ(Run("WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL (SELECT n + 1 FROM t WHERE n < 4 ORDER BY n)) SELECT sum(n)::BIGINT "
                "AS s FROM t"),
            "{\"s\":10}\n");
  EXPECT_EQ(Run("SELECT n, (SELECT string_agg(i, ',') FROM (SELECT i FROM numbers WHERE i < n ORDER BY i DESC)) AS s FROM "
                "(VALUES (2), (3)) v(n) ORDER BY n"),
            "{\"n\":2,\"s\":\"1,0\"}\n{\"n\":3,\"s\":\"2,1,0\"}\n");
  EXPECT_THAT(Run("EXPLAIN SELECT i FROM numbers ORDER BY i"), HasSubstr("ORDER_BY"));
}

TEST_F(FewRowsOrderTest, AnIdThatIsLookedUpIsNotNarrowedForTheSort) {
  std::mt19937_64 random(1);
  database_.Add(decode::Signal::kTraces, RandomSpans(200, 5, 1'700'000'000'000'000'000, &random));
  const auto explain = [&](const std::string& where) {
    return Run("EXPLAIN SELECT * FROM otel.traces WHERE " + where + " ORDER BY start_time");
  };
  EXPECT_THAT(explain("name < 'x'"), HasSubstr("__internal_compress"));
  EXPECT_THAT(explain("trace_id < '4bf92f3577b34da6a3ce929d0e0e4736'"), HasSubstr("__internal_compress"));
  EXPECT_THAT(explain("trace_id = '4bf92f3577b34da6a3ce929d0e0e4736'"), Not(HasSubstr("__internal_compress")));
  EXPECT_THAT(explain("name < 'x' AND '00f067aa0ba902b7' = span_id"), Not(HasSubstr("__internal_compress")));
}

}  // namespace
}  // namespace sheaf::query
