#include "serve/http_api.h"

#include <string>

#include <arrow/buffer.h>
#include <arrow/builder.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/memory.h"
#include "serve/service_testing.h"
#include "wire/compression.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;

std::shared_ptr<arrow::RecordBatch> Numbers(int64_t first, int64_t rows) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(builder.Append(first + i).ok());
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("n", arrow::int64())}), rows, {builder.Finish().ValueOrDie()});
}

class HttpApiTest : public testing::Test {
 protected:
  HttpApiTest() : api_(&engine_, &database_, {.statements_max = 2, .retry_after_ms = 2000}) {
    api_.Register(&transport_, "http");
    engine_.batches = {Numbers(1, 3)};
  }

  std::shared_ptr<FakeExchange> Send(const std::string& sql, Headers headers = {}, const std::string& query = {}) {
    return transport_.Http("http", "POST", "/v1/sql", std::move(headers), sql, query);
  }

  FakeEngine engine_;
  FakeDatabase database_;
  FakeTransport transport_;
  HttpApi api_;
};

TEST_F(HttpApiTest, SmallResultsLeaveWhole) {
  const auto answer = Send("select n from t", {{"x-request-id", "mine-1"}})->answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(answer.streamed);
  EXPECT_EQ(answer.header("content-type"), query::MediaType(query::Format::kJson));
  EXPECT_EQ(answer.header("x-request-id"), "mine-1");
  EXPECT_TRUE(nlohmann::json::accept(answer.body)) << answer.body;
  EXPECT_EQ(engine_.last.sql, "select n from t");
  EXPECT_FALSE(engine_.last.trusted);
}

TEST_F(HttpApiTest, RequestIdsThatCouldBreakALogAreReplaced) {
  EXPECT_EQ(Send("x", {{"x-request-id", "a b\n"}})->answer().header("x-request-id").size(), 16u);
  EXPECT_EQ(Send("x")->answer().header("x-request-id").size(), 16u);
}

