/// The log on the real file system, with its threads. What it does with damage: recovery_test.cc;
/// with crashes and faults: crash_test.cc, fault_test.cc.

#include "wal/log.h"

#include <algorithm>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"
#include "io/posix.h"
#include "wal/format.h"
#include "wal/log_testing.h"

namespace sheaf::wal {
namespace {

using testing::ElementsAre;

class LogTest : public testing::Test {
 protected:
  LogTest() {
    options_.directory = io::Join(folder_.path(), "wal");
    options_.segment_bytes = 1 << 20;
    options_.commit_delay_ms = 0;
  }
  OpenedLog Open(Lsn applied = {}, Log::VisibleCallback on_visible = nullptr) {
    return OpenLog(io::PosixFileSystem(), io::SystemClock(), options_, applied, {}, std::move(on_visible)).ValueOrDie();
  }

  io::TemporaryFolder folder_;
  LogOptions options_;
};

TEST_F(LogTest, ReplaysWhatWasAppended) {
  {
    OpenedLog opened = Open();
    EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("a")).ValueOrDie(), Lsn(1));
    EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("")).ValueOrDie(), Lsn(2));
    EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry(std::string(10'000, 'c'))).ValueOrDie(), Lsn(3));
    EXPECT_EQ(opened.log->durable_lsn(), Lsn(3));
    ASSERT_TRUE(opened.log->Close().ok());
  }
  OpenedLog opened = Open();
  EXPECT_THAT(opened.replayed, ElementsAre("a", "", std::string(10'000, 'c')));
  EXPECT_EQ(opened.report.first, Lsn(1));
  EXPECT_EQ(opened.report.last, Lsn(3));
  EXPECT_EQ(opened.report.entries, 3);
  EXPECT_EQ(opened.report.bytes, 10'001);
  EXPECT_EQ(opened.report.torn_bytes, 0);
  EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("d")).ValueOrDie(), Lsn(4));
}

TEST_F(LogTest, ReplaysOnlyAboveWhatIsApplied) {
  {
    OpenedLog opened = Open();
    for (const char* text : {"a", "b", "c"}) ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(text)).ok());
  }
  EXPECT_THAT(Open(Lsn(2)).replayed, ElementsAre("c"));
  EXPECT_THAT(Open(Lsn(3)).replayed, ElementsAre());
}

TEST_F(LogTest, KeepsTypeBatchIdAndTime) {
  const int64_t before_ns = io::SystemClock()->NowNs();
  {
    OpenedLog opened = Open();
    ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("a", std::string(kBatchIdBytesMax, 'i'), 200)).ok());
  }
  std::vector<LoggedEntry> seen;
  RecoveryReport report;
  auto log = Log::Open(io::PosixFileSystem(), io::SystemClock(), options_, {}, {},
                       [&](const LoggedEntry& entry) { return seen.push_back(entry), Status::OK(); }, nullptr, &report);
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].entry.type, 200);
  EXPECT_EQ(seen[0].entry.batch_id, std::string(kBatchIdBytesMax, 'i'));
  EXPECT_GE(seen[0].time_ns, before_ns);
  EXPECT_LE(seen[0].time_ns, io::SystemClock()->NowNs());
}

TEST_F(LogTest, PayloadsReadBackAreAlignedForArrow) {
  const std::vector<size_t> sizes = {1, 7, 8, 511, 512, 513, 4095, 4096, 4097, 10'000};
  {
    OpenedLog opened = Open();
    for (const size_t size : sizes) {
      for (const size_t id : {0, 2, 60}) {
        ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(std::string(size, 'p'), std::string(id, 'x'))).ok());
      }
    }
  }
  size_t seen = 0;
  RecoveryReport report;
  auto log = Log::Open(io::PosixFileSystem(), io::SystemClock(), options_, {}, {},
                       [&](const LoggedEntry& entry) {
                         const int64_t size = entry.entry.payload->size();
                         EXPECT_EQ(size, static_cast<int64_t>(sizes[seen++ / 3]));
                         EXPECT_EQ(entry.entry.payload->address() % (size > kSmallPayloadBytesMax ? 64 : 8), 0u) << size;
                         return Status::OK();
                       },
                       nullptr, &report);
  EXPECT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(seen, 3 * sizes.size());
}

TEST_F(LogTest, RefusesWhatIsTooLarge) {
  OpenedLog opened = Open();
  Entry entry{1, false, "", std::make_shared<arrow::Buffer>(nullptr, kPayloadBytesMax + 1)};
  EXPECT_EQ(KindOf(opened.log->Append(entry, [](Result<Lsn>) {})), ErrorKind::kTooLarge);
  EXPECT_EQ(KindOf(opened.log->Append(MakeEntry("a", std::string(kBatchIdBytesMax + 1, 'i')), [](Result<Lsn>) {})), ErrorKind::kTooLarge);
  EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("a")).ValueOrDie(), Lsn(1));
}

