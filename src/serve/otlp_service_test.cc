#include "serve/otlp_service.h"

#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include "core/hex.h"
#include "serve/service_testing.h"
#include "wire/nested_writer.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;
using wire::OtlpRequest;

constexpr const char* kTraceExport = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
constexpr const char* kLogsExport = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
constexpr const char* kMetricsExport = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

std::string Spans(int good, int bad) {
  std::string spans;
  for (int i = 0; i < good + bad; ++i) {
    spans += fmt::format(R"({}{{"traceId":"{}","spanId":"eee19b7ec3c1b174","name":"s"}})", i > 0 ? "," : "",
                         i < good ? "5b8efff798038103d269b633813fc60c" : "00");
  }
  return R"({"resourceSpans":[{"scopeSpans":[{"spans":[)" + spans + "]}]}]}";
}

std::string Protobuf(OtlpRequest kind, const std::string& json) {
  std::string bytes;
  const Status status = wire::OtlpJsonToProtobuf(kind, json, &bytes);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return bytes;
}

class OtlpServiceTest : public testing::Test {
 protected:
  OtlpServiceTest() {
    auto made = OtlpService::Make(&database_, {.retry_after_ms = 2500, .overloaded = [this] { return overloaded_; }});
    service_ = std::move(*made);
    service_->Register(&transport_, "otlp_grpc", "otlp_http");
  }

  FakeExchange::Answer Post(const std::string& path, const std::string& type, const std::string& body) {
    return transport_.Http("otlp_http", "POST", path, {{"content-type", type}}, body)->answer();
  }

  FakeDatabase database_;
  FakeTransport transport_;
  bool overloaded_ = false;
  std::unique_ptr<OtlpService> service_;
};

TEST_F(OtlpServiceTest, GrpcAnswersOnlyWhenTheRowsAreDurable) {
  database_.answer.reset();
  const auto call = transport_.Grpc(kTraceExport, Protobuf(OtlpRequest::kTraces, Spans(3, 0)));
  EXPECT_EQ(database_.rows["traces"], 3);
  EXPECT_FALSE(call->status);
  EXPECT_EQ(call->message, nullptr) << "the message's memory is given back while the log works";
  database_.Release(Lsn(1));
  EXPECT_EQ(call->status->code, GrpcCode::kOk);
  EXPECT_EQ(call->replies[0], "");
}

TEST_F(OtlpServiceTest, FailedSyncIsUnavailableWithRetryInfo) {
  database_.answer = MakeError(ErrorKind::kUnknown, "sync failed");
  const auto call = transport_.Grpc(kTraceExport, Protobuf(OtlpRequest::kTraces, Spans(1, 0)));
  EXPECT_EQ(call->status->code, GrpcCode::kUnavailable);
  EXPECT_NE(call->status->details, "");
}

TEST_F(OtlpServiceTest, EverySignalHasItsTable) {
  const std::string logs = Protobuf(OtlpRequest::kLogs, R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{}]}]}]})");
  const std::string metrics = Protobuf(OtlpRequest::kMetrics, R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[
      {"name":"a","gauge":{"dataPoints":[{"asInt":"1"}]}}, {"name":"b","sum":{"dataPoints":[{"asInt":"1"},{"asInt":"2"}]}},
      {"name":"c","histogram":{"dataPoints":[{"count":"0"}]}}]}]}]})");
  EXPECT_EQ(transport_.Grpc(kLogsExport, logs)->status->code, GrpcCode::kOk);
  EXPECT_EQ(transport_.Grpc(kMetricsExport, metrics)->status->code, GrpcCode::kOk);
  EXPECT_EQ(database_.rows["logs"], 2);
  EXPECT_EQ(database_.rows["metrics_gauge"], 1);
  EXPECT_EQ(database_.rows["metrics_sum"], 2);
  EXPECT_EQ(database_.rows["metrics_histogram"], 1);
  EXPECT_EQ(database_.appends, 2) << "one request is one entry of the log";
}

TEST_F(OtlpServiceTest, EmptyRequestsSucceedWithoutAnAppend) {
  for (const char* path : {kTraceExport, kLogsExport, kMetricsExport}) {
    EXPECT_EQ(transport_.Grpc(path, "")->status->code, GrpcCode::kOk);
  }
  EXPECT_EQ(Post("/v1/traces", "application/json", "{}").body, "{}");
  EXPECT_EQ(Post("/v1/logs", "application/x-protobuf", "").status, 200);
  EXPECT_EQ(database_.appends, 0);
}

