/// What snapshots on disk promise: each holds exactly the rows of its LSN, costs names and no bytes, is found damaged when it
/// is, and can be brought forward to any LSN through the log.

#include "store/snapshots.h"

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>

#include <arrow/api.h>
#include <arrow/util/checked_cast.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "columns/dead_rows.h"
#include "columns/key_codec.h"
#include "core/crc32c.h"
#include "io/sim_testing.h"
#include "store/database.h"

namespace sheaf::store {
namespace {

using Rows = std::map<int64_t, int64_t>;

constexpr char kDirectory[] = "/db";

class Snapshots : public testing::Test {
 protected:
  void SetUp() override { Open(); }

  Options DatabaseOptions(const std::string& directory) {
    Options options;
    options.directory = directory;
    options.memtable_bytes = 20'000;
    options.log_segment_bytes = 128 << 10;
    options.free_space_min_fraction = 0;
    options.archive_log = true;
    options.compaction_cpu_share = 1;
    return options;
  }
  void Open() {
    auto opened = Database::Open(&disk_, &clock_, DatabaseOptions(kDirectory));
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *std::move(opened);
    NewTable table;
    table.schema_name = "main";
    table.name = "t";
    table.schema = arrow::schema({arrow::field("k", arrow::int64(), false), arrow::field("v", arrow::int64())});
    table.primary_key = {"k"};
    table.if_not_exists = true;
    info_ = database_->CreateTable(table).ValueOrDie();
  }
  void Close() {
    ASSERT_TRUE(database_->Close().ok());
    database_.reset();
  }

  /// One put or delete; remembers the rows as of its LSN.
  void Write() {
    clock_.Advance(10'000'000);  // Compaction may take its share of the time that passes.
    const int64_t key = static_cast<int64_t>(random_() % 50), value = static_cast<int64_t>(random_() % 1'000'000);
    arrow::Int64Builder keys, values;
    ASSERT_TRUE(keys.Append(key).ok() && values.Append(value).ok());
    const bool remove = random_() % 4 == 0;
    const auto key_array = keys.Finish().ValueOrDie();
    const auto batch = remove ? arrow::RecordBatch::Make(info_->keys->key_schema(), 1, {key_array})
                              : arrow::RecordBatch::Make(info_->schema, 1, {key_array, values.Finish().ValueOrDie()});
    auto lsn = database_->Append({{info_->id, batch, remove ? RowOp::kDelete : RowOp::kPut}});
    while (KindOf(lsn.status()) == ErrorKind::kThrottled) {  // Compaction has not run for a while.
      std::this_thread::yield();
      clock_.Advance(10'000'000);
      lsn = database_->Append({{info_->id, batch, remove ? RowOp::kDelete : RowOp::kPut}});
    }
    ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
    if (remove) {
      rows_.erase(key);
    } else {
      rows_[key] = value;
    }
    at_[*lsn] = rows_;
  }
  void Write(int count) {
    for (int i = 0; i < count && !testing::Test::HasFatalFailure(); ++i) {
      Write();
      if (random_() % 40 == 0) {
        ASSERT_TRUE(database_->Flush().ok());
      }
    }
  }

  Rows Read(Database* database) {
    Rows rows;
    const auto table = database->FindTable("main", "t").ValueOrDie();
    const auto view = database->GetSnapshot()->Table(table->id).ValueOrDie();
    for (const auto& [source, dead] : view.sources) {
      for (int granule = 0; granule < source->num_granules(); ++granule) {
        const auto batch = source->Read(granule, {0, 1}).ValueOrDie();
        const auto& keys = arrow::internal::checked_cast<const arrow::Int64Array&>(*batch->column(0));
        const auto& values = arrow::internal::checked_cast<const arrow::Int64Array&>(*batch->column(1));
        for (int64_t i = 0; i < batch->num_rows(); ++i) {
          if (dead == nullptr || !dead->IsDead(granule, i)) rows[keys.Value(i)] = values.Value(i);
        }
      }
    }
    return rows;
  }
  /// Restores and compares with what was there at that LSN.
  void ExpectRestored(const std::string& from, const std::string& id, const RestoreTarget& target, Lsn expected) {
    const std::string to = "/restored-" + std::to_string(restored_++);
    const auto done = Restore(&disk_, &clock_, from, id, to, target);
    ASSERT_TRUE(done.ok()) << done.status().ToString();
    EXPECT_EQ(done->lsn, expected);
    auto opened = Database::Open(&disk_, &clock_, DatabaseOptions(to));
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    EXPECT_EQ(Read(opened->get()), at_[expected]);
    EXPECT_TRUE((*opened)->Close().ok());
  }