TEST_F(LogTest, ThrottlesWhenTheQueueIsFullButTakesOneLargeEntry) {
  options_.queue_bytes_max = 1'000;
  std::promise<void> entered, leave;
  OpenedLog opened = Open({}, [&, first = true](const LoggedEntry&) mutable {
    if (!std::exchange(first, false)) return;
    entered.set_value();
    leave.get_future().wait();
  });
  auto held = AppendLater(opened.log.get(), MakeEntry("held"));
  entered.get_future().wait();  // The log's thread is busy now; what follows waits.
  auto large = AppendLater(opened.log.get(), MakeEntry(std::string(5'000, 'l')));
  const Status refused = opened.log->Append(MakeEntry("more"), [](Result<Lsn>) { ADD_FAILURE(); });
  EXPECT_EQ(KindOf(refused), ErrorKind::kThrottled);
  leave.set_value();
  EXPECT_EQ(held.get().ValueOrDie(), Lsn(1));
  EXPECT_EQ(large.get().ValueOrDie(), Lsn(2));
}

TEST_F(LogTest, CallbacksComeInOrderAndBeforeDone) {
  std::vector<uint64_t> durable;  // Only the log's thread touches it while the log is open.
  std::vector<std::pair<uint64_t, size_t>> done;
  {
    OpenedLog opened = Open({}, [&](const LoggedEntry& entry) { durable.push_back(entry.lsn.value); });
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(opened.log->Append(MakeEntry("x"), [&](Result<Lsn> lsn) { done.emplace_back(lsn->value, durable.size()); }).ok());
    }
  }
  ASSERT_EQ(durable.size(), 100u);
  ASSERT_EQ(done.size(), 100u);
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(durable[i], i + 1);
    EXPECT_EQ(done[i].first, i + 1);
    EXPECT_GE(done[i].second, i + 1);
  }
}

TEST_F(LogTest, ASenderThatWaitsWritesItsEntryItself) {
  OpenedLog opened = Open();
  for (uint64_t i = 1; i <= 3; ++i) {
    Entry entry = MakeEntry("x");
    entry.sender_waits = true;
    std::thread::id answered_by;
    Result<Lsn> answer = Lsn(0);
    ASSERT_TRUE(opened.log->Append(entry, [&](Result<Lsn> lsn) {
      answered_by = std::this_thread::get_id();
      answer = std::move(lsn);
    }).ok());
    EXPECT_EQ(answered_by, std::this_thread::get_id());
    EXPECT_EQ(answer.ValueOrDie(), Lsn(i));
    EXPECT_EQ(opened.log->durable_lsn(), Lsn(i));
  }
}

TEST_F(LogTest, ASenderThatWaitsTakesAlongWhatIsBuffered) {
  options_.buffered_sync_ms = 3'600'000;
  OpenedLog opened = Open();
  Entry buffered = MakeEntry("buffered");
  buffered.buffered = true;
  EXPECT_EQ(AppendLater(opened.log.get(), buffered).get().ValueOrDie(), Lsn(1));
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(0));
  EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("durable")).ValueOrDie(), Lsn(2));
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(2));
  EXPECT_THAT(ReadPayloads(opened.log.get(), Lsn(0), Lsn(2)).ValueOrDie(), ElementsAre("buffered", "durable"));
}

TEST_F(LogTest, SendersOfEveryKindShareOneOrder) {
  constexpr int kThreads = 6, kEach = 100;
  std::vector<std::vector<uint64_t>> lsns(kThreads);
  uint64_t shown = 0;  // on_visible is serialised by the log.
  {
    OpenedLog opened = Open({}, [&](const LoggedEntry& entry) { EXPECT_EQ(entry.lsn.value, ++shown); });
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          Entry entry = MakeEntry(std::to_string(t));
          entry.buffered = t % 3 == 1;
          entry.sender_waits = t % 3 == 2;
          lsns[t].push_back(AppendLater(opened.log.get(), entry).get().ValueOrDie().value);
          if (i % 10 != 0) continue;
          EXPECT_TRUE(opened.log->SyncThrough(opened.log->visible_lsn()).ok());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(opened.log->Close().ok());
  }
  std::vector<uint64_t> all;
  for (const auto& mine : lsns) {
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::sort(all.begin(), all.end());
  for (uint64_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], i + 1);
  EXPECT_EQ(Open().replayed.size(), all.size());
}

TEST_F(LogTest, ManySendersShareOneOrder) {
  constexpr int kThreads = 8, kEach = 50;
  std::vector<std::vector<uint64_t>> lsns(kThreads);
  {
    OpenedLog opened = Open();
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          lsns[t].push_back(AppendAndWait(opened.log.get(), MakeEntry(fmt::format("{}/{}", t, i))).ValueOrDie().value);
        }
      });
    }
    std::thread reader([&] {
      while (opened.log->durable_lsn() < Lsn(kThreads * kEach)) {
        const Lsn through = opened.log->durable_lsn();
        EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(0), through).ValueOrDie().size(), through.value);
      }
    });
    for (std::thread& thread : threads) thread.join();
    reader.join();
  }
  const OpenedLog opened = Open();
  ASSERT_EQ(opened.replayed.size(), static_cast<size_t>(kThreads * kEach));
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kEach; ++i) EXPECT_EQ(opened.replayed[lsns[t][i] - 1], fmt::format("{}/{}", t, i));
  }
}