TEST_F(OtlpServiceTest, BadSpansAreCountedAndTheRestIsKept) {
  const auto call = transport_.Grpc(kTraceExport, Protobuf(OtlpRequest::kTraces, Spans(2, 3)));
  EXPECT_EQ(call->status->code, GrpcCode::kOk);
  EXPECT_THAT(ToHex(call->replies[0]),
              testing::ContainsRegex("^0a..080312"));  // partial_success { rejected_spans: 3 error_message …
  EXPECT_EQ(database_.rows["traces"], 2);

  const auto answer = Post("/v1/traces", "application/json", Spans(0, 1));
  EXPECT_EQ(answer.status, 200);
  const auto json = nlohmann::json::parse(answer.body);
  EXPECT_EQ(json["partialSuccess"]["rejectedSpans"], "1");
  EXPECT_NE(json["partialSuccess"]["errorMessage"], "");
  EXPECT_EQ(database_.appends, 1);
}

TEST_F(OtlpServiceTest, HttpAnswersInTheTypeOfTheRequest) {
  const auto json = Post("/v1/traces", "application/json; charset=utf-8", Spans(1, 0));
  EXPECT_EQ(json.status, 200);
  EXPECT_EQ(json.header("content-type"), "application/json");
  EXPECT_EQ(json.body, "{}");
  const auto protobuf = Post("/v1/traces", "application/x-protobuf", Protobuf(OtlpRequest::kTraces, Spans(1, 0)));
  EXPECT_EQ(protobuf.status, 200);
  EXPECT_EQ(protobuf.header("content-type"), "application/x-protobuf");
  EXPECT_EQ(protobuf.body, "");
  EXPECT_EQ(database_.rows["traces"], 2);
}

TEST_F(OtlpServiceTest, HttpErrorsAreStatusMessagesInTheTypeOfTheRequest) {
  const auto json = Post("/v1/traces", "application/json", R"({"resourceSpans":5})");
  EXPECT_EQ(json.status, 400);
  EXPECT_EQ(json.header("content-type"), "application/json");
  const auto parsed = nlohmann::json::parse(json.body);
  EXPECT_EQ(parsed["code"], 3);
  EXPECT_THAT(parsed["message"].get<std::string>(), HasSubstr("resourceSpans must be an array"));

  const auto protobuf = Post("/v1/traces", "application/x-protobuf", "\x0a\x05");
  EXPECT_EQ(protobuf.status, 400);
  EXPECT_EQ(protobuf.header("content-type"), "application/x-protobuf");
  EXPECT_EQ(protobuf.body.substr(0, 2), "\x08\x03");

  const auto other = Post("/v1/traces", "text/plain", "x");
  EXPECT_EQ(other.status, 415);
}

TEST_F(OtlpServiceTest, WhatTheTransportRefusesIsAStatusMessageToo) {
  const ErrorFormatter& format = transport_.error_formatters.at("otlp_http");
  const auto json = format({.status = 413, .content_type = "application/json; charset=utf-8", .reason = "too large: \xff"});
  EXPECT_EQ(json.content_type, "application/json");
  EXPECT_EQ(nlohmann::json::parse(json.bytes), nlohmann::json({{"code", 8}, {"message", "too large: ?"}}));
  const auto protobuf = format({.status = 400, .content_type = "application/x-protobuf", .reason = "torn"});
  EXPECT_EQ(protobuf.content_type, "application/x-protobuf");
  EXPECT_EQ(protobuf.bytes, "\x08\x03\x12\x04torn");
  const auto later = format({.status = 503, .content_type = "application/x-protobuf", .reason = "full", .retry_after_ms = 1000});
  EXPECT_EQ(later.bytes, EncodeRpcStatus(GrpcCode::kUnavailable, "full", 1000));
  EXPECT_EQ(format({.status = 415, .reason = "of no known type"}).content_type, "application/json");
}

TEST_F(OtlpServiceTest, RefusalsOfTheLogTellWhetherToTryAgain) {
  const struct {
    ErrorKind kind;
    int http;
    GrpcCode grpc;
    const char* retry_after;
  } rows[] = {
      {ErrorKind::kThrottled, 503, GrpcCode::kUnavailable, "3"},
      {ErrorKind::kUnavailable, 503, GrpcCode::kUnavailable, "3"},
      {ErrorKind::kTooLarge, 413, GrpcCode::kResourceExhausted, ""},
  };
  for (const auto& row : rows) {
    database_.refuse = MakeError(row.kind, "no");
    const auto http = Post("/v1/traces", "application/json", Spans(1, 0));
    EXPECT_EQ(http.status, row.http);
    EXPECT_EQ(http.header("retry-after"), row.retry_after);
    const auto call = transport_.Grpc(kTraceExport, Protobuf(OtlpRequest::kTraces, Spans(1, 0)));
    EXPECT_EQ(call->status->code, row.grpc);
    EXPECT_EQ(call->status->details.empty(), row.retry_after[0] == '\0');
  }
}

