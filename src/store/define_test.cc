/// Tables made, changed and dropped: what the database promises, on the simulated disk.

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <arrow/api.h>
#include <arrow/util/checked_cast.h>
#include <gtest/gtest.h>

#include "columns/key_codec.h"
#include "io/sim_testing.h"
#include "store/database.h"
#include "store/testing.h"

namespace sheaf::store {
namespace {

using Kind = AlterTable::Kind;

std::shared_ptr<arrow::Schema> Columns() {
  return arrow::schema({arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO), false), arrow::field("n", arrow::int32()),
                        arrow::field("word", arrow::utf8())});
}

NewTable Named(const std::string& name) {
  NewTable table;
  table.schema_name = "main";
  table.name = name;
  table.schema = Columns();
  table.settings.time_column = "time";
  return table;
}

class DefineTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.directory = "/db";
    options_.free_space_min_fraction = 0;
    Open();
  }
  void Open() {
    auto opened = Database::Open(disk_.get(), &clock_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *std::move(opened);
  }
  /// What a start after the death of the process finds.
  void Restart() {
    auto after = disk_->Restart();
    database_.reset();
    disk_ = std::move(after);
    Open();
  }
  std::shared_ptr<const TableInfo> Create(const NewTable& asked) {
    auto made = database_->CreateTable(asked);
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    return made.ValueOr(nullptr);
  }
  std::shared_ptr<const TableInfo> Find(const std::string& name) { return database_->FindTable("main", name).ValueOr(nullptr); }
  std::shared_ptr<arrow::RecordBatch> Rows(const TableInfo& table, int64_t rows) {
    return RandomBatch(table.schema, rows, &random_);
  }
  void Append(const TableInfo& table, int64_t rows) {
    const auto lsn = database_->Append({{table.id, Rows(table, rows)}});
    EXPECT_TRUE(lsn.ok()) << lsn.status().ToString();
  }
  int64_t CountRows(TableId table) { return database_->GetSnapshot()->Table(table).ValueOrDie().rows; }

  std::unique_ptr<io::SimFileSystem> disk_ = std::make_unique<io::SimFileSystem>(7);
  io::SimClock clock_;
  Options options_;
  std::mt19937_64 random_{42};
  std::unique_ptr<Database> database_;
};

TEST_F(DefineTest, ATableIsThereAtOnceAndAfterARestart) {
  const uint64_t version = database_->catalog_version();
  const auto table = Create(Named("Events"));
  EXPECT_NE(database_->catalog_version(), version);
  EXPECT_EQ(Find("EVENTS"), table);
  Append(*table, 5);
  EXPECT_EQ(CountRows(table->id), 5);
  Restart();
  const auto again = Find("events");
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->id, table->id);
  EXPECT_TRUE(again->schema->Equals(*table->schema, /*check_metadata=*/true));
  EXPECT_EQ(CountRows(again->id), 5);
  Append(*again, 2);
  ASSERT_TRUE(database_->Flush().ok());
  EXPECT_EQ(CountRows(again->id), 7);
}

TEST_F(DefineTest, NamesAreTakenOnce) {
  const auto table = Create(Named("events"));
  NewTable asked = Named("EVENTS");
  EXPECT_EQ(KindOf(database_->CreateTable(asked).status()), ErrorKind::kAlreadyExists);
  asked.if_not_exists = true;
  EXPECT_EQ(Create(asked), table);
  Create(Named("other"));
  EXPECT_EQ(KindOf(database_->Alter(table->id, {.kind = Kind::kRenameTable, .new_name = "Other"}).status()),
            ErrorKind::kAlreadyExists);
  const auto renamed = database_->Alter(table->id, {.kind = Kind::kRenameTable, .new_name = "late"}).ValueOrDie();
  EXPECT_EQ(Find("events"), nullptr);
  EXPECT_EQ(Find("late"), renamed);
  EXPECT_EQ(renamed->id, table->id);
  const auto missing = database_->FindTable("main", "lates");
  EXPECT_NE(missing.status().message().find("did you mean main.late"), std::string::npos) << missing.status().ToString();
  Restart();
  EXPECT_NE(Find("late"), nullptr);
  EXPECT_EQ(Find("events"), nullptr);
}

