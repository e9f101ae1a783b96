/// Property: whatever bit of whatever file flips, no statement answers with other rows than were written, nothing crashes, and
/// the damage is told: by opening, by the statement, by scrubbing or by `sheaf verify`.
///
/// SHEAF_FLIPS=<n>: how many (default 40; 2,000 in the optimised build of ./dev test). SHEAF_FLIPS_SEED=<n> replays a run.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "columns/key_codec.h"
#include "core/environment_testing.h"
#include "core/log.h"
#include "io/sim_testing.h"
#include "parts/manifest.h"
#include "store/contents_testing.h"
#include "store/database.h"
#include "store/snapshots.h"
#include "store/verify.h"
#include "wal/archive.h"

namespace sheaf::store {
namespace {

Options FlipOptions() {
  Options options;
  options.directory = "/db";
  options.log_segment_bytes = 64 << 10;
  options.free_space_min_fraction = 0;
  options.snapshot_interval_ms = 0;
  options.archive_log = true;
  options.cold_after_ms = 86'400'000'000;
  return options;
}

/// A disk with a database that has a file of every kind.
class BitFlip : public testing::Test {
 protected:
  void SetUp() override {
    auto disk = std::make_unique<io::SimFileSystem>(1);
    auto database = Database::Open(disk.get(), &clock_, FlipOptions()).ValueOrDie();
    for (const char* name : {"p", "k"}) {
      NewTable table;
      table.schema_name = "main";
      table.name = name;
      table.schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("v", arrow::utf8())});
      if (name[0] == 'k') table.primary_key = {"id"};
      ASSERT_TRUE(database->CreateTable(table).ok());
    }
    for (int round = 0; round < 6; ++round) {
      Put(database.get(), round * 150, 300, "batch-" + std::to_string(round));
      ASSERT_TRUE(database->Flush().ok());
      if (round == 2) {
        ASSERT_TRUE(database->MakeCold().ok());
      }
      if (round == 3) {
        ASSERT_TRUE(database->CreateSnapshot("s").ok());
      }
    }
    for (int i = 0; i < 10; ++i) Put(database.get(), 1'000 + i * 10, 7, "");
    // The manifest knows from here on how far the log reaches: none of its blocks can pass for a torn tail.
    NewTable last;
    last.schema_name = "main";
    last.name = "x";
    last.schema = arrow::schema({arrow::field("id", arrow::int64())});
    ASSERT_TRUE(database->CreateTable(last).ok());
    last_archived_ = wal::ReadArchived(disk.get(), "/db/archive", Lsn(0), wal::kLsnMax, [](const wal::LoggedEntry&) {
                       return Status::OK();
                     }).ValueOrDie();
    expected_ = ReadContents(disk.get(), "/db", *database).ValueOrDie();
    ASSERT_EQ(expected_.snapshots.size(), 1u);
    disk->PowerOffAfter(disk->operations());
    database.reset();
    disk_ = disk->Crash(&random_, io::CrashKeeps::kEverything);
    FindNamed();
    FindFiles("/db");
  }

  /// Files that wait to be removed are nobody's any more.
  void FindNamed() {
    const parts::ManifestState state = parts::LoadManifest(disk_.get(), "/db").ValueOrDie().state;
    for (const parts::PartInfo& part : state.parts) named_.insert({part.file_name, parts::IndexFileName(part.id), part.dead_file});
    const nlohmann::json extra = nlohmann::json::parse(state.extra_json);
    for (const nlohmann::json& name : extra.at("batch_ids")) named_.insert(name.get<std::string>());
  }

  void Put(Database* database, int64_t first, int64_t rows, const std::string& batch_id) {
    arrow::Int64Builder id;
    arrow::StringBuilder v;
    for (int64_t i = 0; i < rows; ++i) ASSERT_TRUE(id.Append(first + i).ok() && v.Append(std::to_string(random_())).ok());
    const auto schema = database->FindTable("main", "p").ValueOrDie()->schema;
    const auto batch = arrow::RecordBatch::Make(schema, rows, {id.Finish().ValueOrDie(), v.Finish().ValueOrDie()});
    std::vector<TableRows> given;
    for (const char* name : {"p", "k"}) given.push_back({database->FindTable("main", name).ValueOrDie()->id, batch});
    ASSERT_TRUE(database->Append(given, batch_id).ok());
  }