TEST_F(OtlpServiceTest, MalformedProtobufIsInvalidArgument) {
  EXPECT_EQ(transport_.Grpc(kTraceExport, "\x0a\x05")->status->code, GrpcCode::kInvalidArgument);
  EXPECT_EQ(database_.appends, 0);
}

TEST_F(OtlpServiceTest, RequestBeyondItsMemoryIsTooLargeForGood) {
  FakeTransport transport;
  const auto service = OtlpService::Make(&database_, {.limits = {.memory_bytes_base = 1 << 20}}).ValueOrDie();
  service->Register(&transport, "otlp_grpc", "otlp_http");
  // A span whose events are two bytes each, and in columns ten times that.
  std::string span = "\x0a\x10" + std::string(16, '\x11') + "\x12\x08" + std::string(8, '\x22');
  for (int i = 0; i < 200'000; ++i) span += std::string("\x5a\0", 2);
  wire::NestedWriter writer;
  const size_t resource = writer.Begin(1), scope = writer.Begin(2);
  writer.Bytes(2, span);
  writer.End(scope);
  writer.End(resource);
  std::string request;
  writer.AppendTo(&request);

  const auto call = transport.Grpc(kTraceExport, request);
  EXPECT_EQ(call->status->code, GrpcCode::kResourceExhausted);
  EXPECT_EQ(call->status->details, "") << "RetryInfo would make the sender try again";
  EXPECT_THAT(call->status->message, HasSubstr("bytes of memory to decode; send fewer records"));
  const auto answer =
      transport.Http("otlp_http", "POST", "/v1/traces", {{"content-type", "application/x-protobuf"}}, request)->answer();
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(answer.header("retry-after"), "");
  EXPECT_EQ(transport.Grpc(kTraceExport, Protobuf(OtlpRequest::kTraces, Spans(1, 0)))->status->code, GrpcCode::kOk);
}

TEST(DecoderPool, IdleDecodersKeepABoundedShareOfMemory) {
  DecoderPool pool({});
  // A log record whose text is as long as a decoder just keeps.
  const std::string text(size_t{20} << 20, 'x');
  wire::NestedWriter writer;
  const size_t resource = writer.Begin(1), scope = writer.Begin(2), record = writer.Begin(2);
  writer.Bytes(12, text);
  for (const size_t mark : {record, scope, resource}) writer.End(mark);
  std::string request;
  writer.AppendTo(&request);
  std::vector<std::unique_ptr<decode::Decoder>> taken;
  for (int i = 0; i < 5; ++i) {
    taken.push_back(pool.Take());
    ASSERT_TRUE(taken.back()->Logs(std::as_bytes(std::span(request))).ok());
    ASSERT_GT(taken.back()->kept_bytes(), int64_t{20} << 20);
  }
  for (auto& decoder : taken) pool.GiveBack(std::move(decoder));
  EXPECT_GT(pool.idle_bytes(), int64_t{40} << 20);
  EXPECT_LE(pool.idle_bytes(), DecoderPool::kIdleBytesMax);
  for (int i = 0; i < 5; ++i) taken[static_cast<size_t>(i)] = pool.Take();
  EXPECT_EQ(pool.idle_bytes(), 0);
}

TEST_F(OtlpServiceTest, FullMemoryRefusesBeforeDecoding) {
  overloaded_ = true;
  EXPECT_EQ(transport_.Grpc(kTraceExport, "not even protobuf")->status->code, GrpcCode::kUnavailable);
  overloaded_ = false;
  EXPECT_EQ(transport_.Grpc(kTraceExport, Protobuf(OtlpRequest::kTraces, Spans(1, 0)))->status->code, GrpcCode::kOk);
}

TEST_F(OtlpServiceTest, CountsRowsRejectionsAndRequestsBySignal) {
  const auto count = [](const char* name, Labels labels) { return Metrics().AddCounter(name, "", std::move(labels)).value(); };
  const uint64_t rows = count("sheaf_ingest_rows_total", {{"signal", "traces"}});
  const uint64_t rejected = count("sheaf_ingest_rejected_rows_total", {{"signal", "traces"}});
  const uint64_t requests = count("sheaf_ingest_requests_total", {{"signal", "traces"}, {"code", "OK"}});
  transport_.Grpc(kTraceExport, Protobuf(OtlpRequest::kTraces, Spans(5, 2)));
  EXPECT_EQ(count("sheaf_ingest_rows_total", {{"signal", "traces"}}), rows + 5);
  EXPECT_EQ(count("sheaf_ingest_rejected_rows_total", {{"signal", "traces"}}), rejected + 2);
  EXPECT_EQ(count("sheaf_ingest_requests_total", {{"signal", "traces"}, {"code", "OK"}}), requests + 1);
}

/// Requests that are joined: they come while the only worker is at work, since the answer to a first one brings them.
class JointRequests : public OtlpServiceTest {
 protected:
  /// Sends `requests` so; returns what each was answered, which the log has done.
  std::vector<Result<IngestOutcome>> Send(const std::vector<std::string>& requests) {
    std::vector<Result<IngestOutcome>> answers(requests.size(), MakeError(ErrorKind::kUnknown, "not answered"));
    service_->Ingest(OtlpRequest::kTraces, MakeBody(Protobuf(OtlpRequest::kTraces, Spans(1, 0))), [&](const Result<IngestOutcome>& first) {
      EXPECT_TRUE(first.ok());
      database_.appends = 0;
      database_.refuse = refuse_;
      for (size_t i = 0; i < requests.size(); ++i) {
        service_->Ingest(OtlpRequest::kTraces, MakeBody(requests[i]), [&answers, i](Result<IngestOutcome> answer) {
          EXPECT_EQ(KindOf(answers[i].status()), ErrorKind::kUnknown) << "answered twice";
          answers[i] = std::move(answer);
        });
      }
    });
    return answers;
  }

  Status refuse_;
};

TEST_F(JointRequests, AreOneAppendAndEachHasItsOwnAnswer) {
  const auto answers = Send({Protobuf(OtlpRequest::kTraces, Spans(3, 0)), Protobuf(OtlpRequest::kTraces, Spans(2, 1)), "",
                             Protobuf(OtlpRequest::kTraces, Spans(0, 2))});
  EXPECT_EQ(database_.appends, 1);
  EXPECT_EQ(database_.rows["traces"], 1 + 5);
  const int64_t accepted[] = {3, 2, 0, 0}, rejected[] = {0, 1, 0, 2};
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i].ok()) << i;
    EXPECT_EQ(answers[i]->accepted, accepted[i]);
    EXPECT_EQ(answers[i]->rejected, rejected[i]);
    EXPECT_EQ(answers[i]->rejected_reason.empty(), rejected[i] == 0);
  }
}

