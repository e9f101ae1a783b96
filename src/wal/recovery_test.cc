/// What recovery makes of every kind of damage: it gives back each entry that anybody may have been told
/// of, or refuses. Offsets follow docs/formats/wal.md: the segment header, then blocks of one page each.

#include "wal/recovery.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/crc32c.h"
#include "wal/format.h"
#include "wal/segment_writer.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr size_t kBlock1 = 4096, kBlock2 = 8192, kBlock3 = 12288, kAfter = 16384;

/// The log "a", "bb", "ccc", a block each, in one segment.
std::unique_ptr<io::SimFileSystem> ThreeBlocks() {
  auto disk = std::make_unique<io::SimFileSystem>();
  BuildLog(disk.get(), SimLogOptions(), {{MakeEntry("a")}, {MakeEntry("bb", "id")}, {MakeEntry("ccc")}});
  return disk;
}

std::string CommitText(uint64_t durable) {
  std::string text;
  for (const uint64_t sequence : {uint64_t{2}, uint64_t{3}}) {
    CommitSlot slot{};
    slot.sequence = sequence;
    slot.durable_lsn = durable;
    const auto page = EncodeCommitSlot(slot);
    text.append(reinterpret_cast<const char*>(page.data()), page.size());
  }
  return text;
}

/// One row: damage the segment, then recover.
struct DamageCase {
  const char* name;
  std::function<void(std::string*)> damage;
  uint64_t durable_floor;
  std::optional<Strings> want;  // Nothing: recovery must refuse with Corruption.

  friend void PrintTo(const DamageCase& row, std::ostream* out) { *out << row.name; }
};

void Flip(std::string* image, size_t offset) { (*image)[offset] = static_cast<char>((*image)[offset] ^ 1); }
void Zero(std::string* image, size_t from, size_t to) { std::fill(image->begin() + from, image->begin() + to, '\0'); }

const DamageCase kDamageCases[] = {
    {"Intact", [](std::string*) {}, 3, Strings{"a", "bb", "ccc"}},
    {"CutBehindTheLastBlock", [](std::string* i) { i->resize(kAfter); }, 3, Strings{"a", "bb", "ccc"}},
    {"GarbageBehindTheLastBlock", [](std::string* i) { std::fill(i->begin() + kAfter, i->end(), 'x'); }, 3, Strings{"a", "bb", "ccc"}},
    {"LastPayloadFlippedAboveFloor", [](std::string* i) { Flip(i, kBlock3 + 128); }, 2, Strings{"a", "bb"}},
    {"LastPayloadFlippedAtFloor", [](std::string* i) { Flip(i, kBlock3 + 128); }, 3, std::nullopt},
    {"LastHeaderFlippedAboveFloor", [](std::string* i) { Flip(i, kBlock3 + 20); }, 2, Strings{"a", "bb"}},
    {"LastHeaderFlippedAtFloor", [](std::string* i) { Flip(i, kBlock3 + 20); }, 3, std::nullopt},
    {"LastEntryHeaderFlipped", [](std::string* i) { Flip(i, kBlock3 + 64 + 8); }, 2, Strings{"a", "bb"}},
    {"LastPaddingFlipped", [](std::string* i) { Flip(i, kBlock3 + 4000); }, 2, Strings{"a", "bb"}},
    {"LastBlockNeverWritten", [](std::string* i) { Zero(i, kBlock3, kAfter); }, 2, Strings{"a", "bb"}},
    {"LastBlockLostBelowFloor", [](std::string* i) { Zero(i, kBlock3, kAfter); }, 3, std::nullopt},
    {"LastBlockHasItsFirstSectorOnly", [](std::string* i) { std::fill(i->begin() + kBlock3 + 512, i->begin() + kAfter, 'o'); }, 2,
     Strings{"a", "bb"}},
    {"CutInsideTheLastBlock", [](std::string* i) { i->resize(kBlock3 + 100); }, 2, Strings{"a", "bb"}},
    {"CutInsideTheLastBlockBelowFloor", [](std::string* i) { i->resize(kBlock3 + 100); }, 3, std::nullopt},
    {"MiddlePayloadFlipped", [](std::string* i) { Flip(i, kBlock2 + 128); }, 0, std::nullopt},
    {"MiddleHeaderFlipped", [](std::string* i) { Flip(i, kBlock2 + 8); }, 0, std::nullopt},
    {"MiddleBlockZeroed", [](std::string* i) { Zero(i, kBlock2, kBlock3); }, 0, std::nullopt},
    {"FirstBlockZeroed", [](std::string* i) { Zero(i, kBlock1, kBlock2); }, 0, std::nullopt},
    {"TwoBlocksZeroed", [](std::string* i) { Zero(i, kBlock1, kBlock3); }, 0, std::nullopt},
    {"AllBlocksZeroedAboveFloor", [](std::string* i) { Zero(i, kBlock1, kAfter); }, 0, Strings{}},
    {"AllBlocksZeroedBelowFloor", [](std::string* i) { Zero(i, kBlock1, kAfter); }, 1, std::nullopt},
    {"BlocksSwapped", [](std::string* i) { std::swap_ranges(i->begin() + kBlock1, i->begin() + kBlock2, i->begin() + kBlock2); }, 0,
     std::nullopt},
    {"LastBlockRepeated", [](std::string* i) { std::copy_n(i->begin() + kBlock3, 4096, i->begin() + kAfter); }, 3,
     Strings{"a", "bb", "ccc"}},
    {"MiddleBlockOverLast", [](std::string* i) { std::copy_n(i->begin() + kBlock2, 4096, i->begin() + kBlock3); }, 2, Strings{"a", "bb"}},
    {"SegmentHeaderFlipped", [](std::string* i) { Flip(i, 48); }, 0, std::nullopt},
    {"SegmentHeaderPaddingFlipped", [](std::string* i) { Flip(i, 3000); }, 0, std::nullopt},
    {"SegmentHeaderGoneAndNothingElse", [](std::string* i) { Zero(i, 0, i->size()); }, 0, Strings{}},
    {"SegmentEmptied", [](std::string* i) { i->clear(); }, 0, Strings{}},
    {"SegmentEmptiedBelowFloor", [](std::string* i) { i->clear(); }, 1, std::nullopt},
};

