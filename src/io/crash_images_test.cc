#include "io/crash_images_testing.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::io {
namespace {

using std::string_literals::operator""s;
using testing::IsSupersetOf;
using testing::UnorderedElementsAre;

std::span<const std::byte> AsBytes(const std::string& text) { return std::as_bytes(std::span(text)); }

/// What a file may hold at each moment: "-" where it is not there.
std::map<uint64_t, std::set<std::string>> ContentsAt(const SimFileSystem& disk, const std::string& path) {
  std::map<uint64_t, std::set<std::string>> at;
  std::map<uint64_t, std::string> known;
  CrashImages images(disk, {.seed = 3, .random_per_point = 20, .each_per_point_max = 100});
  while (const auto image = images.Next()) {
    if (image->disk) known[image->hash] = image->disk->Contents(path).ValueOr("-");
    at[image->point].insert(known.at(image->hash));
  }
  return at;
}

TEST(CrashImages, WhatIsSyncedIsThereFromThenOnAndBeforeAnyPartOfIt) {
  SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories("/d").ok());
  disk.KeepJournal();
  const auto file = disk.Open("/d/a", OpenMode::kCreate).ValueOrDie();
  ASSERT_TRUE(file->WriteAt(0, AsBytes(std::string(1'024, 'x'))).ok());
  const uint64_t written = disk.journal_size();
  ASSERT_TRUE(file->Sync().ok());
  const uint64_t synced = disk.journal_size();
  ASSERT_TRUE(disk.SyncDirectory("/d").ok());
  const uint64_t named = disk.journal_size();
  auto at = ContentsAt(disk, "/d/a");
  const std::string half(512, 'x'), zeros(512, '\0');
  EXPECT_THAT(at[written], IsSupersetOf({"-"s, ""s, half, half + half, zeros + half, zeros + zeros}));
  EXPECT_THAT(at[synced], UnorderedElementsAre("-", half + half));
  EXPECT_THAT(at[named], UnorderedElementsAre(half + half));
}

TEST(CrashImages, WritesAreReorderedAndDroppedEach) {
  SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories("/d").ok());
  disk.SetContents("/d/a", "....");
  disk.KeepJournal();
  const auto file = disk.Open("/d/a", OpenMode::kReadWrite).ValueOrDie();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(file->WriteAt(i, AsBytes(std::to_string(i))).ok());
  EXPECT_THAT(ContentsAt(disk, "/d/a")[disk.journal_size()],
              IsSupersetOf({"....", "0...", ".1..", "..2.", "...3", ".123", "0.23", "01.3", "012.", "0123"}));
}

TEST(CrashImages, ARenameThatWasNotSyncedIsThereOrNotWhateverBecameOfTheBytes) {
  SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories("/d").ok());
  disk.SetContents("/d/a", "old");
  disk.KeepJournal();
  const auto file = disk.Open("/d/b", OpenMode::kCreate).ValueOrDie();
  ASSERT_TRUE(file->WriteAt(0, AsBytes("new")).ok());
  ASSERT_TRUE(disk.Rename("/d/b", "/d/a").ok());
  EXPECT_THAT(ContentsAt(disk, "/d/a")[disk.journal_size()], UnorderedElementsAre("old", "new", "", std::string(3, '\0')));
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(disk.SyncDirectory("/d").ok());
  EXPECT_THAT(ContentsAt(disk, "/d/a")[disk.journal_size()], UnorderedElementsAre("new"));
}

TEST(CrashImages, AFolderIsThereOnceItsMakerReturned) {
  SimFileSystem disk;
  disk.KeepJournal();
  ASSERT_TRUE(disk.MakeDirectories("/d").ok());
  const uint64_t made = disk.journal_size();
  CrashImages images(disk, {});
  std::map<uint64_t, std::set<uint64_t>> hashes;
  while (const auto image = images.Next()) hashes[image->point].insert(image->hash);
  EXPECT_EQ(hashes[made - 1].size(), 2u);
  EXPECT_EQ(hashes[made].size(), 1u);
}

}  // namespace
}  // namespace sheaf::io