  std::mt19937_64 random_{7};
  io::SimClock clock_;
  io::SimFileSystem disk_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<const TableInfo> info_;
  Rows rows_;
  std::map<Lsn, Rows> at_;
  int restored_ = 0;
};

TEST_F(Snapshots, HoldExactlyTheRowsOfTheirLsn) {
  std::map<std::string, Lsn> made;
  for (int round = 0; round < 3; ++round) {
    Write(60);
    const auto snapshot = database_->CreateSnapshot(round == 0 ? "first" : "");
    ASSERT_TRUE(snapshot.ok()) << snapshot.status().ToString();
    EXPECT_EQ(snapshot->lsn, at_.rbegin()->first);
    made[snapshot->id] = snapshot->lsn;
  }
  EXPECT_EQ(KindOf(database_->CreateSnapshot("first").status()), ErrorKind::kAlreadyExists);
  EXPECT_EQ(KindOf(database_->CreateSnapshot("../x").status()), ErrorKind::kInvalid);
  EXPECT_EQ(ListSnapshots(&disk_, kDirectory).ValueOrDie().size(), 3u);
  Write(60);
  Close();
  for (const auto& [id, lsn] : made) {
    EXPECT_TRUE(VerifySnapshot(&disk_, kDirectory, id).ok());
    ExpectRestored(kDirectory, id, {}, lsn);
  }
}

TEST_F(Snapshots, AreBroughtForwardToAnyLsn) {
  Write(30);
  const Lsn first = database_->CreateSnapshot("base").ValueOrDie().lsn;
  Write(300);
  Close();
  for (int i = 0; i < 20; ++i) {
    auto at = at_.upper_bound(first);
    std::advance(at, static_cast<std::ptrdiff_t>(random_() % static_cast<uint64_t>(std::distance(at, at_.end()))));
    ExpectRestored(kDirectory, "", {.lsn = at->first}, at->first);
  }
  const auto beyond = Restore(&disk_, &clock_, kDirectory, "", "/beyond", {.lsn = Lsn(at_.rbegin()->first.value + 5)});
  EXPECT_EQ(KindOf(beyond.status()), ErrorKind::kNotFound) << beyond.status().ToString();
  const auto before = Restore(&disk_, &clock_, kDirectory, "", "/before", {.lsn = Lsn(first.value - 1)});
  EXPECT_EQ(KindOf(before.status()), ErrorKind::kInvalid) << before.status().ToString();
}

TEST_F(Snapshots, AreBroughtForwardToATime) {
  Write(30);
  ASSERT_TRUE(database_->CreateSnapshot("base").ok());
  Write(30);
  const Lsn expected = at_.rbegin()->first;
  clock_.Advance(1'000'000'000);
  const int64_t time_ns = clock_.NowNs();
  clock_.Advance(1'000'000'000);
  Write(30);
  Close();
  ExpectRestored(kDirectory, "base", {.time_ns = time_ns}, expected);
}

TEST_F(Snapshots, ABackupCopiesOnlyWhatIsNotThere) {
  // Too little for a merge, which would make all files new.
  const auto put = [this](int64_t key) {
    arrow::Int64Builder keys, values;
    ASSERT_TRUE(keys.Append(key).ok() && values.Append(key).ok());
    const auto batch = arrow::RecordBatch::Make(info_->schema, 1, {keys.Finish().ValueOrDie(), values.Finish().ValueOrDie()});
    rows_[key] = key;
    at_[database_->Append({{info_->id, batch}}).ValueOrDie()] = rows_;
  };
  put(1);
  ASSERT_TRUE(database_->CreateSnapshot("one").ok());
  const auto first = Backup(&disk_, kDirectory, "one", "/backup");
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  EXPECT_GT(first->bytes_copied, 0);
  put(2);
  const Lsn lsn = database_->CreateSnapshot("two").ValueOrDie().lsn;
  const auto second = Backup(&disk_, kDirectory, "two", "/backup");
  ASSERT_TRUE(second.ok()) << second.status().ToString();
  EXPECT_LT(second->files_copied, second->files);
  const auto again = Backup(&disk_, kDirectory, "two", "/backup");
  EXPECT_EQ(again.ValueOrDie().files_copied, 0);
  Close();
  EXPECT_TRUE(VerifySnapshot(&disk_, "/backup", "two").ok());
  ExpectRestored("/backup", "", {}, lsn);
}

TEST_F(Snapshots, DamageIsNamed) {
  Write(100);
  ASSERT_TRUE(database_->CreateSnapshot("one").ok());
  Close();
  const std::string parts = std::string(kDirectory) + "/snapshots/one/parts";
  const auto files = disk_.List(parts).ValueOrDie();
  ASSERT_FALSE(files.empty());
  for (const io::FileInfo& file : files) {
    const std::string path = io::Join(parts, file.name);
    const std::string whole = disk_.Contents(path).ValueOrDie();
    std::string damaged = whole;
    damaged[damaged.size() / 2] ^= 1;
    disk_.SetContents(path, damaged);
    const Status found = VerifySnapshot(&disk_, kDirectory, "one");
    EXPECT_EQ(KindOf(found), ErrorKind::kCorruption) << file.name;
    EXPECT_NE(found.message().find(file.name.substr(0, file.name.find('.'))), std::string::npos) << found.message();
    disk_.SetContents(path, whole);
  }
  EXPECT_TRUE(VerifySnapshot(&disk_, kDirectory, "one").ok());
}

TEST_F(Snapshots, AMarkThatMakesNoSenseIsRefusedThoughItsChecksumIsRight) {
  Write(10);
  ASSERT_TRUE(database_->CreateSnapshot("one").ok());
  Close();
  const std::string path = std::string(kDirectory) + "/snapshots/one/SNAPSHOT";
  const auto listed = [&](const std::string& line) {
    disk_.SetContents(path, fmt::format("{}\n{:08x}\n", line, Crc32c(std::as_bytes(std::span(line)))));
    const auto list = ListSnapshots(&disk_, kDirectory);
    return list.ok() ? std::nullopt : std::optional(KindOf(list.status()));
  };
  const char* const whole = R"({{"version":{},"id":{},"lsn":{},"created_ns":1,"parts":1,"bytes":1}})";
  EXPECT_EQ(listed(fmt::format(fmt::runtime(whole), "1", "\"one\"", "10")), std::nullopt);
  EXPECT_EQ(listed(fmt::format(fmt::runtime(whole), "2", "\"one\"", "10")), ErrorKind::kUnsupported);
  EXPECT_EQ(listed(fmt::format(fmt::runtime(whole), "0", "\"one\"", "10")), ErrorKind::kCorruption);
  EXPECT_EQ(listed(fmt::format(fmt::runtime(whole), "\"1\"", "\"one\"", "10")), ErrorKind::kCorruption) << "a text where a number belongs";
  EXPECT_EQ(listed(fmt::format(fmt::runtime(whole), "1", "\"one\"", "-10")), ErrorKind::kCorruption);
  EXPECT_EQ(listed(fmt::format(fmt::runtime(whole), "1", "7", "10")), ErrorKind::kCorruption);
  EXPECT_EQ(listed(fmt::format(fmt::runtime(whole), "1", "\"../../log\"", "10")), ErrorKind::kCorruption) << "another snapshot's";
  EXPECT_EQ(listed(R"({"version":1,"id":"one"})"), ErrorKind::kCorruption);
}

TEST_F(Snapshots, EachOperationThatFailsLeavesNoneOrAWholeOne) {
  Write(60);
  int whole = 0;
  for (int fault = 1; whole < 2; ++fault) {
    ASSERT_LT(fault, 200);
    int left = fault;
    disk_.SetFaultHook([&left](const io::SimOperation& operation) {
      const bool reads = operation.kind == io::SimOp::kRead || operation.kind == io::SimOp::kList;
      if (reads || operation.path.find("/snapshots/") == std::string::npos || --left != 0) return Status::OK();
      return MakeError(ErrorKind::kIo, "the disk failed");
    });
    clock_.Advance(1'000'000'000);
    const std::string id = "s" + std::to_string(fault);
    const auto made = database_->CreateSnapshot(id);
    disk_.SetFaultHook([](const io::SimOperation&) { return Status::OK(); });
    const Status found = VerifySnapshot(&disk_, kDirectory, id);
    if (made.ok()) {
      EXPECT_TRUE(found.ok()) << found.ToString();
      ++whole;  // The fault was of something that may fail, or there were no more operations.
    } else if (!found.ok()) {
      EXPECT_EQ(KindOf(found), ErrorKind::kNotFound) << found.ToString();
    }
    Write(1);
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace sheaf::store
