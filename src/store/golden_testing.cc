#include "store/golden_testing.h"

#include <algorithm>
#include <random>
#include <utility>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/scalar.h>
#include <fmt/format.h>

#include "columns/dead_rows.h"
#include "columns/key_codec.h"
#include "columns/random_testing.h"
#include "columns/row_codec.h"
#include "core/check.h"
#include "store/testing.h"

namespace sheaf::store {
namespace {

using Kind = AlterTable::Kind;
using TablePtr = std::shared_ptr<const TableInfo>;

/// Writes the story; every step must work.
class Story {
 public:
  explicit Story(Database* database) : database_(database) {}

  TablePtr Create(const std::string& name, std::shared_ptr<arrow::Schema> schema, std::vector<std::string> key, TableSettings settings) {
    NewTable table;
    table.schema_name = "main";
    table.name = name;
    table.schema = std::move(schema);
    table.primary_key = std::move(key);
    table.settings = std::move(settings);
    return database_->CreateTable(table).ValueOrDie();
  }
  TablePtr Find(const std::string& schema, const std::string& name) { return database_->FindTable(schema, name).ValueOrDie(); }
  void Append(const TablePtr& table, const std::shared_ptr<arrow::RecordBatch>& rows, const std::string& batch_id = {}) {
    SHEAF_CHECK(database_->Append({{table->id, rows}}, batch_id).ok());
  }
  std::shared_ptr<arrow::RecordBatch> Rows(const TablePtr& table, int64_t rows) { return RandomBatch(table->schema, rows, &random_); }
  std::shared_ptr<arrow::RecordBatch> AnyRows(const TablePtr& table, int64_t rows) {
    return columns::RandomBatch(table->schema, rows, &random_);
  }
  /// Rows of main.items with these numbers.
  std::shared_ptr<arrow::RecordBatch> Items(const TablePtr& table, const std::vector<int64_t>& numbers, int32_t quantity) {
    arrow::StringBuilder book, note;
    arrow::Int64Builder number;
    arrow::Int32Builder quantities;
    for (const int64_t n : numbers) {
      SHEAF_CHECK(book.Append(n % 2 == 0 ? "ask" : "bid").ok() && number.Append(n).ok());
      SHEAF_CHECK(quantities.Append(quantity).ok());
      SHEAF_CHECK((n % 3 == 0 ? note.AppendNull() : note.Append(fmt::format("note {}", n))).ok());
    }
    const arrow::ArrayVector columns = {book.Finish().ValueOrDie(), number.Finish().ValueOrDie(), quantities.Finish().ValueOrDie(),
                                        note.Finish().ValueOrDie()};
    return arrow::RecordBatch::Make(table->schema, static_cast<int64_t>(numbers.size()), columns);
  }
  void Delete(const TablePtr& table, const std::shared_ptr<arrow::RecordBatch>& rows) {
    const auto keys = arrow::RecordBatch::Make(table->keys->key_schema(), rows->num_rows(), {rows->column(0), rows->column(1)});
    SHEAF_CHECK(database_->Append({{table->id, keys, RowOp::kDelete}}).ok());
  }
  TablePtr Alter(const TablePtr& table, const AlterTable& change) { return database_->Alter(table->id, change).ValueOrDie(); }

  void Telemetry(int64_t rows) {
    for (const char* name : {"traces", "logs"}) {
      const auto table = Find("otel", name);
      Append(table, Rows(table, rows));
    }
  }

 private:
  Database* const database_;
  std::mt19937_64 random_{7};
};

std::shared_ptr<arrow::Schema> EventColumns() {
  return arrow::schema({arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO), false), arrow::field("n", arrow::int32()),
                        arrow::field("word", arrow::utf8()), arrow::field("tags", arrow::list(arrow::utf8())),
                        arrow::field("day", arrow::date32()), arrow::field("blob", arrow::binary()),
                        arrow::field("price", arrow::decimal128(18, 6)), arrow::field("on", arrow::boolean())});
}

std::shared_ptr<arrow::Schema> ItemColumns() {
  return arrow::schema({arrow::field("book", arrow::utf8(), false), arrow::field("number", arrow::int64(), false),
                        arrow::field("quantity", arrow::int32()), arrow::field("note", arrow::utf8())});
}

