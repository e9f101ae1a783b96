/// An exporter with a folder: kills, power cuts, damage and full disks.

#include "client/exporter.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/exporter_testing.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using wire::OtlpRequest;

TEST_F(ExporterTest, WhatIsDamagedInTheLogIsGivenUpAloneAndCounted) {
  options_.queue.memory_bytes_max = 0;
  OpenDurable();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Enqueue(Request(fmt::format("name{}", i), 2)).ok());
  const std::string path = "/queue/log/wal-0000000000000001.log";
  std::string segment = disk_->Contents(path).ValueOrDie();
  const size_t at = segment.find("name2");
  ASSERT_NE(at, std::string::npos);
  const std::string sound = segment;
  segment[at] ^= 1;
  disk_->SetContents(path, segment);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().unreadable_rows, 6) << "the damage breaks the chain: what stands behind it cannot be vouched for";
  EXPECT_EQ(exporter_->stats().sent_rows, 4);
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
  disk_->SetContents(path, sound);
  ASSERT_TRUE(Enqueue(Request("later")).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().sent_rows, 5);
}

TEST_F(ExporterTest, LogThatCannotBeReadForNowIsReadLater) {
  options_.queue.memory_bytes_max = 0;
  OpenDurable();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  disk_->SetFaultHook([](const io::SimOperation& operation) {
    const bool reads = operation.kind == io::SimOp::kRead || operation.kind == io::SimOp::kMap;
    return reads ? MakeError(ErrorKind::kIo, "broken") : Status::OK();
  });
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().queue.put_off_requests, 1);
  disk_->SetFaultHook(nullptr);
  clock_.Advance(1'000'000'000);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().sent_rows, 1);
  EXPECT_EQ(exporter_->stats().unreadable_rows, 0);
}

TEST_F(ExporterTest, FailedSyncIsToldUntilANewStart) {
  OpenDurable();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  EXPECT_TRUE(exporter_->health().ok());
  disk_->FailNth(io::SimOp::kSync, 1, MakeError(ErrorKind::kIo, "broken"));
  EXPECT_EQ(KindOf(Enqueue(Request("b"))), ErrorKind::kUnknown);
  EXPECT_EQ(KindOf(exporter_->health()), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(exporter_->Admit(10)), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(Enqueue(Request("c"))), ErrorKind::kUnavailable);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(target_->Taken()[0], Request("a")) << "what was queued before is sent";
}

