#include "serve/sql_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/service_testing.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;

Result<SqlRequest> Parse(const std::string& body, const std::string& type = "text/plain", const std::string& query = {},
                         const std::string& accept = {}, SqlRequestLimits limits = {}) {
  const FakeExchange exchange("POST", "/v1/sql", {{"content-type", type}, {"accept", accept}}, body, query);
  return ParseSqlRequest(exchange.request, limits);
}

TEST(SqlRequest, TakesTextAndJson) {
  EXPECT_EQ(Parse("select 1", "text/plain")->query.sql, "select 1");
  EXPECT_EQ(Parse("select 1", "application/x-www-form-urlencoded")->query.sql, "select 1") << "what curl --data sends";
  const auto json = Parse(R"({"sql":"select ?","params":[null,true,-5,1.5,"x"],"timeout_ms":250})", "application/json; charset=utf-8");
  ASSERT_TRUE(json.ok()) << json.status().ToString();
  EXPECT_EQ(json->query.sql, "select ?");
  EXPECT_EQ(json->query.timeout_ms, 250);
  EXPECT_EQ(json->query.parameters, (std::vector<query::Parameter>{std::monostate(), true, int64_t{-5}, 1.5, std::string("x")}));
}

TEST(SqlRequest, ATimeoutMayBeAWholeNumberWithAPoint) {
  EXPECT_EQ(Parse(R"({"sql":"x","timeout_ms":250.0})", "application/json")->query.timeout_ms, 250);
}

TEST(SqlRequest, IsNeverTrusted) {
  EXPECT_FALSE(Parse("select 1")->query.trusted);
  EXPECT_FALSE(Parse(R"({"sql":"x","trusted":true})", "application/json").ok());
}

TEST(SqlRequest, TheQueryStringChoosesFormatAndTimeout) {
  const auto request = Parse("select 1", "text/plain", "timeout_ms=100&format=csv", "application/x-ndjson");
  ASSERT_TRUE(request.ok()) << request.status().ToString();
  EXPECT_EQ(request->format, query::Format::kCsv);
  EXPECT_EQ(request->query.timeout_ms, 100);
  EXPECT_EQ(Parse("x", "", "timeout_ms=999999", "", {.timeout_ms_max = 500})->query.timeout_ms, 500);
  EXPECT_EQ(Parse("x", "", "", "", {.timeout_ms_max = 500})->query.timeout_ms, -1) << "the engine's default";
}

TEST(SqlRequest, SaysWhatIsWrong) {
  const struct {
    const char* name;
    Result<SqlRequest> got;
    ErrorKind kind;
    const char* message;
  } rows[] = {
      {"NotJson", Parse("{", "application/json"), ErrorKind::kInvalid, "not JSON"},
      {"NoSql", Parse("{}", "application/json"), ErrorKind::kInvalid, "\"sql\""},
      {"UnknownKey", Parse(R"({"sql":"x","parms":[]})", "application/json"), ErrorKind::kInvalid, "unknown key \"parms\""},
      {"NestedParameter", Parse(R"({"sql":"x","params":[1,[[2]]]})", "application/json"), ErrorKind::kInvalid, "params[1][0]"},
      {"TimeoutText", Parse(R"({"sql":"x","timeout_ms":"9"})", "application/json"), ErrorKind::kInvalid, "timeout_ms"},
      {"TimeoutFraction", Parse(R"({"sql":"x","timeout_ms":1.5})", "application/json"), ErrorKind::kInvalid, "timeout_ms"},
      {"HugeParameter", Parse(R"({"sql":"x","params":[18446744073709551615]})", "application/json"), ErrorKind::kInvalid, "params[0]"},
      {"Deep", Parse(std::string(100'000, '['), "application/json"), ErrorKind::kInvalid, "nests too deeply"},
      {"NotUtf8", Parse("select '\xff'"), ErrorKind::kInvalid, "UTF-8"},
      {"Format", Parse("x", "", "format=xml"), ErrorKind::kInvalid, "xml"},
      {"Accept", Parse("x", "", "", "image/png"), ErrorKind::kInvalid, "application/vnd.apache.arrow.stream"},
      {"Timeout", Parse("x", "", "timeout_ms=soon"), ErrorKind::kInvalid, "timeout_ms"},
      {"TimeoutZero", Parse("x", "", "timeout_ms=0"), ErrorKind::kInvalid, "timeout_ms"},
      {"Percent", Parse("x", "", "format=%zz"), ErrorKind::kInvalid, "percent-encoded"},
      {"LongSql", Parse("select 12345", "", "", "", {.sql_bytes_max = 10}), ErrorKind::kTooLarge, "12 bytes; the limit is 10"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    ASSERT_FALSE(row.got.ok());
    EXPECT_EQ(KindOf(row.got.status()), row.kind);
    EXPECT_THAT(row.got.status().message(), HasSubstr(row.message));
  }
}

TEST(SqlRequest, AcceptPicksTheFormatLikedBest) {
  const struct {
    const char* accept;
    query::Format format;
  } rows[] = {
      {"", query::Format::kJson},
      {"*/*", query::Format::kJson},
      {"text/csv", query::Format::kCsv},
      {"application/vnd.apache.arrow.stream", query::Format::kArrow},
      {"application/vnd.apache.parquet;q=0.5, application/x-ndjson;q=0.9", query::Format::kNdjson},
      {"image/png, text/csv;q=0.1", query::Format::kCsv},
      {"text/html,application/xhtml+xml,*/*;q=0.8", query::Format::kJson},
      {"text/csv;q=0, */*", query::Format::kJson},
      {"Application/JSON; charset=utf-8", query::Format::kJson},
      {"application/json;q=0, */*", query::Format::kNdjson},
      {"application/*;q=0.2, text/csv;q=0.1, application/vnd.apache.parquet;q=0.3", query::Format::kParquet},
      {"*/*;q=0.1, text/*", query::Format::kCsv},
      {"text/csv;q=0, text/*", query::Format::kTable},
      {"text/csv, application/json", query::Format::kCsv},
      {"application/x-ndjson;q=0.5, text/csv;q=0.5, image/png", query::Format::kNdjson},
  };
  for (const auto& row : rows) {
    const auto format = ChooseFormat(row.accept);
    ASSERT_TRUE(format.ok()) << row.accept;
    EXPECT_EQ(*format, row.format) << row.accept;
  }
}

TEST(QueryValue, DecodesAndTellsMissingFromEmpty) {
  EXPECT_EQ(QueryValue("a=1&b=x%20y+z&c", "b").ValueOrDie(), "x y z");
  EXPECT_EQ(QueryValue("a=1&b", "b").ValueOrDie(), "");
  EXPECT_EQ(QueryValue("a=1", "b").ValueOrDie(), std::nullopt);
  EXPECT_EQ(QueryValue("", "b").ValueOrDie(), std::nullopt);
}

}  // namespace
}  // namespace sheaf::serve
