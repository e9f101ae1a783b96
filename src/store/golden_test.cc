/// Databases and backups of every released version open with their rows, and what is written now is what tests/golden/formats.txt
/// says, so that no format changes without a new version. After a wanted change, with the new version and its place in docs/formats/:
///
///   SHEAF_WRITE_GOLDEN=1 store_test --gtest_filter='*Golden*'
///
/// writes the directories of kVersion (to be counted up first, so that the old ones stay), formats.txt, and seeds of fuzz targets.
/// tests/golden/test_open_databases.py opens the same directories with the program.

#include <cstdlib>
#include <map>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "core/check.h"
#include "io/posix.h"
#include "store/format_lines_testing.h"
#include "store/golden_testing.h"
#include "store/log_payload.h"
#include "store/ready_tables.h"
#include "store/snapshots.h"

namespace sheaf::store {
namespace {

using testing::ElementsAreArray;

constexpr int kVersion = 1;  // Of the directories, counted on its own; formats.txt has those of the formats.

bool Writing() { return std::getenv("SHEAF_WRITE_GOLDEN") != nullptr; }

std::string GoldenPath(const std::string& name) {
  const char* source = std::getenv("SHEAF_SOURCE_DIR");
  return io::Join(source != nullptr ? source : ".", "tests/golden/" + name);
}

std::vector<std::string> ReadLines(const std::string& path) {
  std::istringstream text(io::ReadFile(io::PosixFileSystem(), path, 1 << 20).ValueOrDie()->ToString());
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

void Save(const std::string& path, const std::string& bytes) {
  SHEAF_CHECK(io::PosixFileSystem()->MakeDirectories(path.substr(0, path.rfind('/'))).ok());
  SHEAF_CHECK(io::WriteFileAtomically(io::PosixFileSystem(), path, std::as_bytes(std::span(bytes))).ok());
}

/// A folder of tests/golden on a disk of its own.
void Place(const std::string& name, io::SimFileSystem* disk, const std::string& to) {
  for (const std::string& file : FilesBelow(io::PosixFileSystem(), GoldenPath(name))) {
    const std::string path = io::Join(to, file);
    ASSERT_TRUE(disk->MakeDirectories(path.substr(0, path.rfind('/'))).ok());
    disk->SetContents(path, io::ReadFile(io::PosixFileSystem(), io::Join(GoldenPath(name), file), 1 << 20).ValueOrDie()->ToString());
  }
}

std::vector<std::string> ListingOf(io::SimFileSystem* disk, io::SimClock* clock, const std::string& directory) {
  const auto database = Database::Open(disk, clock, GoldenOptions(directory)).ValueOrDie();
  return Listing(*database);
}

/// A segment of the log without what preallocation left behind its blocks.
std::string WithoutZerosBehind(const std::string& file, std::string bytes) {
  constexpr size_t kPageBytes = 4096;
  const std::string zeros(kPageBytes, '\0');
  while (file.starts_with("log/wal-") && bytes.size() > kPageBytes && bytes.ends_with(zeros)) bytes.resize(bytes.size() - kPageBytes);
  return bytes;
}

/// The directories of kVersion: a database as a kill leaves it, and a backup.
void WriteDirectories() {
  io::SimFileSystem disk;
  io::SimClock clock;
  const auto database = WriteGoldenDatabase(&disk, &clock, "/db");
  const std::string name = fmt::format("database-{}", kVersion), backup = fmt::format("snapshot-{}", kVersion);
  ASSERT_TRUE(Backup(&disk, "/db", kGoldenSnapshot, "/backup").ok());
  ASSERT_TRUE(Restore(&disk, &clock, "/backup", "", "/restored", {}).ok());
  const auto current = disk.Contents("/db/CURRENT").ValueOrDie();
  for (const std::string& file : FilesBelow(&disk, "/db")) {
    // Left out is what a start removes or makes anew, and, to be small, what no start reads: it is in the backup or in golden/wal.
    const bool unread = file.starts_with("snapshots/") || file.starts_with("archive/");
    const bool old = file.starts_with("MANIFEST-") && current.find(file) == std::string::npos;
    if (file == "LOCK" || file.find("spare-") != std::string::npos || unread || old) continue;
    Save(io::Join(GoldenPath(name), file), WithoutZerosBehind(file, disk.Contents(io::Join("/db", file)).ValueOrDie()));
  }
  for (const std::string& file : FilesBelow(&disk, "/backup")) {
    if (file.starts_with("archive/")) continue;
    Save(io::Join(GoldenPath(backup), file), disk.Contents(io::Join("/backup", file)).ValueOrDie());
  }
  Save(GoldenPath(name + ".rows"), fmt::format("{}\n", fmt::join(Listing(*database), "\n")));
  Save(GoldenPath(backup + ".rows"), fmt::format("{}\n", fmt::join(ListingOf(&disk, &clock, "/restored"), "\n")));
}

/// Seeds of store_log_payload_fuzz: which table, then a payload.
void WriteSeeds() {
  const std::string folder = io::Join(GoldenPath("../.."), "src/store/corpus/log_payload");
  std::mt19937_64 random(7);
  auto schemas = std::vector<std::shared_ptr<arrow::Schema>>();
  for (const TableInfo& table : ReadyTables()) schemas.push_back(table.schema);
  schemas.push_back(columns::EveryType());
  const auto seed = [&](size_t table, const arrow::Buffer& payload) { return static_cast<char>(table) + payload.ToString(); };
  for (const size_t table : {size_t{0}, size_t{2}, schemas.size() - 1}) {
    const PayloadRows rows = {.table = TableId(table + 1),
                              .codec = BatchCodec::Make(schemas[table]).ValueOrDie(),
                              .batch = columns::RandomBatch(schemas[table], 2, &random)};
    Save(io::Join(folder, fmt::format("arrow_{}", table)), seed(table, *EncodePayload({rows}, 1 << 20).ValueOrDie().bytes));
  }
  const std::string_view items[] = {"one", "", "three"};
  const auto packed = [&](size_t count, const WriteCondition& condition) {
    const auto given = std::span(items).first(count);
    return EncodePacked(TableId(1), 2, RowOp::kDelete, SectionForm::kKeys, given, condition).ValueOrDie();
  };
  Save(io::Join(folder, "packed"), seed(0, *packed(3, {})));
  Save(io::Join(folder, "condition"), seed(0, *packed(2, {.unchanged_since = Lsn(7)})));
  Save(io::Join(folder, "single"), seed(0, *packed(1, {})));
}

class GoldenDatabase : public testing::TestWithParam<int> {
 protected:
  static void SetUpTestSuite() {
    if (!Writing()) return;
    WriteDirectories();
    WriteSeeds();
  }
  io::SimFileSystem disk_;
  io::SimClock clock_;
};
INSTANTIATE_TEST_SUITE_P(Versions, GoldenDatabase, testing::Range(1, kVersion + 1), testing::PrintToStringParamName());

TEST_P(GoldenDatabase, OpensWithItsRowsAndKeepsThemThroughEverythingThatRewritesThem) {
  const std::string name = fmt::format("database-{}", GetParam());
  Place(name, &disk_, "/db");
  const auto want = ReadLines(GoldenPath(name + ".rows"));
  EXPECT_THAT(ListingOf(&disk_, &clock_, "/db"), ElementsAreArray(want)) << "after a kill";
  {
    const auto database = Database::Open(&disk_, &clock_, GoldenOptions("/db")).ValueOrDie();
    ASSERT_TRUE(database->Flush().ok() && database->MakeCold().ok());
    EXPECT_THAT(Listing(*database), ElementsAreArray(want)) << "written as parts of this version";
    ASSERT_TRUE(database->Close().ok());
  }
  EXPECT_THAT(ListingOf(&disk_, &clock_, "/db"), ElementsAreArray(want)) << "opened again";
}

TEST_P(GoldenDatabase, KnowsTheBatchesThatItHas) {
  Place(fmt::format("database-{}", GetParam()), &disk_, "/db");
  const auto database = Database::Open(&disk_, &clock_, GoldenOptions("/db")).ValueOrDie();
  const auto events = database->FindTable("main", "events").ValueOrDie();
  const auto before = Listing(*database);
  const auto snapshot = database->GetSnapshot();
  const auto rows = snapshot->Table(events->id).ValueOrDie().sources.front().source->Read(0, {0, 1, 2, 3, 4, 5, 6, 7}).ValueOrDie();
  const auto again = rows->RenameColumns(events->schema->field_names()).ValueOrDie();
  for (const char* id : {kGoldenBatch, "golden-2"}) {
    const auto lsn = database->Append({{events->id, again}}, id);
    ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
    EXPECT_LE(*lsn, snapshot->lsn());
  }
  EXPECT_EQ(Listing(*database), before);
}

TEST_P(GoldenDatabase, ABackupIsSoundAndRestored) {
  const std::string name = fmt::format("snapshot-{}", GetParam());
  Place(name, &disk_, "/backup");
  const Status sound = VerifySnapshot(&disk_, "/backup", kGoldenSnapshot);
  EXPECT_TRUE(sound.ok()) << sound.ToString();
  const auto done = Restore(&disk_, &clock_, "/backup", kGoldenSnapshot, "/restored", {});
  ASSERT_TRUE(done.ok()) << done.status().ToString();
  EXPECT_THAT(ListingOf(&disk_, &clock_, "/restored"), ElementsAreArray(ReadLines(GoldenPath(name + ".rows"))));
}

/// Lines of formats.txt by what they are of.
std::map<std::string, FormatLine> ByName(const std::vector<FormatLine>& lines) {
  std::map<std::string, FormatLine> out;
  for (const FormatLine& line : lines) out.emplace(line.name, line);
  return out;
}

TEST(GoldenFormats, NothingIsWrittenOtherwiseWithoutANewVersion) {
  constexpr const char* kWhatToDo =
      "\nA format changed. Give it a new version (its kVersion), read the old one still, say so in docs/formats/, count up kVersion in\n"
      "golden_test.cc, and run SHEAF_WRITE_GOLDEN=1 build/debug/bin/store_test --gtest_filter='*Golden*' (parts_test, wal_test likewise).\n"
      "Only where every older program may rightly pass the change over, edit the line in tests/golden/formats.txt by hand.\n";
  const std::string path = GoldenPath("formats.txt");
  const std::vector<FormatLine> written = FormatsWritten();
  const auto now = ByName(written);
  ASSERT_EQ(now.size(), written.size()) << "a name stands twice";
  std::map<std::string, FormatLine> known;
  if (io::PosixFileSystem()->Stat(path).ok()) known = ByName(ParseFormatLines(ReadLines(path)));
  bool changed = false;
  for (const auto& [name, line] : known) {
    const auto found = now.find(name);
    const bool same = found != now.end() && found->second.version == line.version;
    if (!same) continue;
    EXPECT_EQ(found->second.text, line.text) << name << " is still version " << line.version << kWhatToDo;
    changed = changed || found->second.text != line.text;
  }
  if (Writing() && !changed) {
    std::string text;
    for (const auto& [name, line] : now) text += ToText(line) + "\n";
    return Save(path, text);
  }
  for (const auto& [name, line] : now) {
    ASSERT_TRUE(known.contains(name)) << name << " is not in " << path << kWhatToDo;
    EXPECT_EQ(line.version, known.at(name).version) << name << " has a new version" << kWhatToDo;
  }
  for (const auto& [name, line] : known) EXPECT_TRUE(now.contains(name)) << name << " is not written any more" << kWhatToDo;
}

}  // namespace
}  // namespace sheaf::store