TEST_F(DefineTest, TablesAreListedInOrderWhateverTheOrderTheyCameIn) {
  for (const char* name : {"m", "z", "a"}) Create(Named(name));
  std::vector<std::string> names;
  const auto snapshot = database_->GetSnapshot();
  for (const auto& info : snapshot->tables()) names.push_back(info->schema_name + "." + info->name);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST_F(DefineTest, ADroppedTableTakesItsRowsAndFilesWithIt) {
  const auto table = Create(Named("events")), other = Create(Named("other"));
  Append(*table, 5);
  ASSERT_TRUE(database_->Flush().ok());
  Append(*table, 3);
  Append(*other, 1);
  const auto snapshot = database_->GetSnapshot();
  ASSERT_TRUE(database_->DropTable(table->id).ok());
  EXPECT_EQ(snapshot->Table(table->id).ValueOrDie().rows, 8) << "a snapshot keeps what it names";
  EXPECT_EQ(Find("events"), nullptr);
  EXPECT_EQ(KindOf(database_->DropTable(table->id)), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(database_->Append({{table->id, Rows(*table, 1)}}).status()), ErrorKind::kNotFound);
  EXPECT_EQ(database_->GetStats().memtable_rows, 1);
  Restart();
  EXPECT_EQ(Find("events"), nullptr);
  EXPECT_EQ(CountRows(other->id), 1);
  const auto again = Create(Named("events"));
  EXPECT_NE(again->id, table->id) << "ids are not used again";
  EXPECT_EQ(CountRows(again->id), 0);
}

TEST_F(DefineTest, EntriesOfADroppedTableAreSkippedHoweverOftenTheDatabaseIsOpened) {
  const auto table = Create(Named("events")), other = Create(Named("other"));
  for (int i = 0; i < 3; ++i) {
    Append(*table, 2);
    Append(*other, 2);
  }
  ASSERT_TRUE(database_->DropTable(table->id).ok());
  for (int i = 0; i < 3; ++i) {
    Restart();
    EXPECT_EQ(CountRows(other->id), 6);
  }
  ASSERT_TRUE(database_->Flush().ok());
  Restart();
  EXPECT_EQ(CountRows(other->id), 6);
}

TEST_F(DefineTest, ReplacingATableIsOneStep) {
  const auto table = Create(Named("events"));
  Append(*table, 5);
  NewTable asked = Named("events");
  asked.or_replace = true;
  asked.schema = arrow::schema({arrow::field("x", arrow::int8())});
  asked.settings = {};
  const auto replaced = Create(asked);
  EXPECT_NE(replaced->id, table->id);
  EXPECT_EQ(CountRows(replaced->id), 0);
  Restart();
  EXPECT_EQ(Find("events")->id, replaced->id);
  asked.schema = arrow::schema({arrow::field("x", arrow::null())});
  EXPECT_FALSE(database_->CreateTable(asked).ok());
  EXPECT_EQ(Find("events")->id, replaced->id) << "what cannot be made replaces nothing";
}

TEST_F(DefineTest, SettingsAndDefaultsSurvive) {
  const auto table = Create(Named("events"));
  TableSettings settings = SettingsOf(*table);
  settings.filters = {"word"};
  settings.retention_ms = 1'000'000'000'000;
  settings.durability = Durability::kBuffered;
  ASSERT_TRUE(database_->Alter(table->id, {.kind = Kind::kSetSettings, .settings = settings}).ok());
  ASSERT_TRUE(
      database_->Alter(table->id, {.kind = Kind::kSetDefault, .column = "word", .default_value = arrow::MakeScalar("x")}).ok());
  Append(*table, 1);
  Restart();
  const auto again = Find("events");
  EXPECT_EQ(SettingsOf(*again).filters, settings.filters);
  EXPECT_EQ(SettingsOf(*again).retention_ms, settings.retention_ms);
  EXPECT_EQ(again->durability, Durability::kBuffered);
  EXPECT_EQ(again->defaults[2]->ToString(), "x");
  EXPECT_EQ(again->schema_version, 1u);
}

TEST_F(DefineTest, ReadyTablesStay) {
  const auto traces = database_->FindTable("otel", "traces").ValueOrDie();
  EXPECT_EQ(KindOf(database_->DropTable(traces->id)), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(database_->Alter(traces->id, {.kind = Kind::kDropColumn, .column = "name"}).status()), ErrorKind::kDenied);
  NewTable asked = Named("traces");
  asked.schema_name = "otel";
  asked.or_replace = true;
  EXPECT_EQ(KindOf(database_->CreateTable(asked).status()), ErrorKind::kDenied);
  asked.if_not_exists = true;
  EXPECT_EQ(Create(asked), traces);
}

TEST_F(DefineTest, ReadyTablesOfTradingAndMemoryTakeColumnsAndKeepTheirOwn) {
  const auto orders = database_->FindTable("trading", "orders").ValueOrDie();
  EXPECT_EQ(orders->kind, TableKind::kKeyed);
  EXPECT_NE(orders->rows, nullptr);
  EXPECT_EQ(KindOf(database_->DropTable(orders->id)), ErrorKind::kDenied);
  for (const AlterTable& change : {AlterTable{.kind = Kind::kDropColumn, .column = "price"},
                                   AlterTable{.kind = Kind::kRenameColumn, .column = "price", .new_name = "cost"},
                                   AlterTable{.kind = Kind::kRenameTable, .new_name = "orders2"}}) {
    EXPECT_EQ(KindOf(database_->Alter(orders->id, change).status()), ErrorKind::kDenied);
  }
  const auto wider =
      database_->Alter(orders->id, {.kind = Kind::kAddColumn, .field = arrow::field("note", arrow::utf8())}).ValueOrDie();
  Restart();
  const auto again = database_->FindTable("trading", "orders").ValueOrDie();
  EXPECT_TRUE(again->schema->Equals(*wider->schema, /*check_metadata=*/true));
  EXPECT_TRUE(database_->Alter(again->id, {.kind = Kind::kDropColumn, .column = "note"}).ok());

  const auto records = database_->FindTable("memory", "records").ValueOrDie();
  EXPECT_EQ(records->rows, nullptr) << "lists have no compact rows";
  EXPECT_EQ(records->key_columns, (std::vector<int>{1, 0}));
  const auto small = database_->Alter(records->id, {.kind = Kind::kWidenColumn,
                                                    .column = "embedding",
                                                    .field = arrow::field("", arrow::fixed_size_list(arrow::float32(), 8))});
  ASSERT_TRUE(small.ok()) << small.status().ToString();
  EXPECT_TRUE((*small)->schema->GetFieldByName("embedding")->type()->Equals(*arrow::fixed_size_list(arrow::float32(), 8)));
}

TEST_F(DefineTest, AFixedListThatHasRowsKeepsItsSize) {
  NewTable asked = Named("vectors");
  asked.schema = arrow::schema({arrow::field("v", arrow::fixed_size_list(arrow::float32(), 3))});
  asked.settings = {};
  const auto table = Create(asked);
  arrow::FixedSizeListBuilder builder(arrow::default_memory_pool(), std::make_shared<arrow::FloatBuilder>(), 3);
  ASSERT_TRUE(builder.AppendNull().ok());
  ASSERT_TRUE(database_->Append({{table->id, arrow::RecordBatch::Make(table->schema, 1, {builder.Finish().ValueOrDie()})}}).ok());
  const auto resized = database_->Alter(
      table->id,
      {.kind = Kind::kWidenColumn, .column = "v", .field = arrow::field("", arrow::fixed_size_list(arrow::float32(), 4))});
  EXPECT_EQ(KindOf(resized.status()), ErrorKind::kInvalid) << resized.status().ToString();
}

TEST_F(DefineTest, AReadOnlyDatabaseChangesNothing) {
  ASSERT_TRUE(database_->Close().ok());
  options_.read_only = true;
  Open();
  EXPECT_EQ(KindOf(database_->CreateTable(Named("events")).status()), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(database_->DropTable(TableId(1))), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(database_->Alter(TableId(1), {.kind = Kind::kRenameTable, .new_name = "x"}).status()),
            ErrorKind::kUnavailable);
}

TEST_F(DefineTest, AManifestThatCannotBeWrittenLeavesTheTableAsItWas) {
  const auto table = Create(Named("events"));
  Append(*table, 3);
  disk_->SetFaultHook([](const io::SimOperation& operation) {
    const bool manifest = operation.path.find("MANIFEST") != std::string::npos && operation.kind == io::SimOp::kWrite;
    return manifest ? MakeError(ErrorKind::kUnavailable, "the disk is full") : Status::OK();
  });
  EXPECT_EQ(KindOf(database_->DropTable(table->id)), ErrorKind::kUnavailable);
  EXPECT_FALSE(database_->CreateTable(Named("other")).ok());
  disk_->SetFaultHook({});
  EXPECT_TRUE(database_->GetStats().writable) << "that nothing was changed is known";
  Append(*table, 1);
  Restart();
  EXPECT_EQ(CountRows(Find("events")->id), 4);
  EXPECT_EQ(Find("other"), nullptr);
}

TEST_F(DefineTest, ADamagedManifestUndoesNoDefinition) {
  const auto gone = Create(Named("gone"));
  Append(*gone, 2);
  ASSERT_TRUE(database_->DropTable(gone->id).ok());
  const auto table = Create(Named("events"));
  Append(*table, 3);
  auto after = disk_->Restart();
  database_.reset();
  disk_ = std::move(after);
  std::string newest;
  for (const auto& file : disk_->List("/db").ValueOrDie()) {
    if (file.name.starts_with("MANIFEST-")) newest = std::max(newest, "/db/" + file.name);
  }
  std::string bytes = disk_->Contents(newest).ValueOrDie();
  bytes[bytes.size() / 2] ^= 1;
  disk_->SetContents(newest, bytes);
  Open();
  ASSERT_NE(Find("events"), nullptr);
  EXPECT_EQ(CountRows(Find("events")->id), 3);
  EXPECT_EQ(Find("gone"), nullptr);
}

TEST_F(DefineTest, AKeyedTableIsWrittenChangedAndDropped) {
  NewTable asked = Named("items");
  asked.primary_key = {"n"};
  const auto first = Create(asked);
  const auto Put = [&](const TableInfo& table, int32_t key, const char* word) {
    arrow::ArrayVector columns;
    for (const auto& field : table.schema->fields()) {
      std::shared_ptr<arrow::Scalar> value = arrow::MakeNullScalar(field->type());
      if (field->name() == "n") value = arrow::MakeScalar(key);
      if (field->name() == "word") value = arrow::MakeScalar(word);
      if (field->name() == "time") value = std::make_shared<arrow::TimestampScalar>(1, field->type());
      columns.push_back(arrow::MakeArrayFromScalar(*value, 1).ValueOrDie());
    }
    const auto lsn = database_->Append({{table.id, arrow::RecordBatch::Make(table.schema, 1, columns)}});
    EXPECT_TRUE(lsn.ok()) << lsn.status().ToString();
  };
  const auto Word = [&](int32_t key) -> std::string {
    const auto info = Find("items");
    const std::string encoded = info->keys->EncodeScalars(std::vector{arrow::MakeScalar(key)}).ValueOrDie();
    const auto row = database_->Get(info->id, encoded);
    EXPECT_TRUE(row.ok()) << row.status().ToString();
    if (!row.ok() || !*row) return "none";
    return row->Slice()->GetColumnByName("word")->GetScalar(0).ValueOrDie()->ToString();
  };
  for (int32_t key = 0; key < 5; ++key) Put(*first, key, "old");
  const auto second = database_->Alter(
      first->id,
      {.kind = Kind::kAddColumn, .field = arrow::field("more", arrow::int64()), .default_value = arrow::MakeScalar(7)});
  ASSERT_TRUE(second.ok()) << second.status().ToString();
  Put(**second, 2, "new");
  for (const char* when : {"at once", "restarted", "sealed", "cold"}) {
    SCOPED_TRACE(when);
    if (std::string(when) == "restarted") Restart();
    const std::string step = when;
    const Status done = step == "sealed" ? database_->Flush() : step == "cold" ? database_->MakeCold(first->id) : Status::OK();
    ASSERT_TRUE(done.ok()) << done.ToString();
    EXPECT_EQ(CountRows(first->id), 5);
    EXPECT_EQ(Word(1), "old");
    EXPECT_EQ(Word(2), "new");
    EXPECT_EQ(Word(9), "none");
  }
  const auto renamed =
      database_->Alter(first->id, {.kind = Kind::kRenameColumn, .column = "n", .new_name = "number"}).ValueOrDie();
  EXPECT_EQ(renamed->keys->key_schema()->field(0)->name(), "number");
  EXPECT_EQ(Word(2), "new");
  ASSERT_TRUE(database_->DropTable(first->id).ok());
  Restart();
  EXPECT_EQ(Find("items"), nullptr);
}

TEST_F(DefineTest, WhatARetentionTakesFromAKeyedTableDoesNotComeBackAsItWasBefore) {
  NewTable asked = Named("items");
  asked.primary_key = {"n"};
  asked.settings.retention_ms = 3'600'000;
  const auto table = Create(asked);
  const auto Put = [&](int64_t time_ns) {
    const arrow::ArrayVector columns = {
        arrow::MakeArrayFromScalar(arrow::TimestampScalar(time_ns, table->schema->field(0)->type()), 1).ValueOrDie(),
        arrow::MakeArrayFromScalar(arrow::Int32Scalar(1), 1).ValueOrDie(),
        arrow::MakeArrayFromScalar(arrow::StringScalar("x"), 1).ValueOrDie()};
    ASSERT_TRUE(database_->Append({{table->id, arrow::RecordBatch::Make(table->schema, 1, columns)}}).ok());
    ASSERT_TRUE(database_->Flush().ok());
  };
  Put(clock_.NowNs());
  Put(1);                                                           // The newest row of the key, and older than the retention.
  ASSERT_TRUE(database_->SetRetention(table->id, 3'600'000).ok());  // Expires at once.
  EXPECT_EQ(CountRows(table->id), 0);
  Restart();
  EXPECT_EQ(CountRows(table->id), 0);
}

TEST_F(DefineTest, AppendsToATableThatChangesWaitASecondAndOthersGoOn) {
  const auto table = Create(Named("events")), other = Create(Named("other"));
  std::promise<void> reached, go_on;
  std::shared_future<void> may_go_on = go_on.get_future().share();
  std::atomic<bool> stopped = false;
  disk_->SetFaultHook([&](const io::SimOperation& operation) {
    if (operation.kind != io::SimOp::kWrite || operation.path.find("MANIFEST") == std::string::npos) return Status::OK();
    if (!stopped.exchange(true)) reached.set_value();
    may_go_on.wait();
    return Status::OK();
  });
  auto altered = std::async(std::launch::async, [&] {
    return database_->Alter(table->id, {.kind = Kind::kRenameColumn, .column = "word", .new_name = "text"});
  });
  reached.get_future().wait();
  Append(*other, 1);
  const auto refused = database_->Append({{table->id, Rows(*table, 1)}});
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kThrottled) << refused.status().ToString();
  auto waiting = std::async(std::launch::async,
                            [&] { return database_->Append({{table->id, Rows(*table, 1)}, {other->id, Rows(*other, 1)}}); });
  go_on.set_value();
  const auto changed = altered.get();
  ASSERT_TRUE(changed.ok()) << changed.status().ToString();
  EXPECT_EQ(KindOf(waiting.get().status()), ErrorKind::kInvalid) << "it waited, and then had the columns of before";
  disk_->SetFaultHook({});
  Append(**changed, 2);
  EXPECT_EQ(CountRows(table->id), 2);
  EXPECT_EQ(CountRows(other->id), 1);
}

