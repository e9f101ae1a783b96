/// Property: a keyed table equals a map at every snapshot, whatever is written, deleted, sealed, merged, crashed and
/// reopened. Rows are read in all four ways: by key, many keys, in key order, and as the sources that SQL scans.
///
/// SHEAF_STORE_KEYED_SEED=<seed> store_test --gtest_filter='KeyedTable.*' replays one seed (threads are real: it replays
/// the choices, not the timing).

#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <arrow/api.h>
#include <arrow/util/checked_cast.h>
#include <gtest/gtest.h>

#include "columns/dead_rows.h"
#include "columns/key_codec.h"
#include "columns/row_codec.h"
#include "io/sim_testing.h"
#include "store/database.h"

namespace sheaf::store {
namespace {

using arrow::internal::checked_cast;

constexpr int kSeeds = 4;
constexpr int kStepsPerLife = 80;
constexpr int64_t kKeys = 300;

/// One row of the table `t(id BIGINT, part VARCHAR, amount BIGINT, note VARCHAR, PRIMARY KEY (id, part))`.
struct Row {
  int64_t amount = 0;
  std::optional<std::string> note;
  bool operator==(const Row&) const = default;
};
using Key = std::pair<int64_t, std::string>;
using Model = std::map<Key, Row>;

std::shared_ptr<arrow::Schema> TableSchema() {
  return arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("part", arrow::utf8(), false),
                        arrow::field("amount", arrow::int64(), false), arrow::field("note", arrow::utf8())});
}

std::shared_ptr<arrow::RecordBatch> BatchOf(const std::vector<std::pair<Key, Row>>& rows,
                                            const std::shared_ptr<arrow::Schema>& schema) {
  arrow::Int64Builder id, amount;
  arrow::StringBuilder part, note;
  for (const auto& [key, row] : rows) {
    EXPECT_TRUE(id.Append(key.first).ok() && part.Append(key.second).ok() && amount.Append(row.amount).ok());
    EXPECT_TRUE((row.note ? note.Append(*row.note) : note.AppendNull()).ok());
  }
  return arrow::RecordBatch::Make(
      schema, static_cast<int64_t>(rows.size()),
      {id.Finish().ValueOrDie(), part.Finish().ValueOrDie(), amount.Finish().ValueOrDie(), note.Finish().ValueOrDie()});
}

std::shared_ptr<arrow::RecordBatch> KeysOf(const std::vector<Key>& keys, const TableInfo& info) {
  arrow::Int64Builder id;
  arrow::StringBuilder part;
  for (const Key& key : keys) EXPECT_TRUE(id.Append(key.first).ok() && part.Append(key.second).ok());
  return arrow::RecordBatch::Make(info.keys->key_schema(), static_cast<int64_t>(keys.size()),
                                  {id.Finish().ValueOrDie(), part.Finish().ValueOrDie()});
}

std::pair<Key, Row> RowAt(const arrow::RecordBatch& batch, int64_t i) {
  const auto& note = checked_cast<const arrow::StringArray&>(*batch.column(3));
  return {{checked_cast<const arrow::Int64Array&>(*batch.column(0)).Value(i),
           checked_cast<const arrow::StringArray&>(*batch.column(1)).GetString(i)},
          {checked_cast<const arrow::Int64Array&>(*batch.column(2)).Value(i),
           note.IsNull(i) ? std::nullopt : std::optional(note.GetString(i))}};
}

std::string Encoded(const TableInfo& info, const Key& key) {
  return std::string(info.keys->EncodeKeys(*KeysOf({key}, info)).ValueOrDie()[0]);
}