  /// Groups the files by what they are: the letters of their names, and their folder.
  void FindFiles(const std::string& folder) {
    for (const io::FileInfo& file : disk_->List(folder).ValueOrDie()) {
      const std::string path = io::Join(folder, file.name);
      if (file.is_directory) {
        FindFiles(path);
        continue;
      }
      if (file.name == "LOCK" || file.bytes == 0) continue;
      if ((folder == "/db/parts" || folder == "/db/batch-ids") && !named_.contains(file.name)) continue;
      std::string kind = folder + "/";
      std::copy_if(file.name.begin(), file.name.end(), std::back_inserter(kind), [](char c) { return c < '0' || c > '9'; });
      kinds_[kind].push_back(path);
    }
  }

  std::unique_ptr<io::SimFileSystem> Copy() { return disk_->Crash(&random_, io::CrashKeeps::kEverything); }

  /// Flips one bit of what was written of the file: zeros behind its end are not anybody's.
  std::unique_ptr<io::SimFileSystem> Flipped(const std::string& path, std::string* what) {
    auto copy = Copy();
    std::string bytes = copy->Contents(path).ValueOrDie();
    const size_t end = bytes.find_last_not_of('\0') + 1;
    const size_t at = random_() % end, bit = random_() % 8;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    *what = fmt::format("{}: bit {} of byte {}", path, bit, at);
    copy->SetContents(path, bytes);
    return copy;
  }

  /// True where opening or reading says that something is damaged. What is answered must be right.
  bool OpenAndReadTell(io::SimFileSystem* disk) {
    auto opened = Database::Open(disk, &clock_, FlipOptions());
    if (!opened.ok()) return IsTold(opened.status());
    Database& database = **opened;
    bool told = false;
    const auto snapshot = database.GetSnapshot();
    for (const char* name : {"p", "k"}) {
      const auto info = database.FindTable("main", name);
      EXPECT_TRUE(info.ok()) << info.status().ToString();
      if (!info.ok()) return false;
      for (int round = 0; round < 2; ++round) {  // The second after the first has failed, perhaps.
        const auto table = ReadTable(*snapshot, **info);
        if (!table.ok()) told |= IsTold(table.status());
        if (table.ok()) {
          EXPECT_EQ(table->columns, expected_.tables.at(name).columns);
          EXPECT_EQ(table->rows, expected_.tables.at(name).rows);
        }
      }
      if ((*info)->keys != nullptr) told |= LookUpsTell(*snapshot, **info);
    }
    const auto scrubbed = database.Scrub();
    EXPECT_TRUE(scrubbed.ok()) << scrubbed.status().ToString();
    told |= scrubbed.ok() && !scrubbed->empty();
    if (scrubbed.ok() && !scrubbed->empty()) WritesGoOn(&database);
    return told;
  }

