#include "query/time_buckets.h"

#include <random>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// Both ends of what TIMESTAMP_NS holds, both sides of 1970 and of buckets' edges, and three thousand more.
constexpr char kTimes[] = R"(
WITH times AS (
  SELECT t FROM (VALUES ('1677-09-22'::TIMESTAMP_NS), ('1969-12-31 23:59:59.999999999'), ('1969-12-31 23:59:59.9999995'),
    ('1969-12-31 23:59:59.999'), ('1970-01-01'), ('1970-01-01 00:00:00.000000001'), ('1999-12-31 23:59:59.999999999'), ('2000-01-03'),
    ('2026-11-28 00:59:59.999999999'), ('2026-11-28 01:00:00'), ('2026-11-29 23:59:59.999999999'), ('2026-11-30'),
    ('2262-04-11 23:47:16.854775806'), ('infinity'), ('-infinity'), (NULL)) AS named(t)
  UNION ALL
  SELECT make_timestamp_ns(CASE WHEN i % 2 = 0 THEN ns ELSE -ns END)
  FROM (SELECT i, (hash(i) % 9200000000000000000)::BIGINT AS ns FROM range(3000) AS r(i)))
)";

/// {} is the time. DuckDB calls its own functions where that is no cast alone.
constexpr const char* kCalls[] = {
    "time_bucket(INTERVAL 1 microsecond, {})",
    "time_bucket(INTERVAL 7 milliseconds, {})",
    "time_bucket(INTERVAL 1 second, {})",
    "time_bucket(INTERVAL 1 minute, {})",
    "time_bucket('90 minutes'::INTERVAL, {})",
    "time_bucket(INTERVAL 1 hour, {})",
    "time_bucket(INTERVAL 1 day, {})",
    "time_bucket(INTERVAL 100 days, {})",
    "date_trunc('second', {})",
    "date_trunc('minute', {})",
    "date_trunc('HOURS', {})",
    "date_trunc('day', {})",
    "date_trunc('week', {})",
};
constexpr const char* kOtherCalls[] = {
    "time_bucket(INTERVAL 1 month, {})",
    "date_trunc('month', {})",
    "date_trunc('millisecond', {})",
    "time_bucket(INTERVAL 9999999 days, {})",
    "time_bucket(INTERVAL 1 hour, {}, INTERVAL 5 minutes)",
};
constexpr char kOurs[] = "t", kTheirs[] = "t::TIMESTAMP + INTERVAL 0 seconds";

class TimeBucketsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937_64 random(1);
    database_.Add(decode::Signal::kTraces, RandomSpans(100, 5, 1'700'000'000'000'000'000, &random));
    engine_ = Engine::Open(&database_, {.threads = 2}).ValueOrDie();
  }

  std::string Run(const std::string& sql) {
    const auto text = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson);
    return text.ok() ? *text : text.status().ToString();
  }
  static std::string On(const char* call, const char* time) { return fmt::format(fmt::runtime(call), time); }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(TimeBucketsTest, AnswersAreDuckDbs) {
  for (const char* call : kCalls) {
    EXPECT_EQ(Run(fmt::format("{}SELECT count(*) AS n FROM times WHERE {} IS DISTINCT FROM {}", kTimes, On(call, kOurs),
                              On(call, kTheirs))),
              "{\"n\":0}\n")
        << call;
    EXPECT_EQ(Run(fmt::format("{}SELECT count(*) AS n FROM times WHERE t > '1700-01-01' AND ({})::TIMESTAMP_NS IS DISTINCT FROM "
                              "({})::TIMESTAMP_NS",
                              kTimes, On(call, kOurs), On(call, kTheirs))),
              "{\"n\":0}\n")
        << call;
    EXPECT_EQ(Run(fmt::format("{}SELECT typeof({}) AS t, typeof(({})::TIMESTAMP_NS) AS ns FROM times LIMIT 1", kTimes,
                              On(call, kOurs), On(call, kOurs))),
              "{\"t\":\"TIMESTAMP\",\"ns\":\"TIMESTAMP_NS\"}\n")
        << call;
  }
}

TEST_F(TimeBucketsTest, ErrorsAreDuckDbs) {
  const std::string first = "SELECT ({})::TIMESTAMP_NS AS t FROM (VALUES ('1677-09-22'::TIMESTAMP_NS)) AS named(t)";
  const std::string call = "time_bucket(INTERVAL 100 days, {})";
  const std::string theirs = Run(fmt::format(fmt::runtime(first), On(call.c_str(), kTheirs)));
  EXPECT_THAT(theirs, HasSubstr("Could not convert"));
  EXPECT_EQ(Run(fmt::format(fmt::runtime(first), On(call.c_str(), kOurs))), theirs);
}

TEST_F(TimeBucketsTest, CastsGoWhereWidthsAreConstantAndAlwaysTakeTheSameTime) {
  const auto plan = [&](const char* call) {
    return Run(fmt::format("EXPLAIN SELECT ({})::TIMESTAMP_NS FROM (SELECT start_time AS t FROM traces)", On(call, kOurs)));
  };
  for (const char* call : kCalls) EXPECT_THAT(plan(call), Not(HasSubstr("CAST"))) << call;
  for (const char* call : kOtherCalls) EXPECT_THAT(plan(call), HasSubstr("CAST")) << call;
}

}  // namespace
}  // namespace sheaf::query