/// All rows of the table as scans see them.
Model Scanned(const Snapshot& snapshot, TableId table) {
  Model rows;
  const auto view = snapshot.Table(table);
  EXPECT_TRUE(view.ok()) << view.status().ToString();
  if (!view.ok()) return rows;
  for (const auto& [source, dead] : view->sources) {
    for (int granule = 0; granule < source->num_granules(); ++granule) {
      const auto batch = source->Read(granule, {0, 1, 2, 3});
      EXPECT_TRUE(batch.ok()) << batch.status().ToString();
      for (int64_t i = 0; batch.ok() && i < (*batch)->num_rows(); ++i) {
        if (dead != nullptr && dead->IsDead(granule, i)) continue;
        const auto [key, row] = RowAt(**batch, i);
        EXPECT_TRUE(rows.emplace(key, row).second) << "two rows with the key " << key.first << "/" << key.second;
      }
    }
  }
  EXPECT_EQ(view->rows, static_cast<int64_t>(rows.size()));
  return rows;
}

/// Says how they differ, if they do.
std::string Difference(const Model& found, const Model& expected) {
  const auto text = [](const std::pair<const Key, Row>& row) {
    return fmt::format("{}/{} = {} '{}'", row.first.first, row.first.second, row.second.amount, row.second.note.value_or("NULL"));
  };
  std::string difference;
  for (const auto& row : found) {
    const auto there = expected.find(row.first);
    if (there == expected.end()) difference += "unexpected " + text(row) + "; ";
    if (there != expected.end() && there->second != row.second)
      difference += "found " + text(row) + " instead of " + text(*there) + "; ";
  }
  for (const auto& row : expected) {
    if (!found.contains(row.first)) difference += "missing " + text(row) + "; ";
  }
  return difference.substr(0, 1000);
}

void ExpectEqual(const Snapshot& snapshot, const TableInfo& info, const Model& model, std::mt19937_64* random) {
  EXPECT_EQ(Difference(Scanned(snapshot, info.id), model), "") << "as sources, at " << snapshot.lsn().value;
  // In key order, a range of it, in batches of a few.
  Model ranged;
  KeyRange range;
  ScanOptions options;
  options.batch_rows_max = 1 + static_cast<int64_t>((*random)() % 50);
  Key from, to;
  const bool bounded = (*random)() % 2 == 0;
  if (bounded) {
    from = {static_cast<int64_t>((*random)() % kKeys), ""};
    to = {from.first + static_cast<int64_t>((*random)() % 100), ""};
    range.from = Encoded(info, from);
    range.to = Encoded(info, to);
  }
  auto cursor = snapshot.Scan(info.id, range, options);
  ASSERT_TRUE(cursor.ok()) << cursor.status().ToString();
  std::optional<Key> last;
  while (true) {
    const auto batch = (*cursor)->Next();
    ASSERT_TRUE(batch.ok()) << batch.status().ToString();
    if (*batch == nullptr) break;
    for (int64_t i = 0; i < (*batch)->num_rows(); ++i) {
      const auto [key, row] = RowAt(**batch, i);
      EXPECT_TRUE(!last || *last < key);
      last = key;
      ranged.emplace(key, row);
    }
  }
  const Model expected = bounded ? Model(model.lower_bound(from), model.lower_bound(to)) : model;
  EXPECT_EQ(Difference(ranged, expected), "") << "in key order, at " << snapshot.lsn().value;
  // By key.
  columns::KeyColumn keys;
  std::vector<Key> asked;
  for (int i = 0; i < 30; ++i) {
    asked.emplace_back(static_cast<int64_t>((*random)() % kKeys), (*random)() % 2 == 0 ? "a" : "b");
    keys.Add(Encoded(info, asked.back()));
  }
  const auto many = snapshot.MultiGet(info.id, keys);
  ASSERT_TRUE(many.ok()) << many.status().ToString();
  for (size_t i = 0; i < asked.size(); ++i) {
    const auto one = snapshot.Get(info.id, keys[static_cast<int64_t>(i)]);
    ASSERT_TRUE(one.ok()) << one.status().ToString();
    const auto found = model.find(asked[i]);
    ASSERT_EQ(static_cast<bool>(*one), found != model.end()) << asked[i].first << "/" << asked[i].second;
    ASSERT_EQ(static_cast<bool>((*many)[i]), found != model.end());
    if (found == model.end()) continue;
    EXPECT_EQ(RowAt(*one->Slice(), 0), (std::pair<Key, Row>(*found)));
    EXPECT_EQ(RowAt(*(*many)[i].Slice(), 0), (std::pair<Key, Row>(*found)));
    EXPECT_EQ(one->lsn, (*many)[i].lsn);
  }
}

