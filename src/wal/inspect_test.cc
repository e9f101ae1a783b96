#include "wal/inspect.h"

#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal/format.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class InspectTest : public SimLogTest {
 protected:
  InspectTest() {
    BuildLog(&disk_, options_, {{MakeEntry("a", "id"), MakeEntry("bb")}, {MakeEntry("ccc")}, {MakeEntry("d")}}, {2});
  }
  std::string Inspect(const std::string& path) {
    std::ostringstream out;
    const Status status = InspectLogFile(&disk_, path, true, &out);
    return status.ok() ? out.str() : status.ToString();
  }
  void Damage(const std::string& path, size_t offset) {
    std::string image = disk_.Contents(path).ValueOrDie();
    image[offset] = static_cast<char>(image[offset] ^ 1);
    disk_.SetContents(path, image);
  }
};

TEST_F(InspectTest, PrintsHeaderBlocksAndEntries) {
  const std::string text = Inspect(kFirstSegment);
  EXPECT_THAT(text, HasSubstr("first LSN 1, epoch 1"));
  EXPECT_THAT(text, HasSubstr("block at 4096: 4096 bytes, epoch 1, LSN 1 to 2, durable before 0"));
  EXPECT_THAT(text, HasSubstr("entry 1: type 1"));
  EXPECT_THAT(text, HasSubstr("batch id \"6964\""));
  EXPECT_THAT(text, HasSubstr("end at 12288 of 32768"));
}

TEST_F(InspectTest, PrintsDamageWhereItIs) {
  Damage(kFirstSegment, 8192 + sizeof(BlockHeader) + sizeof(EntryHeader));
  EXPECT_THAT(Inspect(kFirstSegment), HasSubstr("damaged or torn at 8192 of 32768: the payload of entry 3 fails its checksum"));
  Damage(kFirstSegment, 9);
  EXPECT_THAT(Inspect(kFirstSegment), HasSubstr("the segment header fails its checksum"));
}

TEST_F(InspectTest, PrintsTheCommitFileAndRefusesOthers) {
  Open().log.reset();
  EXPECT_THAT(Inspect("/wal/COMMIT"), HasSubstr("durable LSN 4, cleanly closed"));
  EXPECT_THAT(Inspect("/wal/other"), HasSubstr("neither"));
  EXPECT_THAT(Inspect("/wal/wal-00000000000000ff.log"), HasSubstr("no such file"));
}

TEST_F(InspectTest, VerifyCountsWhatIsThere) {
  const LogVerification found = VerifyLog(&disk_, "/wal").ValueOrDie();
  EXPECT_THAT(found.problems, IsEmpty());
  EXPECT_EQ(found.first, Lsn(1));
  EXPECT_EQ(found.last, Lsn(4));
  EXPECT_EQ(found.segments, 2);
  EXPECT_EQ(found.blocks, 3);
  EXPECT_EQ(found.entries, 4);
  EXPECT_EQ(found.payload_bytes, 7);
}

TEST_F(InspectTest, VerifyFindsEveryDamage) {
  Damage(kFirstSegment, 4096 + 130);
  EXPECT_THAT(VerifyLog(&disk_, "/wal").ValueOrDie().problems, SizeIs(1));
  Damage(kFirstSegment, 9);
  EXPECT_THAT(VerifyLog(&disk_, "/wal").ValueOrDie().problems, SizeIs(1));
  ASSERT_TRUE(disk_.Remove(kFirstSegment).ok());
  EXPECT_THAT(VerifyLog(&disk_, "/wal").ValueOrDie().problems, IsEmpty());  // Truncated, as far as anyone can tell.
  disk_.SetContents("/wal/COMMIT", "garbage");
  EXPECT_THAT(VerifyLog(&disk_, "/wal").ValueOrDie().problems, SizeIs(1));
}

TEST_F(InspectTest, PrintsWhatIsLeftOfACommitFile) {
  Open().log.reset();
  Damage("/wal/COMMIT", 20);
  EXPECT_THAT(Inspect("/wal/COMMIT"), testing::AllOf(HasSubstr("slot 0: damaged\n"), HasSubstr("slot 1: sequence")));
  disk_.SetContents("/wal/COMMIT", "short");
  EXPECT_EQ(Inspect("/wal/COMMIT"), "slot 0: damaged\nslot 1: damaged\n");
}

TEST_F(InspectTest, PrintsBlocksAloneWhereEntriesAreNotAskedFor) {
  std::ostringstream out;
  ASSERT_TRUE(InspectLogFile(&disk_, kFirstSegment, false, &out).ok());
  EXPECT_THAT(out.str(), testing::AllOf(HasSubstr("block at 4096"), testing::Not(HasSubstr("entry 1"))));
}

