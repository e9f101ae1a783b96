/// The archive: segments that the log no longer needs, to be read again in order.

#include "wal/archive.h"

#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kArchive[] = "/archive";

class ArchiveTest : public SimLogTest {
 protected:
  ArchiveTest() { options_.archive_directory = kArchive; }

  /// Appends `count` entries of 10,000 bytes, three a segment; returns all payloads so far.
  Strings Append(Log* log, int count) {
    for (int i = 0; i < count; ++i) {
      payloads_.push_back(fmt::format("{}:{}", payloads_.size() + 1, std::string(10'000, 'x')));
      clock_.Advance(1'000);
      EXPECT_TRUE(AppendAndWait(log, MakeEntry(payloads_.back())).ok());
    }
    return payloads_;
  }
  Strings Slice(uint64_t after, uint64_t through) const {
    return {payloads_.begin() + static_cast<int64_t>(after), payloads_.begin() + static_cast<int64_t>(through)};
  }
  static Result<Strings> Read(io::FileSystem* disk, Lsn after, Lsn through, const std::string& directory = kArchive) {
    Strings payloads;
    SHEAF_RETURN_NOT_OK(ReadArchived(disk, directory, after, through, [&](const LoggedEntry& entry) {
                          EXPECT_EQ(entry.lsn.value, after.value + payloads.size() + 1);
                          payloads.push_back(PayloadText(entry));
                          return Status::OK();
                        }).status());
    return payloads;
  }
  std::vector<std::string> ArchivedNames() {
    std::vector<std::string> names;
    for (const io::FileInfo& info : disk_.List(kArchive).ValueOrDie()) names.push_back(info.name);
    return names;
  }

  Strings payloads_;
};

TEST_F(ArchiveTest, KeepsWhatTheLogNoLongerNeeds) {
  OpenedLog opened = Open();
  Append(opened.log.get(), 20);
  EXPECT_THAT(ArchivedNames(), IsEmpty());
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(12)).ok());
  const Lsn end = ReadArchived(&disk_, kArchive, Lsn(0), kLsnMax, [](const LoggedEntry&) { return Status::OK(); }).ValueOrDie();
  EXPECT_GE(end, Lsn(10));
  EXPECT_LE(end, Lsn(12));
  EXPECT_EQ(Read(&disk_, Lsn(0), kLsnMax).ValueOrDie(), Slice(0, end.value));
  EXPECT_EQ(Read(&disk_, Lsn(4), Lsn(8)).ValueOrDie(), Slice(4, 8));
  EXPECT_EQ(ReadPayloads(opened.log.get(), end, Lsn(20)).ValueOrDie(), Slice(end.value, 20)) << "the log goes on where it ends";
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(20)).ok());
  ASSERT_TRUE(opened.log->Close().ok());
  EXPECT_TRUE(OpenLog(&disk_, &clock_, options_, Lsn(20)).ok());
}

TEST_F(ArchiveTest, AFolderOfALogReadsTheSame) {
  OpenedLog opened = Open();
  Append(opened.log.get(), 10);
  EXPECT_EQ(Read(&disk_, Lsn(2), kLsnMax, "/wal").ValueOrDie(), Slice(2, 10));
  EXPECT_EQ(Read(&disk_, Lsn(10), kLsnMax, "/wal").ValueOrDie(), Strings());
}

TEST_F(ArchiveTest, AnEmptyFolderIsAnEndAndAMissingOneAnError) {
  EXPECT_EQ(KindOf(Read(&disk_, Lsn(3), kLsnMax).status()), ErrorKind::kNotFound);
  ASSERT_TRUE(disk_.MakeDirectories(kArchive).ok());
  EXPECT_EQ(Read(&disk_, Lsn(3), kLsnMax).ValueOrDie(), Strings());
  EXPECT_EQ(KindOf(Read(&disk_, Lsn(3), Lsn(4)).status()), ErrorKind::kNotFound);
}