Options SmallOptions() {
  Options options;
  options.directory = "/db";
  options.memtable_bytes = 40'000;
  options.log_segment_bytes = 128 << 10;
  options.free_space_min_fraction = 0;
  options.compaction_cpu_share = 1;
  return options;
}

NewTable TheTable() {
  NewTable table;
  table.schema_name = "main";
  table.name = "t";
  table.schema = TableSchema();
  table.primary_key = {"id", "part"};
  return table;
}

class Life {
 public:
  explicit Life(uint64_t seed) : random_(seed), disk_(std::make_unique<io::SimFileSystem>(seed)) {}

  void Run(int lives) {
    for (int life = 0; life < lives; ++life) {
      SCOPED_TRACE("life " + std::to_string(life));
      Open();
      if (testing::Test::HasFatalFailure()) return;
      ExpectEqual(*database_->GetSnapshot(), *info_, model_, &random_);
      for (int step = 0; step < kStepsPerLife && !testing::Test::HasFatalFailure(); ++step) Step();
      kept_.clear();
      if (testing::Test::HasFatalFailure()) return;
      const bool crash = random_() % 2 == 0;
      if (!crash) {
        ASSERT_TRUE(database_->Close().ok());
      }
      std::unique_ptr<io::SimFileSystem> after;
      if (crash) after = random_() % 2 == 0 ? disk_->Restart() : disk_->Crash(&random_);
      database_.reset();
      EXPECT_TRUE(disk_->violations().empty()) << disk_->violations().front();
      if (after != nullptr) disk_ = std::move(after);
    }
  }

 private:
  void Open() {
    auto opened = Database::Open(disk_.get(), &clock_, SmallOptions());
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *std::move(opened);
    NewTable table = TheTable();
    table.if_not_exists = true;
    auto made = database_->CreateTable(table);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    info_ = *made;
  }

  Key RandomKey() { return {static_cast<int64_t>(random_() % kKeys), random_() % 2 == 0 ? "a" : "b"}; }
  Row RandomRow() {
    Row row;
    row.amount = static_cast<int64_t>(random_());
    if (random_() % 4 != 0) row.note = std::string(random_() % 60, static_cast<char>('a' + random_() % 26));
    return row;
  }

  void Step() {
    clock_.Advance(10'000'000);  // Compaction may take its share of the time that passes.
    switch (random_() % 16) {
      case 0:
      case 1:
      case 2:
      case 3: PutBatch(1 + random_() % 60); break;
      case 4:
      case 5:
      case 6:
      case 7:
      case 8: PutRow(); break;
      case 9:
      case 10: DeleteKeys(); break;
      case 11: Conditional(); break;
      case 12: Flush(); break;
      case 13: kept_.push_back({database_->GetSnapshot(), model_}); break;
      case 14: {
        if (kept_.empty()) break;
        const auto& [snapshot, model] = kept_[random_() % kept_.size()];
        ExpectEqual(*snapshot, *info_, model, &random_);
        break;
      }
      default: ExpectEqual(*database_->GetSnapshot(), *info_, model_, &random_);
    }
  }

  void Flush() {
    const Status flushed = database_->Flush();
    ASSERT_TRUE(flushed.ok()) << flushed.ToString();
  }

  void PutBatch(size_t count) {
    std::vector<std::pair<Key, Row>> rows;
    for (size_t i = 0; i < count; ++i) rows.emplace_back(RandomKey(), RandomRow());
    ASSERT_TRUE(Write({info_->id, BatchOf(rows, info_->schema)}).ok());
    for (const auto& [key, row] : rows) model_[key] = row;
  }