TEST_F(HttpApiTest, LargeResultsAreStreamed) {
  engine_.batches = {Numbers(0, 50'000), Numbers(50'000, 50'000)};
  const auto answer = Send("x", {}, "format=csv")->answer();
  EXPECT_TRUE(answer.streamed);
  EXPECT_TRUE(answer.ended);
  EXPECT_GT(answer.writes, 3);
  EXPECT_THAT(answer.body, HasSubstr("99999"));
}

TEST_F(HttpApiTest, CompressesWhatIsNotTiny) {
  EXPECT_EQ(Send("x", {{"accept-encoding", "gzip"}}, "format=csv")->answer().header("content-encoding"), "");
  engine_.batches = {Numbers(0, 2000)};
  const auto whole = Send("x", {{"accept-encoding", "gzip"}}, "format=csv")->answer();
  EXPECT_EQ(whole.header("content-encoding"), "gzip");
  EXPECT_FALSE(whole.streamed);
  engine_.batches = {Numbers(0, 100'000)};
  const std::string plain = Send("x", {}, "format=csv")->answer().body;
  const auto streamed = Send("x", {{"accept-encoding", "zstd"}}, "format=csv")->answer();
  EXPECT_TRUE(streamed.streamed);
  EXPECT_EQ(streamed.header("content-encoding"), "zstd");
  const auto inflated = wire::Inflate(wire::Encoding::kZstd, std::as_bytes(std::span(streamed.body.data(), streamed.body.size())), {});
  ASSERT_TRUE(inflated.ok()) << inflated.status().ToString();
  EXPECT_TRUE(inflated->view() == plain);
}

TEST_F(HttpApiTest, ErrorsAreJsonWithTheCodeOfTheTable) {
  const struct {
    ErrorKind kind;
    int http;
    const char* code;
    const char* retry_after;
  } rows[] = {
      {ErrorKind::kInvalid, 400, "invalid", ""},           {ErrorKind::kDenied, 403, "denied", ""},
      {ErrorKind::kNotFound, 404, "not_found", ""},        {ErrorKind::kTimeout, 408, "timeout", ""},
      {ErrorKind::kTooLarge, 413, "too_large", ""},        {ErrorKind::kThrottled, 429, "throttled", "2"},
      {ErrorKind::kOutOfMemory, 503, "out_of_memory", "2"}, {ErrorKind::kUnavailable, 503, "unavailable", "2"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.code);
    engine_.refuse = MakeError(row.kind, "because \"so\"");
    const auto answer = Send("x")->answer();
    EXPECT_EQ(answer.status, row.http);
    EXPECT_EQ(answer.header("content-type"), "application/json");
    EXPECT_EQ(answer.header("retry-after"), row.retry_after);
    EXPECT_NE(answer.header("x-request-id"), "");
    const auto error = nlohmann::json::parse(answer.body)["error"];
    EXPECT_EQ(error["code"], row.code);
    EXPECT_EQ(error["message"], "because \"so\"");
    EXPECT_TRUE(error.contains("position"));
  }
}

TEST_F(HttpApiTest, ErrorsBeforeTheFirstBytesStillHaveTheirCode) {
  engine_.end = MakeError(ErrorKind::kTimeout, "late");
  const auto answer = Send("x")->answer();
  EXPECT_EQ(answer.status, 408);
  EXPECT_FALSE(answer.streamed);
}

TEST_F(HttpApiTest, ErrorsAfterThatEndTheAnswerVisiblyBroken) {
  engine_.batches = {Numbers(0, 100'000)};
  engine_.end = MakeError(ErrorKind::kCorruption, "part 7 is damaged");
  const auto answer = Send("x")->answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.aborted);
  EXPECT_FALSE(answer.ended);
}

TEST_F(HttpApiTest, GoneClientStopsTheStatement) {
  engine_.batches = {Numbers(0, 100'000), Numbers(0, 100'000)};
  const auto exchange = std::make_shared<FakeExchange>("POST", "/v1/sql", Headers{}, "x");
  exchange->CancelAtWrite(2);
  api_.Sql(exchange);
  EXPECT_EQ(engine_.cancelled, 1);
  EXPECT_FALSE(exchange->answer().ended);
  EXPECT_EQ(exchange->answer().writes, 2);
}

TEST_F(HttpApiTest, TooManyStatementsAtOnceAreTurnedAway) {
  int depth = 0;
  std::vector<int> codes;
  engine_.before_next = [&] {
    if (++depth < 4) codes.push_back(Send("x")->answer().status);  // A statement inside a statement: two at once, then three.
  };
  Send("x");
  EXPECT_THAT(codes, testing::Contains(429));
  engine_.before_next = nullptr;
  EXPECT_EQ(Send("x")->answer().status, 200) << "those turned away hold no place";
}

TEST_F(HttpApiTest, MetricsShowTheDatabase) {
  database_.stats.durable = Lsn(42);
  database_.stats.parts = 7;
  database_.stats.seals = 3;
  database_.stats.writable = false;
  const auto answer = transport_.Http("http", "GET", "/metrics")->answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.header("content-type"), HasSubstr("text/plain; version=0.0.4"));
  for (const char* line : {"sheaf_durable_lsn 42\n", "sheaf_parts 7\n", "sheaf_seals_total 3\n", "sheaf_writable 0\n",
                           "sheaf_connections 3\n"}) {
    EXPECT_THAT(answer.body, HasSubstr(line));
  }
  database_.stats.seals = 5;
  EXPECT_THAT(transport_.Http("http", "GET", "/metrics")->answer().body, HasSubstr("sheaf_seals_total 5\n"));
}

TEST_F(HttpApiTest, MetricsShowWhoHoldsMemory) {
  const auto held = arrow::AllocateBuffer(1000, &NamedPool("http_api_test")).ValueOrDie();
  const std::string body = transport_.Http("http", "GET", "/metrics")->answer().body;
  EXPECT_THAT(body, HasSubstr("sheaf_memory_bytes{component=\"http_api_test\"} 1024\n"));
  EXPECT_THAT(body, HasSubstr("sheaf_memory_peak_bytes{component=\"http_api_test\"} 1024\n"));
  EXPECT_THAT(body, HasSubstr("sheaf_memory_allocations_total{component=\"http_api_test\"} 1\n"));
}

TEST_F(HttpApiTest, WhatTheTransportRefusesIsWordedTheSame) {
  const struct {
    int status;
    const char* code;
  } rows[] = {{400, "invalid"}, {403, "denied"}, {404, "not_found"}, {405, "invalid"}, {408, "timeout"},
              {413, "too_large"}, {415, "invalid"}, {431, "too_large"}, {501, "unsupported"}, {503, "unavailable"}};
  for (const auto& row : rows) {
    const ErrorBody body = transport_.error_formatters.at("http")({.status = row.status, .reason = "so \xff"});
    EXPECT_EQ(body.content_type, "application/json");
    const auto error = nlohmann::json::parse(body.bytes)["error"];
    EXPECT_EQ(error["code"], row.code) << row.status;
    EXPECT_EQ(error["message"], "so ?");
    EXPECT_TRUE(error["position"].is_null());
  }
}

TEST_F(HttpApiTest, PathsOfLaterWorkSaySo) {
  const auto answer = transport_.Http("http", "GET", "/v1/subscribe")->answer();
  EXPECT_EQ(answer.status, 501);
  EXPECT_EQ(nlohmann::json::parse(answer.body)["error"]["code"], "unsupported");
  EXPECT_THAT(transport_.Http("http", "GET", "/")->answer().body, HasSubstr("/v1/sql"));
}

}  // namespace
}  // namespace sheaf::serve