/// What stands behind the snapshot, and in the log alone: single rows, a condition, changes of tables.
void WriteTheLog(Story* story, Database* database, const TablePtr& items, const TablePtr& events) {
  std::string row;
  SHEAF_CHECK(items->rows->FromBatch(*story->Items(items, {21}, 4), 0, &row).ok());
  SHEAF_CHECK(database->PutRow(items->id, row).ok());
  const auto changed = story->Items(items, {1, 2}, 5);
  SHEAF_CHECK(database->Append({{.table = items->id, .batch = changed, .unchanged_since = database->GetSnapshot()->lsn()}}).ok());
  story->Delete(items, story->Items(items, {3}, 0));
  story->Append(events, story->AnyRows(events, 2), "golden-2");
  const auto late = story->Create("late", ItemColumns(), {"number"}, {.durability = Durability::kBuffered});
  story->Append(late, story->Items(late, {1, 2}, 6));
  SHEAF_CHECK(database->DropTable(story->Find("main", "gone")->id).ok());
  story->Telemetry(1);
}

std::string Printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte >= 0x20 && byte < 0x7f && c != '\\' ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return out;
}

}  // namespace

Options GoldenOptions(const std::string& directory) {
  Options options;
  options.directory = directory;
  options.seal_age_ms = options.cold_after_ms = int64_t{1} << 40;
  options.log_segment_bytes = 32 << 10;
  options.snapshot_interval_ms = 0;
  options.archive_log = true;
  options.free_space_min_fraction = 0;
  return options;
}

std::unique_ptr<Database> WriteGoldenDatabase(io::SimFileSystem* disk, io::SimClock* clock, const std::string& directory) {
  auto database = Database::Open(disk, clock, GoldenOptions(directory)).ValueOrDie();
  Story story(database.get());
  auto events = story.Create("events", EventColumns(), {}, {.retention_ms = int64_t{1} << 42, .filters = {"word"}, .time_column = "time"});
  const auto items = story.Create("items", ItemColumns(), {"book", "number"}, {});
  story.Create("gone", ItemColumns(), {}, {});
  const auto orders = story.Find("trading", "orders");
  story.Append(events, story.AnyRows(events, 6), kGoldenBatch);
  story.Append(items, story.Items(items, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 1));
  story.Append(orders, story.AnyRows(orders, 2));
  story.Telemetry(3);
  SHEAF_CHECK(database->Flush().ok() && database->MakeCold().ok());

  const auto seven = arrow::MakeScalar(int64_t{7});
  events = story.Alter(events, {.kind = Kind::kAddColumn, .field = arrow::field("added", arrow::int64()), .default_value = seven});
  events = story.Alter(events, {.kind = Kind::kRenameColumn, .column = "word", .new_name = "term"});
  events = story.Alter(events, {.kind = Kind::kDropColumn, .column = "day"});
  story.Append(events, story.AnyRows(events, 4));
  story.Append(items, story.Items(items, {4, 13}, 2));
  story.Delete(items, story.Items(items, {5}, 0));
  story.Telemetry(2);
  SHEAF_CHECK(database->Flush().ok() && database->CreateSnapshot(kGoldenSnapshot).ok());
  WriteTheLog(&story, database.get(), items, events);
  return database;
}

std::vector<std::string> Listing(const Database& database) {
  std::vector<std::string> lines;
  const auto snapshot = database.GetSnapshot();
  for (const auto& info : snapshot->tables()) {
    const TableSnapshot table = snapshot->Table(info->id).ValueOrDie();
    std::string head = fmt::format("{}.{}: {} rows of", info->schema_name, info->name, table.rows);
    std::vector<int> columns;
    for (const auto& field : info->schema->fields()) {
      head += fmt::format(" {} {},", field->name(), field->type()->ToString());
      columns.push_back(static_cast<int>(columns.size()));
    }
    lines.push_back(head);
    std::vector<std::string> rows;
    for (const auto& [source, dead] : table.sources) {
      for (int granule = 0; granule < source->num_granules(); ++granule) {
        const auto batch = source->Read(granule, columns).ValueOrDie();
        for (int64_t row = 0; row < batch->num_rows(); ++row) {
          if (dead == nullptr || !dead->IsDead(granule, row)) rows.push_back("  " + Printable(columns::RowText(*batch, row)));
        }
      }
    }
    std::sort(rows.begin(), rows.end());
    lines.insert(lines.end(), rows.begin(), rows.end());
  }
  return lines;
}

std::vector<std::string> FilesBelow(io::FileSystem* files, const std::string& folder) {
  std::vector<std::string> out;
  for (const io::FileInfo& file : files->List(folder).ValueOrDie()) {
    if (!file.is_directory) {
      out.push_back(file.name);
      continue;
    }
    for (const std::string& below : FilesBelow(files, io::Join(folder, file.name))) out.push_back(io::Join(file.name, below));
  }
  return out;
}

}  // namespace sheaf::store
