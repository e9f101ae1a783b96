/// A damaged part is set aside: what does not need it goes on, what does is refused and says why, and nothing that was replaced or
/// deleted meanwhile comes back with it.

#include "store/damaged_part.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/key_codec.h"
#include "io/sim_testing.h"
#include "store/contents_testing.h"
#include "store/database.h"
#include "store/salvage.h"

namespace sheaf::store {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class DamagedPartTest : public testing::Test {
 protected:
  DamagedPartTest() {
    options_.directory = "/db";
    options_.free_space_min_fraction = 0;
    options_.snapshot_interval_ms = 0;
    options_.cold_after_ms = 86'400'000'000;
    options_.compaction_cpu_share = 1;
  }

  void SetUp() override {
    Open();
    for (const char* name : {"k", "p"}) {
      NewTable table;
      table.schema_name = "main";
      table.name = name;
      table.schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("v", arrow::int64())});
      if (name[0] == 'k') table.primary_key = {"id"};
      ASSERT_TRUE(database_->CreateTable(table).ok());
    }
    Put(0, 100, 1);
    ASSERT_TRUE(database_->Flush().ok());
    Put(1'000, 100, 2);
    ASSERT_TRUE(database_->Flush().ok());
  }

  void Open() {
    auto opened = Database::Open(&disk_, &clock_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *std::move(opened);
  }
  void Reopen() {
    ASSERT_TRUE(database_->Close().ok());
    database_.reset();
    Open();
  }

  std::shared_ptr<const TableInfo> Table(const std::string& name) { return database_->FindTable("main", name).ValueOrDie(); }

  void Put(int64_t id, int64_t count, int64_t v) {
    arrow::Int64Builder ids, values;
    for (int64_t i = 0; i < count; ++i) ASSERT_TRUE(ids.Append(id + i).ok() && values.Append(v).ok());
    const auto batch = arrow::RecordBatch::Make(Table("k")->schema, count, {ids.Finish().ValueOrDie(), values.Finish().ValueOrDie()});
    ASSERT_TRUE(database_->Append({{Table("k")->id, batch}, {Table("p")->id, batch}}).ok());
  }
  void Delete(int64_t id) {
    const std::string key = KeyOf(id);
    ASSERT_TRUE(database_->DeleteRow(Table("k")->id, key).ok());
  }
  std::string KeyOf(int64_t id) {
    const auto keys = Table("k")->keys;
    const auto batch =
        arrow::RecordBatch::Make(keys->key_schema(), 1, {arrow::MakeArrayFromScalar(arrow::Int64Scalar(id), 1).ValueOrDie()});
    return std::string(keys->Encode(*batch).ValueOrDie()[0]);
  }
  Result<KeyedRow> Get(int64_t id) { return database_->Get(Table("k")->id, KeyOf(id)); }
  Status ReadAll(const std::string& name) { return ReadTable(*database_->GetSnapshot(), *Table(name)).status(); }

  /// The data file of the first part of a table.
  std::string FirstPart(const std::string& name) {
    for (const PartStatus& part : database_->Parts()) {
      if (part.table->name == name) return "/db/parts/" + part.info.file_name;
    }
    return "";
  }
  /// Turns a byte in the middle, and back.
  void Damage(const std::string& path) {
    std::string bytes = disk_.Contents(path).ValueOrDie();
    bytes[bytes.size() / 2] ^= 0x20;
    disk_.SetContents(path, bytes);
  }

  io::SimFileSystem disk_;
  io::SimClock clock_;
  Options options_;
  std::unique_ptr<Database> database_;
};

TEST_F(DamagedPartTest, ScrubbingSetsItAsideAndSaysWhatIsWrong) {
  EXPECT_THAT(database_->Scrub().ValueOrDie(), IsEmpty());
  const std::string path = FirstPart("p");
  Damage(path);
  const auto damaged = database_->Scrub().ValueOrDie();
  ASSERT_THAT(damaged, SizeIs(1));
  EXPECT_EQ(damaged.front().table->name, "p");
  EXPECT_THAT(damaged.front().damage, HasSubstr(path));
  EXPECT_EQ(database_->GetStats().damaged_parts, 1);
  EXPECT_THAT(ReadAll("p").message(), HasSubstr("damaged and set aside"));
  EXPECT_TRUE(ReadAll("k").ok());
}

TEST_F(DamagedPartTest, TheBackgroundFindsItWhenItsTurnComes) {
  database_.reset();
  options_.scrub_interval_ms = 1'000;
  options_.scrub_bytes_per_second = 1 << 30;
  Open();
  Damage(FirstPart("p"));
  clock_.Advance(int64_t{5} * 1'000'000'000);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (database_->GetStats().damaged_parts == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(database_->GetStats().damaged_parts, 1);
  EXPECT_GE(database_->GetStats().scrubbed_parts, 1);
}

TEST_F(DamagedPartTest, OpeningGoesOnWithoutIt) {
  const std::string path = FirstPart("p");
  ASSERT_TRUE(database_->Close().ok());
  database_.reset();
  const std::string bytes = disk_.Contents(path).ValueOrDie();
  disk_.SetContents(path, bytes.substr(0, bytes.size() / 2));
  Open();
  EXPECT_EQ(database_->GetStats().damaged_parts, 1);
  EXPECT_EQ(KindOf(ReadAll("p")), ErrorKind::kCorruption);
  Put(5'000, 10, 3);
  ASSERT_TRUE(database_->Flush().ok());
  disk_.SetContents(path, bytes);  // From a backup: a part without keys is whole again.
  Reopen();
  EXPECT_EQ(database_->GetStats().damaged_parts, 0);
  EXPECT_THAT(ReadTable(*database_->GetSnapshot(), *Table("p")).ValueOrDie().rows, SizeIs(210));
}

TEST_F(DamagedPartTest, LookUpsByKeyGoOnWhereItIsNotNeeded) {
  Damage(FirstPart("k"));
  ASSERT_THAT(database_->Scrub().ValueOrDie(), SizeIs(1));
  EXPECT_TRUE(static_cast<bool>(Get(1'050).ValueOrDie()));  // In another part.
  EXPECT_FALSE(static_cast<bool>(Get(5'000).ValueOrDie()));  // Beyond its keys.
  EXPECT_THAT(Get(50).status().message(), HasSubstr("damaged and set aside"));
  Put(50, 1, 9);
  EXPECT_EQ(Get(50).ValueOrDie().Slice()->column(1)->GetScalar(0).ValueOrDie()->ToString(), "9");
  columns::KeyColumn keys;
  keys.Add(KeyOf(50));
  keys.Add(KeyOf(1'050));
  EXPECT_TRUE(database_->MultiGet(Table("k")->id, keys).ok());
  keys.Add(KeyOf(51));
  EXPECT_EQ(KindOf(database_->MultiGet(Table("k")->id, keys).status()), ErrorKind::kCorruption);
  const auto snapshot = database_->GetSnapshot();
  EXPECT_TRUE(snapshot->Scan(Table("k")->id, {.from = KeyOf(1'000), .to = std::nullopt}, {}).ok());
  EXPECT_EQ(KindOf(snapshot->Scan(Table("k")->id, {.from = KeyOf(99), .to = std::nullopt}, {}).status()), ErrorKind::kCorruption);
}

TEST_F(DamagedPartTest, RowsThatWereReplacedMeanwhileDoNotComeBackWithItsFile) {
  const std::string path = FirstPart("k");
  Damage(path);
  ASSERT_THAT(database_->Scrub().ValueOrDie(), SizeIs(1));
  Put(10, 5, 7);
  Delete(20);
  ASSERT_TRUE(database_->Flush().ok());
  Damage(path);  // It is whole again, but nobody has noted in it what was replaced.
  Reopen();
  EXPECT_EQ(database_->GetStats().damaged_parts, 1);
  EXPECT_EQ(KindOf(Get(20).status()), ErrorKind::kCorruption);
  EXPECT_EQ(Get(10).ValueOrDie().Slice()->column(1)->GetScalar(0).ValueOrDie()->ToString(), "7");
  EXPECT_TRUE(database_->MakeCold().ok());
  EXPECT_EQ(KindOf(database_->CreateSnapshot("s").status()), ErrorKind::kCorruption);
}

TEST_F(DamagedPartTest, AMergeThatHadBegunDoesNotBringItsRowsBack) {
  std::promise<void> began, go_on;
  std::atomic<bool> once = false;
  disk_.SetFaultHook([&](const io::SimOperation& operation) {
    const bool output = operation.kind == io::SimOp::kOpen && operation.path.find(".parquet") != std::string::npos;
    if (output && !once.exchange(true)) {
      began.set_value();
      go_on.get_future().wait();
    }
    return Status::OK();
  });
  const std::string path = FirstPart("k");
  std::thread merge([&] { EXPECT_TRUE(database_->MakeCold(Table("k")->id).ok()); });
  began.get_future().wait();
  Damage(path);
  EXPECT_THAT(database_->Scrub().ValueOrDie(), SizeIs(1));
  Put(10, 5, 7);
  Delete(20);
  EXPECT_TRUE(database_->Flush().ok());
  go_on.set_value();
  merge.join();
  disk_.SetFaultHook(nullptr);
  EXPECT_EQ(database_->GetStats().damaged_parts, 1);
  EXPECT_EQ(KindOf(Get(20).status()), ErrorKind::kCorruption);
  EXPECT_EQ(Get(10).ValueOrDie().Slice()->column(1)->GetScalar(0).ValueOrDie()->ToString(), "7");
  EXPECT_TRUE(static_cast<bool>(Get(1'050).ValueOrDie()));
}

TEST_F(DamagedPartTest, SalvageAddsOfItWhatNothingElseHas) {
  const std::string path = FirstPart("k");
  Damage(path);
  ASSERT_THAT(database_->Scrub().ValueOrDie(), SizeIs(1));
  Put(10, 5, 7);
  ASSERT_TRUE(database_->Flush().ok());
  ASSERT_TRUE(database_->Close().ok());
  database_.reset();
  Damage(path);
  const auto report = Salvage(&disk_, &clock_, "/db", "/new");
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_THAT(report->losses, SizeIs(1));
  options_.directory = "/new";
  Open();
  EXPECT_EQ(database_->GetStats().damaged_parts, 0);
  const auto rows = ReadTable(*database_->GetSnapshot(), *Table("k")).ValueOrDie().rows;
  EXPECT_THAT(rows, SizeIs(200));
  EXPECT_EQ(rows.count("10 7 "), 1u);
  EXPECT_EQ(rows.count("9 1 "), 1u);
}

TEST_F(DamagedPartTest, DroppingTheTableRemovesIt) {
  Damage(FirstPart("k"));
  ASSERT_THAT(database_->Scrub().ValueOrDie(), SizeIs(1));
  ASSERT_TRUE(database_->DropTable(Table("k")->id).ok());
  EXPECT_EQ(database_->GetStats().damaged_parts, 0);
  Reopen();
  EXPECT_EQ(database_->GetStats().damaged_parts, 0);
}

TEST_F(DamagedPartTest, ColumnsOfItsTableMayChange) {
  for (const char* name : {"k", "p"}) Damage(FirstPart(name));
  ASSERT_THAT(database_->Scrub().ValueOrDie(), SizeIs(2));
  for (const char* name : {"k", "p"}) {
    ASSERT_TRUE(database_->Alter(Table(name)->id, {.kind = AlterTable::Kind::kAddColumn, .field = arrow::field("w", arrow::int64())}).ok());
    EXPECT_EQ(KindOf(ReadAll(name)), ErrorKind::kCorruption);
  }
  EXPECT_TRUE(static_cast<bool>(Get(1'050).ValueOrDie()));
}

}  // namespace
}  // namespace sheaf::store
