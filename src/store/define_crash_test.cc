/// Property: wherever the power goes while tables are made, changed and dropped with rows written in between, the next start
/// finds the definitions and rows as they were before the step that was interrupted, or as they are after it. Nothing else. And
/// a snapshot from before them all, brought forward by the log, becomes the same database.
///
/// The power goes after each file operation of one story in turn. Threads are real, so that the number of an operation is not
/// always that of the same one; every number is tried. One of them: SHEAF_DEFINE_CRASH_STEP=<n> store_test
/// --gtest_filter='DefineCrash.*'

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "io/sim_testing.h"
#include "store/database.h"
#include "store/snapshots.h"

namespace sheaf::store {
namespace {

using Kind = AlterTable::Kind;

/// A table as SQL would show it: of each row the columns' values as text.
struct ModelTable {
  std::vector<std::string> columns;
  std::vector<std::map<std::string, std::string>> rows;
};
using Model = std::map<std::string, ModelTable>;

std::string Text(const Model& model) {
  std::string text;
  for (const auto& [name, table] : model) {
    text += name + ":";
    for (const std::string& column : table.columns) text += " " + column;
    std::multiset<std::string> rows;
    for (const auto& row : table.rows) {
      std::string line;
      for (const std::string& column : table.columns) line += " " + row.at(column);
      rows.insert(line);
    }
    for (const std::string& row : rows) text += "\n " + row;
    text += "\n";
  }
  return text;
}

Options CrashOptions() {
  Options options;
  options.directory = "/db";
  options.log_segment_bytes = 64 << 10;
  options.free_space_min_fraction = 0;
  options.archive_log = true;
  return options;
}

/// A database and what should be in it, step by step.
class Story {
 public:
  explicit Story(Database* database) : database_(*database) {}

  /// Runs all steps, or through the one that fails: then what is there is before() or after().
  void Run() {
    Step([&](Model* m) { m->insert({"a", {{"id", "b"}, {}}}); }, [&] { return Create("a", false); });
    Append({"a"}, 3);
    Step([&](Model* m) { AddColumn(&m->at("a"), "c", "7"); },
         [&] {
           return Alter(
               "a",
               {.kind = Kind::kAddColumn, .field = arrow::field("c", arrow::int32()), .default_value = arrow::MakeScalar(7)});
         });
    Append({"a"}, 2);
    Step([&](Model* m) { Drop(&m->at("a"), "b"); }, [&] { return Alter("a", {.kind = Kind::kDropColumn, .column = "b"}); });
    Append({"a"}, 1);
    Step([](Model*) {}, [&] { return database_.Flush(); });
    Step([&](Model* m) { Rename(&m->at("a"), "c", "d"); },
         [&] { return Alter("a", {.kind = Kind::kRenameColumn, .column = "c", .new_name = "d"}); });
    Step([&](Model* m) { m->insert({"b", {{"id", "b"}, {}}}); }, [&] { return Create("b", false); });
    Append({"a", "b"}, 2);
    Step([](Model*) {},
         [&] { return Alter("a", {.kind = Kind::kWidenColumn, .column = "d", .field = arrow::field("", arrow::int64())}); });
    Append({"a", "b"}, 1);
    Step([](Model*) {}, [&] { return database_.MakeCold(); });
    Step([&](Model* m) { m->erase("a"); }, [&] { return database_.DropTable(Find("a")->id); });
    Append({"b"}, 2);
    Step([&](Model* m) { m->at("b").rows.clear(); }, [&] { return Create("b", true); });
    Append({"b"}, 1);
  }

  bool failed() const { return failed_; }
  /// What was there after each step, by the LSN then.
  const std::map<Lsn, std::string>& at() const { return at_; }
  const Model& before() const { return before_; }
  const Model& after() const { return after_; }