TEST_F(ArchiveTest, GapsAreNamed) {
  OpenedLog opened = Open();
  Append(opened.log.get(), 20);
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(20)).ok());
  const auto names = ArchivedNames();
  ASSERT_GE(names.size(), 4u);
  const Lsn third = *ParseSegmentName(names[2]), fourth = *ParseSegmentName(names[3]);
  const Lsn end = ReadArchived(&disk_, kArchive, Lsn(0), kLsnMax, [](const LoggedEntry&) { return Status::OK(); }).ValueOrDie();
  const Status beyond = Read(&disk_, Lsn(0), Lsn(99)).status();
  EXPECT_EQ(KindOf(beyond), ErrorKind::kNotFound);
  EXPECT_THAT(beyond.message(), HasSubstr(fmt::format("LSN {} to 99", end.Next())));
  ASSERT_TRUE(disk_.Remove(io::Join(kArchive, names[2])).ok());
  const Status between = Read(&disk_, Lsn(0), kLsnMax).status();
  EXPECT_EQ(KindOf(between), ErrorKind::kNotFound);
  EXPECT_THAT(between.message(), HasSubstr(fmt::format("LSN {} to {}", third, fourth.value - 1)));
  EXPECT_TRUE(Read(&disk_, Lsn(0), Lsn(third.value - 1)).ok()) << "what is before the gap can be had";
  EXPECT_TRUE(Read(&disk_, Lsn(fourth.value - 1), end).ok());
  ASSERT_TRUE(disk_.Remove(io::Join(kArchive, names[0])).ok());
  const Status before = Read(&disk_, Lsn(0), kLsnMax).status();
  EXPECT_EQ(KindOf(before), ErrorKind::kNotFound);
  EXPECT_THAT(before.message(), HasSubstr("LSN 1 to "));
}

TEST_F(ArchiveTest, DamageIsRefused) {
  OpenedLog opened = Open();
  Append(opened.log.get(), 20);
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(20)).ok());
  const auto names = ArchivedNames();
  for (const size_t which : {size_t{0}, size_t{1}}) {
    const std::string path = io::Join(kArchive, names[which]);
    const std::string good = disk_.Contents(path).ValueOrDie();
    for (const size_t at : {size_t{70}, size_t{4096}, size_t{4096 + 200}, size_t{4096 + 5000}, size_t{16384 + 10}}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 4);
      disk_.SetContents(path, bad);
      EXPECT_EQ(KindOf(Read(&disk_, Lsn(0), kLsnMax).status()), ErrorKind::kCorruption) << path << " at " << at;
    }
    disk_.SetContents(path, good);
  }
  const std::string last = io::Join(kArchive, names.back());
  std::string bad = disk_.Contents(last).ValueOrDie();
  bad[4096 + 200] ^= 1;
  disk_.SetContents(last, bad);
  EXPECT_EQ(KindOf(Read(&disk_, Lsn(0), kLsnMax).status()), ErrorKind::kCorruption) << "a good block follows the bad one";
}

TEST_F(ArchiveTest, AnotherLifeOfTheDatabaseIsRefused) {
  OpenedLog opened = Open();
  Append(opened.log.get(), 20);
  const auto names = [&] {
    EXPECT_TRUE(opened.log->TruncateThrough(Lsn(20)).ok());
    return ArchivedNames();
  }();
  io::SimFileSystem other;
  std::vector<std::vector<Entry>> blocks;
  for (int i = 0; i < 20; ++i) blocks.push_back({MakeEntry("other")});
  LogOptions options = SimLogOptions();
  options.segment_bytes = 1 << 20;
  const Lsn second = *ParseSegmentName(names[1]);
  const auto made = BuildLog(&other, options, blocks, {second.value - 1});
  ASSERT_EQ(made[1], names[1]);
  disk_.SetContents(io::Join(kArchive, names[1]), other.Contents(io::Join("/wal", made[1])).ValueOrDie());
  const Status refused = Read(&disk_, Lsn(0), kLsnMax).status();
  EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption);
  EXPECT_THAT(refused.message(), HasSubstr("another life"));
}

TEST_F(ArchiveTest, NothingIsReadOfAnEmptyRange) {
  for (const uint64_t through : {0, 4, 5}) EXPECT_EQ(Read(&disk_, Lsn(5), Lsn(through), "/nowhere").ValueOrDie(), Strings());
}

TEST_F(ArchiveTest, WhatTheVisitorSaysEndsTheReading) {
  OpenedLog opened = Open();
  Append(opened.log.get(), 10);
  const auto refuse = [](const LoggedEntry& entry) {
    return entry.lsn == Lsn(5) ? MakeError(ErrorKind::kCancelled, "enough") : Status::OK();
  };
  EXPECT_EQ(KindOf(ReadArchived(&disk_, "/wal", Lsn(0), kLsnMax, refuse).status()), ErrorKind::kCancelled);
  EXPECT_EQ(KindOf(opened.log->Read(Lsn(3), Lsn(10), refuse)), ErrorKind::kCancelled);
  EXPECT_TRUE(opened.log->Read(Lsn(5), Lsn(10), refuse).ok());
}

