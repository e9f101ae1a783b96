#include "client/otap_target.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/grpc_server_testing.h"
#include "client/otap_lane.h"
#include "decode/otap_decoder.h"
#include "wire/otap_messages.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using What = ScriptedAnswer::What;

std::string Field(int number, std::string_view bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (size_t n = bytes.size(); ; n >>= 7) {
    out.push_back(static_cast<char>((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
    if (n <= 0x7f) break;
  }
  return out.append(bytes);
}

/// A request of `n` spans named `name`; with `more` put into each.
std::string Spans(int n, const std::string& name = "op", const std::string& more = "") {
  const std::string span = Field(1, std::string(16, 't')) + Field(2, std::string(8, 's')) + Field(5, name) + more;
  std::string spans;
  for (int i = 0; i < n; ++i) spans += Field(2, span);
  return Field(1, Field(2, spans));
}

std::unique_ptr<ExportTarget> Target(const ScriptedGrpcServer& server, milliseconds timeout = milliseconds(30'000)) {
  return MakeExportTarget(fmt::format("otap://127.0.0.1:{}", server.port()), {.timeout = timeout}).ValueOrDie();
}

ExportAnswer Send(ExportTarget* target, int64_t rows, const std::string& bytes) {
  return target->Send({.kind = wire::OtlpRequest::kTraces, .rows = rows, .bytes = bytes});
}

int64_t IdOf(const std::string& message) {
  wire::BatchArrowRecords batch;
  EXPECT_TRUE(wire::ReadBatchArrowRecords(message, &batch).ok());
  return batch.batch_id;
}

ScriptedAnswer StatusOf(const ScriptedGrpcServer::Request& request, int code, std::string_view text = "") {
  return {.what = What::kStream, .replies = {wire::EncodeBatchStatus(IdOf(request.message), code, text)}};
}

TEST(OtapTarget, BatchesOfAStreamBuildOnEachOtherAndAreDecodedToTheSameRows) {
  ScriptedGrpcServer server([](const auto& request) { return StatusOf(request, 0); });
  const auto target = Target(server);
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(Send(target.get(), i, Spans(i, "op")).verdict, ExportVerdict::kTaken);
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  decode::OtapStream stream(decode::OtapSignal::kTraces);
  decode::OtapDecoder decoder;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(requests[static_cast<size_t>(i)].path, "/opentelemetry.proto.experimental.arrow.v1.ArrowTracesService/ArrowTraces");
    wire::BatchArrowRecords batch;
    ASSERT_TRUE(wire::ReadBatchArrowRecords(requests[static_cast<size_t>(i)].message, &batch).ok());
    EXPECT_EQ(batch.batch_id, i) << "one stream";
    const auto rows = decoder.Decode(&stream, batch);
    ASSERT_TRUE(rows.ok()) << rows.status().ToString();
    EXPECT_EQ(rows->accepted, i + 1);
  }
}

TEST(OtapTarget, StatusesAreAnswers) {
  std::map<int, ExportAnswer> answers;
  for (const int code : {0, 3, 8, 14, 4}) {
    ScriptedGrpcServer server([&](const auto& request) { return StatusOf(request, code, "2 of 5 records left out: why"); });
    answers[code] = Send(Target(server).get(), 5, Spans(5));
    EXPECT_THAT(answers[code].message, HasSubstr("why"));
  }
  EXPECT_EQ(answers[0].verdict, ExportVerdict::kTaken);
  EXPECT_EQ(answers[0].rejected, 2);
  EXPECT_GT(answers[0].sent_bytes, 0);
  EXPECT_EQ(answers[3].verdict, ExportVerdict::kRefused);
  EXPECT_EQ(answers[8].verdict, ExportVerdict::kTooLarge);
  EXPECT_EQ(answers[14].verdict, ExportVerdict::kLater);
  EXPECT_EQ(answers[4].verdict, ExportVerdict::kLost);
}

TEST(OtapTarget, AfterARefusalAnotherStreamBeginsAnew) {
  std::atomic<int> n = 0;
  ScriptedGrpcServer server([&](const auto& request) { return StatusOf(request, ++n == 2 ? 3 : 0); });
  const auto target = Target(server);
  EXPECT_EQ(Send(target.get(), 1, Spans(1)).verdict, ExportVerdict::kTaken);
  EXPECT_EQ(Send(target.get(), 1, Spans(1)).verdict, ExportVerdict::kRefused);
  EXPECT_EQ(Send(target.get(), 1, Spans(1)).verdict, ExportVerdict::kTaken);
  const auto requests = server.requests();
  EXPECT_EQ(IdOf(requests[1].message), 1);
  EXPECT_EQ(IdOf(requests[2].message), 0);
  EXPECT_EQ(requests[2].message.size(), requests[0].message.size()) << "with all its schemas and dictionaries";
  EXPECT_LT(requests[1].message.size(), requests[0].message.size());
}

/// Runs `n` requests at once, and returns their answers.
std::vector<ExportAnswer> SendTogether(ExportTarget* target, int n) {
  std::vector<ExportAnswer> answers(static_cast<size_t>(n));
  std::vector<std::thread> threads;
  for (ExportAnswer& answer : answers) threads.emplace_back([&] { answer = Send(target, 1, Spans(1)); });
  for (std::thread& thread : threads) thread.join();
  return answers;
}

int64_t Count(const std::vector<ExportAnswer>& answers, ExportVerdict verdict) {
  return std::count_if(answers.begin(), answers.end(), [&](const auto& answer) { return answer.verdict == verdict; });
}

TEST(OtapTarget, OnlyTheFirstRefusalOfAStreamIsBelieved) {
  // All statuses come with the third batch: those after the first refusal may be for what that batch left behind.
  ScriptedGrpcServer server([](const auto& request) {
    if (IdOf(request.message) < 2) return ScriptedAnswer{.what = What::kStream};
    return ScriptedAnswer{.what = What::kStream,
                          .reply = wire::EncodeBatchStatus(0, 3, "bad"),
                          .replies = {wire::EncodeBatchStatus(1, 3, "bad too"), wire::EncodeBatchStatus(2, 0, "")}};
  });
  const auto answers = SendTogether(Target(server).get(), 3);
  EXPECT_EQ(Count(answers, ExportVerdict::kRefused), 1);
  EXPECT_EQ(Count(answers, ExportVerdict::kLater), 1);
  EXPECT_EQ(Count(answers, ExportVerdict::kTaken), 1);
}

TEST(OtapTarget, BrokenStreamLosesWhatIsUnderWayAndTheNextBeginsAnew) {
  std::atomic<bool> broken = false;
  ScriptedGrpcServer server([&](const auto& request) {
    if (broken) return StatusOf(request, 0);
    if (IdOf(request.message) < 2) return ScriptedAnswer{.what = What::kStream};
    broken = true;
    return ScriptedAnswer{.what = What::kDisconnect};
  });
  const auto target = Target(server);
  EXPECT_EQ(Count(SendTogether(target.get(), 3), ExportVerdict::kLost), 3);
  EXPECT_EQ(Send(target.get(), 1, Spans(1)).verdict, ExportVerdict::kTaken);
  EXPECT_EQ(IdOf(server.requests().back().message), 0);
  EXPECT_EQ(server.connections(), 2);
}

TEST(OtapTarget, StreamThatIsEndedForABatchIsFollowedByBatchesOneAtATime) {
  // The server ends the stream for the second batch: nobody knows whose fault that is.
  std::atomic<int> calls = 0;
  ScriptedGrpcServer server([&](const auto& request) {
    const int n = ++calls;
    if (n == 1) return ScriptedAnswer{.what = What::kStream};
    if (n == 2) return ScriptedAnswer{.code = 8, .message = "message larger than max"};
    return n == 3 ? ScriptedAnswer{.code = 8, .message = "message larger than max"} : StatusOf(request, 0);
  });
  const auto target = Target(server);
  EXPECT_EQ(Count(SendTogether(target.get(), 2), ExportVerdict::kLost), 2);
  const auto answers = SendTogether(target.get(), 2);
  EXPECT_EQ(Count(answers, ExportVerdict::kTooLarge), 1) << "alone, it is the one";
  EXPECT_EQ(Count(answers, ExportVerdict::kTaken), 1);
}

TEST(OtapTarget, ServerWithoutOtelArrowKeepsTheRowsWaiting) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.code = 12, .message = "unknown service"}});
  const ExportAnswer answer = Send(Target(server).get(), 1, Spans(1));
  EXPECT_EQ(answer.verdict, ExportVerdict::kLater);
  EXPECT_THAT(answer.message, HasSubstr("grpc://"));
}