class RecoveryDamage : public testing::TestWithParam<DamageCase> {};

TEST_P(RecoveryDamage, KeepsEveryAcknowledgedEntryOrRefuses) {
  const DamageCase& row = GetParam();
  const auto disk = ThreeBlocks();
  std::string image = disk->Contents(kFirstSegment).ValueOrDie();
  row.damage(&image);
  disk->SetContents(kFirstSegment, image);

  const auto got = RecoverPayloads(disk.get(), SimLogOptions(), Lsn(0), Lsn(row.durable_floor));

  if (row.want) {
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, *row.want);
  } else {
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(KindOf(got.status()), ErrorKind::kCorruption) << got.status();
    EXPECT_THAT(got.status().message(), HasSubstr(kFirstSegment));
  }
}

TEST_P(RecoveryDamage, TheCommitFileIsAsGoodAWitness) {
  const DamageCase& row = GetParam();
  const auto disk = ThreeBlocks();
  std::string image = disk->Contents(kFirstSegment).ValueOrDie();
  row.damage(&image);
  disk->SetContents(kFirstSegment, image);
  disk->SetContents("/wal/COMMIT", CommitText(row.durable_floor));
  const auto got = RecoverPayloads(disk.get(), SimLogOptions(), Lsn(0), Lsn(0));
  EXPECT_EQ(got.ok(), row.want.has_value()) << got.status();
  if (!got.ok()) {
    EXPECT_EQ(KindOf(got.status()), ErrorKind::kCorruption) << got.status();
  }
}

TEST_P(RecoveryDamage, WhatItAcceptsStaysAcceptedAndGoesOn) {
  const DamageCase& row = GetParam();
  if (!row.want) return;  // Refused: there is nothing to go on with.
  const auto disk = ThreeBlocks();
  std::string image = disk->Contents(kFirstSegment).ValueOrDie();
  row.damage(&image);
  disk->SetContents(kFirstSegment, image);
  io::SimClock clock;
  Strings want = *row.want;
  for (const char* more : {"x", "y"}) {
    OpenedLog opened = OpenLog(disk.get(), &clock, SimLogOptions(), Lsn(0), Lsn(row.durable_floor)).ValueOrDie();
    EXPECT_EQ(opened.replayed, want);
    EXPECT_EQ(AppendAndWait(opened.log.get(), MakeEntry(more)).ValueOrDie(), Lsn(want.size() + 1));
    want.push_back(more);
    EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(0), Lsn(99)).ValueOrDie(), want);
  }
  EXPECT_EQ(OpenLog(disk.get(), &clock, SimLogOptions()).ValueOrDie().replayed, want);
}

