/// What is done with a database that nobody holds, while its disk fails at each sort of operation in turn: checking it, listing and
/// checking snapshots, backups, restores. Each answers the error or what is right, and nothing half-made counts.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/sim_testing.h"
#include "store/contents_testing.h"
#include "store/database.h"
#include "store/fault_points_testing.h"
#include "store/golden_testing.h"
#include "store/snapshots.h"
#include "store/verify.h"

namespace sheaf::store {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr char kDirectory[] = "/db";

bool Anything(const std::string&) { return true; }

class OfflineFault : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    io::SimFileSystem disk;
    io::SimClock clock;
    auto database = WriteGoldenDatabase(&disk, &clock, kDirectory);
    ASSERT_TRUE(database->Flush().ok());
    ASSERT_TRUE(database->Close().ok());
    image_ = new DiskImage(ImageOf(&disk, kDirectory));
  }
  static void TearDownTestSuite() { delete image_; }

  /// Opens what lies there, and lists all of it.
  std::vector<std::string> ListingOf(io::SimFileSystem* disk, const std::string& directory) {
    auto opened = Database::Open(disk, &clock_, GoldenOptions(directory));
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return opened.ok() ? Listing(**opened) : std::vector<std::string>();
  }

  static inline DiskImage* image_ = nullptr;
  io::SimClock clock_;
  FaultPoints files_;
};

TEST_F(OfflineFault, AnUnreadableFileIsAProblemOrAnErrorAndNeverPassedOver) {
  const auto disk = DiskOf(*image_);
  std::vector<std::string> all;
  files_.Each(ErrorKind::kIo, Anything, [&] {
    std::vector<std::string> paths;
    files_.Begin(disk.get());
    const auto found = VerifyDirectory(&files_, kDirectory, [&](const std::string& path) { paths.push_back(path); });
    files_.End();
    if (!files_.failed()) {
      ASSERT_TRUE(found.ok()) << found.status().ToString();
      EXPECT_THAT(found->problems, IsEmpty());
      all = paths;
    } else if (!found.ok()) {
      EXPECT_EQ(KindOf(found.status()), ErrorKind::kIo) << found.status().ToString();
    } else if (found->problems.empty()) {  // What is looked at twice, ahead, or for its size alone, may be missed once.
      EXPECT_EQ(paths, all);
      EXPECT_THAT(files_.what(), AnyOf(StartsWith("stat /db/"), StartsWith("read /db/"), "list /db", "open /db/CURRENT",
                                       HasSubstr("MANIFEST-#")));
    }
  });
  EXPECT_EQ(ImageOf(disk.get(), kDirectory), *image_);
}

TEST_F(OfflineFault, SnapshotsAreListedAndCheckedOrTheErrorIsTold) {
  const auto disk = DiskOf(*image_);
  files_.Each(ErrorKind::kIo, Anything, [&] {
    files_.Begin(disk.get());
    const auto list = ListSnapshots(&files_, kDirectory);
    const Status sound = VerifySnapshot(&files_, kDirectory, kGoldenSnapshot);
    const Status missing = VerifySnapshot(&files_, kDirectory, "other");
    files_.End();
    if (list.ok()) {
      EXPECT_THAT(*list, SizeIs(1));
    } else {
      EXPECT_EQ(KindOf(list.status()), ErrorKind::kIo);
    }
    if (!sound.ok()) {
      EXPECT_EQ(KindOf(sound), ErrorKind::kIo) << sound.ToString();
    }
    EXPECT_THAT(KindOf(missing), AnyOf(ErrorKind::kNotFound, ErrorKind::kIo));
    EXPECT_TRUE(files_.failed() || (list.ok() && sound.ok() && KindOf(missing) == ErrorKind::kNotFound));
    if (KindOf(missing) == ErrorKind::kNotFound) {
      EXPECT_THAT(missing.message(), HasSubstr("there are golden"));
    }
  });
}

TEST_F(OfflineFault, AnInterruptedRemovalOfASnapshotLeavesAWholeOneOrNone) {
  files_.Each(ErrorKind::kIo, Anything, [&] {
    const auto disk = DiskOf(*image_);
    files_.Begin(disk.get());
    const Status removed = RemoveSnapshot(&files_, kDirectory, kGoldenSnapshot);
    files_.End();
    const auto left = ListSnapshots(disk.get(), kDirectory);
    ASSERT_TRUE(left.ok()) << left.status().ToString();
    EXPECT_EQ(removed.ok(), !files_.failed());
    if (removed.ok()) {
      EXPECT_EQ(KindOf(disk->Stat("/db/snapshots/golden").status()), ErrorKind::kNotFound);
    }
    if (!removed.ok()) {
      EXPECT_EQ(KindOf(removed), ErrorKind::kIo) << removed.ToString();
    }
    if (!left->empty()) {
      EXPECT_TRUE(VerifySnapshot(disk.get(), kDirectory, kGoldenSnapshot).ok());
    }
  });
}