  void PutRow() {
    const Key key = RandomKey();
    const Row row = RandomRow();
    columns::RowBuilder builder(info_->rows.get());
    builder.Clear();
    builder.Set(0, key.first);
    builder.SetText(1, key.second);
    builder.Set(2, row.amount);
    if (row.note) builder.SetText(3, *row.note);
    const auto put = Patiently([&] {
      return Wait([&](Database::Done done) { return database_->PutRowAsync(info_->id, builder.Finish(), {}, std::move(done)); });
    });
    ASSERT_TRUE(put.ok()) << put.status().ToString();
    model_[key] = row;
  }

  void DeleteKeys() {
    std::vector<Key> keys;
    for (size_t i = 0; i <= random_() % 20; ++i) keys.push_back(RandomKey());
    if (keys.size() == 1) {
      const std::string key = Encoded(*info_, keys.front());
      ASSERT_TRUE(Patiently([&] {
                    return Wait([&](Database::Done done) { return database_->DeleteRowAsync(info_->id, key, {}, std::move(done)); });
                  }).ok());
    } else {
      ASSERT_TRUE(Write({info_->id, KeysOf(keys, *info_), RowOp::kDelete}).ok());
    }
    for (const Key& key : keys) model_.erase(key);
  }

  /// An insert, or a write of an expected version; both rightly and wrongly.
  void Conditional() {
    const Key key = RandomKey();
    const Row row = RandomRow();
    const auto batch = BatchOf({{key, row}}, info_->schema);
    if (random_() % 2 == 0) {
      const auto done = Write({info_->id, batch, RowOp::kInsert});
      EXPECT_EQ(done.ok(), !model_.contains(key));
      if (!done.ok()) {
        EXPECT_EQ(KindOf(done.status()), ErrorKind::kAlreadyExists);
      } else {
        model_[key] = row;
      }
      return;
    }
    const Lsn there = database_->Get(info_->id, Encoded(*info_, key)).ValueOrDie().lsn;
    const bool right = random_() % 2 == 0;
    const auto done = Write({info_->id, batch, RowOp::kPut, right ? there : there.Next()});
    EXPECT_EQ(done.ok(), right) << done.status().ToString();
    if (right) {
      model_[key] = row;
    } else {
      EXPECT_EQ(KindOf(done.status()), ErrorKind::kConflict);
    }
  }

  Result<Lsn> Write(const TableRows& rows) {
    return Patiently([&] { return database_->Append({rows}); });
  }
  /// Where parts pile up, a writer has to wait until they are merged.
  static Result<Lsn> Patiently(const std::function<Result<Lsn>()>& write) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (true) {
      Result<Lsn> lsn = write();
      if (KindOf(lsn.status()) != ErrorKind::kThrottled || std::chrono::steady_clock::now() > deadline) return lsn;
      std::this_thread::yield();
    }
  }

  template <typename Start>
  Result<Lsn> Wait(const Start& start) {
    auto promise = std::make_shared<std::promise<Result<Lsn>>>();
    auto outcome = promise->get_future();
    SHEAF_RETURN_NOT_OK(start([promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); }));
    return outcome.get();
  }

  std::mt19937_64 random_;
  io::SimClock clock_;
  std::unique_ptr<io::SimFileSystem> disk_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<const TableInfo> info_;
  Model model_;
  std::vector<std::pair<std::shared_ptr<const Snapshot>, Model>> kept_;
};

TEST(KeyedTable, EqualsAMapAtEverySnapshot) {
  const char* given = std::getenv("SHEAF_STORE_KEYED_SEED");
  const uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
  for (uint64_t seed = first; seed < first + (given != nullptr ? 1 : kSeeds); ++seed) {
    SCOPED_TRACE("SHEAF_STORE_KEYED_SEED=" + std::to_string(seed));
    Life(seed).Run(4);
    if (testing::Test::HasFailure()) return;
  }
}

