#include "wal/salvage.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal/format.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Three groups of entries in two segments: LSNs 1 and 2, 3; 4.
class SalvageTest : public SimLogTest {
 protected:
  SalvageTest() {
    BuildLog(&disk_, options_, {{MakeEntry("a"), MakeEntry("bb")}, {MakeEntry("ccc")}, {MakeEntry("d")}}, {2});
  }
  void Damage(const std::string& path, size_t offset) {
    std::string image = disk_.Contents(path).ValueOrDie();
    image[offset] = static_cast<char>(image[offset] ^ 1);
    disk_.SetContents(path, image);
  }
  std::vector<uint64_t> Read(Lsn after = Lsn()) {
    std::vector<uint64_t> read;
    lost_.clear();
    const Status done = ReadSound(
        &disk_, "/wal", after,
        [&](const LoggedEntry& entry) {
          read.push_back(entry.lsn.value);
          return Status::OK();
        },
        [&](const LostEntries& lost) { lost_.push_back(lost); });
    EXPECT_TRUE(done.ok()) << done.ToString();
    return read;
  }

  std::vector<LostEntries> lost_;
};

TEST_F(SalvageTest, AllOfASoundLog) {
  EXPECT_THAT(Read(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(lost_, IsEmpty());
  EXPECT_THAT(Read(Lsn(2)), ElementsAre(3, 4));
  EXPECT_THAT(lost_, IsEmpty());
}

TEST_F(SalvageTest, ADamagedBlockIsLostAndWhatFollowsIsNot) {
  Damage(kFirstSegment, 4096 + sizeof(BlockHeader) + sizeof(EntryHeader));
  EXPECT_THAT(Read(), ElementsAre(3, 4));
  ASSERT_THAT(lost_, SizeIs(1));
  EXPECT_EQ(lost_[0].first, Lsn(1));
  EXPECT_EQ(lost_[0].last, Lsn(2));
  EXPECT_EQ(lost_[0].path, kFirstSegment);
  EXPECT_EQ(lost_[0].offset, 4096);
  EXPECT_THAT(lost_[0].reason, HasSubstr("entry 1"));
}

TEST_F(SalvageTest, ADamagedHeadOfASegmentCostsNoEntry) {
  Damage(kFirstSegment, 9);
  EXPECT_THAT(Read(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(lost_, IsEmpty());
}

TEST_F(SalvageTest, ASegmentThatIsGoneIsNamedByItsEntries) {
  ASSERT_TRUE(disk_.Remove(kFirstSegment).ok());
  EXPECT_THAT(Read(), ElementsAre(4));
  ASSERT_THAT(lost_, SizeIs(1));
  EXPECT_EQ(lost_[0].first, Lsn(1));
  EXPECT_EQ(lost_[0].last, Lsn(3));
}

TEST_F(SalvageTest, WhatTheVisitorSaysEndsIt) {
  int seen = 0;
  const auto refuse = [&](const LoggedEntry&) { return ++seen == 2 ? MakeError(ErrorKind::kCancelled, "enough") : Status::OK(); };
  EXPECT_EQ(KindOf(ReadSound(&disk_, "/wal", Lsn(), refuse, [](const LostEntries&) {})), ErrorKind::kCancelled);
  EXPECT_EQ(seen, 2);
  Damage(kFirstSegment, 9);
  seen = 0;
  EXPECT_EQ(KindOf(ReadSound(&disk_, "/wal", Lsn(), refuse, [](const LostEntries&) {})), ErrorKind::kCancelled);
}

TEST_F(SalvageTest, EntriesBeforeThoseAskedForAreLeftOutOfTheirBlock) {
  EXPECT_THAT(Read(Lsn(1)), ElementsAre(2, 3, 4));
  EXPECT_THAT(lost_, IsEmpty());
}

/// A block that is sound and follows other entries than those that stand before it: of a copy that went on by itself.
TEST_F(SalvageTest, ABlockThatDoesNotGoOnCountsByItsOwnHeader) {
  io::SimFileSystem other;
  BuildLog(&other, options_, {{MakeEntry("x"), MakeEntry("yy")}, {MakeEntry("zzz")}, {MakeEntry("d")}}, {2});
  std::string image = disk_.Contents(kFirstSegment).ValueOrDie();
  image.replace(8192, 4096, other.Contents(kFirstSegment).ValueOrDie(), 8192, 4096);
  disk_.SetContents(kFirstSegment, image);
  EXPECT_THAT(Read(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(lost_, IsEmpty());
}

/// What stands behind the first entry of the next segment was written again there.
TEST_F(SalvageTest, EntriesOfTheNextSegmentAreTakenFromThere) {
  io::SimFileSystem other;
  BuildLog(&other, options_, {{MakeEntry("a"), MakeEntry("bb")}, {MakeEntry("ccc"), MakeEntry("older")}, {MakeEntry("more")}});
  const std::string longer = other.Contents(kFirstSegment).ValueOrDie();
  disk_.SetContents(kFirstSegment, longer);
  EXPECT_THAT(Read(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(lost_, IsEmpty());
  Damage(kFirstSegment, 8192 + 100);  // Behind it only the block that begins with LSN 5.
  EXPECT_THAT(Read(), ElementsAre(1, 2, 4));
  ASSERT_THAT(lost_, SizeIs(1));
  EXPECT_EQ(lost_[0].first, Lsn(3));
  EXPECT_EQ(lost_[0].last, Lsn(3));
}

TEST_F(SalvageTest, ATornTailIsNamedWithoutAnEnd) {
  Damage("/wal/wal-0000000000000004.log", 4096 + 100);
  EXPECT_THAT(Read(), ElementsAre(1, 2, 3));
  ASSERT_THAT(lost_, SizeIs(1));
  EXPECT_EQ(lost_[0].first, Lsn(4));
  EXPECT_FALSE(lost_[0].last.has_value());
  EXPECT_EQ(lost_[0].offset, 4096);
}

/// Whatever byte is flipped: what is handed on is what was written, and what is not is named.
TEST_F(SalvageTest, EveryByteFlippedLosesItsBlockAtMost) {
  const std::string whole = disk_.Contents(kFirstSegment).ValueOrDie();
  for (size_t offset = 0; offset < 3 * 4096; offset += 7) {
    SCOPED_TRACE(offset);
    Damage(kFirstSegment, offset);
    const std::vector<uint64_t> read = Read();
    const size_t lost = 4 - read.size();
    EXPECT_LE(lost, 2u);
    EXPECT_EQ(lost == 0, lost_.empty() || !lost_[0].last.has_value());
    EXPECT_EQ(read.back(), 4u);
    disk_.SetContents(kFirstSegment, whole);
  }
}

}  // namespace
}  // namespace sheaf::wal
