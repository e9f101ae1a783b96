/// Reading a log that is sound while the operating system refuses: each operation in turn fails, and whoever reads is told so or
/// answers rightly. What could not be read, or for which memory was missing, is no damage and no end of the log.

#include <functional>
#include <random>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal/archive.h"
#include "wal/inspect.h"
#include "wal/salvage.h"
#include "wal/segments.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr ErrorKind kKinds[] = {ErrorKind::kIo, ErrorKind::kOutOfMemory, ErrorKind::kUnavailable};

/// Entries 1 to 4 in two segments, and a COMMIT file.
class ReadFault : public SimLogTest {
 protected:
  ReadFault() {
    BuildLog(&disk_, options_, {{MakeEntry("a", "id"), MakeEntry("bb")}, {MakeEntry("ccc")}, {MakeEntry("d")}}, {2});
    EXPECT_TRUE(Open().log->Close().ok());
  }

  /// Calls `read` with each operation failing in each way: alone, with the next, with all that follow. It returns an error or has
  /// checked its answer.
  void FailEach(const std::function<Status()>& read) {
    ASSERT_TRUE(read().ok()) << read().ToString();
    for (const ErrorKind kind : kKinds) {
      for (const uint64_t failures : {uint64_t{1}, uint64_t{2}, UINT64_MAX / 2}) {
        int refused = 0;
        for (uint64_t n = 1;; ++n) {
          SCOPED_TRACE(fmt::format("operation {}: {}", n, ErrorKindName(kind)));
          const uint64_t first = disk_.operations();
          disk_.SetFaultHook([&](const io::SimOperation& op) {
            return op.number >= first + n && op.number < first + n + failures ? MakeError(kind, "injected") : Status::OK();
          });
          const Status status = read();
          const uint64_t operations = disk_.operations() - first;
          disk_.SetFaultHook(nullptr);
          if (!status.ok()) {
            ++refused;
            EXPECT_EQ(KindOf(status), kind) << status.ToString();
          }
          if (n > operations) break;
          EXPECT_FALSE(failures > 2 && status.ok());
        }
        EXPECT_GT(refused, 0);
      }
    }
  }
};

TEST_F(ReadFault, OfInspectingIsToldBesideWhatWasPrinted) {
  for (const char* path : {kFirstSegment, "/wal/COMMIT"}) {
    std::ostringstream whole;
    ASSERT_TRUE(InspectLogFile(&disk_, path, true, &whole).ok());
    FailEach([&]() -> Status {
      std::ostringstream out;
      SHEAF_RETURN_NOT_OK(InspectLogFile(&disk_, path, true, &out));
      EXPECT_EQ(out.str(), whole.str());
      return Status::OK();
    });
  }
}

TEST_F(ReadFault, OfVerifyingIsNoDamage) {
  FailEach([&]() -> Status {
    SHEAF_ASSIGN_OR_RETURN(const LogVerification found, VerifyLog(&disk_, "/wal"));
    EXPECT_THAT(found.problems, IsEmpty());
    EXPECT_EQ(found.entries, 4);
    return Status::OK();
  });
}

TEST_F(ReadFault, OfSalvagingLosesNothing) {
  FailEach([&]() -> Status {
    std::vector<uint64_t> read, lost;
    const Status done = ReadSound(
        &disk_, "/wal", Lsn(0), [&](const LoggedEntry& entry) { return read.push_back(entry.lsn.value), Status::OK(); },
        [&](const LostEntries& entries) { lost.push_back(entries.first.value); });
    EXPECT_THAT(lost, IsEmpty());
    SHEAF_RETURN_NOT_OK(done);
    EXPECT_THAT(read, ElementsAre(1, 2, 3, 4));
    return Status::OK();
  });
}

TEST_F(ReadFault, OfRecoveringDropsNothing) {
  FailEach([&]() -> Status {
    SHEAF_ASSIGN_OR_RETURN(const Strings payloads, RecoverPayloads(&disk_, options_, Lsn(0), Lsn(0)));
    EXPECT_THAT(payloads, ElementsAre("a", "bb", "ccc", "d"));
    return Status::OK();
  });
}

TEST_F(ReadFault, OfReadingAnArchiveIsNoEnd) {
  FailEach([&]() -> Status {
    Strings payloads;
    SHEAF_ASSIGN_OR_RETURN(const Lsn end, ReadArchived(&disk_, "/wal", Lsn(1), kLsnMax, [&](const LoggedEntry& entry) {
                             return payloads.push_back(PayloadText(entry)), Status::OK();
                           }));
    EXPECT_EQ(end, Lsn(4));
    EXPECT_THAT(payloads, ElementsAre("bb", "ccc", "d"));
    SHEAF_ASSIGN_OR_RETURN(const Lsn found, FindArchived(&disk_, "/wal", Lsn(0), INT64_MAX));
    EXPECT_EQ(found, Lsn(4));
    return Status::OK();
  });
}