TEST_F(JointRequests, OneThatIsMalformedFailsByItself) {
  const std::string good = Protobuf(OtlpRequest::kTraces, Spans(1, 0));
  const auto answers = Send({good, "\xff\xff", good, good});
  EXPECT_EQ(KindOf(answers[1].status()), ErrorKind::kInvalid);
  for (const size_t i : {0, 2, 3}) EXPECT_TRUE(answers[i].ok()) << i;
  EXPECT_EQ(database_.rows["traces"], 1 + 3);
}

TEST_F(JointRequests, AreAllRefusedWhereTheLogRefuses) {
  refuse_ = MakeError(ErrorKind::kThrottled, "full");
  const std::string good = Protobuf(OtlpRequest::kTraces, Spans(1, 0));
  for (const auto& answer : Send({good, good})) EXPECT_EQ(KindOf(answer.status()), ErrorKind::kThrottled);
  EXPECT_EQ(database_.rows["traces"], 1);
}

TEST_F(JointRequests, AreTriedOneByOneWhereTheyAreTooMuchForOneEntry) {
  database_.rows_max = 2;
  const auto answers = Send({Protobuf(OtlpRequest::kTraces, Spans(2, 0)), Protobuf(OtlpRequest::kTraces, Spans(3, 0)),
                             Protobuf(OtlpRequest::kTraces, Spans(1, 0))});
  EXPECT_TRUE(answers[0].ok());
  EXPECT_EQ(KindOf(answers[1].status()), ErrorKind::kTooLarge);
  EXPECT_TRUE(answers[2].ok());
  EXPECT_EQ(database_.rows["traces"], 1 + 3);
}