/// The second block of a log that began with other entries.
class OtherBlockTest : public InspectTest {
 protected:
  OtherBlockTest() {
    io::SimFileSystem other;
    BuildLog(&other, options_, {{MakeEntry("x"), MakeEntry("yy")}, {MakeEntry("zzz")}, {MakeEntry("d")}}, {2});
    std::string image = disk_.Contents(kFirstSegment).ValueOrDie();
    image.replace(8192, 4096, other.Contents(kFirstSegment).ValueOrDie(), 8192, 4096);
    disk_.SetContents(kFirstSegment, image);
  }
};

TEST_F(OtherBlockTest, IsNamedByBoth) {
  EXPECT_THAT(Inspect(kFirstSegment), HasSubstr("at offset 8192: an undamaged block begins with LSN 3"));
  const LogVerification found = VerifyLog(&disk_, "/wal").ValueOrDie();
  ASSERT_THAT(found.problems, SizeIs(2));
  EXPECT_THAT(found.problems[0], HasSubstr("at offset 8192: an undamaged block begins with LSN 3"));
  EXPECT_THAT(found.problems[1], HasSubstr("LSN 3 to 3 are lost"));
}

TEST_F(InspectTest, VerifyFindsSegmentsThatDoNotFollow) {
  const std::string second = "/wal/wal-0000000000000004.log", image = disk_.Contents(second).ValueOrDie();
  io::SimFileSystem other;
  BuildLog(&other, options_, {{MakeEntry("x"), MakeEntry("yy")}, {MakeEntry("zzz")}, {MakeEntry("d")}}, {2});
  disk_.SetContents(second, other.Contents(second).ValueOrDie());
  auto found = VerifyLog(&disk_, "/wal").ValueOrDie();
  ASSERT_THAT(found.problems, SizeIs(1)) << "another chain";
  EXPECT_THAT(found.problems[0], HasSubstr("does not continue the segment before it"));
  ASSERT_TRUE(disk_.Remove(second).ok());
  disk_.SetContents("/wal/wal-0000000000000009.log", image);
  found = VerifyLog(&disk_, "/wal").ValueOrDie();
  EXPECT_THAT(found.problems, testing::Contains(HasSubstr("LSN 4 to 8 are lost")));
  EXPECT_THAT(found.problems, testing::Contains(HasSubstr("wal-0000000000000009.log does not continue"))) << "it was renamed";
  disk_.SetContents(second, image);
  ASSERT_TRUE(disk_.Remove("/wal/wal-0000000000000009.log").ok());
  BuildLog(&other, options_, {{MakeEntry("a"), MakeEntry("bb")}, {MakeEntry("ccc"), MakeEntry("older")}});
  disk_.SetContents(kFirstSegment, other.Contents(kFirstSegment).ValueOrDie());
  EXPECT_THAT(VerifyLog(&disk_, "/wal").ValueOrDie().problems, SizeIs(1)) << "the first reaches into the second";
}

TEST_F(InspectTest, VerifyTellsATornTailFromDamageByWhatFollows) {
  BuildLog(&disk_, options_, {{MakeEntry("a"), MakeEntry("bb")}, {MakeEntry("ccc")}, {MakeEntry("d")}});
  ASSERT_TRUE(disk_.Remove("/wal/wal-0000000000000004.log").ok());
  const std::string whole = disk_.Contents(kFirstSegment).ValueOrDie();
  Damage(kFirstSegment, 3 * 4096 + 100);
  LogVerification found = VerifyLog(&disk_, "/wal").ValueOrDie();
  EXPECT_THAT(found.problems, IsEmpty());
  EXPECT_EQ(found.torn_bytes, 4096);
  disk_.SetContents(kFirstSegment, whole);
  Damage(kFirstSegment, 2 * 4096 + 100);
  found = VerifyLog(&disk_, "/wal").ValueOrDie();
  ASSERT_THAT(found.problems, SizeIs(1));
  EXPECT_THAT(found.problems[0], HasSubstr("and a block with LSN 4 follows"));
}

TEST_F(InspectTest, VerifyMissesWhatCommitSaysIsStored) {
  ASSERT_TRUE(Open().log->Close().ok());
  ASSERT_THAT(VerifyLog(&disk_, "/wal").ValueOrDie().problems, IsEmpty());
  Damage("/wal/wal-0000000000000004.log", 4096 + 100);
  const LogVerification found = VerifyLog(&disk_, "/wal").ValueOrDie();
  ASSERT_THAT(found.problems, SizeIs(1));
  EXPECT_THAT(found.problems[0], HasSubstr("the log ends before LSN 4, but COMMIT says that 4 is stored"));
  disk_.SetContents("/wal/COMMIT", std::string(2 << 20, 'C'));
  EXPECT_THAT(VerifyLog(&disk_, "/wal").ValueOrDie().problems, SizeIs(1)) << "far too long: damage as well";
}

TEST_F(InspectTest, VerifyPassesOnThatAFileCannotBeRead) {
  disk_.FailNth(io::SimOp::kRead, 1, MakeError(ErrorKind::kIo, "bad sector"));
  EXPECT_EQ(KindOf(VerifyLog(&disk_, "/wal").status()), ErrorKind::kIo);
}

}  // namespace
}  // namespace sheaf::wal