  /// What the database holds of schema main.
  static Model Read(const Database& database) {
    Model found;
    const auto snapshot = database.GetSnapshot();
    for (const auto& info : snapshot->tables()) {
      if (info->schema_name != "main") continue;
      ModelTable& table = found[info->name];
      std::vector<int> columns;
      for (int i = 0; i < info->schema->num_fields(); ++i) {
        columns.push_back(i);
        table.columns.push_back(info->schema->field(i)->name());
      }
      const TableSnapshot rows = snapshot->Table(info->id).ValueOrDie();
      for (const auto& [source, dead] : rows.sources) {
        for (int granule = 0; granule < source->num_granules(); ++granule) {
          const auto batch = source->Read(granule, columns).ValueOrDie();
          for (int64_t row = 0; row < batch->num_rows(); ++row) {
            auto& cells = table.rows.emplace_back();
            for (const int column : columns) {
              EXPECT_TRUE(batch->column(column)->type()->Equals(*info->schema->field(column)->type()));
              cells[table.columns[static_cast<size_t>(column)]] = batch->column(column)->GetScalar(row).ValueOrDie()->ToString();
            }
          }
        }
      }
    }
    return found;
  }

 private:
  void Step(const std::function<void(Model*)>& change, const std::function<Status()>& run) {
    if (failed_) return;
    before_ = after_;
    change(&after_);
    if (const Status done = run(); !done.ok()) failed_ = true;
    if (failed_) return;
    before_ = after_;
    at_[database_.GetSnapshot()->lsn()] = Text(after_);
  }

  void Append(const std::vector<std::string>& tables, int64_t rows) {
    if (failed_) return;
    std::vector<TableRows> given;
    Model with = after_;
    for (const std::string& name : tables) {
      const auto info = Find(name);
      given.push_back({info->id, MakeRows(*info, rows, &with.at(name))});
    }
    Step([&](Model* m) { *m = with; }, [&] { return database_.Append(given).status(); });
  }

  std::shared_ptr<arrow::RecordBatch> MakeRows(const TableInfo& info, int64_t rows, ModelTable* table) {
    std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders;
    for (const auto& field : info.schema->fields()) builders.push_back(arrow::MakeBuilder(field->type()).ValueOrDie());
    for (int64_t row = 0; row < rows; ++row) {
      auto& cells = table->rows.emplace_back();
      for (size_t i = 0; i < builders.size(); ++i) {
        const auto value = arrow::Scalar::Parse(builders[i]->type(), std::to_string(++value_)).ValueOrDie();
        EXPECT_TRUE(builders[i]->AppendScalar(*value).ok());
        cells[info.schema->field(static_cast<int>(i))->name()] = value->ToString();
      }
    }
    arrow::ArrayVector columns;
    for (const auto& builder : builders) columns.push_back(builder->Finish().ValueOrDie());
    return arrow::RecordBatch::Make(info.schema, rows, columns);
  }

  static void AddColumn(ModelTable* table, const std::string& name, const std::string& value) {
    table->columns.push_back(name);
    for (auto& row : table->rows) row[name] = value;
  }
  static void Drop(ModelTable* table, const std::string& name) { std::erase(table->columns, name); }
  static void Rename(ModelTable* table, const std::string& from, const std::string& to) {
    std::replace(table->columns.begin(), table->columns.end(), from, to);
    for (auto& row : table->rows) row[to] = row.at(from);
  }

  std::shared_ptr<const TableInfo> Find(const std::string& name) { return database_.FindTable("main", name).ValueOrDie(); }
  Status Create(const std::string& name, bool replace) {
    NewTable asked;
    asked.schema_name = "main";
    asked.name = name;
    asked.schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("b", arrow::utf8())});
    asked.or_replace = replace;
    return database_.CreateTable(asked).status();
  }
  Status Alter(const std::string& name, const AlterTable& change) { return database_.Alter(Find(name)->id, change).status(); }

  Database& database_;
  Model before_, after_;
  int64_t value_ = 1000;
  bool failed_ = false;
  std::map<Lsn, std::string> at_;
};

constexpr char kBase[] = "base";
/// Of the operations after which the power goes: each of them would take minutes.
constexpr uint64_t kStride = 3;

/// What is in a database made of the first snapshot and the log.
std::string Restored(io::SimFileSystem* disk, io::Clock* clock, Lsn lsn) {
  static int made = 0;
  const std::string to = "/restored-" + std::to_string(made++);
  const auto done = Restore(disk, clock, "/db", kBase, to, {.lsn = lsn, .time_ns = std::nullopt});
  EXPECT_TRUE(done.ok()) << done.status().ToString();
  if (!done.ok()) return "";
  EXPECT_EQ(done->lsn, lsn);
  Options options = CrashOptions();
  options.directory = to;
  const auto opened = Database::Open(disk, clock, options);
  EXPECT_TRUE(opened.ok()) << opened.status().ToString();
  return opened.ok() ? Text(Story::Read(**opened)) : "";
}

