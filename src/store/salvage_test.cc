/// What salvage promises: all that is sound comes back as it was, what is lost is named, and nothing that was never written appears.

#include "store/salvage.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>

#include <arrow/api.h>
#include <arrow/util/checked_cast.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/dead_rows.h"
#include "columns/key_codec.h"
#include "io/sim_testing.h"
#include "parts/manifest.h"
#include "store/database.h"
#include "store/layout.h"

namespace sheaf::store {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Rows = std::map<int64_t, int64_t>;

constexpr char kDirectory[] = "/db", kNew[] = "/new";

/// A keyed table and one without a key, with rows in several parts, and in the log.
class SalvageTest : public testing::Test {
 protected:
  static Options OptionsFor(const std::string& directory) {
    Options options;
    options.directory = directory;
    options.free_space_min_fraction = 0;
    options.snapshot_interval_ms = 0;
    options.log_segment_bytes = 64 << 10;
    options.seal_age_ms = 86'400'000;
    options.cold_after_ms = 86'400'000'000;
    return options;
  }
  void SetUp() override {
    database_ = Database::Open(&disk_, &clock_, OptionsFor(kDirectory)).ValueOrDie();
    keyed_ = Create("k", {"id"});
    plain_ = Create("p", {});
    for (int64_t id = 0; id < 30'000; id += 10'000) {  // Several granules a part.
      Put(id, 10'000, id);
      ASSERT_TRUE(database_->Flush().ok());
    }
    Put(5'000, 2'000, 1);  // Replaces rows of the first part.
    ASSERT_TRUE(database_->Flush().ok());
    for (int64_t i = 0; i < 20; ++i) Put(100'000 + i * 10, 10, 7);  // Stay in the log.
  }

  std::shared_ptr<const TableInfo> Create(const std::string& name, std::vector<std::string> key) {
    NewTable table;
    table.schema_name = "main";
    table.name = name;
    table.schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("v", arrow::int64())});
    table.primary_key = std::move(key);
    return database_->CreateTable(table).ValueOrDie();
  }
  /// `count` rows from `id` on with value `v`, into both tables as one entry.
  void Put(int64_t id, int64_t count, int64_t v) {
    arrow::Int64Builder ids, values;
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_TRUE(ids.Append(id + i).ok() && values.Append(v).ok());
      rows_[id + i] = v;
    }
    const auto batch =
        arrow::RecordBatch::Make(keyed_->schema, count, {ids.Finish().ValueOrDie(), values.Finish().ValueOrDie()});
    const auto same = arrow::RecordBatch::Make(plain_->schema, count, batch->columns());
    ASSERT_TRUE(database_->Append({{keyed_->id, batch}, {plain_->id, same}}).ok());
  }
  /// Ends as a kill does: nothing in memory is sealed.
  void Kill() {
    std::mt19937_64 random(1);
    database_->GetStats();
    disk_.PowerOffAfter(disk_.operations());
    database_.reset();
    disk_copy_ = disk_.Restart();
  }

  std::string Path(const std::string& folder, const std::string& suffix, size_t which = 0) {
    std::vector<std::string> found;
    const auto list = disk_copy_->List(io::Join(kDirectory, folder)).ValueOrDie();
    for (const auto& file : list) {
      if (!file.is_directory && file.name.ends_with(suffix)) found.push_back(file.name);
    }
    std::sort(found.begin(), found.end());
    return io::Join(io::Join(kDirectory, folder), found.at(which));
  }
  size_t CountOf(const std::string& folder, const std::string& suffix) {
    const auto list = disk_copy_->List(io::Join(kDirectory, folder)).ValueOrDie();
    return static_cast<size_t>(std::count_if(list.begin(), list.end(), [&](const auto& file) { return file.name.ends_with(suffix); }));
  }
  void Damage(const std::string& path, double place) {
    std::string bytes = disk_copy_->Contents(path).ValueOrDie();
    bytes[static_cast<size_t>(static_cast<double>(bytes.size()) * place)] ^= 0x10;
    disk_copy_->SetContents(path, bytes);
  }

  SalvageReport Run() {
    auto report = Salvage(disk_copy_.get(), &clock_, kDirectory, kNew);
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *report : SalvageReport();
  }
  /// What the new database has of a table; a row that is there twice fails.
  Rows Read(const std::string& name, int64_t* count) {
    Rows rows;
    auto opened = Database::Open(disk_copy_.get(), &clock_, OptionsFor(kNew));
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    if (!opened.ok()) return rows;
    const auto info = (*opened)->FindTable("main", name).ValueOrDie();
    const auto view = (*opened)->GetSnapshot()->Table(info->id).ValueOrDie();
    *count = 0;
    for (const auto& [source, dead] : view.sources) {
      for (int granule = 0; granule < source->num_granules(); ++granule) {
        const auto batch = source->Read(granule, {0, 1}).ValueOrDie();
        const auto& ids = arrow::internal::checked_cast<const arrow::Int64Array&>(*batch->column(0));
        const auto& values = arrow::internal::checked_cast<const arrow::Int64Array&>(*batch->column(1));
        for (int64_t i = 0; i < batch->num_rows(); ++i) {
          if (dead != nullptr && dead->IsDead(granule, i)) continue;
          rows[ids.Value(i)] = values.Value(i);
          ++*count;
        }
      }
    }
    EXPECT_TRUE((*opened)->Close().ok());
    return rows;
  }
  void ExpectKeyed(int64_t missing_max, const Rows* allowed_old = nullptr) {
    int64_t count = 0;
    const Rows found = Read("k", &count);
    EXPECT_EQ(count, std::ssize(found)) << "a key has one row";
    for (const auto& [id, v] : found) {
      ASSERT_TRUE(rows_.contains(id)) << id;
      EXPECT_TRUE(rows_[id] == v || (allowed_old != nullptr && allowed_old->contains(id) && allowed_old->at(id) == v)) << id;
    }
    EXPECT_GE(std::ssize(found), std::ssize(rows_) - missing_max);
  }