TEST(OtapTarget, EndsOfStreamsAreWhatTheyCanBeOfABatch) {
  const auto verdict = [](GrpcCode code, bool sole) {
    return AnswerOfStreamEnd({.code = code, .from_server = true}, sole).verdict;
  };
  EXPECT_EQ(verdict(GrpcCode::kOk, true), ExportVerdict::kLost);
  EXPECT_EQ(verdict(GrpcCode::kUnavailable, true), ExportVerdict::kLost) << "it may have been taken before";
  EXPECT_EQ(verdict(GrpcCode::kInvalidArgument, true), ExportVerdict::kRefused);
  EXPECT_EQ(verdict(GrpcCode::kInvalidArgument, false), ExportVerdict::kLost);
  EXPECT_EQ(AnswerOfStreamEnd({.code = GrpcCode::kUnavailable}, false).verdict, ExportVerdict::kLater) << "never went out";
  EXPECT_EQ(AnswerOfStreamEnd({.code = GrpcCode::kUnavailable, .perhaps_processed = true}, true).verdict, ExportVerdict::kLost);
}

TEST(OtapTarget, StatusesOfBatchesThatWereNotSentBreakTheStream) {
  for (const std::string& reply : {wire::EncodeBatchStatus(7, 0, ""), std::string("\x0a\x7f")}) {
    ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = What::kStream, .reply = reply}});
    EXPECT_EQ(Send(Target(server).get(), 1, Spans(1)).verdict, ExportVerdict::kLost);
  }
}

