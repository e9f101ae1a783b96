#include "serve/request_batcher.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/clock.h"

namespace sheaf::serve {
namespace {

/// A request whose bytes say its number.
class NumberedBody : public Body {
 public:
  NumberedBody(int number, size_t bytes) : text_(std::to_string(number)) { text_.resize(std::max(text_.size() + 1, bytes), ' '); }
  std::span<const std::byte> bytes() const override { return std::as_bytes(std::span(text_)); }

 private:
  std::string text_;
};

int NumberOf(const WaitingRequest& request) { return std::stoi(std::string(request.body->view())); }
WaitingRequest Numbered(int number, size_t bytes = 0) { return {.body = std::make_unique<NumberedBody>(number, bytes), .answer = nullptr}; }

class RequestBatcherTest : public testing::Test {
 protected:
  using Numbers = std::vector<int>;

  void Make(const RequestBatcherOptions& options) {
    batcher_ = std::make_unique<RequestBatcher>("test", options, io::SystemClock(), [this](std::vector<WaitingRequest> requests) {
      Numbers numbers;
      for (const WaitingRequest& request : requests) numbers.push_back(NumberOf(request));
      batches_.push_back(numbers);
      if (const auto at_work = std::exchange(at_work_, nullptr)) at_work();
    });
  }

  std::unique_ptr<RequestBatcher> batcher_;
  std::vector<Numbers> batches_;
  std::function<void()> at_work_;  // Run once, by the worker, in the middle of a batch.
};

TEST_F(RequestBatcherTest, OnAnIdleServerARequestWaitsForNothing) {
  Make({.latency_target_ns = 1'000'000'000});
  batcher_->Add(Numbered(1));
  EXPECT_EQ(batches_, std::vector<Numbers>({{1}}));
}

TEST_F(RequestBatcherTest, WhatComesWhileTheWorkersAreBusyIsOneBatchInItsOrder) {
  Make({});
  at_work_ = [&] {
    for (int i = 2; i <= 5; ++i) batcher_->Add(Numbered(i));
    EXPECT_EQ(batches_.size(), 1u) << "they wait, and whoever brought them is free";
  };
  batcher_->Add(Numbered(1));
  EXPECT_EQ(batches_, std::vector<Numbers>({{1}, {2, 3, 4, 5}}));
  const columns::BatchReport report = batcher_->Report();
  EXPECT_EQ(report.batches_total(), 2);
  EXPECT_EQ(report.items, 5);
  EXPECT_EQ(report.flushes, 0);
}

TEST_F(RequestBatcherTest, BatchesAreBoundedAndLargeRequestsGoAlone) {
  Make({.batch_bytes_max = 1'000});
  at_work_ = [&] {
    for (int i = 2; i <= 6; ++i) batcher_->Add(Numbered(i, 400));
    batcher_->Add(Numbered(7, 600));
    EXPECT_EQ(batches_, std::vector<Numbers>({{1}, {7}})) << "it had nothing to gain from the others";
  };
  batcher_->Add(Numbered(1));
  EXPECT_EQ(batches_, std::vector<Numbers>({{1}, {7}, {2, 3}, {4, 5}, {6}}));
}

TEST_F(RequestBatcherTest, WithoutALatencyNoneAreJoined) {
  Make({.latency_target_ns = 0});
  at_work_ = [&] {
    for (int i = 2; i <= 3; ++i) batcher_->Add(Numbered(i));
  };
  batcher_->Add(Numbered(1));
  EXPECT_EQ(batches_, std::vector<Numbers>({{1}, {2}, {3}}));
}

TEST(RequestBatcher, ManySendersAndWorkersLoseNothingAndDoNothingTwice) {
  constexpr int kSenders = 8, kEach = 500;
  std::vector<std::atomic<int>> done(kSenders * kEach);
  std::atomic<int> working{0}, working_max{0}, batches{0};
  const RequestBatcherOptions options{.latency_target_ns = 2'000'000, .batch_bytes_max = 400, .workers_max = 3};
  RequestBatcher batcher("test", options, io::SystemClock(), [&](std::vector<WaitingRequest> requests) {
    const int now = ++working;
    int most = working_max.load();
    while (now > most && !working_max.compare_exchange_weak(most, now)) {
    }
    for (const WaitingRequest& request : requests) ++done[static_cast<size_t>(NumberOf(request))];
    for (WaitingRequest& request : requests) request.answer(IngestOutcome{});
    ++batches;
    std::this_thread::yield();
    --working;
  });
  std::atomic<int> answered{0};
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s) {
    senders.emplace_back([&, s] {
      for (int i = 0; i < kEach; ++i) {
        WaitingRequest request = Numbered(s * kEach + i, 40);
        request.answer = [&](const Result<IngestOutcome>&) { ++answered; };
        batcher.Add(std::move(request));
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(answered, kSenders * kEach) << "nothing waits once every Add() has returned";
  for (const auto& times : done) ASSERT_EQ(times, 1);
  EXPECT_LE(working_max, 3);
  EXPECT_EQ(batcher.Report().batches_total(), batches);
  EXPECT_EQ(batcher.Report().waiting_items, 0);
}

}  // namespace
}  // namespace sheaf::serve
