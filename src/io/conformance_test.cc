/// What file_system.h promises, on each file system alike. What only one has: posix_test.cc, sim_test.cc.

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/file_system.h"
#include "io/folder_testing.h"
#include "io/posix.h"
#include "io/sim_testing.h"

namespace sheaf::io {
namespace {

using testing::ElementsAre;

std::span<const std::byte> AsBytes(const std::string& text) { return std::as_bytes(std::span(text)); }

struct Posix {
  FileSystem* files = PosixFileSystem();
  TemporaryFolder folder;
  std::string root = folder.path();
};

struct Sim {
  SimFileSystem sim;
  FileSystem* files = &sim;
  std::string root = "/root";
  Sim() { EXPECT_TRUE(sim.MakeDirectories(root).ok()); }
};

template <typename Kind>
class FileSystemConformance : public testing::Test {
 protected:
  FileSystem* files() { return kind_.files; }
  std::string Path(const std::string& name) { return Join(kind_.root, name); }
  std::unique_ptr<File> Create(const std::string& name) { return files()->Open(Path(name), OpenMode::kCreate).ValueOrDie(); }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(files(), Path(name), AsBytes(text)).ok());
  }
  std::string Read(const std::string& name) { return ReadFile(files(), Path(name), 1 << 20).ValueOrDie()->ToString(); }
  std::vector<std::string> Names(const std::string& folder) {
    std::vector<std::string> names;
    for (const FileInfo& info : files()->List(folder).ValueOrDie()) names.push_back(info.name);
    return names;
  }

  Kind kind_;
};

using Kinds = testing::Types<Posix, Sim>;
TYPED_TEST_SUITE(FileSystemConformance, Kinds);

TYPED_TEST(FileSystemConformance, ReadsWhatWasWritten) {
  const auto file = this->Create("a");
  const std::string one = "one", two = "", three = "three";
  const std::vector<std::span<const std::byte>> parts = {AsBytes(one), AsBytes(two), AsBytes(three)};
  ASSERT_TRUE(file->WriteAt(2, parts).ok());
  EXPECT_EQ(file->Size().ValueOrDie(), 10);
  std::string out(20, '?');
  EXPECT_EQ(file->ReadAt(0, std::as_writable_bytes(std::span(out))).ValueOrDie(), 10);
  EXPECT_EQ(out.substr(0, 10), std::string("\0\0onethree", 10));
  EXPECT_EQ(file->ReadAt(10, std::as_writable_bytes(std::span(out))).ValueOrDie(), 0);
  EXPECT_EQ(file->ReadAt(99, std::as_writable_bytes(std::span(out))).ValueOrDie(), 0);
  EXPECT_TRUE(file->SyncData().ok());
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_TRUE(file->Close().ok());
}