TEST_F(ArchiveTest, SegmentsThatAreNotWhatTheirNamesSayAreRefused) {
  BuildLog(&disk_, options_, {{MakeEntry("a"), MakeEntry("b")}, {MakeEntry("c")}, {MakeEntry("d")}}, {2});
  const std::string second = "/wal/" + SegmentName(Lsn(4)), whole = disk_.Contents(second).ValueOrDie();
  const auto refusal = [&] {
    const Status status = Read(&disk_, Lsn(0), kLsnMax, "/wal").status();
    EXPECT_EQ(KindOf(status), ErrorKind::kCorruption);
    return status.message();
  };
  ASSERT_TRUE(disk_.Remove(second).ok());
  disk_.SetContents("/wal/" + SegmentName(Lsn(9)), whole);
  EXPECT_EQ(KindOf(Read(&disk_, Lsn(0), kLsnMax, "/wal").status()), ErrorKind::kNotFound) << "4 to 8 are missing";
  EXPECT_EQ(KindOf(Read(&disk_, Lsn(8), kLsnMax, "/wal").status()), ErrorKind::kCorruption) << "it was renamed";
  ASSERT_TRUE(disk_.Remove("/wal/" + SegmentName(Lsn(9))).ok());

  io::SimFileSystem other;
  LogOptions foreign = options_, known = options_;
  foreign.database_id[0] = 1;
  known.database_id[0] = 2;
  BuildLog(&other, foreign, {{MakeEntry("a"), MakeEntry("b")}, {MakeEntry("c")}, {MakeEntry("d")}}, {2});
  disk_.SetContents(second, other.Contents(second).ValueOrDie());
  EXPECT_EQ(Read(&disk_, Lsn(0), kLsnMax, "/wal").ValueOrDie(), Strings({"a", "b", "c", "d"})) << "the first does not say whose it is";
  BuildLog(&disk_, known, {{MakeEntry("a"), MakeEntry("b")}, {MakeEntry("c")}});
  disk_.SetContents(second, other.Contents(second).ValueOrDie());
  EXPECT_THAT(refusal(), HasSubstr("belongs to another database"));

  BuildLog(&disk_, options_, {{MakeEntry("a"), MakeEntry("b")}, {MakeEntry("c"), MakeEntry("older")}});
  disk_.SetContents(second, whole);
  EXPECT_THAT(refusal(), HasSubstr("a block reaches into the next segment"));
}

TEST_F(ArchiveTest, ATornTailIsAnEndUnlessMoreWasAskedFor) {
  BuildLog(&disk_, options_, {{MakeEntry("a"), MakeEntry("b")}, {MakeEntry("c")}});
  std::string image = disk_.Contents(kFirstSegment).ValueOrDie();
  image[8192 + 100] ^= 1;
  disk_.SetContents(kFirstSegment, image);
  EXPECT_EQ(Read(&disk_, Lsn(0), kLsnMax, "/wal").ValueOrDie(), Strings({"a", "b"}));
  EXPECT_EQ(Read(&disk_, Lsn(0), Lsn(2), "/wal").ValueOrDie(), Strings({"a", "b"}));
  EXPECT_EQ(KindOf(Read(&disk_, Lsn(0), Lsn(3), "/wal").status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(FindArchived(&disk_, "/archive", Lsn(0), 0).status()), ErrorKind::kNotFound) << "no folder, no answer";
}

/// Segments that somebody else removed are gone, as was wanted; entries before the log's first cannot be had.
TEST_F(ArchiveTest, ALogWhoseSegmentsAreGoneSaysSo) {
  options_.archive_directory.clear();
  OpenedLog opened = Open();
  Append(opened.log.get(), 10);
  ASSERT_TRUE(opened.log->SyncThrough(Lsn(10)).ok());
  ASSERT_TRUE(disk_.Remove(kFirstSegment).ok());
  EXPECT_EQ(KindOf(ReadPayloads(opened.log.get(), Lsn(0), Lsn(10)).status()), ErrorKind::kNotFound);
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(6)).ok());
  const Status refused = ReadPayloads(opened.log.get(), Lsn(0), Lsn(10)).status();
  EXPECT_EQ(KindOf(refused), ErrorKind::kNotFound);
  EXPECT_THAT(refused.message(), HasSubstr("is no longer there"));
  const std::string newest = ListSegments(&disk_, "/wal").ValueOrDie().back().path;
  const Lsn first = *ParseSegmentName(newest.substr(newest.rfind('/') + 1));
  std::string image = disk_.Contents(newest).ValueOrDie();
  image[4096 + 200] ^= 1;
  disk_.SetContents(newest, image);
  const Status damaged = ReadPayloads(opened.log.get(), Lsn(first.value - 1), Lsn(10)).status();
  EXPECT_EQ(KindOf(damaged), ErrorKind::kCorruption);
  EXPECT_THAT(damaged.message(), HasSubstr("were stored and cannot be read"));
}