TEST_F(ExporterTest, RequestThatIsNotDeliveredKeepsTheLogFromGrowingForEver) {
  options_.attempts_in_hand = 1;
  OpenDurable();
  target_->answer = [&](const ExportRequest& request) {
    return ExportAnswer{.verdict = request.bytes.find("bad") != std::string_view::npos ? ExportVerdict::kLater : ExportVerdict::kTaken};
  };
  ASSERT_TRUE(Enqueue(Request("bad")).ok());
  const std::string large = Request(std::string(200'000, 'x'));
  Status status;
  for (int i = 0; i < 1'000 && status.ok(); ++i) {
    status = Enqueue(large);
    ASSERT_TRUE(exporter_->SendDue(true).ok());
  }
  EXPECT_EQ(KindOf(status), ErrorKind::kThrottled) << status.ToString();
  EXPECT_LE(exporter_->stats().queue.disk_bytes, 11 << 20) << "8 MiB and three segments";
  target_->answer = nullptr;
  clock_.Advance(40'000'000'000);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_TRUE(Enqueue(large).ok());
}

TEST_F(ExporterTest, AcknowledgedRequestsSurviveAKillAndDeliveredOnesAreNotSentAgain) {
  options_.queue.batching.rows_max = 1;
  OpenDurable();
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  KillAndOpen();
  EXPECT_EQ(exporter_->stats().queue.requests, 3);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_THAT(target_->Taken(), ElementsAre(Request("a"), Request("b"), Request("c")));
  KillAndOpen();
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
  ASSERT_TRUE(Enqueue(Request("d")).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_THAT(target_->Taken(), SizeIs(4));
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 0);
}

TEST_F(ExporterTest, WhatWasUnderWayAtAKillIsSentAgainAndCounted) {
  options_.queue.batching.rows_max = 2;
  OpenDurable();
  for (const char* name : {"a", "b", "c", "d"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  std::unique_ptr<io::SimFileSystem> after;
  int attempts = 0;
  target_->answer = [&](const ExportRequest&) {
    if (++attempts == 2) after = disk_->Restart();  // It dies before it hears the answer.
    return ExportAnswer();
  };
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  exporter_.reset();
  old_disks_.push_back(std::exchange(disk_, std::move(after)));
  Open();
  EXPECT_EQ(exporter_->stats().queue.requests, 2);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  const std::string ab = Request("a") + Request("b"), cd = Request("c") + Request("d");
  EXPECT_THAT(target_->Taken(), ElementsAre(ab, cd, cd));
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 2);
}

TEST_F(ExporterTest, WhatMemoryCannotHoldIsReadFromTheLog) {
  options_.queue.memory_bytes_max = 500;
  options_.queue.batching.rows_max = 3;
  OpenDurable();
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    const std::string request = Request("name" + std::to_string(i));
    expected += request;
    ASSERT_TRUE(Enqueue(request).ok());
  }
  EXPECT_LE(exporter_->stats().queue.memory_bytes, 500);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  std::string all;
  for (const std::string& batch : target_->Taken()) all += batch;
  EXPECT_EQ(all, expected);
  EXPECT_EQ(exporter_->stats().queue.memory_bytes, 0);
}

TEST_F(ExporterTest, DeliveredSegmentsAreRemoved) {
  OpenDurable();
  const std::string large = Request(std::string(200'000, 'x'));
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(Enqueue(large).ok());
    ASSERT_TRUE(exporter_->SendDue(true).ok());
  }
  EXPECT_LE(exporter_->stats().queue.disk_bytes, 6 << 20) << "of 20 MB in all";
  KillAndOpen();
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
}

TEST_F(ExporterTest, DamagedProgressSendsAllAgainAndCountsIt) {
  OpenDurable();
  for (const char* name : {"a", "b"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  ASSERT_TRUE(exporter_->Stop(milliseconds(0)).ok());
  exporter_.reset();
  disk_->SetContents("/queue/DELIVERED", std::string(8192, 'x'));
  Open();
  EXPECT_EQ(exporter_->stats().queue.requests, 2);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 2);
}

/// As above, with so much sent that the log's first segments are gone.
TEST_F(ExporterTest, QueueWhoseBeginningIsRemovedOpensAfterAPowerCutAndWithoutItsProgress) {
  const std::string large = Request(std::string(200'000, 'x'));
  for (const io::CrashKeeps keeps : {io::CrashKeeps::kNothing, io::CrashKeeps::kAnything, io::CrashKeeps::kEverything}) {
    std::mt19937_64 random(7);
    disk_ = std::make_unique<io::SimFileSystem>();
    OpenDurable();
    for (int life = 0; life < 2; ++life) {
      for (int i = 0; i < 12; ++i) {
        ASSERT_TRUE(Enqueue(large).ok());
        ASSERT_TRUE(exporter_->SendDue(true).ok());
      }
      ASSERT_FALSE(disk_->Contents("/queue/log/wal-0000000000000001.log").ok()) << "nothing was removed";
      ASSERT_TRUE(Enqueue(Request("last")).ok());
      CutPower(&random, keeps);
      auto opened = TryOpen();
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      exporter_ = *std::move(opened);
      EXPECT_GE(exporter_->stats().queue.requests, 1);
    }
    ASSERT_TRUE(exporter_->SendDue(true).ok());
    exporter_.reset();
    ASSERT_TRUE(disk_->Remove("/queue/DELIVERED").ok());
    Open();
    const int64_t again = exporter_->stats().queue.rows;
    EXPECT_GE(again, 1);
    ASSERT_TRUE(exporter_->SendDue(true).ok());
    EXPECT_EQ(exporter_->stats().perhaps_twice_rows, again);
    exporter_.reset();
    // Trusted progress is believed: what is missing was lost.
    Open();
    for (int i = 0; i < 12; ++i) ASSERT_TRUE(Enqueue(large).ok());
    exporter_.reset();
    std::vector<std::string> segments;
    for (const io::FileInfo& file : disk_->List("/queue/log").ValueOrDie()) {
      if (file.name.starts_with("wal-")) segments.push_back("/queue/log/" + file.name);
    }
    for (size_t i = 0; i + 1 < segments.size(); ++i) ASSERT_TRUE(disk_->Remove(segments[i]).ok());
    const Status lost = TryOpen().status();
    EXPECT_EQ(KindOf(lost), ErrorKind::kCorruption) << lost.ToString();
  }
}

TEST_F(ExporterTest, WhatMayHaveBeenSentCountsUntilItIsDelivered) {
  OpenDurable();
  for (const char* name : {"a", "b"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  KillAndOpen();
  disk_->SetContents("/queue/DELIVERED", std::string(8192, 'x'));
  KillAndOpen();  // Finds it damaged…
  EXPECT_EQ(exporter_->stats().queue.requests, 2);
  ASSERT_TRUE(Enqueue(Request("new")).ok());
  KillAndOpen();  // …and dies before it sent anything.
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().sent_rows, 3);
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 2) << "all but the new one";
}

TEST_F(ExporterTest, QueueThatDoesNotOpenIsLeftAsItIs) {
  std::mt19937_64 random(1);
  OpenDurable();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  CutPower(&random, io::CrashKeeps::kEverything);
  const std::string segment = disk_->Contents("/queue/log/wal-0000000000000001.log").ValueOrDie();
  const std::string progress = disk_->Contents("/queue/DELIVERED").ValueOrDie();
  disk_->SetContents("/queue/log/wal-0000000000000001.log", "x" + segment.substr(1));
  EXPECT_FALSE(TryOpen().ok());
  EXPECT_EQ(disk_->Contents("/queue/DELIVERED").ValueOrDie(), progress);
  disk_->SetContents("/queue/log/wal-0000000000000001.log", segment);
  Open();
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 1);
}

TEST_F(ExporterTest, LogThatEndsBeforeWhatWasSentIsAnError) {
  options_.queue.batching.rows_max = 1;
  OpenDurable();
  std::string progress;  // When "b" is begun: only a bit tells of it.
  target_->answer = [&](const ExportRequest&) {
    progress = disk_->Contents("/queue/DELIVERED").ValueOrDie();
    return ExportAnswer();
  };
  for (const char* name : {"a", "b"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  exporter_.reset();
  disk_ = std::make_unique<io::SimFileSystem>();
  Open();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  exporter_.reset();
  disk_->SetContents("/queue/DELIVERED", progress);
  EXPECT_EQ(KindOf(TryOpen().status()), ErrorKind::kCorruption);
}

TEST_F(ExporterTest, DamagedLogIsAnErrorAndLogOfAnotherQueueToo) {
  OpenDurable();
  for (const char* name : {"a", "b"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  ASSERT_TRUE(exporter_->Stop(milliseconds(0)).ok());
  exporter_.reset();
  const std::string progress = disk_->Contents("/queue/DELIVERED").ValueOrDie();
  std::string segment = disk_->Contents("/queue/log/wal-0000000000000001.log").ValueOrDie();
  segment[4096 + 100] ^= 1;
  disk_->SetContents("/queue/log/wal-0000000000000001.log", segment);
  disk_->SetContents("/queue/DELIVERED", std::string(8192, 'x'));  // Else nobody needs what is damaged.
  EXPECT_EQ(KindOf(TryOpen().status()), ErrorKind::kCorruption);

  disk_ = std::make_unique<io::SimFileSystem>();
  Open();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  ASSERT_TRUE(exporter_->Stop(milliseconds(0)).ok());
  exporter_.reset();
  disk_->SetContents("/queue/DELIVERED", progress);
  EXPECT_EQ(KindOf(TryOpen().status()), ErrorKind::kCorruption);
}

TEST_F(ExporterTest, FullDiskIsTheSendersAnswer) {
  OpenDurable();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  disk_->SetCapacity(2 << 20);
  Status status;
  for (int i = 0; i < 30 && status.ok(); ++i) status = Enqueue(Request(std::string(200'000, 'x')));
  EXPECT_EQ(KindOf(status), ErrorKind::kUnavailable) << status.ToString();
  const int64_t queued = exporter_->stats().queue.requests;
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  disk_->SetCapacity(std::nullopt);
  ASSERT_TRUE(Enqueue(Request("b")).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().sent_rows, queued + 1);
}

/// Whatever is lost with the power, each acknowledged request reaches the target; and what reaches it twice is counted.
TEST_F(ExporterTest, PowerCutsLoseNothingThatWasAcknowledged) {
  options_.queue.directory = "/queue";
  options_.queue.batching.rows_max = 3;
  options_.attempts_in_hand = 2;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    disk_ = std::make_unique<io::SimFileSystem>(seed);
    target_ = std::make_shared<FakeTarget::Log>();
    target_->lost_arrives = [&random] { return random() % 2 == 0; };
    target_->answer = [&random](const ExportRequest&) {
      const uint64_t dice = random() % 10;
      return ExportAnswer{.verdict = dice < 6 ? ExportVerdict::kTaken : dice < 8 ? ExportVerdict::kLost : ExportVerdict::kLater};
    };
    std::vector<std::string> acknowledged;
    int64_t twice = 0;
    for (int life = 0; life < 4; ++life) {
      Open();
      for (int i = 0; i < 12; ++i) {
        const std::string name = fmt::format("<{}.{}.{}>", seed, life, i);
        if (Enqueue(Request(name)).ok()) acknowledged.push_back(name);
        if (random() % 4 != 0) continue;
        ASSERT_TRUE(exporter_->SendDue(random() % 2 == 0).ok());
      }
      while (life == 3 && exporter_->stats().queue.requests > 0) {
        clock_.Advance(40'000'000'000);  // What was put off comes again.
        ASSERT_TRUE(exporter_->SendDue(true).ok());
      }
      twice += exporter_->stats().perhaps_twice_rows;
      CutPower(&random, io::CrashKeeps::kAnything);
    }
    std::string all;
    for (const std::string& batch : target_->Taken()) all += batch;
    int64_t more = 0;
    for (const std::string& name : acknowledged) {
      int64_t times = 0;
      for (size_t at = all.find(name); at != std::string::npos; at = all.find(name, at + 1)) ++times;
      EXPECT_GE(times, 1) << name << " is lost";
      more += times - 1;
    }
    EXPECT_LE(more, twice);
  }
}

TEST_F(ExporterTest, ManySendersDeliverEachRequestOnce) {
  options_.senders = 4;
  options_.pause = nullptr;
  options_.clock = io::SystemClock();
  options_.retry = {.first = milliseconds(1), .longest = milliseconds(4)};
  options_.queue.batching = {.rows_max = 5, .bytes_max = 1 << 20, .wait_ns_max = 1'000'000};
  std::atomic<uint64_t> attempts{0};
  target_->answer = [&](const ExportRequest&) {
    return ExportAnswer{.verdict = ++attempts % 5 == 0 ? ExportVerdict::kLater : ExportVerdict::kTaken};
  };
  OpenDurable();
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) EXPECT_TRUE(Enqueue(Request(fmt::format("<{}.{}>", t, i))).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(exporter_->Flush(milliseconds(20'000)));
  EXPECT_TRUE(exporter_->Stop(milliseconds(1'000)).ok());
  std::string all;
  for (const std::string& batch : target_->Taken()) all += batch;
  EXPECT_EQ(wire::CountOtlpRecords(OtlpRequest::kTraces, all).ValueOrDie(), 300);
  for (int i = 0; i < 100; ++i) EXPECT_THAT(all, HasSubstr(fmt::format("<2.{}>", i)));
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 0);
}

TEST_F(ExporterTest, StopEndsWaitsAndKeepsWhatIsLeft) {
  options_.senders = 2;
  options_.pause = nullptr;
  options_.clock = io::SystemClock();
  target_->answer = [](const ExportRequest&) {
    return ExportAnswer{.verdict = ExportVerdict::kLater, .retry_after = milliseconds(100'000)};
  };
  OpenDurable();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  EXPECT_FALSE(exporter_->Flush(milliseconds(50)));
  EXPECT_TRUE(exporter_->Stop(milliseconds(10)).ok());
  EXPECT_EQ(exporter_->stats().queue.requests, 1);
}

}  // namespace
}  // namespace sheaf::client