/// A second snapshot goes beside the first in a backup, so that most of it is linked.
TEST_F(OfflineFault, ABackupThatFailsDoesNotCountAndGoesOnWhenAskedAgain) {
  const auto disk = DiskOf(*image_);
  {
    auto database = Database::Open(disk.get(), &clock_, GoldenOptions(kDirectory)).ValueOrDie();
    ASSERT_TRUE(database->CreateSnapshot("second").ok());
    ASSERT_TRUE(database->Close().ok());
  }
  ASSERT_TRUE(Backup(disk.get(), kDirectory, kGoldenSnapshot, "/backup").ok());
  const DiskImage image = ImageOf(disk.get(), "");
  files_.Each(ErrorKind::kIo, Anything, [&] {
    const auto target = DiskOf(image);
    BackupReport seen;
    files_.Begin(target.get());
    const auto made = Backup(&files_, kDirectory, "second", "/backup", [&](const BackupReport& report) { seen = report; });
    files_.End();
    EXPECT_TRUE(VerifySnapshot(target.get(), "/backup", kGoldenSnapshot).ok());
    if (made.ok()) {
      EXPECT_EQ(seen.files, made->files);
      EXPECT_LT(seen.files_copied, made->files);
    } else {
      ASSERT_TRUE(files_.failed()) << made.status().ToString();
      EXPECT_EQ(KindOf(made.status()), ErrorKind::kIo) << made.status().ToString();
      const Status half = VerifySnapshot(target.get(), "/backup", "second");
      if (!half.ok()) {
        EXPECT_EQ(KindOf(half), ErrorKind::kNotFound) << half.ToString();
      }
      const auto again = Backup(target.get(), kDirectory, "second", "/backup");
      EXPECT_TRUE(again.ok()) << again.status().ToString();
    }
    EXPECT_TRUE(VerifySnapshot(target.get(), "/backup", "second").ok());
    EXPECT_THAT(target->violations(), IsEmpty());
  });
}

/// What a restore does beside opening a database, which has tests of its own. Segments of its log are large: few tries.
TEST_F(OfflineFault, ARestoreThatFailsSaysSoAndOneThatDoesNotIsRight) {
  Lsn last;
  {
    const auto disk = DiskOf(*image_);
    last = Database::Open(disk.get(), &clock_, GoldenOptions(kDirectory)).ValueOrDie()->GetSnapshot()->lsn();
  }
  const auto Places = [](const std::string& sort) {
    return sort.find("/new/log") == std::string::npos && sort.find("otel") == std::string::npos && sort.find(".tmp") == std::string::npos &&
           (sort.find("/db") != std::string::npos || !OnlyReads(sort));
  };
  const auto ReadsTheLog = [](const std::string& sort) {
    return sort.find("/db/archive") != std::string::npos || sort.find("/db/log") != std::string::npos ||
           sort.find("/db/LOCK") != std::string::npos || sort.starts_with("write /new/parts");
  };
  const std::vector<std::pair<RestoreTarget, FaultPoints::Which>> tries = {
      {{}, Places}, {{.lsn = last}, ReadsTheLog}, {{.time_ns = clock_.NowNs() + 1}, [](const std::string&) { return false; }}};
  for (const auto& [target, which] : tries) {
    std::vector<std::string> right;
    const auto disk = DiskOf(*image_);
    files_.Each(ErrorKind::kIo, which, [&] {
      ASSERT_TRUE(RemoveTree(disk.get(), "/new").ok());
      files_.Begin(disk.get());
      const auto report = Restore(&files_, &clock_, kDirectory, "", "/new", target);
      files_.End();
      EXPECT_THAT(disk->violations(), IsEmpty());
      if (!report.ok()) {
        ASSERT_TRUE(files_.failed()) << report.status().ToString();
        EXPECT_THAT(report.status().message(), HasSubstr("injected"));
        return;
      }
      const std::vector<std::string> listing = ListingOf(disk.get(), "/new");
      if (right.empty()) right = listing;
      EXPECT_EQ(listing, right);
    });
    EXPECT_THAT(right, Not(IsEmpty()));
    if (HasFailure()) return;
  }
}

TEST_F(OfflineFault, WhatCannotBeRestoredIsRefusedBeforeAnythingIsMade) {
  const auto disk = DiskOf(*image_);
  const Lsn lsn = ListSnapshots(disk.get(), kDirectory).ValueOrDie().front().lsn;
  const auto refused = [&](const std::string& id, const RestoreTarget& target) {
    const Status status = Restore(disk.get(), &clock_, kDirectory, id, "/new", target).status();
    EXPECT_EQ(KindOf(disk->Stat("/new").status()), ErrorKind::kNotFound);
    return KindOf(status);
  };
  EXPECT_EQ(refused("", {.lsn = lsn, .time_ns = 1}), ErrorKind::kInvalid);
  EXPECT_EQ(refused("", {.lsn = Lsn(1)}), ErrorKind::kInvalid);
  EXPECT_EQ(refused("", {.time_ns = 1}), ErrorKind::kInvalid);
  EXPECT_EQ(refused(kGoldenSnapshot, {.lsn = Lsn(1)}), ErrorKind::kInvalid);
  EXPECT_EQ(refused(kGoldenSnapshot, {.time_ns = 1}), ErrorKind::kInvalid);
  EXPECT_EQ(refused("nix", {}), ErrorKind::kNotFound);
  for (const std::string& id : {std::string("../log"), std::string("a/b"), std::string("ü"), std::string(101, 'a'), std::string("a b")}) {
    EXPECT_EQ(KindOf(VerifySnapshot(disk.get(), kDirectory, id)), ErrorKind::kInvalid) << id;
  }
  EXPECT_EQ(KindOf(Restore(disk.get(), &clock_, "/nowhere", "", "/new", {}).status()), ErrorKind::kNotFound);
  ASSERT_TRUE(disk->MakeDirectories("/full/x").ok());
  EXPECT_EQ(KindOf(Restore(disk.get(), &clock_, kDirectory, "", "/full", {}).status()), ErrorKind::kAlreadyExists);
  const auto lock = disk->Lock("/db/LOCK").ValueOrDie();
  EXPECT_EQ(refused("", {.lsn = Lsn(lsn.value + 1)}), ErrorKind::kUnavailable);
}

}  // namespace
}  // namespace sheaf::store
