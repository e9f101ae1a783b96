/// Functions of C++ in SQL: what they are given, what becomes of what they give, and what goes wrong.

#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/formats.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using testing::HasSubstr;
using Arrays = std::vector<std::shared_ptr<arrow::Array>>;
using Answer = arrow::Result<std::shared_ptr<arrow::Array>>;

ScalarFunction OfNumbers(const std::string& name, const std::function<std::optional<int64_t>(std::optional<int64_t>)>& of_row,
                         bool skips_nulls = true) {
  return {.signature = {.name = name, .arguments = {arrow::int64()}, .result = arrow::int64(), .skips_nulls = skips_nulls},
          .compute = [of_row](const Arrays& arguments, int64_t rows) -> Answer {
            const auto& numbers = static_cast<const arrow::Int64Array&>(*arguments[0]);
            EXPECT_EQ(numbers.length(), rows);
            arrow::Int64Builder out;
            for (int64_t i = 0; i < rows; ++i) {
              const auto value = of_row(numbers.IsNull(i) ? std::nullopt : std::optional(numbers.Value(i)));
              ARROW_RETURN_NOT_OK(value ? out.Append(*value) : out.AppendNull());
            }
            return out.Finish();
          }};
}

ScalarFunction Shout() {
  return {.signature = {.name = "shout", .arguments = {arrow::utf8(), arrow::utf8()}, .result = arrow::utf8()},
          .compute = [](const Arrays& arguments, int64_t rows) -> Answer {
            const auto& texts = static_cast<const arrow::StringArray&>(*arguments[0]);
            const auto& ends = static_cast<const arrow::StringArray&>(*arguments[1]);
            arrow::StringBuilder out;
            for (int64_t i = 0; i < rows; ++i) ARROW_RETURN_NOT_OK(out.Append(texts.GetString(i) + ends.GetString(i)));
            return out.Finish();
          }};
}

/// Gives its argument back, whatever its type.
ScalarFunction Same(const std::string& name, const std::shared_ptr<arrow::DataType>& type) {
  return {.signature = {.name = name, .arguments = {type}, .result = type}, .compute = [type](const Arrays& arguments, int64_t) -> Answer {
            EXPECT_TRUE(arguments[0]->type()->Equals(*type)) << arguments[0]->type()->ToString();
            return arguments[0];
          }};
}

/// The sum and the number of numbers, as `sum * 1000 + count`.
class Tally : public AggregateFunction {
 public:
  explicit Tally(std::string name, bool skips_nulls = true) {
    signature_ = {.name = std::move(name), .arguments = {arrow::int64()}, .result = arrow::int64(), .skips_nulls = skips_nulls};
  }
  ~Tally() override { EXPECT_EQ(states_, 0) << "each state is let go"; }
  const FunctionSignature& signature() const override { return signature_; }
  arrow::Result<std::unique_ptr<State>> Make() const override { return std::make_unique<Numbers>(&states_); }
  arrow::Status Update(const Arrays& arguments, std::span<const int32_t> groups, std::span<State* const> states) const override {
    const auto& numbers = static_cast<const arrow::Int64Array&>(*arguments[0]);
    EXPECT_EQ(numbers.length(), static_cast<int64_t>(groups.size()));
    ++updates_;
    for (size_t i = 0; i < groups.size(); ++i) {
      auto& state = static_cast<Numbers&>(*states[static_cast<size_t>(groups[i])]);
      const auto row = static_cast<int64_t>(i);
      state.sum += numbers.IsNull(row) ? 0 : numbers.Value(row);
      ++state.count;
      if (numbers.IsValid(row) && numbers.Value(row) == -13) return arrow::Status::Invalid("thirteen");
      if (numbers.IsValid(row) && numbers.Value(row) == -14) throw std::runtime_error("fourteen");
    }
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const State* const> from, std::span<State* const> into) const override {
    for (size_t i = 0; i < from.size(); ++i) {
      static_cast<Numbers&>(*into[i]).sum += static_cast<const Numbers&>(*from[i]).sum;
      static_cast<Numbers&>(*into[i]).count += static_cast<const Numbers&>(*from[i]).count;
    }
    return arrow::Status::OK();
  }
  Answer Finish(std::span<const State* const> states) const override {
    arrow::Int64Builder out;
    for (const State* each : states) {
      const auto& state = static_cast<const Numbers&>(*each);
      ARROW_RETURN_NOT_OK(state.count == 0 ? out.AppendNull() : out.Append(state.sum * 1000 + state.count));
    }
    return out.Finish();
  }
  int64_t updates() const { return updates_; }