TYPED_TEST(FileSystemConformance, WritesMorePiecesThanTheSystemTakesAtOnce) {
  const auto file = this->Create("a");
  std::string text(10'000, '?');
  std::iota(text.begin(), text.end(), 0);
  std::vector<std::span<const std::byte>> parts;
  for (size_t i = 0; i < 3'000; ++i) parts.push_back(AsBytes(text).subspan(i * 3, 3)), parts.push_back({});
  parts.push_back(AsBytes(text).subspan(9'000));
  ASSERT_TRUE(file->WriteAt(0, parts).ok());
  EXPECT_EQ(this->Read("a"), text);
}

TYPED_TEST(FileSystemConformance, OpenModesHoldTheirPromise) {
  EXPECT_EQ(KindOf(this->files()->Open(this->Path("a"), OpenMode::kRead).status()), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(this->files()->Open(this->Path("a"), OpenMode::kReadWrite).status()), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(this->files()->Open(this->Path("no/a"), OpenMode::kCreate).status()), ErrorKind::kNotFound);
  this->Write("a", "text");
  EXPECT_EQ(KindOf(this->files()->Open(this->Path("a"), OpenMode::kCreate).status()), ErrorKind::kAlreadyExists);
  const auto reading = this->files()->Open(this->Path("a"), OpenMode::kRead).ValueOrDie();
  EXPECT_EQ(KindOf(reading->WriteAt(0, AsBytes("x"))), ErrorKind::kIo);
  const auto writing = this->files()->Open(this->Path("a"), OpenMode::kReadWrite).ValueOrDie();
  EXPECT_TRUE(writing->WriteAt(1, AsBytes("E")).ok());
  EXPECT_EQ(this->Read("a"), "tExt");
}

TYPED_TEST(FileSystemConformance, AllocateGivesZerosAndTruncateCuts) {
  const auto file = this->Create("a");
  ASSERT_TRUE(file->WriteAt(0, AsBytes("ab")).ok());
  ASSERT_TRUE(file->Allocate(4).ok());
  EXPECT_EQ(this->Read("a"), std::string("ab\0\0", 4));
  ASSERT_TRUE(file->Allocate(3).ok());
  EXPECT_EQ(file->Size().ValueOrDie(), 4);
  ASSERT_TRUE(file->Truncate(1).ok());
  EXPECT_EQ(this->Read("a"), "a");
}

TYPED_TEST(FileSystemConformance, MappingOutlivesItsFile) {
  this->Write("a", "mapped");
  auto file = this->files()->Open(this->Path("a"), OpenMode::kRead).ValueOrDie();
  const auto buffer = file->Map(6, Access::kRandom).ValueOrDie();
  const auto nothing = file->Map(0).ValueOrDie();
  EXPECT_EQ(KindOf(file->Map(7).status()), ErrorKind::kInvalid);
  file.reset();
  ASSERT_TRUE(this->files()->Remove(this->Path("a")).ok());
  EXPECT_EQ(buffer->ToString(), "mapped");
  EXPECT_EQ(nothing->size(), 0);
}

TYPED_TEST(FileSystemConformance, BypassingTheCacheChangesNoBytes) {
  const auto file = this->Create("a");
  ASSERT_TRUE(file->Allocate(4 * kDirectAlignment).ok());
  const Status direct = file->BypassCache();
  ASSERT_TRUE(direct.ok() || KindOf(direct) == ErrorKind::kUnsupported) << direct;
  const auto buffer = arrow::AllocateBuffer(2 * kDirectAlignment, kDirectAlignment).ValueOrDie();
  const std::span<std::byte> bytes(reinterpret_cast<std::byte*>(buffer->mutable_data()), static_cast<size_t>(buffer->size()));
  std::fill(bytes.begin(), bytes.end(), std::byte{'x'});
  ASSERT_TRUE(file->WriteAt(kDirectAlignment, bytes).ok());
  ASSERT_TRUE(file->SyncData().ok());
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  EXPECT_EQ(file->ReadAt(2 * kDirectAlignment, bytes).ValueOrDie(), 2 * kDirectAlignment);
  EXPECT_EQ(this->Read("a"), std::string(kDirectAlignment, '\0') + std::string(2 * kDirectAlignment, 'x') +
                                 std::string(kDirectAlignment, '\0'));
  EXPECT_EQ(bytes.front(), std::byte{'x'});
  EXPECT_EQ(bytes.back(), std::byte{0});
}

TYPED_TEST(FileSystemConformance, RenamesAndLinksAcrossFolders) {
  ASSERT_TRUE(this->files()->MakeDirectories(this->Path("x")).ok());
  this->Write("a", "text");
  ASSERT_TRUE(this->files()->Link(this->Path("a"), this->Path("x/b")).ok());
  ASSERT_TRUE(this->files()->Rename(this->Path("a"), this->Path("x/c")).ok());
  EXPECT_EQ(this->Read("x/b"), "text");
  EXPECT_EQ(this->Read("x/c"), "text");
  EXPECT_THAT(this->Names(this->Path("x")), ElementsAre("b", "c"));
  EXPECT_EQ(KindOf(this->files()->Stat(this->Path("a")).status()), ErrorKind::kNotFound);
}

TYPED_TEST(FileSystemConformance, RenameReplaces) {
  this->Write("a", "new");
  this->Write("b", "old");
  ASSERT_TRUE(this->files()->Rename(this->Path("a"), this->Path("b")).ok());
  EXPECT_EQ(this->Read("b"), "new");
  EXPECT_EQ(KindOf(this->files()->Rename(this->Path("a"), this->Path("c"))), ErrorKind::kNotFound);
}

TYPED_TEST(FileSystemConformance, LinkSharesAndRefusesToReplace) {
  this->Write("a", "text");
  ASSERT_TRUE(this->files()->Link(this->Path("a"), this->Path("b")).ok());
  EXPECT_EQ(KindOf(this->files()->Link(this->Path("a"), this->Path("b"))), ErrorKind::kAlreadyExists);
  EXPECT_EQ(KindOf(this->files()->Link(this->Path("no"), this->Path("c"))), ErrorKind::kNotFound);
  ASSERT_TRUE(this->files()->Remove(this->Path("a")).ok());
  EXPECT_EQ(this->Read("b"), "text");
}

TYPED_TEST(FileSystemConformance, FoldersAreMadeListedAndRemoved) {
  const std::string folder = this->Path("x/y/z");
  ASSERT_TRUE(this->files()->MakeDirectories(folder).ok());
  ASSERT_TRUE(this->files()->MakeDirectories(folder).ok());
  this->Write("x/y/b", "12345");
  this->Write("x/y/a", "");
  const std::vector<FileInfo> listed = this->files()->List(this->Path("x/y")).ValueOrDie();
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(listed[0].name, "a");
  EXPECT_EQ(listed[1].name, "b");
  EXPECT_EQ(listed[1].bytes, 5);
  EXPECT_FALSE(listed[1].is_directory);
  EXPECT_TRUE(listed[2].is_directory);
  EXPECT_EQ(KindOf(this->files()->List(this->Path("no")).status()), ErrorKind::kNotFound);
  EXPECT_FALSE(this->files()->Remove(this->Path("x")).ok());
  EXPECT_TRUE(this->files()->Remove(folder).ok());
  EXPECT_EQ(KindOf(this->files()->Remove(folder)), ErrorKind::kNotFound);
  EXPECT_FALSE(this->files()->MakeDirectories(this->Path("x/y/a/below")).ok());
  EXPECT_THAT(this->Names(this->Path("x/y")), ElementsAre("a", "b"));
}

TYPED_TEST(FileSystemConformance, StatTellsFilesFromFolders) {
  this->Write("a", "12345");
  const FileInfo info = this->files()->Stat(this->Path("a")).ValueOrDie();
  EXPECT_EQ(info.name, "a");
  EXPECT_EQ(info.bytes, 5);
  EXPECT_FALSE(info.is_directory);
  ASSERT_TRUE(this->files()->MakeDirectories(this->Path("f")).ok());
  EXPECT_TRUE(this->files()->Stat(this->Path("f")).ValueOrDie().is_directory);
  EXPECT_EQ(KindOf(this->files()->Stat(this->Path("no")).status()), ErrorKind::kNotFound);
}

TYPED_TEST(FileSystemConformance, SecondLockIsRefusedUntilTheFirstGoes) {
  auto first = this->files()->Lock(this->Path("LOCK"));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(KindOf(this->files()->Lock(this->Path("LOCK")).status()), ErrorKind::kUnavailable);
  first->reset();
  EXPECT_TRUE(this->files()->Lock(this->Path("LOCK")).ok());
}

TYPED_TEST(FileSystemConformance, AtomicWriteReplacesAndCleansUp) {
  this->Write("a", "one");
  this->Write("a.tmp", "left by a crash");
  this->Write("a", "two");
  EXPECT_EQ(this->Read("a"), "two");
  EXPECT_EQ(KindOf(this->files()->Stat(this->Path("a.tmp")).status()), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(ReadFile(this->files(), this->Path("a"), 2).status()), ErrorKind::kTooLarge);
  EXPECT_EQ(KindOf(ReadFile(this->files(), this->Path("no"), 2).status()), ErrorKind::kNotFound);
}

TYPED_TEST(FileSystemConformance, FreeBytesAreKnown) { EXPECT_GT(this->files()->FreeBytes(this->Path("")).ValueOrDie(), 0); }

}  // namespace
}  // namespace sheaf::io
