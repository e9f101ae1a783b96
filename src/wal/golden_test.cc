/// Logs of every released format still open, and the newest is still written as it was. After a wanted
/// change of the format (with a new version), SHEAF_WRITE_GOLDEN=1 writes the files of the new version.

#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/posix.h"
#include "io/sim_testing.h"
#include "wal/log_testing.h"

namespace sheaf::wal {
namespace {

constexpr const char* kFiles[] = {"wal-0000000000000001.log", "wal-0000000000000003.log", "COMMIT"};

constexpr int kVersion = 2;  // Which is written.

std::string GoldenFolder(int version) {
  const char* source = std::getenv("SHEAF_SOURCE_DIR");
  return fmt::format("{}/tests/golden/wal/v{}", source != nullptr ? source : ".", version);
}

/// The log of the example in docs/formats/wal.md, and a second segment.
void WriteLog(io::SimFileSystem* disk, const std::string& folder) {
  LogOptions options;
  options.directory = folder;
  options.segment_bytes = 12 << 10;
  options.commit_delay_ms = 0;
  for (uint8_t i = 0; i < 16; ++i) options.database_id[i] = i, options.node_id[i] = static_cast<uint8_t>(100 + i);
  BuildLog(disk, options, {{MakeEntry("a"), MakeEntry("bb", "id", 2)}, {MakeEntry("ccc")}}, {1});
  io::SimClock clock;
  OpenLog(disk, &clock, options, Lsn(0), Lsn(3)).ValueOrDie().log.reset();
}

std::string ReadGolden(int version, const std::string& name) {
  return io::ReadFile(io::PosixFileSystem(), io::Join(GoldenFolder(version), name), 1 << 20).ValueOrDie()->ToString();
}

TEST(GoldenWriter, StillWritesThisVersion) {
  io::SimFileSystem disk;
  WriteLog(&disk, "/wal");
  for (const char* name : kFiles) {
    const std::string written = disk.Contents(io::Join("/wal", name)).ValueOrDie();
    if (std::getenv("SHEAF_WRITE_GOLDEN") != nullptr) {
      ASSERT_TRUE(io::PosixFileSystem()->MakeDirectories(GoldenFolder(kVersion)).ok());
      const std::string path = io::Join(GoldenFolder(kVersion), name);
      ASSERT_TRUE(io::WriteFileAtomically(io::PosixFileSystem(), path, std::as_bytes(std::span(written))).ok());
    }
    EXPECT_EQ(written, ReadGolden(kVersion, name)) << name;
  }
}

class Golden : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Versions, Golden, testing::Values(1, 2));

TEST_P(Golden, Opens) {
  io::SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories("/wal").ok());
  for (const char* name : kFiles) disk.SetContents(io::Join("/wal", name), ReadGolden(GetParam(), name));
  LogOptions options;
  options.directory = "/wal";
  std::vector<LoggedEntry> entries;
  io::SimClock clock;
  RecoveryReport report;
  const auto log = Log::Open(&disk, &clock, options, {}, {}, [&](const LoggedEntry& e) { return entries.push_back(e), Status::OK(); },
                             nullptr, &report);
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(PayloadText(entries[0]), "a");
  EXPECT_EQ(PayloadText(entries[1]), "bb");
  EXPECT_EQ(entries[1].entry.batch_id, "id");
  EXPECT_EQ(entries[1].entry.type, 2);
  EXPECT_EQ(PayloadText(entries[2]), "ccc");
  EXPECT_EQ(entries[2].time_ns, 1'700'000'000'000'000'000);
}

}  // namespace
}  // namespace sheaf::wal