/// The log is open; the newest entries are behind a mark, so that readers start in the middle of a segment.
TEST_F(ReadFault, OfAnOpenLogLeavesItAsItIs) {
  options_.segment_bytes = 2 << 20;
  OpenedLog opened = Open();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(std::string(200'000, 'x'))).ok());
  for (const uint64_t after : {0, 2, 8}) {
    FailEach([&]() -> Status {
      SHEAF_ASSIGN_OR_RETURN(const Strings payloads, ReadPayloads(opened.log.get(), Lsn(after), Lsn(9)));
      EXPECT_EQ(payloads.size(), 9 - after);
      return Status::OK();
    });
  }
  ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("and more")).ok());
}

/// Entries of 10,000 bytes, three a segment, and an archive.
class ArchiveFault : public SimLogTest {
 protected:
  static constexpr char kArchive[] = "/archive";
  static constexpr int kEntries = 12;

  ArchiveFault() { options_.archive_directory = kArchive; }

  OpenedLog Fill(io::SimFileSystem* disk) {
    OpenedLog opened = OpenLog(disk, &clock_, options_).ValueOrDie();
    for (int i = 0; i < kEntries; ++i) EXPECT_TRUE(AppendAndWait(opened.log.get(), MakeEntry(std::string(10'000, 'x'))).ok());
    EXPECT_TRUE(opened.log->SyncThrough(Lsn(kEntries)).ok());
    return opened;
  }
  static Result<Lsn> EndOfArchive(io::FileSystem* disk, Lsn after) {
    return ReadArchived(disk, kArchive, after, kLsnMax, [](const LoggedEntry&) { return Status::OK(); });
  }
  /// The same, beginning with what is there.
  static Lsn FirstOfArchive(io::FileSystem* disk) { return ListSegments(disk, kArchive).ValueOrDie().front().first; }
};

/// `left`: a crash had linked the segment there before.
TEST_F(ArchiveFault, WhileASegmentMovesThereNothingIsLostAndTheNextTimeItEnds) {
  for (const bool left : {false, true}) {
    for (uint64_t n = 1;; ++n) {
      SCOPED_TRACE(fmt::format("operation {}{}", n, left ? ", linked before" : ""));
      io::SimFileSystem disk(n);
      ASSERT_TRUE(Fill(&disk).log->Close().ok());
      const SegmentFile oldest = ListSegments(&disk, "/wal").ValueOrDie().front();
      const std::string archived = io::Join(kArchive, SegmentName(oldest.first)), whole = disk.Contents(oldest.path).ValueOrDie();
      ASSERT_TRUE(!left || disk.Link(oldest.path, archived).ok());
      const uint64_t first = disk.operations();
      disk.SetFaultHook([&](const io::SimOperation& op) {
        return op.number == first + n ? MakeError(ErrorKind::kIo, "injected") : Status::OK();
      });
      const Status moved = MoveToArchive(&disk, oldest, "/wal", kArchive);
      const uint64_t operations = disk.operations() - first;
      disk.SetFaultHook(nullptr);
      if (moved.ok()) {
        EXPECT_EQ(n, operations + 1) << "a failure was swallowed";
        EXPECT_GE(n, left ? 9u : 5u);
        break;
      }
      EXPECT_EQ(KindOf(moved), ErrorKind::kIo);
      EXPECT_TRUE(disk.Contents(oldest.path).ok() || disk.Contents(archived).ok());
      const Status again = MoveToArchive(&disk, oldest, "/wal", kArchive);
      EXPECT_TRUE(again.ok() || KindOf(again) == ErrorKind::kNotFound) << again.ToString();
      EXPECT_EQ(disk.Contents(archived).ValueOrDie(), whole);
      EXPECT_FALSE(disk.Contents(oldest.path).ok());
    }
  }
}

TEST_F(ArchiveFault, OfPruningLeavesNoGap) {
  std::mt19937_64 random(9);
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    io::SimFileSystem disk(n);
    ASSERT_TRUE(Fill(&disk).log->TruncateThrough(Lsn(kEntries)).ok());
    const Lsn end = EndOfArchive(&disk, Lsn(0)).ValueOrDie();
    const uint64_t first = disk.operations();
    disk.SetFaultHook([&](const io::SimOperation& op) {
      return op.number == first + n ? MakeError(ErrorKind::kIo, "injected") : Status::OK();
    });
    const auto freed = PruneArchive(&disk, kArchive, Lsn(8));
    const uint64_t operations = disk.operations() - first;
    disk.SetFaultHook(nullptr);
    if (freed.ok()) {
      EXPECT_EQ(n, operations + 1) << "a failure was swallowed";
      EXPECT_GT(n, 4u);
      break;
    }
    EXPECT_EQ(KindOf(freed.status()), ErrorKind::kIo);
    const auto after = disk.Crash(&random);
    const Lsn begin = FirstOfArchive(after.get());
    EXPECT_LE(begin, Lsn(8));
    EXPECT_EQ(EndOfArchive(after.get(), Lsn(begin.value - 1)).ValueOrDie(), end);
    ASSERT_TRUE(PruneArchive(after.get(), kArchive, Lsn(8)).ok());
    EXPECT_GT(FirstOfArchive(after.get()), Lsn(4));
  }
}

}  // namespace
}  // namespace sheaf::wal