 private:
  struct Numbers : public State {
    explicit Numbers(std::atomic<int64_t>* known) : states(known) { ++*states; }
    ~Numbers() override { --*states; }
    std::atomic<int64_t>* const states;
    int64_t sum = 0, count = 0;
  };

  FunctionSignature signature_;
  mutable std::atomic<int64_t> states_{0}, updates_{0};
};

class FunctionCalls : public testing::Test {
 protected:
  void SetUp() override {
    auto functions = std::make_shared<Functions>();
    functions->scalars = {
        OfNumbers("ten_more", [](auto n) { return n ? std::optional(*n + 10) : std::optional<int64_t>(7); }),
        OfNumbers("or_seven", [](auto n) { return std::optional(n.value_or(7)); }, /*skips_nulls=*/false),
        OfNumbers("thirteen_fails", [this](auto n) { return Failing(n); }), Shout(), Same("same_id", arrow::fixed_size_binary(16)),
        Same("same_list", arrow::list(arrow::utf8())), Same("same_decimal", arrow::decimal128(10, 2)),
        Same("same_time", arrow::timestamp(arrow::TimeUnit::NANO))};
    functions->scalars.push_back({.signature = {.name = "ticket", .result = arrow::int64(), .is_volatile = true},
                                  .compute = [this](const Arrays&, int64_t rows) -> Answer {
                                    arrow::Int64Builder out;
                                    for (int64_t i = 0; i < rows; ++i) ARROW_RETURN_NOT_OK(out.Append(++tickets_));
                                    return out.Finish();
                                  }});
    const auto odd = [](const char* name, std::function<Answer(int64_t)> compute) {
      return ScalarFunction{.signature = {.name = name, .arguments = {arrow::int64()}, .result = arrow::utf8()},
                            .compute = [compute](const Arrays&, int64_t rows) { return compute(rows); }};
    };
    functions->scalars.push_back(odd("too_few", [](int64_t) { return arrow::MakeArrayOfNull(arrow::utf8(), 0); }));
    functions->scalars.push_back(odd("another_type", [](int64_t rows) { return arrow::MakeArrayOfNull(arrow::int64(), rows); }));
    functions->scalars.push_back(odd("no_array", [](int64_t) { return Answer(nullptr); }));
    functions->scalars.push_back(odd("no_text", [](int64_t rows) {
      return arrow::MakeArrayFromScalar(arrow::StringScalar("\xff\xfe"), rows);
    }));
    tally_ = std::make_shared<Tally>("tally");
    functions->aggregates = {tally_, std::make_shared<Tally>("tally_all", /*skips_nulls=*/false)};
    Open({.threads = 4, .view_wait_ms = 60'000, .functions = functions});
  }
  void Open(const EngineOptions& options) {
    engine_.reset();
    auto engine = Engine::Open(&database_, options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }
  std::optional<int64_t> Failing(std::optional<int64_t> n) {
    if (n == 14) throw std::runtime_error("fourteen");
    if (n == 15) throw 15;
    return n;
  }

  std::string Ask(const std::string& sql, QueryStats* stats = nullptr, bool trusted = false) {
    const auto text = RunToText(engine_.get(), {.sql = sql, .trusted = trusted}, Format::kCsv, stats);
    EXPECT_TRUE(text.ok()) << sql << "\n" << text.status().ToString();
    std::string lines = text.ValueOr("");
    std::erase(lines, '\r');
    return lines.substr(std::min(lines.size(), lines.find('\n') + 1));  // Without the header.
  }
  Status Refusal(const std::string& sql) {
    const auto text = RunToText(engine_.get(), {.sql = sql}, Format::kCsv);
    EXPECT_FALSE(text.ok()) << sql << " answers " << text.ValueOr("");
    return text.status();
  }

  MemoryDatabase database_;
  std::atomic<int64_t> tickets_{0};
  std::shared_ptr<Tally> tally_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(FunctionCalls, ComputeRows) {
  Ask("CREATE TABLE t (a BIGINT, s VARCHAR)");
  Ask("INSERT INTO t VALUES (1, 'one'), (NULL, 'a text that is longer than twelve bytes'), (3, NULL)");
  EXPECT_EQ(Ask("SELECT ten_more(a) FROM t ORDER BY s"), "\n11\n13\n") << "in the order of a text, one, NULL";
  EXPECT_EQ(Ask("SELECT or_seven(a) FROM t ORDER BY ALL"), "1\n3\n7\n");
  EXPECT_EQ(Ask("SELECT shout(s, '!') FROM t ORDER BY a"), "one!\n\na text that is longer than twelve bytes!\n");
  EXPECT_EQ(Ask("SELECT shout('x', NULL), shout('x', 'y'), ten_more(NULL), or_seven(NULL), ten_more(5::TINYINT)"), ",xy,,7,15\n");
  EXPECT_EQ(Ask("SELECT same_id('4bf92f3577b34da6a3ce929d0e0e4736'::TRACE_ID), same_decimal(1.25), same_list(['a', NULL])"),
            "4bf92f3577b34da6a3ce929d0e0e4736,1.25,\"[\"\"a\"\",null]\"\n");
  EXPECT_EQ(Ask("SELECT same_time('2026-11-21 10:00:00.123456789'::TIMESTAMP_NS)"), "2026-11-21T10:00:00.123456789Z\n");
  EXPECT_EQ(Ask("SELECT count(*) FROM t WHERE ten_more(a) > 11", nullptr, /*trusted=*/true), "1\n") << "the owner has them, too";
}

TEST_F(FunctionCalls, SeeVectorsOfEveryShape) {
  // Constants beside columns, dictionaries, selections, what a join or a CASE leaves.
  EXPECT_EQ(Ask("SELECT sum(ten_more(i)), sum(or_seven(nullif(i, 6))) FROM range(10000) r(i) WHERE i % 3 = 0"),
            Ask("SELECT sum(i + 10), sum(i) + 1 FROM range(10000) r(i) WHERE i % 3 = 0"));
  EXPECT_EQ(Ask("SELECT count(*) FROM range(5000) r(i) WHERE shout('n', i::VARCHAR) = 'n' || i"), "5000\n");
  EXPECT_EQ(Ask("SELECT sum(CASE WHEN i % 2 = 0 THEN ten_more(i) ELSE 0 END) = (SELECT sum(i + 10) FROM range(0, 5000, 2) r(i)) "
                "FROM range(5000) r(i)"), "true\n");
  std::mt19937_64 random(7);
  database_.Add(decode::Signal::kTraces, RandomSpans(300, 4, 1'700'000'000'000'000'000, &random));
  EXPECT_EQ(Ask("SELECT count(*) FROM traces WHERE shout(service_name, name) <> service_name || name"), "0\n");
  EXPECT_EQ(Ask("SELECT count(*) FROM traces WHERE same_id(trace_id) <> trace_id"), "0\n");
  EXPECT_EQ(Ask("SELECT shout(service_name, '') AS s, count(*) FROM traces GROUP BY s ORDER BY s"),
            Ask("SELECT service_name AS s, count(*) FROM traces GROUP BY s ORDER BY s"));
}

TEST_F(FunctionCalls, AreCalledForBatches) {
  Ask("SELECT tally(i) FROM range(100000) r(i)");
  EXPECT_LE(tally_->updates(), 100) << "not for each row";
}

TEST_F(FunctionCalls, ThatAreVolatileAreCalledForEachRow) {
  EXPECT_EQ(Ask("SELECT count(DISTINCT ticket()) FROM range(5000)"), "5000\n");
  EXPECT_EQ(tickets_, 5000);
}

TEST_F(FunctionCalls, OnlyThoseThatAreNotVolatileAreKept) {
  auto functions = std::make_shared<Functions>();
  functions->scalars = {OfNumbers("same", [](auto n) { return n; }), OfNumbers("changing", [](auto n) { return n; })};
  functions->scalars[1].signature.is_volatile = true;
  Open({.threads = 1, .result_cache_bytes_max = 1 << 20, .result_cache_work_min_us = 0, .functions = functions});
  Ask("CREATE TABLE t (a BIGINT)");
  Ask("INSERT INTO t VALUES (1)");
  QueryStats stats;
  for (int i = 0; i < 2; ++i) Ask("SELECT same(a) FROM t", &stats);
  EXPECT_TRUE(stats.cache_hit);
  for (int i = 0; i < 2; ++i) Ask("SELECT changing(a) FROM t", &stats);
  EXPECT_FALSE(stats.cache_hit);
}

TEST_F(FunctionCalls, FailWithTheirName) {
  EXPECT_THAT(Refusal("SELECT thirteen_fails(14)").message(), HasSubstr("thirteen_fails(): exception: fourteen"));
  EXPECT_THAT(Refusal("SELECT thirteen_fails(i) FROM range(20) r(i)").message(), HasSubstr("thirteen_fails(): exception: fourteen"));
  EXPECT_THAT(Refusal("SELECT thirteen_fails(15)").message(), HasSubstr("thirteen_fails(): unknown exception"));
  EXPECT_THAT(Refusal("SELECT too_few(i) FROM range(3) r(i)").message(), HasSubstr("too_few(): it gave 0 of type string instead of 3"));
  EXPECT_THAT(Refusal("SELECT another_type(1)").message(), HasSubstr("another_type(): it gave 1 of type int64 instead of 1"));
  EXPECT_THAT(Refusal("SELECT no_array(1)").message(), HasSubstr("no_array(): it gave nothing"));
  EXPECT_THAT(Refusal("SELECT no_text(1)").message(), HasSubstr("no_text(): "));
  EXPECT_THAT(Refusal("SELECT tally(-13)").message(), HasSubstr("tally(): thirteen"));
  EXPECT_THAT(Refusal("SELECT i % 10, tally(-i) FROM range(20) r(i) GROUP BY ALL").message(), HasSubstr("tally(): "));
  EXPECT_THAT(Refusal("SELECT ten_more('many')").message(), HasSubstr("many"));
  EXPECT_THAT(Refusal("SELECT ten_more(1, 2)").message(), HasSubstr("ten_more"));
  EXPECT_EQ(Ask("SELECT thirteen_fails(13)"), "13\n") << "and goes on";
}

TEST_F(FunctionCalls, AggregateGroupsOnSeveralThreads) {
  Ask("CREATE TABLE n AS SELECT i % 1013 AS g, CASE WHEN i % 7 = 0 THEN NULL ELSE i END AS v, i FROM range(300000) r(i)");
  const std::string wrong =
      "SELECT count(*) FROM (SELECT g, tally(v) AS t, sum(v)::BIGINT * 1000 + count(v) AS wanted, tally_all(v) AS all_rows, "
      "sum(v)::BIGINT * 1000 + count(*) AS all_wanted FROM n GROUP BY g) WHERE t IS DISTINCT FROM wanted OR all_rows IS DISTINCT FROM "
      "all_wanted";
  EXPECT_EQ(Ask(wrong), "0\n");
  EXPECT_EQ(Ask("SELECT tally(v) = sum(v)::BIGINT * 1000 + count(v) FROM n"), "true\n");
  EXPECT_EQ(Ask("SELECT count(*) FROM (SELECT i, tally(v) AS t FROM n GROUP BY i) WHERE t IS DISTINCT FROM "
                "(CASE WHEN i % 7 = 0 THEN NULL ELSE i * 1000 + 1 END)"), "0\n") << "a group a row";
  EXPECT_EQ(Ask("SELECT tally(v) FILTER (WHERE i < 4), tally(DISTINCT v // 100000) FROM n"), "6003,3003\n");
  EXPECT_EQ(Ask("SELECT tally(v) FROM n WHERE i < 0"), "\n") << "of no rows";
  EXPECT_EQ(Ask("SELECT g FROM n WHERE i < 3000 GROUP BY g HAVING tally(v) % 1000 = 1"), Ask(
            "SELECT g FROM n WHERE i < 3000 GROUP BY g HAVING count(v) = 1"));
  EXPECT_EQ(Ask("SELECT max(t) FROM (SELECT tally(v) OVER w AS t FROM n WHERE i < 5000 "
                "WINDOW w AS (ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW))"),
            Ask("SELECT max(t) FROM (SELECT sum(v) OVER w * 1000 + count(v) OVER w AS t FROM n WHERE i < 5000 "
                "WINDOW w AS (ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW))"));
  EXPECT_EQ(Ask("SELECT tally(v ORDER BY v DESC) FROM n WHERE i < 4"), "6003\n");
}

TEST_F(FunctionCalls, LeaveTheRestOfAFilterToPruning) {
  std::mt19937_64 random(7);
  for (int64_t day = 0; day < 4; ++day) {
    database_.Add(decode::Signal::kTraces, RandomSpans(200, 4, 1'700'000'000'000'000'000 + day * 86'400'000'000'000, &random));
  }
  QueryStats stats;
  const std::string day = "start_time >= make_timestamp_ns(1700000000000000000 + 3 * 86400000000000)";
  const std::string found = Ask("SELECT count(*) FROM traces WHERE " + day + " AND shout(service_name, '!') = service_name || '!'", &stats);
  EXPECT_EQ(found, Ask("SELECT count(*) FROM traces WHERE " + day));
  EXPECT_EQ(found, "800\n");
  EXPECT_EQ(stats.parts_pruned, 3);
}

TEST_F(FunctionCalls, MayBeInViewsAndMacros) {
  Ask("CREATE TABLE t (g BIGINT, a BIGINT)");
  Ask("CREATE VIEW v AS SELECT g, tally(ten_more(a)) AS n FROM t GROUP BY g");
  Ask("CREATE MACRO twenty_more(x) AS ten_more(ten_more(x))");
  Ask("CREATE MATERIALIZED VIEW m AS SELECT g, tally(a) AS n FROM t GROUP BY g");
  Ask("INSERT INTO t VALUES (1, 1), (1, 2), (2, NULL)");
  Ask("INSERT INTO t VALUES (1, 3)");
  EXPECT_EQ(Ask("FROM v ORDER BY g"), "1,36003\n2,\n");
  EXPECT_EQ(Ask("FROM m ORDER BY g"), "1,6003\n2,\n");
  EXPECT_EQ(Ask("SELECT twenty_more(1)"), "21\n");
  EXPECT_THAT(Refusal("CREATE MACRO ten_more(a) AS a").message(), HasSubstr("built in"));
  EXPECT_THAT(Refusal("CREATE MACRO tally(a) AS a").message(), HasSubstr("built in"));
  Open({.threads = 1});
  EXPECT_THAT(Refusal("FROM v").message(), HasSubstr("does not exist")) << "of a program that does not have it";
}

TEST_F(FunctionCalls, ThatCannotBeAreRefused) {
  const auto error = [this](FunctionSignature signature, bool something = true) {
    auto functions = std::make_shared<Functions>();
    functions->scalars.push_back({.signature = std::move(signature), .compute = nullptr});
    if (something) functions->scalars[0].compute = [](const Arrays& arguments, int64_t) -> Answer { return arguments[0]; };
    return Engine::Open(&database_, {.threads = 1, .functions = functions}).status();
  };
  const auto number = arrow::int64();
  for (const char* name :
       {"abs", "sum", "generate_series", "list_append", "contains_token", "read_csv", "find_trace", "ohlc", "check_argument"}) {
    const Status refused = error({.name = name, .arguments = {number}, .result = number});
    EXPECT_EQ(KindOf(refused), ErrorKind::kInvalid) << name;
    EXPECT_THAT(refused.message(), HasSubstr("is built in")) << name;
  }
  for (const char* name : {"", "a b", "Upper", "select", "range", "nullif", "1st", "a.b"}) {
    EXPECT_THAT(error({.name = name, .arguments = {number}, .result = number}).message(), HasSubstr("cannot be named")) << name;
  }
  EXPECT_EQ(KindOf(error({.name = "f", .arguments = {number}, .result = number}, false)), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(error({.name = "f", .arguments = {nullptr}, .result = number})), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(error({.name = "f", .arguments = {number}, .result = nullptr})), ErrorKind::kInvalid);
  for (const auto& type : {arrow::large_utf8(), arrow::dictionary(arrow::int32(), arrow::utf8()), arrow::fixed_size_binary(5),
                           arrow::float16(), arrow::date64(), arrow::list(arrow::large_binary())}) {
    EXPECT_EQ(KindOf(error({.name = "f", .arguments = {type}, .result = number})), ErrorKind::kUnsupported) << type->ToString();
    EXPECT_EQ(KindOf(error({.name = "f", .arguments = {number}, .result = type})), ErrorKind::kUnsupported) << type->ToString();
  }
  auto twice = std::make_shared<Functions>();
  twice->scalars = {Same("f", number)};
  twice->aggregates = {std::make_shared<Tally>("f")};
  EXPECT_THAT(Engine::Open(&database_, {.threads = 1, .functions = twice}).status().message(), HasSubstr("given twice"));
}

}  // namespace
}  // namespace sheaf::query