TEST_F(DefineTest, RowsOfEveryVersionAreThereUnderTheNewest) {
  const auto first = Create(Named("events"));
  Append(*first, 3);
  const auto snapshot = database_->GetSnapshot();
  const auto second = database_
                          ->Alter(first->id, {.kind = Kind::kAddColumn,
                                              .field = arrow::field("more", arrow::int64(), false),
                                              .default_value = arrow::MakeScalar(7)})
                          .ValueOrDie();
  Append(*second, 2);
  const auto third = database_->Alter(first->id, {.kind = Kind::kDropColumn, .column = "word"}).ValueOrDie();
  const auto fourth =
      database_->Alter(first->id, {.kind = Kind::kWidenColumn, .column = "n", .field = arrow::field("", arrow::int64())})
          .ValueOrDie();
  Append(*fourth, 1);
  EXPECT_EQ(fourth->schema_version, 4u);
  EXPECT_EQ(fourth->history.size(), 3u);
  const TableSnapshot old = snapshot->Table(first->id).ValueOrDie();
  EXPECT_EQ(old.info, first) << "a snapshot keeps the columns that it was taken with";
  EXPECT_EQ(old.rows, 3);
  for (const char* when : {"at once", "restarted", "cold"}) {
    SCOPED_TRACE(when);
    if (std::string(when) == "restarted") Restart();
    if (std::string(when) == "cold") {
      ASSERT_TRUE(database_->Flush().ok());
      ASSERT_TRUE(database_->MakeCold(first->id).ok());
    }
    const TableSnapshot now = database_->GetSnapshot()->Table(first->id).ValueOrDie();
    ASSERT_EQ(now.rows, 6);
    int sevens = 0;
    for (const auto& [source, dead] : now.sources) {
      for (int granule = 0; granule < source->num_granules(); ++granule) {
        const auto batch = source->Read(granule, {0, 1, 2}).ValueOrDie();
        ASSERT_TRUE(batch->schema()->Equals(*fourth->schema, /*check_metadata=*/false)) << batch->schema()->ToString();
        const auto& more = arrow::internal::checked_cast<const arrow::Int64Array&>(*batch->column(2));
        for (int64_t row = 0; row < more.length(); ++row) sevens += more.Value(row) == 7 ? 1 : 0;
      }
    }
    EXPECT_EQ(sevens, 3);
  }
}

TEST_F(DefineTest, ChangesBetweenAppendsOfManyThreadsLoseNothing) {
  const TableId id = Create(Named("events"))->id;
  std::atomic<int64_t> written = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> writers;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    writers.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      while (!stop) {
        const auto info = database_->FindTable("main", "events").ValueOrDie();
        const auto lsn = database_->Append({{id, RandomBatch(info->schema, 2, &random)}});
        if (lsn.ok()) {
          written += 2;
        } else if (KindOf(lsn.status()) != ErrorKind::kThrottled) {  // That one: a change that took longer than an append waits.
          // The columns changed between looking and appending.
          EXPECT_EQ(KindOf(lsn.status()), ErrorKind::kInvalid) << lsn.status().ToString();
        }
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    const std::string name = "c" + std::to_string(i);
    EXPECT_TRUE(database_->Alter(id, {.kind = Kind::kAddColumn, .field = arrow::field(name, arrow::int32())}).ok());
    if (i % 2 == 0) {
      EXPECT_TRUE(database_->Alter(id, {.kind = Kind::kDropColumn, .column = name}).ok());
    }
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(CountRows(id), written);
  Restart();
  EXPECT_EQ(CountRows(id), written);
}

}  // namespace
}  // namespace sheaf::store
