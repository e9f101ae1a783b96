/// Buffered entries: visible and answered before they are on disk. What crashes take of them: crash_test.cc.

#include <atomic>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal/log_metrics.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::ElementsAre;

Entry Buffered(const std::string& payload) {
  Entry entry = MakeEntry(payload);
  entry.buffered = true;
  return entry;
}

bool IsReady(const std::future<Result<Lsn>>& future) { return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

class BufferedTest : public SimLogTest {
 protected:
  OpenedLog OpenWith(Log::VisibleCallback on_visible) {
    return OpenLog(&disk_, &clock_, options_, {}, {}, std::move(on_visible)).ValueOrDie();
  }
  /// What a start finds after the power went and nothing that was not synced survived.
  Strings AfterCrash() {
    const auto after = disk_.Crash(&random_, io::CrashKeeps::kNothing);
    return OpenLog(after.get(), &clock_, options_).ValueOrDie().replayed;
  }

  std::mt19937_64 random_{5};
};

TEST_F(BufferedTest, IsVisibleAndAnsweredBeforeAppendReturnsWithoutTheDisk) {
  std::vector<std::thread::id> shown;
  OpenedLog opened = OpenWith([&](const LoggedEntry&) { shown.push_back(std::this_thread::get_id()); });
  const uint64_t operations = disk_.operations();
  Lsn answer;
  for (uint64_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(opened.log->Append(Buffered("a"), [&](Result<Lsn> lsn) { answer = lsn.ValueOrDie(); }).ok());
    EXPECT_EQ(answer, Lsn(i));
    EXPECT_EQ(opened.log->visible_lsn(), Lsn(i));
  }
  EXPECT_THAT(shown, ElementsAre(std::this_thread::get_id(), std::this_thread::get_id(), std::this_thread::get_id()));
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(0));
  EXPECT_EQ(disk_.operations(), operations);
  EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(0), Lsn(9)).ValueOrDie(), Strings()) << "readers see what is durable";
}

TEST_F(BufferedTest, AcknowledgedDurableEntryMakesAllBeforeItDurable) {
  OpenedLog opened = Open();
  for (const char* text : {"a", "b"}) EXPECT_TRUE(AppendAndWait(opened.log.get(), Buffered(text)).ok());
  EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("c")).ValueOrDie(), Lsn(3));
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(3));
  EXPECT_EQ(AppendAndWait(opened.log.get(), Buffered("d")).ValueOrDie(), Lsn(4));
  EXPECT_THAT(AfterCrash(), ElementsAre("a", "b", "c"));
}

TEST_F(BufferedTest, WaitsForTheDurableEntriesBeforeIt) {
  std::promise<void> entered, leave;
  std::atomic<bool> armed = false;
  std::vector<uint64_t> shown;  // Under the publish lock.
  OpenedLog opened = OpenWith([&](const LoggedEntry& entry) { shown.push_back(entry.lsn.value); });
  ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("a")).ok());
  disk_.SetFaultHook([&](const io::SimOperation& operation) {
    if (operation.kind != io::SimOp::kSync || !armed.exchange(false)) return Status::OK();
    entered.set_value();
    leave.get_future().wait();
    return Status::OK();
  });
  armed = true;
  auto durable = AppendLater(opened.log.get(), MakeEntry("b"));
  entered.get_future().wait();
  auto behind = AppendLater(opened.log.get(), Buffered("c"));
  auto second = AppendLater(opened.log.get(), Buffered("d"));
  EXPECT_FALSE(IsReady(behind));
  EXPECT_EQ(opened.log->visible_lsn(), Lsn(1));
  leave.set_value();
  EXPECT_EQ(durable.get().ValueOrDie(), Lsn(2));
  EXPECT_EQ(behind.get().ValueOrDie(), Lsn(3));
  EXPECT_EQ(second.get().ValueOrDie(), Lsn(4));
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(2));
  EXPECT_EQ(AppendAndWait(opened.log.get(), Buffered("e")).ValueOrDie(), Lsn(5));
  EXPECT_THAT(shown, ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(BufferedTest, TheClockSyncsWhatNobodyElseDoes) {
  options_.buffered_sync_ms = 1;
  options_.commit_delay_ms = 0;
  OpenedLog opened = Open();
  std::promise<void> synced;
  std::atomic<bool> once = false;
  disk_.SetFaultHook([&](const io::SimOperation& operation) {
    if (operation.kind == io::SimOp::kWrite && operation.offset >= 4096 && !once.exchange(true)) synced.set_value();
    return Status::OK();
  });
  for (int round = 0; round < 2; ++round) {  // The second time the writing thread may rest.
    once = false;
    synced = {};
    ASSERT_TRUE(AppendAndWait(opened.log.get(), Buffered("a")).ok());
    synced.get_future().wait();
    ASSERT_TRUE(opened.log->SyncThrough(Lsn(99)).ok());  // That write is over.
    std::this_thread::yield();
  }
}

TEST_F(BufferedTest, AQuarterOfTheQueueIsNotLeftToTheClock) {
  options_.queue_entries_max = 40;
  OpenedLog opened = Open();
  std::promise<void> written;
  std::atomic<bool> once = false;
  disk_.SetFaultHook([&](const io::SimOperation& operation) {
    if (operation.kind == io::SimOp::kWrite && operation.offset == 4096 && !once.exchange(true)) written.set_value();
    return Status::OK();
  });
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(AppendAndWait(opened.log.get(), Buffered("a")).ok());
  EXPECT_FALSE(once);
  ASSERT_TRUE(AppendAndWait(opened.log.get(), Buffered("a")).ok());
  written.get_future().wait();
}

TEST_F(BufferedTest, SyncThroughWaitsForTheDisk) {
  OpenedLog opened = Open();
  ASSERT_TRUE(AppendAndWait(opened.log.get(), Buffered("a")).ok());
  ASSERT_TRUE(opened.log->SyncThrough(opened.log->visible_lsn()).ok());
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(1));
  EXPECT_TRUE(opened.log->SyncThrough(Lsn(1)).ok());
  EXPECT_THAT(AfterCrash(), ElementsAre("a"));
}