TEST(OtlpService, NeedsTheReadyTables) {
  class Empty : public FakeDatabase {
    Result<std::shared_ptr<const store::TableInfo>> FindTable(const std::string&, const std::string&) const override {
      return MakeError(ErrorKind::kNotFound, "none");
    }
  } database;
  EXPECT_FALSE(OtlpService::Make(&database, {}).ok());
}

TEST(OtlpServiceSampling, SpansThatAreLeftOutAreAccepted) {
  FakeDatabase database;
  auto rules = SamplingRules::Parse("none = 0, half = 0.5", 4);
  const auto service = OtlpService::Make(&database, {.sampling = *rules}).ValueOrDie();
  const auto spans = [](const char* name) {
    return Protobuf(OtlpRequest::kTraces, fmt::format(R"({{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name",
        "value":{{"stringValue":"{}"}}}}]}},"scopeSpans":[{{"spans":[
        {{"traceId":"ffffffffffffffffff7fffffffffffff","spanId":"0000000000000001"}},
        {{"traceId":"00000000000000000080000000000000","spanId":"0000000000000002"}},
        {{"traceId":"00","spanId":"0000000000000003"}}]}}]}}]}})",
                                                      name));
  };
  Counter& left_out =
      Metrics().AddCounter("sheaf_ingest_sampled_out_rows_total", "Records that sampling left out.", {{"signal", "traces"}});
  const uint64_t before = left_out.value();
  std::vector<IngestOutcome> outcomes;
  const auto answer = [&](Result<IngestOutcome> outcome) { outcomes.push_back(outcome.ValueOrDie()); };
  for (const char* name : {"none", "half", "other"}) service->Ingest(OtlpRequest::kTraces, MakeBody(spans(name)), answer);
  ASSERT_EQ(outcomes.size(), 3u);
  for (const IngestOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.accepted, 2);
    EXPECT_EQ(outcome.rejected, 1);
  }
  EXPECT_EQ(database.appends, 2) << "nothing of a request that is left out goes to the log";
  EXPECT_EQ(database.rows["traces"], 1 + 2);
  EXPECT_EQ(left_out.value() - before, 3u);
}

TEST(OtlpServiceSampling, TracesWithAnErrorAreKeptWholeAlsoWhereTheLogRefusesAtFirst) {
  FakeDatabase database;
  const auto service =
      OtlpService::Make(&database, {.sampling = *SamplingRules::Parse("* = 0", 4), .tail = {.errors = true}}).ValueOrDie();
  std::vector<Result<IngestOutcome>> outcomes;
  const auto answer = [&](Result<IngestOutcome> outcome) { outcomes.push_back(std::move(outcome)); };
  Counter& left_out =
      Metrics().AddCounter("sheaf_ingest_sampled_out_rows_total", "Records that sampling left out.", {{"signal", "traces"}});
  const uint64_t left_out_before = left_out.value();
  const std::string before = Protobuf(OtlpRequest::kTraces, Spans(2, 0));
  const std::string error = Protobuf(OtlpRequest::kTraces, R"({"resourceSpans":[{"scopeSpans":[{"spans":[
      {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"0000000000000001","status":{"code":2}}]}]}]})");
  service->Ingest(OtlpRequest::kTraces, MakeBody(before), answer);
  EXPECT_EQ(database.appends, 0);
  database.refuse = MakeError(ErrorKind::kThrottled, "later");
  service->Ingest(OtlpRequest::kTraces, MakeBody(error), answer);
  database.refuse = Status::OK();
  database.answer = MakeError(ErrorKind::kUnavailable, "disk full");
  service->Ingest(OtlpRequest::kTraces, MakeBody(error), answer);
  database.answer = Lsn(1);
  database.rows.clear();
  service->Ingest(OtlpRequest::kTraces, MakeBody(error), answer);
  EXPECT_EQ(database.rows["traces"], 3) << "those that waited, and the error";
  ASSERT_EQ(outcomes.size(), 4u);
  EXPECT_TRUE(outcomes[0].ok());
  EXPECT_EQ(KindOf(outcomes[1].status()), ErrorKind::kThrottled);
  EXPECT_EQ(left_out.value() - left_out_before, 2u + 2u) << "not where the request was refused, and will be sent again";
  EXPECT_EQ(KindOf(outcomes[2].status()), ErrorKind::kUnavailable);
  EXPECT_EQ(outcomes[3]->accepted, 1);
}

}  // namespace
}  // namespace sheaf::serve
