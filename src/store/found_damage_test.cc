/// Damage that nobody knows of yet: who comes upon it while reading says so, and what was damaged otherwise is named by `verify`.

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/key_codec.h"
#include "io/sim_testing.h"
#include "parts/manifest.h"
#include "store/contents_testing.h"
#include "store/database.h"
#include "store/fault_points_testing.h"
#include "store/golden_testing.h"
#include "store/salvage.h"
#include "store/snapshots.h"
#include "store/verify.h"

namespace sheaf::store {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kDirectory[] = "/db";

/// The golden database, closed.
const DiskImage& Image() {
  static const DiskImage image = [] {
    io::SimFileSystem disk;
    io::SimClock clock;
    auto database = WriteGoldenDatabase(&disk, &clock, kDirectory);
    EXPECT_TRUE(database->Close().ok());
    return ImageOf(&disk, kDirectory);
  }();
  return image;
}

parts::ManifestState StateOf(io::SimFileSystem* disk, const std::string& folder = kDirectory) {
  return parts::LoadManifest(disk, folder).ValueOrDie().state;
}
void SetExtra(io::SimFileSystem* disk, const std::string& extra) {
  parts::ManifestState state = StateOf(disk);
  state.extra_json = extra;
  ++state.number;
  ASSERT_TRUE(parts::CommitManifest(disk, kDirectory, state).ok());
}
std::vector<std::string> Files(io::SimFileSystem* disk, const std::string& folder, const std::string& end) {
  std::vector<std::string> found;
  const auto list = disk->List(folder).ValueOrDie();
  for (const io::FileInfo& file : list) {
    if (!file.is_directory && file.name.ends_with(end)) found.push_back(io::Join(folder, file.name));
  }
  return found;
}
void Flip(io::SimFileSystem* disk, const std::string& path, size_t at) {
  std::string bytes = disk->Contents(path).ValueOrDie();
  bytes.at(at < bytes.size() ? at : bytes.size() / 2) ^= 0x20;
  disk->SetContents(path, bytes);
}

class FoundDamage : public testing::Test {
 protected:
  void SetUp() override { disk_ = DiskOf(Image()); }
  void Open() { database_ = Database::Open(disk_.get(), &clock_, GoldenOptions(kDirectory)).ValueOrDie(); }