INSTANTIATE_TEST_SUITE_P(Wal, RecoveryDamage, testing::ValuesIn(kDamageCases),
                         [](const auto& info) { return std::string(info.param.name); });

class RecoveryTest : public SimLogTest {
 protected:
  Result<Strings> Recovered(uint64_t applied = 0, uint64_t floor = 0) {
    return RecoverPayloads(&disk_, options_, Lsn(applied), Lsn(floor));
  }
  void ExpectCorruption(const Result<Strings>& got) {
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(KindOf(got.status()), ErrorKind::kCorruption) << got.status();
  }
};

TEST_F(RecoveryTest, MissingFolderIsAnEmptyLog) { EXPECT_THAT(Recovered().ValueOrDie(), ElementsAre()); }

TEST_F(RecoveryTest, MissingLogBelowWhatIsKnownIsRefused) {
  EXPECT_TRUE(Recovered(7, 7).ok());
  ExpectCorruption(Recovered(7, 8));
}

class ManySegments : public RecoveryTest {
 protected:
  ManySegments() {
    names_ = BuildLog(&disk_, options_, {{MakeEntry("1"), MakeEntry("2")}, {MakeEntry("3")}, {MakeEntry("4")}, {MakeEntry("5")}},
                      {1, 2, 3});
  }
  std::string Path(size_t i) { return io::Join("/wal", names_[i]); }
  Strings names_;
};

TEST_F(ManySegments, AreReadInOrder) {
  EXPECT_THAT(names_, ElementsAre("wal-0000000000000001.log", "wal-0000000000000003.log", "wal-0000000000000004.log",
                                  "wal-0000000000000005.log"));
  EXPECT_THAT(Recovered().ValueOrDie(), ElementsAre("1", "2", "3", "4", "5"));
  EXPECT_THAT(Recovered(3).ValueOrDie(), ElementsAre("4", "5"));
}

TEST_F(ManySegments, AHoleIsRefused) {
  ASSERT_TRUE(disk_.Remove(Path(1)).ok());
  ExpectCorruption(Recovered());
  EXPECT_THAT(Recovered(3).ValueOrDie(), ElementsAre("4", "5"));  // Nothing that is needed is missing.
}

TEST_F(ManySegments, AMissingBeginningIsRefusedUnlessApplied) {
  ASSERT_TRUE(disk_.Remove(Path(0)).ok());
  ExpectCorruption(Recovered(0));
  ExpectCorruption(Recovered(1));
  EXPECT_THAT(Recovered(2).ValueOrDie(), ElementsAre("3", "4", "5"));
}

TEST_F(ManySegments, AMissingEndIsRefusedIfAnybodyKnowsOfIt) {
  ASSERT_TRUE(disk_.Remove(Path(3)).ok());
  EXPECT_THAT(Recovered().ValueOrDie(), ElementsAre("1", "2", "3", "4"));
  ExpectCorruption(Recovered(0, 5));
  disk_.SetContents("/wal/COMMIT", CommitText(5));
  ExpectCorruption(Recovered());
}

TEST_F(ManySegments, DamageBeforeALaterSegmentIsRefused) {
  for (size_t i = 0; i < 3; ++i) {
    for (const size_t offset : {size_t{10}, kBlock1 + 3, kBlock1 + 130}) {
      const std::string intact = disk_.Contents(Path(i)).ValueOrDie();
      std::string image = intact;
      Flip(&image, offset);
      disk_.SetContents(Path(i), image);
      ExpectCorruption(Recovered());
      disk_.SetContents(Path(i), intact);
    }
  }
}

TEST_F(ManySegments, SegmentsThatChangedPlacesAreRefused) {
  const std::string one = disk_.Contents(Path(1)).ValueOrDie(), two = disk_.Contents(Path(2)).ValueOrDie();
  disk_.SetContents(Path(1), two);
  disk_.SetContents(Path(2), one);
  ExpectCorruption(Recovered());
}

TEST_F(ManySegments, ASegmentOfAnotherLogIsRefused) {
  io::SimFileSystem other;
  const Strings names = BuildLog(&other, options_, {{MakeEntry("1"), MakeEntry("2")}, {MakeEntry("X")}, {MakeEntry("4")}}, {1, 2});
  disk_.SetContents(Path(1), other.Contents(io::Join("/wal", names[1])).ValueOrDie());
  ExpectCorruption(Recovered());
}

