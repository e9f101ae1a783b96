/// What is sent, when, and how often.

#include "client/exporter.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/exporter_testing.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Le;
using testing::SizeIs;
using wire::OtlpRequest;

TEST_F(ExporterTest, RequestsOfOneKindAreJoinedUpToTheLargestBatch) {
  options_.queue.batching = {.rows_max = 10};
  Open();
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(Enqueue(Request(name, 4)).ok());
    if (*name == 'a') {
      ASSERT_TRUE(Enqueue(Request("l"), OtlpRequest::kLogs).ok());
    }
  }
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 3);
  EXPECT_THAT(target_->Taken(), ElementsAre(Request("a", 4) + Request("b", 4), Request("l"), Request("c", 4)));  // "c" would be too much.
  const ExporterStats stats = exporter_->stats();
  EXPECT_EQ(stats.sent_rows, 13);
  EXPECT_EQ(stats.sent_requests, 3);
  EXPECT_EQ(stats.queue.requests, 0);
  EXPECT_EQ(stats.queue.memory_bytes, 0);
}

/// A target that takes 20 ms for a request, whatever its size, and a request each millisecond.
TEST_F(ExporterTest, RequestsWaitForOthersOnlyWhereManyComeAndWithinTheLatencyTarget) {
  options_.queue.batching = {.wait_ns_max = 200'000'000, .latency_target_ns = 50'000'000};
  Open();
  bool many = false;
  int come = 0;
  const auto pass = [&](int milliseconds_passed) {
    for (int i = 0; i < milliseconds_passed; ++i) {
      clock_.Advance(1'000'000);
      if (!many) continue;
      ++come;
      ASSERT_TRUE(Enqueue(Request("many")).ok());
    }
  };
  target_->answer = [&](const ExportRequest&) {
    pass(20);
    return ExportAnswer();
  };
  ASSERT_TRUE(Enqueue(Request("alone")).ok());
  EXPECT_EQ(exporter_->SendDue(false).ValueOrDie(), 1) << "nothing to wait for";
  many = true;
  while (come < 4'000) {
    pass(1);
    ASSERT_TRUE(exporter_->SendDue(false).ok());
  }
  const columns::BatchReport report = exporter_->stats().batches[0];
  EXPECT_LE(report.limits.wait_ns, 30'000'000) << "else an answer comes later than 50 ms after its request";
  EXPECT_GE(report.limits.wait_ns, 10'000'000);
  EXPECT_LE(exporter_->stats().sent_requests, come / 15);
  EXPECT_EQ(report.flushes, 0);
}

