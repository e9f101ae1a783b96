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

TEST_F(InspectTest, VerifyPassesOnThatAFileCannotBeRead) {
  disk_.FailNth(io::SimOp::kRead, 1, MakeError(ErrorKind::kIo, "bad sector"));
  EXPECT_EQ(KindOf(VerifyLog(&disk_, "/wal").status()), ErrorKind::kIo);
}

}  // namespace
}  // namespace sheaf::wal
