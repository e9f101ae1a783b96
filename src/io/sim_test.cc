#include "io/sim_testing.h"

#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::io {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

std::span<const std::byte> AsBytes(const std::string& text) { return std::as_bytes(std::span(text)); }

class SimTest : public testing::Test {
 protected:
  SimTest() { EXPECT_TRUE(disk_.MakeDirectories("/d").ok()); }
  std::unique_ptr<File> Create(const std::string& path) { return disk_.Open(path, OpenMode::kCreate).ValueOrDie(); }

  SimFileSystem disk_;
  std::mt19937_64 random_{5};
};

TEST_F(SimTest, SyncedBytesAndNamesSurvive) {
  const auto file = Create("/d/a");
  ASSERT_TRUE(file->WriteAt(0, AsBytes("synced")).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(disk_.SyncDirectory("/d").ok());
  ASSERT_TRUE(file->WriteAt(0, AsBytes("SYNCED and more")).ok());
  EXPECT_EQ(disk_.Crash(&random_, CrashKeeps::kNothing)->Contents("/d/a").ValueOrDie(), "synced");
}

TEST_F(SimTest, UnsyncedNameIsLostThoughTheBytesWereSynced) {
  const auto file = Create("/d/a");
  ASSERT_TRUE(file->WriteAt(0, AsBytes("synced")).ok());
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_THAT(disk_.Crash(&random_, CrashKeeps::kNothing)->List("/d").ValueOrDie(), IsEmpty());
}

TEST_F(SimTest, RemovedFileComesBackUntilTheFolderIsSynced) {
  disk_.SetContents("/d/a", "text");
  ASSERT_TRUE(disk_.Remove("/d/a").ok());
  EXPECT_EQ(disk_.Crash(&random_, CrashKeeps::kNothing)->Contents("/d/a").ValueOrDie(), "text");
}

TEST_F(SimTest, RenameIsWholeOrNotAtAll) {
  int renamed = 0;
  for (int round = 0; round < 50; ++round) {
    SimFileSystem disk;
    ASSERT_TRUE(disk.MakeDirectories("/d").ok());
    disk.SetContents("/d/a", "new");
    disk.SetContents("/d/b", "old");
    ASSERT_TRUE(disk.Rename("/d/a", "/d/b").ok());
    const auto after = disk.Crash(&random_);
    const bool moved = after->Contents("/d/b").ValueOrDie() == "new";
    EXPECT_EQ(after->Contents("/d/a").ok(), !moved);
    renamed += moved;
  }
  EXPECT_GT(renamed, 5);
  EXPECT_LT(renamed, 45);
}

TEST_F(SimTest, UnsyncedWritesTearAtSectors) {
  const std::string old(4'096, 'o'), fresh(4'096, 'n');
  int torn = 0;
  for (int round = 0; round < 50; ++round) {
    SimFileSystem disk;
    ASSERT_TRUE(disk.MakeDirectories("/d").ok());
    disk.SetContents("/d/a", old);
    const auto file = disk.Open("/d/a", OpenMode::kReadWrite).ValueOrDie();
    ASSERT_TRUE(file->WriteAt(0, AsBytes(fresh)).ok());
    const std::string after = disk.Crash(&random_)->Contents("/d/a").ValueOrDie();
    for (size_t sector = 0; sector < 8; ++sector) {
      const std::string part = after.substr(sector * 512, 512);
      EXPECT_TRUE(part == std::string(512, 'o') || part == std::string(512, 'n'));
    }
    torn += after != old && after != fresh;
  }
  EXPECT_GT(torn, 5);
}

TEST_F(SimTest, FailedSyncIsFinal) {
  const auto file = Create("/d/a");
  ASSERT_TRUE(disk_.SyncDirectory("/d").ok());
  ASSERT_TRUE(file->WriteAt(0, AsBytes(std::string(8'192, 'x'))).ok());
  disk_.FailNth(SimOp::kSync, 1, MakeError(ErrorKind::kIo, "no"));
  EXPECT_EQ(KindOf(file->SyncData()), ErrorKind::kIo);
  EXPECT_THAT(disk_.violations(), IsEmpty());
  EXPECT_EQ(disk_.Contents("/d/a").ValueOrDie(), std::string(8'192, 'x'));  // What the page cache shows.
  EXPECT_TRUE(file->SyncData().ok());                                       // A lie, as on real kernels…
  EXPECT_THAT(disk_.violations(), SizeIs(1));                               // …which is why nobody may ask.
}

TEST_F(SimTest, NthFaultHitsOnce) {
  disk_.FailNth(SimOp::kWrite, 2, MakeError(ErrorKind::kUnavailable, "full"));
  const auto file = Create("/d/a");
  EXPECT_TRUE(file->WriteAt(0, AsBytes("1")).ok());
  EXPECT_EQ(KindOf(file->WriteAt(1, AsBytes("2"))), ErrorKind::kUnavailable);
  EXPECT_TRUE(file->WriteAt(1, AsBytes("2")).ok());
}

TEST_F(SimTest, PowerOffStopsEverything) {
  const uint64_t now = disk_.operations();
  disk_.PowerOffAfter(now + 2);
  const auto file = Create("/d/a");
  EXPECT_TRUE(file->WriteAt(0, AsBytes("1")).ok());
  EXPECT_EQ(KindOf(file->WriteAt(1, AsBytes("2"))), ErrorKind::kIo);
  EXPECT_EQ(KindOf(file->Sync()), ErrorKind::kIo);
  EXPECT_EQ(disk_.operations(), now + 2);
  EXPECT_EQ(disk_.Crash(&random_, CrashKeeps::kEverything)->Contents("/d/a").ValueOrDie(), "1");
}

TEST_F(SimTest, CapacityIsAFullDisk) {
  disk_.SetCapacity(10);
  EXPECT_EQ(disk_.FreeBytes("/d").ValueOrDie(), 10);
  const auto file = Create("/d/a");
  EXPECT_TRUE(file->WriteAt(0, AsBytes("12345678")).ok());
  EXPECT_EQ(KindOf(file->Allocate(11)), ErrorKind::kUnavailable);
  EXPECT_TRUE(file->WriteAt(0, AsBytes("over")).ok());
  disk_.SetCapacity({});
  EXPECT_TRUE(file->Allocate(11).ok());
}

TEST_F(SimTest, RestartKeepsWhatWasWrittenButNotSynced) {
  const auto file = Create("/d/a");
  ASSERT_TRUE(file->WriteAt(0, AsBytes("text")).ok());
  const auto after = disk_.Restart();
  EXPECT_EQ(after->Contents("/d/a").ValueOrDie(), "text");
  EXPECT_FALSE(file->WriteAt(0, AsBytes("TEXT")).ok());
  EXPECT_THAT(after->Crash(&random_, CrashKeeps::kNothing)->List("/d").ValueOrDie(), IsEmpty());
}

TEST_F(SimTest, RecordsOperations) {
  disk_.Record(true);
  const auto file = Create("/d/a");
  ASSERT_TRUE(file->WriteAt(3, AsBytes("text")).ok());
  const std::vector<SimOperation> seen = disk_.recorded();
  ASSERT_THAT(seen, SizeIs(2));
  EXPECT_EQ(seen[0].kind, SimOp::kOpen);
  EXPECT_EQ(seen[1].kind, SimOp::kWrite);
  EXPECT_EQ(seen[1].offset, 3);
  EXPECT_EQ(seen[1].bytes, 4);
  EXPECT_EQ(seen[1].number, disk_.operations());
}

TEST(SimClock, WallClockJumpsAloneAndBothAdvance) {
  SimClock clock(100);
  const int64_t start = clock.MonotonicNs();
  clock.Advance(5);
  EXPECT_EQ(clock.NowNs(), 105);
  EXPECT_EQ(clock.MonotonicNs(), start + 5);
  clock.JumpTo(-3);
  EXPECT_EQ(clock.NowNs(), -3);
  EXPECT_EQ(clock.MonotonicNs(), start + 5);
}

TEST_F(SimTest, AFolderThatIsMadeAnewAfterItsRemovalStays) {
  ASSERT_TRUE(disk_.MakeDirectories("/a/b").ok());
  ASSERT_TRUE(disk_.Remove("/a/b").ok());
  ASSERT_TRUE(disk_.MakeDirectories("/a/b").ok());
  ASSERT_TRUE(disk_.SyncDirectory("/a").ok());
  EXPECT_TRUE(disk_.Crash(&random_)->Stat("/a/b").ok());
}

}  // namespace
}  // namespace sheaf::io