TEST_F(ExporterTest, RequestThatIsNeverTakenLetsOthersGoFirst) {
  options_.queue.batching.rows_max = 1;
  options_.attempts_in_hand = 3;
  Open();
  const auto is_bad = [](const ExportRequest& request) { return request.bytes.find("bad") != std::string_view::npos; };
  int attempts = 0;
  target_->answer = [&](const ExportRequest& request) {
    attempts += is_bad(request) ? 1 : 0;
    return ExportAnswer{.verdict = is_bad(request) ? ExportVerdict::kLater : ExportVerdict::kTaken, .message = "not this one"};
  };
  for (const char* name : {"bad", "good", "fine"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(false).ok());
  EXPECT_THAT(target_->Taken(), ElementsAre(Request("good"), Request("fine")));
  EXPECT_EQ(attempts, 3);
  EXPECT_EQ(exporter_->stats().queue.put_off_requests, 1);
  EXPECT_EQ(exporter_->stats().queue.put_off_attempts, 3);
  for (int hour = 0; hour < 3'600; ++hour) {
    clock_.Advance(1'000'000'000);
    ASSERT_TRUE(exporter_->SendDue(false).ok());
  }
  EXPECT_GE(attempts, 3'600 / 30) << "it is tried as before";
  EXPECT_LE(attempts, 3'600 / 15 + 8);
  target_->answer = nullptr;
  clock_.Advance(30'000'000'000);
  ASSERT_TRUE(exporter_->SendDue(false).ok());
  EXPECT_THAT(target_->Taken(), SizeIs(3));
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
}

TEST_F(ExporterTest, RequestThatHoldsUpItsBatchIsFoundByHalves) {
  options_.attempts_in_hand = 1;
  Open();
  target_->answer = [&](const ExportRequest& request) {
    return ExportAnswer{.verdict = request.bytes.find("bad") != std::string_view::npos ? ExportVerdict::kLost : ExportVerdict::kTaken};
  };
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(Enqueue(Request(i == 11 ? "bad" : "good")).ok());
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(Enqueue(Request("log"), OtlpRequest::kLogs).ok());  // So the target is seen to take others.
    ASSERT_TRUE(exporter_->SendDue(true).ok());
    clock_.Advance(40'000'000'000);
  }
  EXPECT_EQ(exporter_->stats().queue.requests, 1) << "the bad one alone waits";
}

TEST_F(ExporterTest, NoMoreThanSoManyRequestsArePutOff) {
  options_.queue.batching.rows_max = 1;
  options_.attempts_in_hand = 1;
  Open();
  const auto most = static_cast<int64_t>(ExportQueue::kPutOffMax);
  bool away = true;
  int64_t attempts = 0;
  target_->answer = [&](const ExportRequest&) {
    away = away && ++attempts < most + 10;  // The sender stays with the last one until the target comes back.
    return ExportAnswer{.verdict = away ? ExportVerdict::kLater : ExportVerdict::kTaken};
  };
  for (int64_t i = 0; i < most + 5; ++i) ASSERT_TRUE(Enqueue(Request("a")).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  clock_.Advance(40'000'000'000);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().sent_rows, most + 5);
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
}

TEST_F(ExporterTest, WhatAServerSaysIsCut) {
  Open();
  std::string text;
  for (int i = 0; i < 1'500; ++i) text += "ü";
  std::string seen;
  int attempts = 0;
  target_->answer = [&](const ExportRequest&) {
    if (++attempts == 2) seen = exporter_->stats().last_error;
    return ExportAnswer{.verdict = attempts == 1 ? ExportVerdict::kLater : ExportVerdict::kTaken, .message = text};
  };
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(seen, text.substr(0, 2'000) + "…");
}

TEST_F(ExporterTest, LaterIsTriedAgainWithGrowingWaitsAndWhatTheServerAsksFor) {
  options_.retry = {.first = milliseconds(100), .longest = milliseconds(400)};
  Open();
  const ExportAnswer later{.verdict = ExportVerdict::kLater, .message = "busy"};
  ExportAnswer asked = later;
  asked.retry_after = milliseconds(5'000);
  Script({later, later, later, later, asked});
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_THAT(waits_, ElementsAre(AllOf(Ge(50), Le(100)), AllOf(Ge(100), Le(200)), AllOf(Ge(200), Le(400)), AllOf(Ge(200), Le(400)),
                                  AllOf(Ge(5'000), Le(5'500))));
  const ExporterStats stats = exporter_->stats();
  EXPECT_EQ(stats.retries, 5);
  EXPECT_EQ(stats.sent_rows, 1);
  EXPECT_EQ(stats.perhaps_twice_rows, 0);
  EXPECT_THAT(stats.last_error, IsEmpty());
}

TEST_F(ExporterTest, LostAnswersAreSentAgainAndCounted) {
  Open();
  Script({{.verdict = ExportVerdict::kLost}, {.verdict = ExportVerdict::kLater}, {.verdict = ExportVerdict::kLost}});
  ASSERT_TRUE(Enqueue(Request("a", 3)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_THAT(target_->Taken(), SizeIs(1));
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 6) << "by the third attempt and by the fourth";
}

TEST_F(ExporterTest, TargetThatTakesNothingAtAllHoldsTheQueue) {
  Open();
  int attempts = 0;
  int64_t held = 0;
  target_->answer = [&](const ExportRequest&) {
    if (++attempts == 2) held = exporter_->stats().held;
    return ExportAnswer{.verdict = attempts < 3 ? ExportVerdict::kHeld : ExportVerdict::kTaken, .message = "the token has expired"};
  };
  ASSERT_TRUE(Enqueue(Request("a", 3)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_THAT(waits_, SizeIs(2));
  EXPECT_EQ(held, 1);
  EXPECT_EQ(exporter_->stats().held, 0);
  EXPECT_EQ(exporter_->stats().sent_rows, 3);
}

TEST_F(ExporterTest, WhatCannotBeDecodedInATooLargeRequestIsCounted) {
  options_.split_bytes_min = 0;
  Open();
  const std::string whole = Request("good", 2) + Request("bad", 1);
  std::string request = whole;
  request.replace(request.rfind(std::string(16, 't')), 16, std::string(16, '\0'));  // No trace id.
  target_->answer = [&](const ExportRequest& sent) {
    return ExportAnswer{.verdict = sent.bytes.size() >= whole.size() ? ExportVerdict::kTooLarge : ExportVerdict::kTaken};
  };
  ASSERT_TRUE(Enqueue(request).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_EQ(exporter_->stats().sent_rows, 2);
  EXPECT_EQ(exporter_->stats().rejected_rows, 1);
}

TEST_F(ExporterTest, SmallRequestThatIsTooLargeIsNotSplit) {
  Open();
  target_->answer = [](const ExportRequest&) { return ExportAnswer{.verdict = ExportVerdict::kTooLarge}; };
  ASSERT_TRUE(Enqueue(Request("a", 10)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_EQ(target_->Attempts(), 1U);
  EXPECT_EQ(exporter_->stats().refused_rows, 10);
}

TEST_F(ExporterTest, RefusedRequestTakesNoOtherWithIt) {
  Open();
  target_->answer = [](const ExportRequest& request) {
    const bool bad = request.bytes.find("bad") != std::string_view::npos;
    return ExportAnswer{.verdict = bad ? ExportVerdict::kRefused : ExportVerdict::kTaken, .message = bad ? "no" : ""};
  };
  for (const char* name : {"one", "bad", "two"}) ASSERT_TRUE(Enqueue(Request(name, 2)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_THAT(target_->Taken(), ElementsAre(Request("one", 2), Request("two", 2)));
  EXPECT_THAT(waits_, IsEmpty());
  const ExporterStats stats = exporter_->stats();
  EXPECT_EQ(stats.refused_rows, 2);
  EXPECT_EQ(stats.sent_rows, 4);
  EXPECT_EQ(stats.perhaps_twice_rows, 0);
  EXPECT_EQ(stats.queue.requests, 0);
}

TEST_F(ExporterTest, RejectedRecordsAreCounted) {
  Open();
  Script({{.rejected = 2, .message = "bad ids"}});
  ASSERT_TRUE(Enqueue(Request("a", 5)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_EQ(exporter_->stats().rejected_rows, 2);
  EXPECT_EQ(exporter_->stats().sent_rows, 3);
}

TEST_F(ExporterTest, TooLargeIsSentInSmallerPieces) {
  options_.split_bytes_min = 0;
  Open();
  const auto most = static_cast<size_t>(Request("span", 3).size()) + 20;
  target_->answer = [most](const ExportRequest& request) {
    return ExportAnswer{.verdict = request.bytes.size() > most ? ExportVerdict::kTooLarge : ExportVerdict::kTaken, .message = "too large"};
  };
  ASSERT_TRUE(Enqueue(Request("span", 10)).ok());
  ASSERT_TRUE(Enqueue(Request(std::string(most, 'x'), 1)).ok());  // Never fits.
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  std::string all;
  for (const std::string& request : target_->Taken()) all += request;
  EXPECT_EQ(wire::CountOtlpRecords(OtlpRequest::kTraces, all).ValueOrDie(), 10);
  for (int i = 0; i < 10; ++i) EXPECT_THAT(all, HasSubstr("span" + std::to_string(i)));
  EXPECT_EQ(exporter_->stats().refused_rows, 1);
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
}

TEST_F(ExporterTest, FullQueueRefusesAndSaysSo) {
  options_.queue.bytes_max = 200;
  Open();
  EXPECT_EQ(KindOf(Enqueue(Request(std::string(200, 'x')))), ErrorKind::kTooLarge);
  ASSERT_TRUE(Enqueue(Request("a", 2)).ok());
  Status full;
  for (int i = 0; i < 10 && full.ok(); ++i) full = Enqueue(Request("a", 2));
  EXPECT_EQ(KindOf(full), ErrorKind::kThrottled) << full.ToString();
  EXPECT_THAT(full.message(), HasSubstr("full"));
  EXPECT_EQ(KindOf(Enqueue("\x0a\x7f")), ErrorKind::kInvalid);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_TRUE(Enqueue(Request("a", 2)).ok());
}

TEST_F(ExporterTest, WithoutAFolderWhatIsLeftAtTheEndIsDroppedAndSaid) {
  Open();
  ASSERT_TRUE(Enqueue(Request("a", 7)).ok());
  const Status stopped = exporter_->Stop(milliseconds(0));
  EXPECT_EQ(KindOf(stopped), ErrorKind::kUnavailable);
  EXPECT_THAT(stopped.message(), HasSubstr("7 rows"));
  EXPECT_EQ(exporter_->stats().dropped_rows, 7);
  EXPECT_EQ(KindOf(Enqueue(Request("b"))), ErrorKind::kUnavailable);
}

}  // namespace
}  // namespace sheaf::client