TEST_F(BufferedTest, CloseWritesWhatWasBuffered) {
  OpenedLog opened = Open();
  for (const char* text : {"a", "b"}) EXPECT_TRUE(AppendAndWait(opened.log.get(), Buffered(text)).ok());
  ASSERT_TRUE(opened.log->Close().ok());
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(2));
  EXPECT_EQ(Open().replayed, (Strings{"a", "b"}));
}

TEST_F(BufferedTest, FailedSyncLosesKnowinglyAndPoisons) {
  OpenedLog opened = Open();
  ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("kept")).ok());
  const uint64_t lost_before = TheLogMetrics().buffered_lost_bytes.value();
  const int64_t at_risk_before = TheLogMetrics().buffered_bytes.value();
  ASSERT_TRUE(AppendAndWait(opened.log.get(), Buffered("12345")).ok());
  EXPECT_EQ(TheLogMetrics().buffered_bytes.value(), at_risk_before + 5);
  disk_.FailNth(io::SimOp::kSync, 1, MakeError(ErrorKind::kIo, "injected"));
  EXPECT_EQ(KindOf(opened.log->SyncThrough(Lsn(2))), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(opened.log->Append(Buffered("c"), [](Result<Lsn>) { ADD_FAILURE(); })), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(opened.log->Close()), ErrorKind::kUnavailable);
  EXPECT_EQ(TheLogMetrics().buffered_lost_bytes.value(), lost_before + 5);
  EXPECT_EQ(TheLogMetrics().buffered_bytes.value(), at_risk_before);
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(1));
  opened.log.reset();
  EXPECT_THAT(AfterCrash(), testing::AnyOf(ElementsAre("kept"), ElementsAre("kept", "12345")));
}

TEST_F(BufferedTest, FullDiskKeepsWhatWasAnsweredAndTriesAgain) {
  OpenedLog opened = Open();
  ASSERT_TRUE(AppendAndWait(opened.log.get(), Buffered("a")).ok());
  disk_.SetCapacity(16 << 10);  // No room for a segment.
  EXPECT_EQ(KindOf(opened.log->SyncThrough(Lsn(1))), ErrorKind::kUnavailable);
  auto later = AppendLater(opened.log.get(), Buffered("refused"));
  EXPECT_EQ(KindOf(later.get().status()), ErrorKind::kUnavailable) << "while the disk is full, nothing more is put at risk";
  EXPECT_EQ(KindOf(AppendAndWait(opened.log.get(), MakeEntry("refused too")).status()), ErrorKind::kUnavailable);
  EXPECT_EQ(opened.log->visible_lsn(), Lsn(1));
  disk_.SetCapacity(std::nullopt);
  EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("b")).ValueOrDie(), Lsn(2));
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(2));
  ASSERT_TRUE(AppendAndWait(opened.log.get(), Buffered("c")).ok());
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(2)) << "buffered again";
  ASSERT_TRUE(opened.log->Close().ok());
  EXPECT_EQ(Open().replayed, (Strings{"a", "b", "c"}));
}

TEST_F(BufferedTest, ClosingOnAFullDiskSaysWhatIsLost) {
  OpenedLog opened = Open();
  ASSERT_TRUE(AppendAndWait(opened.log.get(), Buffered("a")).ok());
  disk_.SetCapacity(16 << 10);
  const Status closed = opened.log->Close();
  EXPECT_EQ(KindOf(closed), ErrorKind::kUnavailable);
  EXPECT_THAT(closed.message(), testing::HasSubstr("LSN 1 to 1"));
}

TEST_F(BufferedTest, SendersOfBothKindsSeeOneOrder) {
  constexpr int kThreads = 6, kEach = 200;
  options_.segment_bytes = 1 << 20;
  options_.buffered_sync_ms = 1;
  std::vector<std::string> shown;  // Under the publish lock.
  std::atomic<int> answers = 0;
  uint64_t last = 0;
  {
    OpenedLog opened = OpenWith([&](const LoggedEntry& entry) {
      EXPECT_EQ(entry.lsn.value, ++last);
      shown.push_back(PayloadText(entry));
    });
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(static_cast<uint64_t>(t));
        for (int i = 0; i < kEach; ++i) {
          const std::string text = fmt::format("{}/{}", t, i);
          const bool buffered = random() % 4 != 0;
          std::promise<void> answered;
          const Status accepted = opened.log->Append(buffered ? Buffered(text) : MakeEntry(text), [&](Result<Lsn> lsn) {
            EXPECT_TRUE(lsn.ok()) << lsn.status();
            EXPECT_LE(*lsn, opened.log->visible_lsn());
            ++answers;
            answered.set_value();
          });
          ASSERT_TRUE(accepted.ok()) << accepted;
          if (random() % 2 == 0) EXPECT_TRUE(opened.log->SyncThrough(Lsn(random() % 64)).ok());
          answered.get_future().wait();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(opened.log->Close().ok());
  }
  EXPECT_EQ(answers, kThreads * kEach);
  EXPECT_EQ(Open().replayed, shown);
}

}  // namespace
}  // namespace sheaf::wal
