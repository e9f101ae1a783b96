/// Attributes that parts keep as columns of their own: they are read and pruned by, and sheaf.attributes tells of them.

#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"
#include "io/posix.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// A trace of spans with a route each, and further attributes.
std::string Spans(const std::string& service, int first, int count, const std::string& attributes) {
  std::string spans;
  for (int i = first; i < first + count; ++i) {
    spans += fmt::format(R"({}{{"traceId":"{:032x}","spanId":"{:016x}","name":"n","startTimeUnixNano":"{}","attributes":[
                         {{"key":"route","value":{{"stringValue":"/{}/{}"}}}}{}]}})",
                         spans.empty() ? "" : ",", 1 + i / 10, i + 1, 1'700'000'000'000'000'000 + i, service, i % 5, attributes);
  }
  return fmt::format(R"({{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{}"}}}}]}},
                     "scopeSpans":[{{"spans":[{}]}}]}}]}})", service, spans);
}

class Attributes : public ::testing::Test {
 protected:
  std::string Run(const std::string& sql) {
    stats_ = {};
    const auto answer = RunToText(stored_.engine(), {.sql = sql, .trusted = true}, Format::kNdjson, &stats_);
    EXPECT_TRUE(answer.ok()) << sql << "\n" << answer.status().ToString();
    return answer.ok() ? *answer : answer.status().ToString();
  }
  std::string Count(const std::string& condition) { return Run("SELECT count(name) AS n FROM traces WHERE " + condition); }
  void AddPart(const std::string& json) {
    Append(json);
    const Status sealed = stored_.database()->Flush();
    ASSERT_TRUE(sealed.ok()) << sealed.ToString();
  }
  void Append(const std::string& json) {
    const auto table = stored_.database()->FindTable("otel", "traces");
    ASSERT_TRUE(table.ok());
    const auto lsn = stored_.database()->Append({{(*table)->id, BatchFromOtlpJson(decode::Signal::kTraces, json)}});
    ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
  }
  /// Two parts, of shop and of db, hot or cold: each by itself, since hot ones that become cold together become one.
  void AddParts(bool cold) {
    for (const std::string& spans : {Spans("shop", 0, 100, R"(,{"key":"cart","value":{"intValue":"7"}})"),
                                     Spans("db", 100, 300, R"(,{"key":"system","value":{"stringValue":"postgres"}})")}) {
      AddPart(spans);
      const Status passed = cold ? stored_.Pass(StoredDatabase::Event::kCold) : Status::OK();
      ASSERT_TRUE(passed.ok()) << passed.ToString();
    }
  }

  io::TemporaryFolder folder_;
  StoredDatabase stored_{io::PosixFileSystem(), folder_.path() + "/db"};
  QueryStats stats_;
};

class AttributesOfParts : public Attributes, public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Formats, AttributesOfParts, ::testing::Bool(), [](const auto& info) { return info.param ? "Cold" : "Hot"; });

TEST_P(AttributesOfParts, RuleOutPartsByTheirColumns) {
  AddParts(GetParam());
  EXPECT_EQ(Count("attributes['route'] = '/shop/3'"), "{\"n\":20}\n");
  EXPECT_EQ(stats_.parts_pruned, 1);
  EXPECT_EQ(stats_.rows_scanned, 100);
  EXPECT_EQ(Count("attributes['route'] = '/shop/30'"), "{\"n\":0}\n");
  EXPECT_EQ(stats_.rows_scanned, 0) << "between those that are there, and not in the filter";
  EXPECT_EQ(Count("attributes['route'] < '/e'"), "{\"n\":300}\n");
  EXPECT_EQ(stats_.parts_pruned, 1);
  EXPECT_EQ(Count("attributes['system'] = 'postgres'"), "{\"n\":300}\n");
  EXPECT_EQ(stats_.parts_pruned, 1) << "no row of the shop has one";
  EXPECT_EQ(Count("attributes['absent'] = 'x'"), "{\"n\":0}\n");
  EXPECT_EQ(stats_.parts_pruned, 2);
  EXPECT_EQ(Count("attributes['system'] IS NULL"), "{\"n\":100}\n");
  EXPECT_EQ(Count("attributes['cart']::INT = 7 AND attributes['route'] IN ('/shop/1', '/db/1')"), "{\"n\":20}\n");
}

TEST_P(AttributesOfParts, AreReadWithoutTheirList) {
  AddParts(GetParam());
  EXPECT_EQ(Run("SELECT count(DISTINCT attributes['route']) AS n FROM traces"), "{\"n\":10}\n");
  const int64_t by_column = stats_.bytes_read;
  EXPECT_EQ(Run("SELECT count(attributes) AS n FROM traces WHERE length(attributes::VARCHAR) > 0"), "{\"n\":400}\n");
  EXPECT_LT(by_column * 2, stats_.bytes_read);
  EXPECT_THAT(Run("EXPLAIN ANALYZE SELECT name FROM traces WHERE attributes['route'] = '/db/1'"),
              AllOf(HasSubstr("pruned 1 of 2 parts"), HasSubstr("attributes['route'] (")));
}

TEST_P(AttributesOfParts, AreListed) {
  AddParts(GetParam());
  Append(Spans("late", 500, 1, ""));
  EXPECT_EQ(Run("SELECT * FROM sheaf.attributes ORDER BY key"),
            "{\"table_name\":\"otel.traces\",\"column_name\":\"attributes\",\"key\":\"cart\",\"types\":\"int\",\"values\":100,\"parts\":1,"
            "\"parts_with_column\":1}\n"
            "{\"table_name\":\"otel.traces\",\"column_name\":\"attributes\",\"key\":\"route\",\"types\":\"string\",\"values\":400,"
            "\"parts\":2,\"parts_with_column\":2}\n"
            "{\"table_name\":\"otel.traces\",\"column_name\":\"attributes\",\"key\":\"system\",\"types\":\"string\",\"values\":300,"
            "\"parts\":1,\"parts_with_column\":1}\n");
}

TEST_F(Attributes, InMemoryAndInPartsAreOneColumn) {
  AddPart(Spans("shop", 0, 50, ""));
  Append(Spans("shop", 50, 50, R"(,{"key":"fresh","value":{"boolValue":true}})"));
  EXPECT_EQ(Count("attributes['route'] = '/shop/4'"), "{\"n\":20}\n");
  EXPECT_EQ(Count("attributes['fresh'] = 'true'"), "{\"n\":50}\n");
  EXPECT_EQ(Run("SELECT attributes['fresh'] AS fresh, count(*) AS n FROM traces GROUP BY 1 ORDER BY 1"),
            "{\"fresh\":\"true\",\"n\":50}\n{\"fresh\":null,\"n\":50}\n");
}

}  // namespace
}  // namespace sheaf::query
