/// A database while its disk fails at each sort of operation in turn: opening answers the error or shows what is there; a call does what
/// it says, or nothing, now and after a restart. Stories of many calls with each operation failing: fault_test.cc.

#include <algorithm>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/key_codec.h"
#include "io/sim_testing.h"
#include "store/contents_testing.h"
#include "store/database.h"
#include "store/fault_points_testing.h"
#include "store/golden_testing.h"
#include "store/snapshots.h"

namespace sheaf::store {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kDirectory[] = "/db";

Options OptionsFor(bool read_only = false) {
  Options options = GoldenOptions(kDirectory);
  options.read_only = read_only;
  options.scrub_interval_ms = 0;
  return options;
}

/// The golden database as a kill leaves it: rows and changes of tables stand in the log alone.
const DiskImage& Image() {
  static const DiskImage image = [] {
    io::SimFileSystem disk;
    io::SimClock clock;
    auto database = WriteGoldenDatabase(&disk, &clock, kDirectory);
    disk.PowerOffAfter(disk.operations());
    database.reset();
    return ImageOf(disk.Restart().get(), kDirectory);
  }();
  return image;
}

/// The tables of schema main as text; `damaged`: those that cannot be read since parts are set aside.
std::string Text(const Database& database, int* damaged = nullptr) {
  std::string text;
  const auto snapshot = database.GetSnapshot();
  for (const auto& info : snapshot->tables()) {
    if (info->schema_name != "main") continue;
    const auto table = ReadTable(*snapshot, *info);
    if (!table.ok() && damaged != nullptr && KindOf(table.status()) == ErrorKind::kCorruption) {
      ++*damaged;
      continue;
    }
    EXPECT_TRUE(table.ok()) << table.status().ToString();
    if (!table.ok()) continue;
    text += info->name + ": " + table->columns + "\n";
    for (const std::string& row : table->rows) text += "  " + row + "\n";
  }
  return text;
}

/// Without the work of a clean stop.
void Kill(io::SimFileSystem* disk, std::unique_ptr<Database>* database) {
  disk->PowerOffAfter(disk->operations());
  database->reset();
}

class OpenFault : public testing::TestWithParam<bool> {
 protected:
  void Try(ErrorKind error, const FaultPoints::Which& which) {
    std::string right;
    FaultPoints files;
    files.EachFirst(error, which, [&] {
      const auto disk = DiskOf(Image());
      files.Begin(disk.get());
      auto opened = Database::Open(&files, &clock_, OptionsFor(GetParam()));
      files.End();
      if (opened.ok()) {
        int damaged = 0;
        const std::string text = Text(**opened, &damaged);
        if (right.empty()) right = text;
        EXPECT_TRUE(text == right || (damaged > 0 && error != ErrorKind::kIo)) << text;
        Kill(disk.get(), &*opened);
      } else {
        ASSERT_TRUE(files.failed()) << opened.status().ToString();
        EXPECT_THAT(opened.status().message(), HasSubstr("injected"));
        EXPECT_THAT(opened.status().message(), HasSubstr(kDirectory));
      }
      EXPECT_THAT(disk->violations(), IsEmpty());
      const auto left = disk->Restart();
      auto again = Database::Open(left.get(), &clock_, OptionsFor());
      ASSERT_TRUE(again.ok()) << again.status().ToString();
      EXPECT_EQ(Text(**again), right);
      Kill(left.get(), &*again);
    });
  }

  io::SimClock clock_;
};

TEST_P(OpenFault, AnswersTheErrorOrShowsWhatIsThere) {
  Try(ErrorKind::kIo, [](const std::string&) { return true; });
}

TEST_P(OpenFault, SetsAsideWhatIsNotThere) {
  Try(ErrorKind::kNotFound, [](const std::string& sort) { return OnlyReads(sort) && sort.find("/parts/") != std::string::npos; });
}

INSTANTIATE_TEST_SUITE_P(Ways, OpenFault, testing::Bool(), [](const auto& info) { return info.param ? "ReadOnly" : "Writable"; });

struct Call {
  const char* name;
  std::function<Status(Database*)> run;
  bool changes = false;    // Tables as Text() shows them.
  const char* only = "/";  // Of the paths that fail: where other calls do the rest, too, it need not take their time.

