/// What a writer does after its operating system refused: nothing more where a sync is in doubt, the same again where it is not.

#include "wal/segment_writer.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/crc32c.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SegmentWriterTest : public SimLogTest {
 protected:
  SegmentWriterTest() { EXPECT_TRUE(disk_.MakeDirectories("/wal").ok()); }

  Status Commit(const std::string& payload) {
    const PendingEntry entry{{writer_.next_lsn(), clock_.NowNs(), MakeEntry(payload)}, Crc32c(std::as_bytes(std::span(payload)))};
    const PendingEntry* const group[] = {&entry};
    return writer_.Commit(group, Lsn(writer_.next_lsn().value - 1));
  }

  SegmentWriter writer_{&disk_, &clock_, options_, Lsn(1), 0};
};

TEST_F(SegmentWriterTest, NothingIsWrittenAfterASyncThatFailed) {
  ASSERT_TRUE(writer_.Roll({}, options_.segment_bytes).ok());
  ASSERT_TRUE(Commit("a").ok());
  disk_.FailNth(io::SimOp::kSync, 1, MakeError(ErrorKind::kIo, "injected"));
  const Status failed = Commit("b");
  EXPECT_EQ(KindOf(failed), ErrorKind::kUnknown);
  const uint64_t operations = disk_.operations();
  for (const Status& refused : {Commit("b"), writer_.Roll({}, options_.segment_bytes).status(), writer_.Finish()}) {
    EXPECT_EQ(refused, writer_.poisoned());
    EXPECT_THAT(refused.message(), HasSubstr("the log stopped after syncing the log: injected; restart to recover"));
  }
  EXPECT_EQ(disk_.operations(), operations) << "not even tried";
}

TEST_F(SegmentWriterTest, AFullDiskIsTriedAgainAndLeavesAtMostASpare) {
  for (const io::SimOp full : {io::SimOp::kAllocate, io::SimOp::kWrite, io::SimOp::kRename}) {
    for (const bool stuck : {false, true}) {
      disk_.FailNth(full, 1, MakeError(ErrorKind::kUnavailable, "the disk is full"));
      if (stuck) disk_.FailNth(io::SimOp::kRemove, 2, MakeError(ErrorKind::kIo, "injected"));  // The first is of an older attempt.
      EXPECT_EQ(KindOf(writer_.Roll({}, options_.segment_bytes).status()), ErrorKind::kUnavailable);
      EXPECT_EQ(disk_.List("/wal").ValueOrDie().size(), stuck ? 1u : 0u);
      ASSERT_TRUE(!stuck || disk_.Remove("/wal/spare-now").ok());
    }
  }
  ASSERT_TRUE(writer_.Roll({}, options_.segment_bytes).ok());
  ASSERT_TRUE(Commit("a").ok() && Commit("b").ok() && writer_.Finish().ok());
  EXPECT_TRUE(writer_.Finish().ok()) << "nothing is left to be done";
  EXPECT_THAT(RecoverPayloads(&disk_, options_, {}, {}).ValueOrDie(), ElementsAre("a", "b"));
}

/// The last block of a log without COMMIT, which may or may not have been durable, is written again when the log is opened.
TEST_F(SegmentWriterTest, AnEndThatCannotBeWrittenAgainIsTold) {
  for (const ErrorKind kind : {ErrorKind::kUnavailable, ErrorKind::kIo}) {
    io::SimFileSystem disk;
    BuildLog(&disk, options_, {{MakeEntry("a")}, {MakeEntry("b")}});
    disk.FailNth(io::SimOp::kAllocate, 1, MakeError(kind, "injected"));
    const Status refused = OpenLog(&disk, &clock_, options_).status();
    EXPECT_EQ(KindOf(refused), kind);
    EXPECT_THAT(refused.message(), HasSubstr("rewriting the end of the log"));
    EXPECT_THAT(OpenLog(&disk, &clock_, options_).ValueOrDie().replayed, ElementsAre("a", "b"));
  }
}

}  // namespace
}  // namespace sheaf::wal