TEST(OtapTarget, SilentStreamIsLostInTimeAndReplaced) {
  std::atomic<int> n = 0;
  ScriptedGrpcServer server([&](const auto& request) {
    return ++n == 1 ? ScriptedAnswer{.what = What::kStream} : StatusOf(request, 0);
  });
  const auto target = Target(server, milliseconds(300));
  const ExportAnswer answer = Send(target.get(), 1, Spans(1));
  EXPECT_EQ(answer.verdict, ExportVerdict::kLost);
  EXPECT_THAT(answer.message, HasSubstr("no status"));
  EXPECT_EQ(Send(target.get(), 1, Spans(1)).verdict, ExportVerdict::kTaken);
  EXPECT_EQ(IdOf(server.requests().back().message), 0) << "another stream";
}

TEST(OtapTarget, CancelEndsWhatIsUnderWayAndWhatComesLater) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = What::kStream}});
  const auto target = Target(server);
  std::thread waiting([&] { EXPECT_EQ(Send(target.get(), 1, Spans(1)).verdict, ExportVerdict::kCancelled); });
  while (server.requests().empty()) std::this_thread::yield();
  target->Cancel();
  waiting.join();
  EXPECT_EQ(Send(target.get(), 1, Spans(1)).verdict, ExportVerdict::kCancelled);
}

TEST(OtapTarget, WhatItCannotSendIsTold) {
  ScriptedGrpcServer server([](const auto& request) { return StatusOf(request, 0); });
  const auto target = Target(server);
  EXPECT_EQ(Send(target.get(), 1, "\x0a\x7f").verdict, ExportVerdict::kRefused);
  EXPECT_EQ(Send(target.get(), 65'536, Spans(65'536)).verdict, ExportVerdict::kTooLarge);
  EXPECT_EQ(target->rows_max(), 65'535);
  // A span without ids is left out, as a server would; unknown fields are lost, and counted.
  const std::string without_ids = Field(1, Field(2, Field(2, Field(5, "no ids"))));
  const ExportAnswer answer = Send(target.get(), 3, Spans(2) + without_ids);
  EXPECT_EQ(answer.verdict, ExportVerdict::kTaken) << answer.message;
  EXPECT_EQ(answer.rejected, 1);
  EXPECT_EQ(Send(target.get(), 1, Spans(1, "op", std::string("\xfa\x06\x01x", 4))).inexact, 1);
}

}  // namespace
}  // namespace sheaf::client