TEST_F(ManySegments, ASegmentOfAnotherDatabaseIsRefused) {
  options_.database_id[0] = 1;
  EXPECT_TRUE(Recovered().ok());  // These segments do not tell.
  io::SimFileSystem other;
  LogOptions theirs = options_;
  theirs.database_id[0] = 2;
  BuildLog(&other, theirs, {{MakeEntry("1")}});
  EXPECT_EQ(KindOf(RecoverPayloads(&other, options_, Lsn(0), Lsn(0)).status()), ErrorKind::kCorruption);
}

TEST_F(ManySegments, WhatARecycledFileHeldBeforeDoesNotCount) {
  // The last segment's file held other blocks before, which continue its own at the right place.
  io::SimFileSystem other;
  BuildLog(&other, options_, {{MakeEntry("1"), MakeEntry("2"), MakeEntry("3"), MakeEntry("4")}, {MakeEntry("5")}, {MakeEntry("old")}}, {});
  std::string image = disk_.Contents(Path(3)).ValueOrDie();
  const std::string before = other.Contents(kFirstSegment).ValueOrDie();
  std::copy(before.begin() + kBlock2, before.end(), image.begin() + kBlock2);
  disk_.SetContents(Path(3), image);
  EXPECT_THAT(Recovered().ValueOrDie(), ElementsAre("1", "2", "3", "4", "5"));
}

TEST_F(RecoveryTest, NewerFormatIsUnsupportedNotDamaged) {
  BuildLog(&disk_, options_, {{MakeEntry("a")}});
  std::string image = disk_.Contents(kFirstSegment).ValueOrDie();
  image[8] = kFormatVersion + 1;
  std::array<std::byte, kPageBytes> page{};
  std::memcpy(page.data(), image.data(), page.size());
  std::memset(page.data() + 12, 0, 4);
  const uint32_t crc = Crc32c(page);
  std::memcpy(image.data() + 12, &crc, sizeof crc);
  disk_.SetContents(kFirstSegment, image);
  EXPECT_EQ(KindOf(Recovered().status()), ErrorKind::kUnsupported);
}

TEST_F(RecoveryTest, UnreadableSectorIsNeverATornTail) {
  BuildLog(&disk_, options_, {{MakeEntry("a")}, {MakeEntry("b")}});
  disk_.SetContents("/wal/COMMIT", CommitText(2));
  for (const std::string& path : {std::string(kFirstSegment), std::string("/wal/COMMIT")}) {
    const auto bytes = static_cast<int64_t>(disk_.Contents(path).ValueOrDie().size());
    for (int64_t bad = 0; bad < bytes; bad += 512) {
      disk_.SetFaultHook([&](const io::SimOperation& operation) {
        const bool hit = operation.kind == io::SimOp::kRead && operation.path == path && operation.offset <= bad &&
                         operation.offset + operation.bytes > bad;
        return hit ? MakeError(ErrorKind::kIo, "bad sector") : Status::OK();
      });
      EXPECT_EQ(KindOf(Recovered().status()), ErrorKind::kIo) << path << " at " << bad;
    }
  }
}

TEST_F(RecoveryTest, OneGoodCommitSlotIsEnough) {
  BuildLog(&disk_, options_, {{MakeEntry("a")}, {MakeEntry("b")}});
  const std::string good = CommitText(2);
  for (const size_t slot : {size_t{0}, size_t{1}}) {
    std::string text = good;
    Flip(&text, slot * kPageBytes + 20);
    disk_.SetContents("/wal/COMMIT", text);
    EXPECT_TRUE(Recovered().ok());
  }
  std::string text = good;
  Flip(&text, 20);
  Flip(&text, kPageBytes + 20);
  disk_.SetContents("/wal/COMMIT", text);
  ExpectCorruption(Recovered());
  disk_.SetContents("/wal/COMMIT", "");
  ExpectCorruption(Recovered());
}

TEST_F(RecoveryTest, LastBlockWithoutAWitnessIsWrittenAgain) {
  BuildLog(&disk_, options_, {{MakeEntry("a")}, {MakeEntry("b"), MakeEntry("c")}});
  const auto ignore = [](const LoggedEntry&) { return Status::OK(); };
  EXPECT_TRUE(Recover(&disk_, options_, Lsn(0), Lsn(0), ignore)->undecided.has_value());
  EXPECT_FALSE(Recover(&disk_, options_, Lsn(0), Lsn(2), ignore)->undecided.has_value());
  Open().log.reset();
  EXPECT_TRUE(disk_.Contents("/wal/wal-0000000000000002.log").ok());
  EXPECT_THAT(Recovered().ValueOrDie(), ElementsAre("a", "b", "c"));
}