class KeyedDatabase : public testing::Test {
 protected:
  void SetUp() override {
    database_ = Database::Open(&disk_, &clock_, SmallOptions()).ValueOrDie();
    info_ = database_->CreateTable(TheTable()).ValueOrDie();
  }
  std::shared_ptr<arrow::RecordBatch> One(int64_t id, int64_t amount) {
    return BatchOf({{{id, "a"}, {amount, "x"}}}, info_->schema);
  }

  io::SimFileSystem disk_;
  io::SimClock clock_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<const TableInfo> info_;
};

TEST_F(KeyedDatabase, ABufferedWriteIsVisibleAndAnsweredAtOnce) {
  bool answered = false;
  ASSERT_TRUE(database_
                  ->AppendAsync({{info_->id, One(1, 5)}}, WriteOptions{.durability = Durability::kBuffered},
                                [&](Result<Lsn> lsn) { answered = lsn.ok(); })
                  .ok());
  EXPECT_TRUE(answered);
  EXPECT_TRUE(static_cast<bool>(database_->Get(info_->id, Encoded(*info_, {1, "a"})).ValueOrDie()));
}

TEST_F(KeyedDatabase, ARetryOfAFailedConditionIsDecidedAnew) {
  ASSERT_TRUE(database_->Append({{info_->id, One(1, 5)}}).ok());
  const WriteOptions options{.batch_id = "try"};
  EXPECT_EQ(KindOf(database_->Append({{info_->id, One(1, 6), RowOp::kInsert}}, options).status()), ErrorKind::kAlreadyExists);
  ASSERT_TRUE(database_->Append({{info_->id, KeysOf({{1, "a"}}, *info_), RowOp::kDelete}}).ok());
  EXPECT_TRUE(database_->Append({{info_->id, One(1, 6), RowOp::kInsert}}, options).ok());
}

TEST_F(KeyedDatabase, OfManyInsertsOfOneKeyOneSucceeds) {
  std::atomic<int> inserted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int64_t key = 0; key < 20; ++key) {
        const auto done = database_->Append({{info_->id, One(key, i), RowOp::kInsert}});
        if (done.ok()) inserted.fetch_add(1);
        EXPECT_TRUE(done.ok() || KindOf(done.status()) == ErrorKind::kAlreadyExists) << done.status().ToString();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(inserted.load(), 20);
}

TEST_F(KeyedDatabase, IncrementsByExpectedVersionLoseNothing) {
  ASSERT_TRUE(database_->Append({{info_->id, One(1, 0)}}).ok());
  const std::string key = Encoded(*info_, {1, "a"});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 25;) {
        const KeyedRow row = database_->Get(info_->id, key).ValueOrDie();
        const int64_t amount = RowAt(*row.Slice(), 0).second.amount;
        const auto done = database_->Append({{info_->id, One(1, amount + 1), RowOp::kPut, row.lsn}});
        if (done.ok()) ++n;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(RowAt(*database_->Get(info_->id, key).ValueOrDie().Slice(), 0).second.amount, 100);
}

TEST_F(KeyedDatabase, OneEntryMayHaveSeveralBatchesOfATable) {
  ASSERT_TRUE(database_->Append({{info_->id, One(1, 1)}, {info_->id, One(2, 2)}, {info_->id, One(1, 10)}}).ok());
  const Model expected = {{{1, "a"}, {10, "x"}}, {{2, "a"}, {2, "x"}}};
  EXPECT_EQ(Difference(Scanned(*database_->GetSnapshot(), info_->id), expected), "");
  const auto restart = [&] {
    ASSERT_TRUE(database_->Close().ok());
    database_ = Database::Open(&disk_, &clock_, SmallOptions()).ValueOrDie();
    EXPECT_EQ(Difference(Scanned(*database_->GetSnapshot(), info_->id), expected), "");
  };
  restart();
  ASSERT_TRUE(database_->Flush().ok());
  restart();
}