  friend void PrintTo(const Call& call, std::ostream* out) { *out << call.name; }
};

TableId Id(Database* database, const std::string& name) { return database->FindTable("main", name).ValueOrDie()->id; }

columns::KeyColumn SomeKeys(const TableInfo& info) {
  arrow::StringBuilder books;
  arrow::Int64Builder numbers;
  EXPECT_TRUE(books.AppendValues({"ask", "bid"}).ok() && numbers.AppendValues({6, 9}).ok());
  const arrow::ArrayVector columns = {books.Finish().ValueOrDie(), numbers.Finish().ValueOrDie()};
  const auto batch = arrow::RecordBatch::Make(info.keys->key_schema(), 2, columns);
  return info.keys->Encode(*batch).ValueOrDie();
}

Status ReadByKey(Database* database) {
  const auto info = database->FindTable("main", "items").ValueOrDie();
  const columns::KeyColumn keys = SomeKeys(*info);
  SHEAF_ASSIGN_OR_RETURN(const KeyedRow one, database->Get(info->id, keys[0]));
  EXPECT_TRUE(static_cast<bool>(one));
  SHEAF_ASSIGN_OR_RETURN(const auto rows, database->MultiGet(info->id, keys));
  for (const KeyedRow& row : rows) EXPECT_TRUE(static_cast<bool>(row));
  SHEAF_ASSIGN_OR_RETURN(const auto cursor, database->GetSnapshot()->Scan(info->id, {}, {}));
  int64_t count = 0;
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, cursor->Next());
    if (batch == nullptr) break;
    count += batch->num_rows();
  }
  EXPECT_EQ(count, 12);
  return Status::OK();
}

NewTable Another() {
  NewTable table;
  table.schema_name = "main";
  table.name = "another";
  table.schema = arrow::schema({arrow::field("id", arrow::int64())});
  return table;
}

const Call kCalls[] = {
    {"Flush", [](Database* database) { return database->Flush(); }},
    {"MakeCold", [](Database* database) { return database->MakeCold(); }, false, "/parts/"},
    {"CreateSnapshot", [](Database* database) { return database->CreateSnapshot("more").status(); }, false, "/snapshots"},
    {"DropSnapshot", [](Database* database) { return database->DropSnapshot(kGoldenSnapshot); }},
    {"Scrub", [](Database* database) { return database->Scrub().status(); }},
    {"ReadByKey", ReadByKey},
    {"CreateTable", [](Database* database) { return database->CreateTable(Another()).status(); }, true},
    {"DropTable", [](Database* database) { return database->DropTable(Id(database, "items")); }, true, "CURRENT"},
    {"AddColumn",
     [](Database* database) {
       const AlterTable add = {.kind = AlterTable::Kind::kAddColumn, .field = arrow::field("w", arrow::int64())};
       return database->Alter(Id(database, "items"), add).status();
     },
     true, "/parts/"},
    {"SetRetention", [](Database* database) { return database->SetRetention(Id(database, "events"), 1 << 20); }, true, "CURRENT"},
    {"Close", [](Database* database) { return database->Close(); }, false, "CURRENT"},
};

class CallFault : public testing::TestWithParam<Call> {};

TEST_P(CallFault, DoesWhatItSaysOrNothing) {
  io::SimClock clock;
  FaultPoints files;
  std::string before, after;
  const auto Places = [](const std::string& sort) { return sort.find(GetParam().only) != std::string::npos; };
  files.EachFirst(ErrorKind::kIo, Places, [&] {
    auto disk = DiskOf(Image());
    files.Begin(disk.get());
    files.End();
    auto database = Database::Open(&files, &clock, OptionsFor()).ValueOrDie();
    before = Text(*database);
    files.Begin(disk.get());
    const Status done = GetParam().run(database.get());
    files.End();
    const std::string now = Text(*database);
    if (!files.failed()) {
      ASSERT_TRUE(done.ok()) << done.ToString();
      after = now;
      EXPECT_EQ(before == after, !GetParam().changes);
    } else {
      EXPECT_TRUE(done.ok() || KindOf(done) != ErrorKind::kCorruption) << done.ToString();
      EXPECT_THAT(now, done.ok() ? AnyOf(after, after) : AnyOf(before, after));
    }
    EXPECT_EQ(database->GetStats().damaged_parts, 0) << "what could not be read now is not damaged";
    Kill(disk.get(), &database);
    EXPECT_THAT(disk->violations(), IsEmpty());
    const auto left = disk->Restart();
    auto again = Database::Open(left.get(), &clock, OptionsFor());
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    EXPECT_THAT(Text(**again), done.ok() ? AnyOf(after, after) : AnyOf(before, after));
    EXPECT_EQ((*again)->GetStats().damaged_parts, 0);
    const auto snapshots = (*again)->Snapshots().ValueOrDie();
    for (const SnapshotInfo& made : snapshots) {
      const Status whole = VerifySnapshot(left.get(), kDirectory, made.id);
      EXPECT_TRUE(whole.ok()) << "a snapshot that counts is whole: " << whole.ToString();
    }
    Kill(left.get(), &*again);
  });
}

INSTANTIATE_TEST_SUITE_P(Calls, CallFault, testing::ValuesIn(kCalls), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sheaf::store