TEST_F(LogTest, RollsToNewSegmentsAndReadsAcrossThem) {
  options_.segment_bytes = 64 << 10;
  std::vector<std::string> want;
  {
    OpenedLog opened = Open();
    for (int i = 0; i < 40; ++i) {
      want.push_back(fmt::format("{}:{}", i, std::string(static_cast<size_t>(i) * 300, 'x')));
      ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(want.back())).ok());
    }
    EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(0), Lsn(99)).ValueOrDie(), want);
    EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(17), Lsn(19)).ValueOrDie(), (std::vector{want[17], want[18]}));
    EXPECT_GT(opened.log->disk_bytes(), 4 * options_.segment_bytes);
  }
  EXPECT_EQ(Open().replayed, want);
}

TEST_F(LogTest, ALargeLogIsCheckedAheadOfItsReplay) {
  options_.segment_bytes = 512 << 10;
  std::vector<std::string> want;
  {
    OpenedLog opened = Open();
    for (int i = 0; i < 80; ++i) {
      want.push_back(fmt::format("{}:{}", i, std::string(50'000, 'x')));
      ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(want.back())).ok());
    }
  }
  EXPECT_EQ(Open().replayed, want);
  EXPECT_EQ(Open(Lsn(70)).replayed, std::vector(want.begin() + 70, want.end()));
  RecoveryReport report;
  int replayed = 0;
  const auto five = [&](const LoggedEntry&) { return ++replayed < 5 ? Status::OK() : MakeError(ErrorKind::kOutOfMemory, "no room"); };
  const auto stopped = Log::Open(io::PosixFileSystem(), io::SystemClock(), options_, {}, {}, five, nullptr, &report);
  EXPECT_EQ(KindOf(stopped.status()), ErrorKind::kOutOfMemory) << "while the scan is far ahead";
  EXPECT_EQ(replayed, 5);
}

TEST_F(LogTest, AnEntryLargerThanASegmentGetsOneOfItsOwn) {
  options_.segment_bytes = 64 << 10;
  const std::string large(300'000, 'l');
  {
    OpenedLog opened = Open();
    for (const std::string& text : {std::string("a"), large, std::string("b")}) {
      ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(text)).ok());
    }
  }
  EXPECT_THAT(Open().replayed, ElementsAre("a", large, "b"));
}

TEST_F(LogTest, DirectWritesMakeTheSameLog) {
  options_.direct_io = true;  // Or not, where the file system refuses.
  options_.segment_bytes = 64 << 10;
  std::vector<std::string> want;
  {
    OpenedLog opened = Open();
    for (int i = 0; i < 20; ++i) {
      want.push_back(fmt::format("{}:{}", i, std::string(static_cast<size_t>(i % 5) * 9'001, 'x')));
      ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(want.back(), "id")).ok());
    }
    EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(0), Lsn(99)).ValueOrDie(), want);
  }
  options_.direct_io = false;
  EXPECT_EQ(Open().replayed, want);
}

TEST_F(LogTest, TruncationRemovesOnlyWhatIsCovered) {
  options_.segment_bytes = 64 << 10;
  OpenedLog opened = Open();
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(std::string(10'000, 'x'))).ok());
  const int64_t before = opened.log->disk_bytes();
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(0)).ok());
  EXPECT_EQ(opened.log->disk_bytes(), before);
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(20)).ok());
  EXPECT_LT(opened.log->disk_bytes(), before);
  EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(20), Lsn(40)).ValueOrDie().size(), 20u);
  EXPECT_EQ(KindOf(ReadPayloads(opened.log.get(), Lsn(0), Lsn(40)).status()), ErrorKind::kNotFound);
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(40)).ok());
  EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("y")).ValueOrDie(), Lsn(41));
  opened.log.reset();
  EXPECT_THAT(Open(Lsn(40)).replayed, ElementsAre("y"));
}

TEST_F(LogTest, StartsBehindWhatIsAppliedWhenThereIsNoLog) {
  OpenedLog opened = Open(Lsn(41));
  EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("a")).ValueOrDie(), Lsn(42));
}

TEST_F(LogTest, RefusesAppendsAfterClose) {
  OpenedLog opened = Open();
  ASSERT_TRUE(opened.log->Close().ok());
  EXPECT_EQ(KindOf(opened.log->Append(MakeEntry("a"), [](Result<Lsn>) {})), ErrorKind::kUnavailable);
  EXPECT_TRUE(opened.log->Close().ok());
}

TEST_F(LogTest, PassesOnWhatReplayReturns) {
  {
    OpenedLog opened = Open();
    ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("a")).ok());
  }
  RecoveryReport report;
  const auto log = Log::Open(io::PosixFileSystem(), io::SystemClock(), options_, {}, {},
                             [](const LoggedEntry&) { return MakeError(ErrorKind::kOutOfMemory, "no room"); }, nullptr, &report);
  EXPECT_EQ(KindOf(log.status()), ErrorKind::kOutOfMemory);
}

}  // namespace
}  // namespace sheaf::wal