  /// Several blocks of a part.
  static std::shared_ptr<arrow::RecordBatch> BigRows(const TableInfo& info, int64_t rows) {
    arrow::Int64Builder ids, values;
    std::mt19937_64 random(5);
    for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(ids.Append(i).ok() && values.Append(static_cast<int64_t>(random())).ok());
    const arrow::ArrayVector columns = {ids.Finish().ValueOrDie(), values.Finish().ValueOrDie()};
    return arrow::RecordBatch::Make(info.schema, rows, columns);
  }
  std::shared_ptr<const TableInfo> CreateBig(const std::string& name, bool keyed) {
    NewTable table;
    table.schema_name = "main";
    table.name = name;
    table.schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("v", arrow::int64())});
    if (keyed) table.primary_key = {"id"};
    const auto info = database_->CreateTable(table).ValueOrDie();
    EXPECT_TRUE(database_->Append({{info->id, BigRows(*info, 20'000)}}).ok());
    EXPECT_TRUE(database_->Flush().ok());
    return info;
  }

  io::SimClock clock_;
  std::unique_ptr<io::SimFileSystem> disk_;
  std::unique_ptr<Database> database_;
};

TEST_F(FoundDamage, WhoReadsItIsToldAndNothingElseSuffers) {
  Open();
  const auto big = CreateBig("big", /*keyed=*/true), plain = CreateBig("plain", /*keyed=*/false);
  std::vector<std::string> paths;
  for (const PartStatus& part : database_->Parts()) {
    if (part.table == big || part.table == plain) paths.push_back("/db/parts/" + part.info.file_name);
  }
  ASSERT_EQ(paths.size(), 2u);
  ASSERT_TRUE(database_->Close().ok());
  database_.reset();
  for (const std::string& path : paths) Flip(disk_.get(), path, 70'000);  // Opening reads the first block and the last.
  Open();
  ASSERT_EQ(database_->GetStats().damaged_parts, 0) << "nobody has read it";
  const auto key_rows = BigRows(*big, 3)->SelectColumns({0}).ValueOrDie();
  const columns::KeyColumn keys =
      big->keys->Encode(*arrow::RecordBatch::Make(big->keys->key_schema(), 3, key_rows->columns())).ValueOrDie();
  const auto told = [](const char* what, const Status& status) {
    ASSERT_FALSE(status.ok()) << what;
    EXPECT_EQ(KindOf(status), ErrorKind::kCorruption) << what << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr("/db/parts/part-")) << what;
  };
  const auto snapshot = database_->GetSnapshot();
  told("get", database_->Get(big->id, keys[0]).status());
  told("get many", database_->MultiGet(big->id, keys).status());
  told("get of a snapshot", snapshot->Get(big->id, keys[1]).status());
  const auto cursor = snapshot->Scan(big->id, {}, {});
  told("scan", cursor.ok() ? (*cursor)->Next().status() : cursor.status());
  told("delete", database_->DeleteRow(big->id, keys[0], {.expected = Lsn(1)}).status());
  told("insert", database_->Append({{big->id, BigRows(*big, 1), RowOp::kInsert}}).status());
  for (const auto& table : {big, plain}) told("read", ReadTable(*snapshot, *table).status());
  for (const auto& table : {big, plain}) told("make cold", database_->MakeCold(table->id));
  const auto items = database_->FindTable("main", "items").ValueOrDie();
  EXPECT_TRUE(ReadTable(*snapshot, *items).ok());
  EXPECT_TRUE(database_->MakeCold(items->id).ok());
  EXPECT_EQ(database_->Scrub().ValueOrDie().size(), paths.size());
  EXPECT_THAT(database_->CreateSnapshot("s").status().message(), HasSubstr("is damaged"));
}

struct Harm {
  const char* what;
  std::function<void(io::SimFileSystem*)> harm;
  const char* named;  // In the file or the error of a problem; empty: it is none.
};

const Harm kHarms[] = {
    {"nothing", [](io::SimFileSystem*) {}, ""},
    {"a folder like a manifest", [](io::SimFileSystem* disk) { ASSERT_TRUE(disk->MakeDirectories("/db/MANIFEST-x").ok()); }, ""},
    {"a stray file among snapshots", [](io::SimFileSystem* disk) { disk->SetContents("/db/snapshots/stray", "x"); }, ""},
    {"a snapshot without a mark", [](io::SimFileSystem* disk) { ASSERT_TRUE(disk->Remove("/db/snapshots/golden/SNAPSHOT").ok()); }, ""},
    {"no snapshots", [](io::SimFileSystem* disk) { ASSERT_TRUE(RemoveTree(disk, "/db/snapshots").ok()); }, ""},
    {"no archive", [](io::SimFileSystem* disk) { ASSERT_TRUE(RemoveTree(disk, "/db/archive").ok()); }, ""},
    {"no COMMIT", [](io::SimFileSystem* disk) { ASSERT_TRUE(disk->Remove("/db/log/COMMIT").ok()); }, ""},
    {"no extra", [](io::SimFileSystem* disk) { SetExtra(disk, "{}"); }, ""},
    {"extra that is a list", [](io::SimFileSystem* disk) { SetExtra(disk, "[]"); }, ""},
    {"ids that are no list", [](io::SimFileSystem* disk) { SetExtra(disk, R"({"batch_ids":7})"); }, ""},
    {"ids that are no names", [](io::SimFileSystem* disk) { SetExtra(disk, R"({"batch_ids":[7]})"); }, ""},
    {"ids that are not there", [](io::SimFileSystem* disk) { SetExtra(disk, R"({"batch_ids":["ids-999"]})"); }, "ids-999"},
    {"damaged ids", [](io::SimFileSystem* disk) { Flip(disk, Files(disk, "/db/batch-ids", "").front(), 20); }, "batch-ids/ids-"},
    {"damaged CURRENT", [](io::SimFileSystem* disk) { disk->SetContents("/db/CURRENT", "nothing"); }, "would be used"},
    {"no newest manifest",
     [](io::SimFileSystem* disk) {
       ASSERT_TRUE(disk->Remove("/db/" + parts::ManifestFileName(StateOf(disk).number)).ok());
     },
     "the one before would be used"},
    {"damaged COMMIT", [](io::SimFileSystem* disk) { Flip(disk, "/db/log/COMMIT", 10); }, "the slot at offset 0"},
    {"no log", [](io::SimFileSystem* disk) {
       for (const std::string& path : Files(disk, "/db/log", ".log")) ASSERT_TRUE(disk->Remove(path).ok());
     }, ""},
    {"damaged head of the log", [](io::SimFileSystem* disk) { Flip(disk, Files(disk, "/db/log", ".log").back(), 10); }, "/db/log"},
    {"damaged archive", [](io::SimFileSystem* disk) { Flip(disk, Files(disk, "/db/archive", ".log")[0], 4'200); }, "/db/archive"},
    {"no delete vector", [](io::SimFileSystem* disk) { ASSERT_TRUE(disk->Remove(Files(disk, "/db/parts", ".del")[0]).ok()); }, "part-"},
    {"another mark", [](io::SimFileSystem* disk) { disk->SetContents("/db/snapshots/golden/SNAPSHOT", "x\n"); }, "SNAPSHOT is damaged"},
    {"a mark of one line", [](io::SimFileSystem* disk) { disk->SetContents("/db/snapshots/golden/SNAPSHOT", "x"); }, "SNAPSHOT is damaged"},
    {"damaged CURRENT of a snapshot", [](io::SimFileSystem* disk) { disk->SetContents("/db/snapshots/golden/CURRENT", "x"); },
     "the manifest of snapshot golden"},
    {"a manifest of another LSN",
     [](io::SimFileSystem* disk) {
       parts::ManifestState state = StateOf(disk, "/db/snapshots/golden");
       ++state.number;
       state.covered = Lsn(state.covered.value + 1);
       ASSERT_TRUE(parts::CommitManifest(disk, "/db/snapshots/golden", state).ok());
     },
     "the manifest of snapshot golden"},
};

TEST_F(FoundDamage, VerifyNamesItAndTakesNothingElseForDamage) {
  for (const Harm& harm : kHarms) {
    SCOPED_TRACE(harm.what);
    const auto disk = DiskOf(Image());
    harm.harm(disk.get());
    const auto found = VerifyDirectory(disk.get(), kDirectory);
    ASSERT_TRUE(found.ok()) << found.status().ToString();
    std::string told;
    for (const DirectoryProblem& problem : found->problems) told += problem.file + ": " + problem.error + "\n";
    if (*harm.named == '\0') {
      EXPECT_THAT(told, IsEmpty());
    } else {
      EXPECT_THAT(told, HasSubstr(harm.named));
    }
    const auto less = VerifyDirectory(disk.get(), kDirectory, nullptr, /*snapshots=*/false);
    ASSERT_TRUE(less.ok());
    EXPECT_LT(less->files, found->files + 1);
  }
  EXPECT_EQ(KindOf(VerifyDirectory(disk_.get(), "/nowhere").status()), ErrorKind::kNotFound);
  ASSERT_TRUE(disk_->MakeDirectories("/empty").ok());
  EXPECT_THAT(VerifyDirectory(disk_.get(), "/empty").status().message(), HasSubstr("no database in /empty"));
}

TEST_F(FoundDamage, SalvageGoesOnWithoutWhatAManifestGetsWrong) {
  parts::ManifestState state = StateOf(disk_.get());
  const size_t parts = state.parts.size();
  std::erase_if(state.tables, [](const parts::TableRecord& table) { return table.name == "items"; });
  ++state.number;
  ASSERT_TRUE(parts::CommitManifest(disk_.get(), kDirectory, state).ok());
  EXPECT_EQ(KindOf(Database::Open(disk_.get(), &clock_, GoldenOptions(kDirectory)).status()), ErrorKind::kCorruption);
  const auto report = Salvage(disk_.get(), &clock_, kDirectory, "/new");
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_GT(report->parts_lost, 0);
  EXPECT_EQ(report->parts_lost + report->parts_whole, static_cast<int64_t>(parts));
  EXPECT_THAT(report->losses, testing::Contains(HasSubstr("its table is not in the manifest")));
  database_ = Database::Open(disk_.get(), &clock_, GoldenOptions("/new")).ValueOrDie();
  EXPECT_TRUE(ReadContents(disk_.get(), "/new", *database_).ok());
}

TEST_F(FoundDamage, SalvageRefusesWhatItCannotUnderstandAndSaysSo) {
  for (const bool extra : {true, false}) {
    const auto disk = DiskOf(Image());
    parts::ManifestState state = StateOf(disk.get());
    if (extra) {
      state.extra_json = "[]";
    } else {
      state.tables.back().settings_json = "[]";
    }
    ++state.number;
    ASSERT_TRUE(parts::CommitManifest(disk.get(), kDirectory, state).ok());
    EXPECT_EQ(KindOf(Salvage(disk.get(), &clock_, kDirectory, "/new").status()), ErrorKind::kCorruption);
  }
  for (const io::FileInfo& file : disk_->List(kDirectory).ValueOrDie()) {
    if (file.name.starts_with("MANIFEST-")) disk_->SetContents(io::Join(kDirectory, file.name), "x");
  }
  const Status none = Salvage(disk_.get(), &clock_, kDirectory, "/new").status();
  EXPECT_THAT(none.message(), HasSubstr("can be read"));
  EXPECT_EQ(KindOf(disk_->Stat("/new").status()), ErrorKind::kNotFound);
}

TEST_F(FoundDamage, BackupsAndRestoresWithoutLinksAreCopies) {
  disk_->SetFaultHook([](const io::SimOperation& operation) {
    return operation.kind == io::SimOp::kLink ? MakeError(ErrorKind::kUnsupported, "no links here") : Status::OK();
  });
  ASSERT_TRUE(Backup(disk_.get(), kDirectory, kGoldenSnapshot, "/backup").ok());
  ASSERT_TRUE(Restore(disk_.get(), &clock_, "/backup", "", "/new", {.time_ns = clock_.NowNs() + 1}).ok());
  database_ = Database::Open(disk_.get(), &clock_, GoldenOptions("/new")).ValueOrDie();
  EXPECT_TRUE(ReadContents(disk_.get(), "/new", *database_).ok());
  // Another database's backups lie there.
  Options other = GoldenOptions("/other");
  disk_->SetFaultHook(nullptr);
  const auto second = Database::Open(disk_.get(), &clock_, other).ValueOrDie();
  ASSERT_TRUE(second->CreateSnapshot("theirs").ok());
  EXPECT_EQ(KindOf(Backup(disk_.get(), "/other", "theirs", "/backup").status()), ErrorKind::kAlreadyExists);
}

}  // namespace
}  // namespace sheaf::store