  io::SimClock clock_;
  io::SimFileSystem disk_{1};
  std::unique_ptr<io::SimFileSystem> disk_copy_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<const TableInfo> keyed_, plain_;
  Rows rows_;
};

TEST_F(SalvageTest, ASoundDatabaseComesBackWhole) {
  Kill();
  const SalvageReport report = Run();
  EXPECT_THAT(report.losses, IsEmpty());
  EXPECT_EQ(report.parts_whole, 8);
  EXPECT_EQ(report.entries, 20);
  ExpectKeyed(0);
  int64_t count = 0;
  EXPECT_EQ(Read("p", &count), rows_);
  EXPECT_EQ(count, 32'200);
}

/// Any manifest that is written while the log has newer entries, as one for a new table, says that they were durable.
TEST_F(SalvageTest, EntriesThatTheManifestKnowsOfAndNoPartHasComeBack) {
  Create("later", {});
  Kill();
  const auto manifest = parts::LoadManifest(disk_copy_.get(), kDirectory).ValueOrDie();
  ASSERT_GT(manifest.state.durable, manifest.state.covered);
  const SalvageReport report = Run();
  EXPECT_THAT(report.losses, IsEmpty());
  ExpectKeyed(0);
}

TEST_F(SalvageTest, ADamagedBlockOfAPartCostsItsGranule) {
  Kill();
  for (size_t which = 0; which < 8; ++which) Damage(Path("parts", ".arrow", which), 0.4);
  const SalvageReport report = Run();
  EXPECT_EQ(report.parts_whole, 0);
  EXPECT_EQ(report.parts_rewritten + report.parts_lost, 8);
  EXPECT_GT(report.parts_rewritten, 0);
  EXPECT_GT(report.rows_lost, 0);
  EXPECT_THAT(report.losses.front(), HasSubstr("rows of part"));
  Rows old;
  for (int64_t id = 5'000; id < 7'000; ++id) old[id] = 0;
  ExpectKeyed(report.rows_lost, &old);
}

TEST_F(SalvageTest, APartWithoutItsIndexIsLostAndTheOthersAreNot) {
  Kill();
  Damage(Path("parts", ".idx", 2), 0.5);
  const SalvageReport report = Run();
  EXPECT_EQ(report.parts_lost, 1);
  EXPECT_EQ(report.parts_whole, 7);
  EXPECT_EQ(report.rows_lost, 10'000);
  ExpectKeyed(10'000);
}

TEST_F(SalvageTest, ALogWithDamageInTheMiddleGoesOnBehindIt) {
  Kill();
  const std::string segment = Path("log", ".log", CountOf("log", ".log") - 1);  // Those before may hold what is in parts only.
  std::string bytes = disk_copy_->Contents(segment).ValueOrDie();
  const size_t used = bytes.find_last_not_of('\0');
  ASSERT_GT(used, 3 * 4096u);
  bytes[4096 + 200] ^= 1;  // In the first block.
  disk_copy_->SetContents(segment, bytes);
  const Status refused = Database::Open(disk_copy_.get(), &clock_, OptionsFor(kDirectory)).status();
  ASSERT_EQ(KindOf(refused), ErrorKind::kCorruption) << refused.ToString();
  const SalvageReport report = Run();
  EXPECT_GT(report.entries_lost, 0);
  EXPECT_GT(report.entries, 0);
  EXPECT_EQ(report.entries + report.entries_lost, 20);
  EXPECT_THAT(report.losses.front(), HasSubstr("the log"));
  ExpectKeyed(report.entries_lost * 10);
}

TEST_F(SalvageTest, WithoutTheNewestManifestsAnOlderOneIsTaken) {
  Kill();
  const auto list = disk_copy_->List(kDirectory).ValueOrDie();
  std::set<std::string> manifests;
  for (const auto& file : list) {
    if (file.name.starts_with("MANIFEST-")) manifests.insert(file.name);
  }
  ASSERT_EQ(manifests.size(), 3u);
  manifests.erase(manifests.begin());
  for (const std::string& name : manifests) Damage(io::Join(kDirectory, name), 0.5);
  const SalvageReport report = Run();
  EXPECT_THAT(report.losses.front(), HasSubstr("cannot be read"));
  ExpectKeyed(32'000);
}

TEST_F(SalvageTest, RefusesWhatItCannotDo) {
  Kill();
  ASSERT_TRUE(disk_copy_->MakeDirectories("/full/parts").ok());
  EXPECT_EQ(KindOf(Salvage(disk_copy_.get(), &clock_, kDirectory, "/full").status()), ErrorKind::kAlreadyExists);
  ASSERT_TRUE(disk_copy_->MakeDirectories("/empty").ok());
  EXPECT_EQ(KindOf(Salvage(disk_copy_.get(), &clock_, "/empty", "/other").status()), ErrorKind::kNotFound);
}

}  // namespace
}  // namespace sheaf::store
