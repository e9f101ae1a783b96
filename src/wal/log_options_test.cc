/// What the options of a log change, and files that belong to another one.

#include <future>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal/commit_file.h"
#include "wal/format.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LogOptionsTest : public SimLogTest {
 protected:
  static std::string Slot(uint64_t sequence, uint64_t durable, uint8_t database = 0) {
    CommitSlot slot{.sequence = sequence, .durable_lsn = durable};
    slot.database_id[0] = database;
    const auto page = EncodeCommitSlot(slot);
    return {reinterpret_cast<const char*>(page.data()), page.size()};
  }
};

TEST_F(LogOptionsTest, AnEntryWithoutAPayloadIsAnEmptyOne) {
  {
    OpenedLog opened = Open();
    EXPECT_EQ(AppendAndWait(opened.log.get(), {.type = 1, .payload = nullptr}).ValueOrDie(), Lsn(1));
    EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("a")).ValueOrDie(), Lsn(2));
  }
  EXPECT_THAT(Open().replayed, ElementsAre("", "a"));
}

TEST_F(LogOptionsTest, TheQueueHoldsSoManyEntriesAndNoMore) {
  options_.queue_entries_max = 2;
  std::promise<void> entered, leave;
  OpenedLog opened = OpenLog(&disk_, &clock_, options_, {}, {}, [&, first = true](const LoggedEntry&) mutable {
                       if (!std::exchange(first, false)) return;
                       entered.set_value();
                       leave.get_future().wait();
                     }).ValueOrDie();
  auto held = AppendLater(opened.log.get(), MakeEntry("held"));
  entered.get_future().wait();  // The log's thread is busy now; what follows waits.
  auto second = AppendLater(opened.log.get(), MakeEntry("b")), third = AppendLater(opened.log.get(), MakeEntry("c"));
  const Status refused = opened.log->Append(MakeEntry("d"), [](Result<Lsn>) { ADD_FAILURE(); });
  EXPECT_EQ(KindOf(refused), ErrorKind::kThrottled);
  EXPECT_THAT(refused.message(), HasSubstr("2 entries"));
  leave.set_value();
  EXPECT_TRUE(held.get().ok() && second.get().ok() && third.get().ok());
  EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry("d")).ValueOrDie(), Lsn(4));
}

TEST_F(LogOptionsTest, AProcessorThatIsNotThereCostsNothing) {
  for (const int cpu : {0, 1 << 20}) {
    options_.cpu = cpu;
    OpenedLog opened = Open();
    EXPECT_TRUE(AppendLater(opened.log.get(), MakeEntry("a")).get().ok());
  }
  EXPECT_THAT(Open().replayed, ElementsAre("a", "a"));
}

/// Also without a report that anybody wants.
TEST_F(LogOptionsTest, ALogThatWasNotClosedIsAsGood) {
  for (const uint64_t durable : {1, 2}) {
    io::SimFileSystem disk;
    BuildLog(&disk, options_, {{MakeEntry("a")}, {MakeEntry("b")}});
    disk.SetContents("/wal/COMMIT", Slot(2, durable) + Slot(3, durable));
    int replayed = 0;
    const auto count = [&](const LoggedEntry&) { return ++replayed, Status::OK(); };
    const auto log = Log::Open(&disk, &clock_, options_, {}, {}, count, nullptr, nullptr).ValueOrDie();
    EXPECT_EQ(replayed, 2);
    EXPECT_EQ(AppendAndWait(log.get(), MakeEntry("c")).ValueOrDie(), Lsn(3));
    ASSERT_TRUE(log->Close().ok());
  }
}

TEST_F(LogOptionsTest, SlotsOfACommitFileCountInTheirPlaceOnly) {
  const auto read = [&](const std::string& bytes, uint8_t database = 0) {
    EXPECT_TRUE(disk_.MakeDirectories("/wal").ok());
    disk_.SetContents("/wal/COMMIT", bytes);
    std::array<uint8_t, 16> id{};
    id[0] = database;
    return ReadCommitFile(&disk_, "/wal/COMMIT", id);
  };
  EXPECT_EQ(read(Slot(4, 10) + Slot(3, 9)).ValueOrDie()->durable, Lsn(10));
  EXPECT_EQ(read(Slot(4, 10) + Slot(5, 11)).ValueOrDie()->durable, Lsn(11));
  EXPECT_EQ(read(Slot(4, 10) + Slot(6, 11)).ValueOrDie()->durable, Lsn(10)) << "it was copied there";
  EXPECT_EQ(read(Slot(4, 10)).ValueOrDie()->sequence, 4u);
  EXPECT_EQ(KindOf(read(Slot(5, 11) + Slot(4, 10)).status()), ErrorKind::kCorruption);
  EXPECT_EQ(read(Slot(4, 10, 7), 7).ValueOrDie()->durable, Lsn(10));
  EXPECT_EQ(read(Slot(4, 10, 7), 0).ValueOrDie()->durable, Lsn(10)) << "who does not say whose it is takes anybody's";
  const Status foreign = read(Slot(4, 10, 7), 8).status();
  EXPECT_EQ(KindOf(foreign), ErrorKind::kCorruption);
  EXPECT_THAT(foreign.message(), HasSubstr("belongs to another database"));
  EXPECT_EQ(KindOf(read(std::string(2 << 20, 'C')).status()), ErrorKind::kCorruption);
}

/// The first segment goes on behind the beginning of the second.
TEST_F(LogOptionsTest, ASegmentThatReachesIntoTheNextIsRefused) {
  BuildLog(&disk_, options_, {{MakeEntry("a")}, {MakeEntry("b")}}, {1});
  io::SimFileSystem other;
  BuildLog(&other, options_, {{MakeEntry("a"), MakeEntry("b")}});
  disk_.SetContents(kFirstSegment, other.Contents(kFirstSegment).ValueOrDie());
  const Status refused = RecoverPayloads(&disk_, options_, Lsn(0), Lsn(0)).status();
  EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption);
  EXPECT_THAT(refused.message(), HasSubstr("a block reaches into the next segment"));
}

}  // namespace
}  // namespace sheaf::wal