/// Blocks of several sizes that fill a segment of 64 KiB to the last page.
std::vector<std::vector<Entry>> SixtyFourKiB() {
  std::vector<std::vector<Entry>> blocks;
  for (size_t i = 0; i < 9; ++i) {
    blocks.push_back({MakeEntry(std::string(i * 700, static_cast<char>('a' + i)), std::string(i * 7, 'i')), MakeEntry("second")});
  }
  blocks.push_back({MakeEntry("last")});
  return blocks;
}

class EveryByte : public RecoveryTest {
 protected:
  EveryByte() {
    options_.segment_bytes = 64 << 10;
    BuildLog(&disk_, options_, SixtyFourKiB());
    image_ = disk_.Contents(kFirstSegment).ValueOrDie();
    all_ = Recovered().ValueOrDie();
    last_block_ = 0;
    for (int64_t at = kPageBytes; at < options_.segment_bytes; at += kPageBytes) {
      const auto page = std::as_bytes(std::span(image_)).subspan(static_cast<size_t>(at));
      if (DecodeBlockHeader(page, at, std::nullopt)) last_block_ = static_cast<size_t>(at);
    }
  }
  /// A refusal, everything, or everything but the last block: nothing else is allowed.
  void Check(const Result<Strings>& got, bool may_lose_last, const std::string& what) {
    if (!got.ok()) {
      ASSERT_EQ(KindOf(got.status()), ErrorKind::kCorruption) << what << ": " << got.status();
      return;
    }
    Strings want = all_;
    if (got->size() < want.size() && may_lose_last) want.pop_back();
    ASSERT_EQ(*got, want) << what;
  }

  std::string image_;
  Strings all_;
  size_t last_block_;
};

TEST_F(EveryByte, FlippedIsFoundOrHarmless) {
  for (size_t offset = 0; offset < image_.size(); ++offset) {
    const char before = image_[offset];
    image_[offset] = static_cast<char>(before ^ (1 << (offset % 8)));
    disk_.SetContents(kFirstSegment, image_);
    const bool known = offset % 2 == 0;  // Half of the bytes with a witness for all entries.
    const auto got = Recovered(0, known ? all_.size() : 0);
    const bool in_last = offset >= last_block_ && offset < last_block_ + kPageBytes;
    Check(got, in_last && !known, fmt::format("byte {}", offset));
    if (offset < last_block_) {
      ASSERT_FALSE(got.ok()) << "byte " << offset << " was not found";
    }
    if (HasFatalFailure()) return;
    image_[offset] = before;
  }
}

TEST_F(EveryByte, CutThereKeepsThePrefixOrRefuses) {
  // Where each block begins, and how many entries come before it.
  std::vector<std::pair<size_t, size_t>> blocks;
  for (int64_t at = kPageBytes; at < options_.segment_bytes; at += kPageBytes) {
    const auto page = std::as_bytes(std::span(image_)).subspan(static_cast<size_t>(at));
    const auto header = DecodeBlockHeader(page, at, std::nullopt);
    if (header) blocks.emplace_back(static_cast<size_t>(at) + header->block_bytes, header->first_lsn + header->entries - 1);
  }
  for (size_t length = image_.size(); length-- > 0;) {
    image_.resize(length);
    disk_.SetContents(kFirstSegment, image_);
    size_t whole = 0;
    for (const auto& [end, entries] : blocks) whole = end <= length ? entries : whole;
    if (length % 2 == 0) {  // Nobody knows of more than is there: a torn tail.
      const auto got = Recovered(0, whole);
      ASSERT_TRUE(got.ok()) << length << ": " << got.status();
      ASSERT_EQ(*got, Strings(all_.begin(), all_.begin() + static_cast<int64_t>(whole))) << length;
    } else if (whole < all_.size()) {
      const auto got = Recovered(0, whole + 1);
      ASSERT_FALSE(got.ok()) << length;
      ASSERT_EQ(KindOf(got.status()), ErrorKind::kCorruption) << got.status();
    }
  }
}

}  // namespace
}  // namespace sheaf::wal