  bool LookUpsTell(const Snapshot& snapshot, const TableInfo& info) {
    bool told = false;
    const auto& rows = expected_.tables.at("k").rows;
    for (int i = 0; i < 20; ++i) {
      const auto id = static_cast<int64_t>(random_() % 1'100);
      const auto ids = arrow::MakeArrayFromScalar(arrow::Int64Scalar(id), 1).ValueOrDie();
      const auto keys = arrow::RecordBatch::Make(info.keys->key_schema(), 1, {ids});
      const auto row = snapshot.Get(info.id, info.keys->Encode(*keys).ValueOrDie()[0]);
      if (!row.ok()) {
        told |= IsTold(row.status());
        continue;
      }
      const std::string begin = std::to_string(id) + " ";
      const auto there = std::find_if(rows.begin(), rows.end(), [&](const std::string& line) { return line.starts_with(begin); });
      EXPECT_EQ(static_cast<bool>(*row), there != rows.end()) << id;
      if (!*row || there == rows.end()) continue;
      EXPECT_EQ(begin + row->batch->column(1)->GetScalar(row->row).ValueOrDie()->ToString() + " ", *there);
    }
    return told;
  }

  /// A database with a part that is set aside takes writes and seals them, and what it answers stays right.
  void WritesGoOn(Database* database) {
    const auto info = database->FindTable("main", "k").ValueOrDie();
    const auto batch = arrow::RecordBatch::Make(info->schema, 1,
                                                {arrow::MakeArrayFromScalar(arrow::Int64Scalar(5), 1).ValueOrDie(),
                                                 arrow::MakeArrayFromScalar(arrow::StringScalar("new"), 1).ValueOrDie()});
    const auto lsn = database->Append({{info->id, batch}});
    ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
    ASSERT_TRUE(database->Flush().ok());
    const auto keys = arrow::RecordBatch::Make(info->keys->key_schema(), 1, {batch->column(0)});
    const auto row = database->Get(info->id, info->keys->Encode(*keys).ValueOrDie()[0]);
    ASSERT_TRUE(row.ok()) << row.status().ToString();
    EXPECT_EQ(row->lsn, *lsn);
  }

  static bool IsTold(const Status& status) {
    const ErrorKind kind = KindOf(status);
    const bool right = kind == ErrorKind::kCorruption || kind == ErrorKind::kUnsupported || kind == ErrorKind::kNotFound;
    EXPECT_TRUE(right) << status.ToString();
    return right;
  }

  /// True where `sheaf verify`, or reading what is kept for restores, finds it.
  bool VerifyTells(io::SimFileSystem* disk) {
    const auto check = VerifyDirectory(disk, "/db");
    if (!check.ok()) return IsTold(check.status());
    if (!check->problems.empty()) return true;
    if (!VerifySnapshot(disk, "/db", "s").ok()) return true;
    const auto archived =
        wal::ReadArchived(disk, "/db/archive", Lsn(0), wal::kLsnMax, [](const wal::LoggedEntry&) { return Status::OK(); });
    return !archived.ok() || *archived != last_archived_;
  }

  io::SimClock clock_;
  std::mt19937_64 random_{1};
  std::unique_ptr<io::SimFileSystem> disk_;
  std::set<std::string> named_;  // By the current manifest.
  std::map<std::string, std::vector<std::string>> kinds_;
  Contents expected_;
  Lsn last_archived_;
};

TEST_F(BitFlip, IsToldAndNeverAnswered) {
  const uint64_t flips = FromEnvironment("SHEAF_FLIPS", 40);
  const uint64_t seed = FromEnvironment("SHEAF_FLIPS_SEED", std::random_device()() % 1'000'000);
  ASSERT_GE(kinds_.size(), 12u) << "not every kind of file is there";
  random_.seed(seed);
  std::map<std::string, int> tried;
  int by_use = 0, by_verify = 0;
  for (uint64_t i = 0; i < flips && !HasFailure(); ++i) {
    auto kind = kinds_.begin();
    std::advance(kind, i % kinds_.size());
    ++tried[kind->first];
    std::string what;
    const auto disk = Flipped(kind->second[random_() % kind->second.size()], &what);
    SCOPED_TRACE(fmt::format("SHEAF_FLIPS_SEED={}, flip {}: {}", seed, i, what));
    const auto again = disk->Crash(&random_, io::CrashKeeps::kEverything);
    const auto opened = disk->Crash(&random_, io::CrashKeeps::kEverything);
    if (OpenAndReadTell(opened.get())) {
      ++by_use;
    } else if (VerifyTells(again.get())) {
      ++by_verify;
    } else {
      ADD_FAILURE() << "nobody told";
    }
  }
  std::printf("%llu bits flipped in %zu kinds of files: %d told by opening, reading or scrubbing, %d more by verify\n",
              static_cast<unsigned long long>(flips), kinds_.size(), by_use, by_verify);
}

}  // namespace
}  // namespace sheaf::store