TEST_F(ArchiveTest, FindsTheLsnOfATime) {
  OpenedLog opened = Open();
  const int64_t start_ns = clock_.NowNs();
  Append(opened.log.get(), 10);  // At start + 1, 2, ... µs.
  EXPECT_EQ(FindArchived(&disk_, "/wal", Lsn(0), start_ns + 4'500).ValueOrDie(), Lsn(4));
  EXPECT_EQ(FindArchived(&disk_, "/wal", Lsn(0), start_ns + 4'000).ValueOrDie(), Lsn(4));
  EXPECT_EQ(FindArchived(&disk_, "/wal", Lsn(0), start_ns).ValueOrDie(), Lsn(0));
  EXPECT_EQ(FindArchived(&disk_, "/wal", Lsn(6), start_ns).ValueOrDie(), Lsn(6));
  EXPECT_EQ(FindArchived(&disk_, "/wal", Lsn(0), start_ns + 1'000'000).ValueOrDie(), Lsn(10));
}

TEST_F(ArchiveTest, PruningLeavesNoGap) {
  OpenedLog opened = Open();
  Append(opened.log.get(), 20);
  ASSERT_TRUE(opened.log->TruncateThrough(Lsn(20)).ok());
  const auto names = ArchivedNames();
  EXPECT_EQ(PruneArchive(&disk_, kArchive, Lsn(1)).ValueOrDie(), 0);
  EXPECT_GT(PruneArchive(&disk_, kArchive, Lsn(8)).ValueOrDie(), 0);
  EXPECT_TRUE(Read(&disk_, Lsn(7), kLsnMax).ok()) << "entries from LSN 8 on are still there";
  EXPECT_EQ(KindOf(Read(&disk_, Lsn(0), kLsnMax).status()), ErrorKind::kNotFound);
  ASSERT_TRUE(PruneArchive(&disk_, kArchive, kLsnMax).ok());
  EXPECT_THAT(ArchivedNames(), testing::ElementsAre(names.back()));
}

TEST_F(ArchiveTest, RefusesAnArchiveOfSomethingElse) {
  ASSERT_TRUE(disk_.MakeDirectories(kArchive).ok());
  disk_.SetContents(io::Join(kArchive, SegmentName(Lsn(1))), std::string(5'000, 'z'));
  OpenedLog opened = Open();
  Append(opened.log.get(), 10);
  EXPECT_EQ(KindOf(opened.log->TruncateThrough(Lsn(10))), ErrorKind::kAlreadyExists);
  EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(0), Lsn(10)).ValueOrDie(), Slice(0, 10)) << "nothing was lost";
}

/// Whenever the power goes: each entry is in the log or in the archive, and both can be opened.
TEST_F(ArchiveTest, ACrashLosesNothingOnTheWay) {
  std::mt19937_64 random(9);
  bool went = true;
  for (uint64_t cut = 0; went; ++cut) {
    SCOPED_TRACE(fmt::format("power off {} operations after the truncation began", cut));
    io::SimFileSystem disk(cut + 1);
    payloads_.clear();
    Strings all;
    {
      OpenedLog opened = OpenLog(&disk, &clock_, options_).ValueOrDie();
      all = Append(opened.log.get(), 14);
      ASSERT_TRUE(opened.log->SyncThrough(Lsn(14)).ok());
      disk.PowerOffAfter(disk.operations() + cut);
      went = !opened.log->TruncateThrough(Lsn(12)).ok();
    }
    auto after = disk.Crash(&random, static_cast<io::CrashKeeps>(std::min<uint64_t>(cut % 5, 2)));
    for (int again = 0; again < 2; ++again) {
      auto opened = OpenLog(after.get(), &clock_, options_, Lsn(12), Lsn(12));
      ASSERT_TRUE(opened.ok()) << opened.status();
      const Lsn end = ReadArchived(after.get(), kArchive, Lsn(0), kLsnMax, [](const LoggedEntry&) { return Status::OK(); }).ValueOrDie();
      EXPECT_EQ(Read(after.get(), Lsn(0), kLsnMax).ValueOrDie(), Slice(0, end.value));
      EXPECT_EQ(ReadPayloads(opened->log.get(), end, Lsn(14)).ValueOrDie(), Slice(end.value, 14));
      ASSERT_TRUE(opened->log->TruncateThrough(Lsn(12)).ok());
    }
  }
}

}  // namespace
}  // namespace sheaf::wal