/// Runs the story until the power goes after operation `step`; returns whether it came to its end before.
bool RunOnce(uint64_t step) {
  io::SimClock clock;
  std::mt19937_64 random(step);
  auto disk = std::make_unique<io::SimFileSystem>(step);
  Model before, after;
  bool failed = false;
  {
    auto opened = Database::Open(disk.get(), &clock, CrashOptions());
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    if (!opened.ok()) return true;
    EXPECT_TRUE((*opened)->CreateSnapshot(kBase).ok());
    disk->PowerOffAfter(disk->operations() + step);
    Story story(opened->get());
    story.Run();
    failed = story.failed();
    before = story.before();
    after = story.after();
    if (!failed) {
      EXPECT_EQ(Text(Story::Read(**opened)), Text(after));
    }
  }
  EXPECT_TRUE(disk->violations().empty());
  disk = step % 4 == 0 ? disk->Restart() : disk->Crash(&random);
  auto opened = Database::Open(disk.get(), &clock, CrashOptions());
  EXPECT_TRUE(opened.ok()) << opened.status().ToString();
  if (!opened.ok()) return true;
  const std::string found = Text(Story::Read(**opened));
  EXPECT_TRUE(found == Text(before) || found == Text(after)) << "found:\n"
                                                             << found << "before:\n"
                                                             << Text(before) << "after:\n"
                                                             << Text(after);
  // What was found goes on to work: more rows, parts, another start.
  for (const auto& info : (*opened)->GetSnapshot()->tables()) {
    if (info->schema_name != "main") continue;
    arrow::ArrayVector columns;
    for (const auto& field : info->schema->fields()) {
      columns.push_back(arrow::MakeArrayFromScalar(*arrow::Scalar::Parse(field->type(), "5").ValueOrDie(), 1).ValueOrDie());
    }
    EXPECT_TRUE((*opened)->Append({{info->id, arrow::RecordBatch::Make(info->schema, 1, columns)}}).ok());
  }
  EXPECT_TRUE((*opened)->Flush().ok());
  const std::string more = Text(Story::Read(**opened));
  opened->reset();
  opened = Database::Open(disk.get(), &clock, CrashOptions());
  EXPECT_TRUE(opened.ok()) << opened.status().ToString();
  if (!opened.ok()) return true;
  EXPECT_EQ(Text(Story::Read(**opened)), more);
  const Lsn last = (*opened)->GetSnapshot()->lsn();
  opened->reset();
  if (step / kStride % 4 == 0) {  // It takes longer than all the rest.
    EXPECT_EQ(Restored(disk.get(), &clock, last), more);
  }
  return !failed;
}

TEST(DefineCrash, EveryStepIsThereWhollyOrNotAtAll) {
  const char* only = std::getenv("SHEAF_DEFINE_CRASH_STEP");
  constexpr uint64_t kStepsMax = 5000;
  uint64_t step = only == nullptr ? 1 + std::random_device()() % kStride : std::strtoull(only, nullptr, 10);
  for (; step < kStepsMax; step += kStride) {
    SCOPED_TRACE("replay with SHEAF_DEFINE_CRASH_STEP=" + std::to_string(step));
    const bool ended = RunOnce(step);
    if (HasFailure() || ended || only != nullptr) break;
  }
  ASSERT_LT(step, kStepsMax) << "the story never came to its end";
}

TEST(DefineRestore, TheLogBringsAnOlderSnapshotToEveryStep) {
  io::SimClock clock;
  io::SimFileSystem disk(1);
  std::map<Lsn, std::string> at;
  {
    const auto database = Database::Open(&disk, &clock, CrashOptions()).ValueOrDie();
    const Lsn first = database->CreateSnapshot(kBase).ValueOrDie().lsn;
    Story story(database.get());
    story.Run();
    ASSERT_FALSE(story.failed());
    at = story.at();
    EXPECT_GT(at.rbegin()->first, first);
    EXPECT_GE(at.size(), 15u) << "each change of a table has an LSN of its own";
  }
  for (const auto& [lsn, text] : at) EXPECT_EQ(Restored(&disk, &clock, lsn), text) << lsn.value;
}

}  // namespace
}  // namespace sheaf::store