TEST_F(KeyedDatabase, ConditionsOfOneEntryHoldAllOrNothingIsDone) {
  ASSERT_TRUE(database_->Append({{info_->id, BatchOf({{{1, "a"}, {1, "x"}}, {{2, "a"}, {2, "x"}}}, info_->schema)}}).ok());
  const Lsn since = database_->GetSnapshot()->lsn();
  const auto merge = [&](int64_t fresh, Lsn snapshot) {
    return database_->Append({{info_->id, One(fresh, 7), RowOp::kInsert},
                              {info_->id, One(1, 8), RowOp::kPut, {}, snapshot},
                              {info_->id, KeysOf({{2, "a"}}, *info_), RowOp::kDelete, {}, snapshot}});
  };
  EXPECT_EQ(KindOf(merge(1, since).status()), ErrorKind::kAlreadyExists);
  EXPECT_EQ(KindOf(merge(3, Lsn(since.value - 1)).status()), ErrorKind::kConflict);
  const Model before = {{{1, "a"}, {1, "x"}}, {{2, "a"}, {2, "x"}}};
  EXPECT_EQ(Difference(Scanned(*database_->GetSnapshot(), info_->id), before), "");
  ASSERT_TRUE(merge(3, since).ok());
  EXPECT_EQ(KindOf(database_->Append({{info_->id, One(5, 1), RowOp::kInsert}, {info_->id, One(5, 2), RowOp::kInsert}}).status()),
            ErrorKind::kAlreadyExists);
  const Model after = {{{1, "a"}, {8, "x"}}, {{3, "a"}, {7, "x"}}};
  EXPECT_EQ(Difference(Scanned(*database_->GetSnapshot(), info_->id), after), "");
  database_.reset();
  database_ = Database::Open(&disk_, &clock_, SmallOptions()).ValueOrDie();
  EXPECT_EQ(Difference(Scanned(*database_->GetSnapshot(), info_->id), after), "");
}

TEST_F(KeyedDatabase, ConditionsAreForOneTableAndOneLsn) {
  NewTable other = TheTable();
  other.name = "other";
  const auto second = database_->CreateTable(other).ValueOrDie();
  EXPECT_EQ(KindOf(database_->Append({{info_->id, One(1, 1), RowOp::kInsert}, {second->id, One(1, 1)}}).status()),
            ErrorKind::kInvalid);
  ASSERT_TRUE(database_->Append({{info_->id, One(1, 1)}, {second->id, One(1, 1)}}).ok());
  const Lsn since = database_->GetSnapshot()->lsn();
  EXPECT_EQ(
      KindOf(database_->Append({{info_->id, One(1, 1), RowOp::kPut, {}, since}, {info_->id, One(1, 2), RowOp::kPut, Lsn(0)}})
                 .status()),
      ErrorKind::kInvalid);
}

TEST_F(KeyedDatabase, WhatCannotBeWrittenIsRefusedAndChangesNothing) {
  arrow::Int64Builder null;
  ASSERT_TRUE(null.AppendNull().ok());
  auto columns = One(1, 5)->columns();
  columns[0] = null.Finish().ValueOrDie();
  const auto refused = database_->Append({{info_->id, arrow::RecordBatch::Make(info_->schema, 1, columns)}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kInvalid);
  EXPECT_NE(refused.status().message().find("id"), std::string::npos) << refused.status().message();
  EXPECT_EQ(KindOf(database_->PutRowAsync(info_->id, "not a row", {}, [](Result<Lsn>) {})), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(database_->DeleteRowAsync(info_->id, "", {}, [](Result<Lsn>) {})), ErrorKind::kInvalid);
  EXPECT_EQ(database_->GetSnapshot()->Table(info_->id).ValueOrDie().rows, 0);
}

}  // namespace
}  // namespace sheaf::store
