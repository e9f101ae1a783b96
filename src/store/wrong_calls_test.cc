/// Calls that cannot be: each is refused with its kind and a reason, changes nothing, and what follows works.

#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/key_codec.h"
#include "columns/row_codec.h"
#include "io/sim_testing.h"
#include "parts/manifest.h"
#include "store/contents_testing.h"
#include "store/database.h"
#include "store/definition_log.h"
#include "store/golden_testing.h"
#include "store/layout.h"
#include "store/local_database.h"
#include "store/log_payload.h"
#include "wal/log.h"

namespace sheaf::store {
namespace {

using testing::HasSubstr;

constexpr TableId kNoTable{9'999};

class WrongCalls : public testing::Test {
 protected:
  void SetUp() override {
    Open();
    const auto id = arrow::field("id", arrow::int64(), false), v = arrow::field("v", arrow::int64());
    Create("k", {id, v}, "id");
    Create("nested", {id, arrow::field("tags", arrow::list(arrow::utf8()))}, "id");
    Create("p", {id, v}, "");
    ASSERT_TRUE(database_->Append({{Id("k"), Batch(1)}}).ok());
    before_ = Contents();
  }
  void TearDown() override {
    if (database_ == nullptr) return;
    EXPECT_EQ(Contents(), before_);
    EXPECT_TRUE(database_->Append({{Id("k"), Batch(2)}, {Id("p"), Batch(2)}}).ok());
  }

  void Open(bool read_only = false) {
    Options options = GoldenOptions("/db");
    options.read_only = read_only;
    database_ = Database::Open(&disk_, &clock_, options).ValueOrDie();
  }
  void Create(const std::string& name, arrow::FieldVector fields, const std::string& key) {
    NewTable table;
    table.schema_name = "main";
    table.name = name;
    table.schema = arrow::schema(std::move(fields));
    if (!key.empty()) table.primary_key = {key};
    ASSERT_TRUE(database_->CreateTable(table).ok());
  }
  std::shared_ptr<const TableInfo> Info(const std::string& name) { return database_->FindTable("main", name).ValueOrDie(); }
  TableId Id(const std::string& name) { return Info(name)->id; }
  std::shared_ptr<arrow::RecordBatch> Batch(int64_t id, int64_t rows = 1) {
    const auto ids = arrow::MakeArrayFromScalar(arrow::Int64Scalar(id), rows).ValueOrDie();
    return arrow::RecordBatch::Make(Info("k")->schema, rows, {ids, ids});
  }
  std::string Key(int64_t id) {
    const auto keys = Info("k")->keys;
    return std::string(keys->Encode(*arrow::RecordBatch::Make(keys->key_schema(), 1, {Batch(id)->column(0)})).ValueOrDie()[0]);
  }
  std::string Row(int64_t id) {
    std::string row;
    EXPECT_TRUE(Info("k")->rows->FromBatch(*Batch(id), 0, &row).ok());
    return row;
  }
  std::string Contents() { return ReadContents(&disk_, "/db", *database_).ValueOrDie().Text(); }

  template <typename Answer>
  void ExpectRefused(const Answer& answer, ErrorKind kind, const std::string& text) {
    const Status status = [&] {
      if constexpr (std::is_same_v<Answer, Status>) {
        return answer;
      } else {
        return answer.status();
      }
    }();
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_EQ(KindOf(status), kind) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(text));
  }

  io::SimFileSystem disk_;
  io::SimClock clock_;
  std::unique_ptr<Database> database_;
  std::string before_;
};

TEST_F(WrongCalls, Appends) {
  const TableId k = Id("k"), p = Id("p");
  const auto batch = Batch(7);
  const std::vector<TableRows> none, many(kEntryTablesMax + 1, TableRows{p, batch});
  ExpectRefused(database_->Append(none), ErrorKind::kInvalid, "rows for 0 tables");
  ExpectRefused(database_->Append(many), ErrorKind::kInvalid, "rows for 1025 tables");
  ExpectRefused(database_->Append({{kNoTable, batch}}), ErrorKind::kNotFound, "9999");
  ExpectRefused(database_->Append({{k, nullptr}}), ErrorKind::kInvalid, "no rows for main.k");
  ExpectRefused(database_->Append({{k, batch->Slice(0, 0)}}), ErrorKind::kInvalid, "no rows for main.k");
  ExpectRefused(database_->Append({{Id("nested"), batch}}), ErrorKind::kInvalid, "another schema");
  ExpectRefused(database_->Append({{k, batch, RowOp::kDelete}}), ErrorKind::kInvalid, "another schema than the table's key");
  ExpectRefused(database_->Append({{p, batch, RowOp::kInsert}}), ErrorKind::kInvalid, "no primary key");
  ExpectRefused(database_->Append({{p, batch, RowOp::kPut, Lsn(1)}}), ErrorKind::kInvalid, "no primary key");
  ExpectRefused(database_->Append({{.table = p, .batch = batch, .unchanged_since = Lsn(1)}}), ErrorKind::kInvalid, "no primary key");
  ExpectRefused(database_->Append({{k, batch, RowOp::kPut, Lsn(1), Lsn(1)}}), ErrorKind::kInvalid, "but not both");
  ExpectRefused(database_->Append({{k, batch, RowOp::kInsert}, {p, batch}}), ErrorKind::kInvalid, "for one table only");
  ExpectRefused(database_->Append({{k, batch, RowOp::kPut, Lsn(1)}, {k, Batch(8), RowOp::kPut, Lsn(2)}}), ErrorKind::kInvalid, "one LSN");
  ExpectRefused(database_->Append({{k, Batch(1), RowOp::kInsert}}), ErrorKind::kAlreadyExists, "has a row");
  ExpectRefused(database_->Append({{k, Batch(7, 2), RowOp::kInsert}}), ErrorKind::kAlreadyExists, "has a row");
  ExpectRefused(database_->Append({{.table = k, .batch = Batch(1), .unchanged_since = Lsn(0)}}), ErrorKind::kConflict, "has changed");
  ExpectRefused(database_->Append({{.table = k, .batch = batch, .unchanged_since = Lsn(99)}}), ErrorKind::kConflict, "has changed");
  ExpectRefused(database_->Append({{p, batch}}, std::string(256, 'x')), ErrorKind::kInvalid, "at most");
  const auto nulls = arrow::MakeArrayOfNull(arrow::int64(), 1).ValueOrDie();
  for (const TableId id : {k, p}) {
    ExpectRefused(database_->Append({{id, arrow::RecordBatch::Make(batch->schema(), 1, {nulls, nulls})}}), ErrorKind::kInvalid, "NOT NULL");
  }
  const auto null_key = arrow::RecordBatch::Make(Info("k")->keys->key_schema(), 1, {nulls});
  EXPECT_FALSE(database_->Append({{k, null_key, RowOp::kDelete}}).ok());
}

TEST_F(WrongCalls, NullsInsideOfNestedValues) {
  const auto required = arrow::field("a", arrow::int64(), false);
  NewTable table{.schema_name = "main", .name = "inside"};
  table.schema = arrow::schema({arrow::field("s", arrow::struct_({required})), arrow::field("l", arrow::list(required))});
  const TableId id = database_->CreateTable(table).ValueOrDie()->id;
  const auto numbers = [](const std::vector<std::optional<int64_t>>& values) {
    arrow::Int64Builder builder;
    for (const auto& value : values) EXPECT_TRUE((value ? builder.Append(*value) : builder.AppendNull()).ok());
    return builder.Finish().ValueOrDie();
  };
  arrow::TypedBufferBuilder<bool> second_is_null;
  for (const bool valid : {true, false, true}) ASSERT_TRUE(second_is_null.Append(valid).ok());
  const auto validity = second_is_null.Finish().ValueOrDie();
  const auto offsets = [](const std::vector<int32_t>& values) { return arrow::Buffer::FromVector(values); };
  const auto append = [&](const std::shared_ptr<arrow::Array>& in_struct, const std::vector<int32_t>& ends,
                          const std::shared_ptr<arrow::Array>& in_list, int64_t from = 0) {
    const auto s = std::make_shared<arrow::StructArray>(table.schema->field(0)->type(), 3, arrow::ArrayVector{in_struct}, validity);
    const auto l = std::make_shared<arrow::ListArray>(table.schema->field(1)->type(), 3, offsets(ends), in_list, validity);
    return database_->Append({{id, arrow::RecordBatch::Make(table.schema, 3, {s, l})->Slice(from)}});
  };
  const auto whole = numbers({1, 2, 3}), hole = numbers({1, std::nullopt, 3}), end = numbers({1, 2, std::nullopt});
  EXPECT_TRUE(append(whole, {0, 1, 2, 3}, whole).ok());
  EXPECT_TRUE(append(hole, {0, 1, 2, 3}, hole).ok()) << "what the NULL covers is no value";
  EXPECT_TRUE(append(whole, {0, 1, 1, 2}, end).ok()) << "nor what no list reaches";
  ExpectRefused(append(end, {0, 1, 2, 3}, whole), ErrorKind::kInvalid, "main.inside.s.a is NOT NULL, and 1 values");
  ExpectRefused(append(whole, {0, 1, 2, 3}, end), ErrorKind::kInvalid, "main.inside.l.a is NOT NULL");
  EXPECT_TRUE(append(numbers({std::nullopt, 2, 3}), {0, 1, 2, 3}, numbers({std::nullopt, 2, 3}), 1).ok()) << "cut off";
  ExpectRefused(append(end, {0, 1, 2, 3}, whole, 2), ErrorKind::kInvalid, "s.a");
  before_ = Contents();  // With what was taken.
}

TEST_F(WrongCalls, SingleRows) {
  const TableId k = Id("k"), p = Id("p"), nested = Id("nested");
  const std::string row = Row(7), key = Key(7);
  ExpectRefused(database_->PutRow(kNoTable, row), ErrorKind::kNotFound, "9999");
  ExpectRefused(database_->PutRow(p, row), ErrorKind::kInvalid, "single rows are for keyed tables");
  ExpectRefused(database_->PutRow(nested, row), ErrorKind::kUnsupported, "nested columns");
  ExpectRefused(database_->PutRow(k, row, {.op = RowOp::kDelete}), ErrorKind::kInvalid, "delete its key");
  EXPECT_FALSE(database_->PutRow(k, row.substr(1)).ok());
  EXPECT_FALSE(database_->PutRow(k, "").ok());
  ExpectRefused(database_->PutRow(k, Row(1), {.op = RowOp::kInsert}), ErrorKind::kAlreadyExists, "has a row");
  ExpectRefused(database_->PutRow(k, row, {.expected = Lsn(3)}), ErrorKind::kConflict, "not 3");
  ExpectRefused(database_->PutRow(k, row, {.batch_id = std::string(256, 'x')}), ErrorKind::kInvalid, "at most");
  ExpectRefused(database_->DeleteRow(k, ""), ErrorKind::kInvalid, "a key of 0 bytes");
  ExpectRefused(database_->DeleteRow(k, std::string(columns::kKeyBytesMax + 1, 'x')), ErrorKind::kInvalid, "bytes; 1 to");
  ExpectRefused(database_->DeleteRow(p, key), ErrorKind::kInvalid, "no primary key");
  ExpectRefused(database_->DeleteRow(kNoTable, key), ErrorKind::kNotFound, "9999");
  EXPECT_TRUE(database_->DeleteRow(k, key).ok()) << "a key that is not there is no error";
  for (const Durability durability : {Durability::kBuffered, Durability::kLocal}) {
    EXPECT_TRUE(database_->DeleteRow(k, key, {.durability = durability}).ok());
  }
}

TEST_F(WrongCalls, Reads) {
  const TableId p = Id("p");
  const std::string key = Key(1);
  columns::KeyColumn keys;
  keys.Add(key);
  const auto snapshot = database_->GetSnapshot();
  ExpectRefused(database_->Get(kNoTable, key), ErrorKind::kNotFound, "9999");
  ExpectRefused(database_->Get(p, key), ErrorKind::kInvalid, "no primary key");
  ExpectRefused(database_->MultiGet(kNoTable, keys), ErrorKind::kNotFound, "there are");
  ExpectRefused(snapshot->Get(kNoTable, key), ErrorKind::kNotFound, "main.k");
  ExpectRefused(snapshot->Get(p, key), ErrorKind::kInvalid, "no primary key");
  ExpectRefused(snapshot->MultiGet(p, keys), ErrorKind::kInvalid, "no primary key");
  ExpectRefused(snapshot->Scan(p, {}, {}), ErrorKind::kInvalid, "no primary key");
  ExpectRefused(snapshot->Scan(kNoTable, {}, {}), ErrorKind::kNotFound, "9999");
  ExpectRefused(snapshot->Table(kNoTable), ErrorKind::kNotFound, "main.k");
  for (const int column : {-1, 2}) {
    ExpectRefused(snapshot->Scan(Id("k"), {}, {.columns = {column}}), ErrorKind::kInvalid, "no column");
  }
  const auto cursor = snapshot->Scan(Id("k"), {}, {.columns = {1}}).ValueOrDie();
  const auto rows = cursor->Next().ValueOrDie();
  EXPECT_EQ(rows->num_columns(), 1);
  EXPECT_EQ(rows->schema()->field(0)->name(), "v");
  EXPECT_EQ(cursor->Next().ValueOrDie(), nullptr);
  ExpectRefused(database_->FindTable("main", "kk"), ErrorKind::kNotFound, "did you mean");
}

TEST_F(WrongCalls, Definitions) {
  const TableId k = Id("k"), p = Id("p"), logs = database_->FindTable("otel", "logs").ValueOrDie()->id;
  ExpectRefused(database_->DropTable(kNoTable), ErrorKind::kNotFound, "9999");
  ExpectRefused(database_->DropTable(logs), ErrorKind::kDenied, "ready table");
  ExpectRefused(database_->Alter(kNoTable, {}), ErrorKind::kNotFound, "9999");
  ExpectRefused(database_->Alter(k, {.kind = AlterTable::Kind::kRenameTable, .new_name = "P"}), ErrorKind::kAlreadyExists, "main.p");
  ExpectRefused(database_->MakeCold(kNoTable), ErrorKind::kNotFound, "9999");
  ExpectRefused(database_->SetRetention(kNoTable, 5), ErrorKind::kNotFound, "9999");
  ExpectRefused(database_->SetRetention(p, 0), ErrorKind::kInvalid, "keep nothing");
  ExpectRefused(database_->SetRetention(p, 5), ErrorKind::kInvalid, "no time column");
  EXPECT_TRUE(database_->SetRetention(p, std::nullopt).ok()) << "as it is";
  EXPECT_TRUE(database_->SetRetention(logs, std::nullopt).ok());
  EXPECT_TRUE(database_->SetRetention(logs, int64_t{1} << 40).ok());
  ExpectRefused(database_->CreateSnapshot("a/b"), ErrorKind::kInvalid, "cannot name a snapshot");
  ExpectRefused(database_->DropSnapshot("nix"), ErrorKind::kNotFound, "there are none");
  ASSERT_TRUE(database_->CreateSnapshot("one").ok());
  ExpectRefused(database_->CreateSnapshot("one"), ErrorKind::kAlreadyExists, "one");
  ExpectRefused(database_->DropSnapshot("two"), ErrorKind::kNotFound, "there are one");
  ASSERT_TRUE(database_->DropSnapshot("one").ok());
}

TEST_F(WrongCalls, AReadOnlyDatabaseRefusesAllThatWouldChangeIt) {
  const TableId k = Id("k");
  const std::string row = Row(7), key = Key(7);
  ASSERT_TRUE(database_->CreateSnapshot("one").ok());
  ASSERT_TRUE(database_->Close().ok());
  const auto closed = [&](const auto& answer) { ExpectRefused(answer, ErrorKind::kUnavailable, ""); };
  closed(database_->CreateSnapshot("two"));
  closed(database_->DropTable(k));
  closed(database_->Scrub());
  EXPECT_TRUE(database_->Close().ok()) << "again";
  database_.reset();
  Open(/*read_only=*/true);
  const auto refused = [&](const auto& answer) { ExpectRefused(answer, ErrorKind::kUnavailable, "read-only"); };
  refused(database_->Append({{k, Batch(7)}}));
  refused(database_->PutRow(k, row));
  refused(database_->DeleteRow(k, key));
  refused(database_->Flush());
  refused(database_->MakeCold());
  refused(database_->SetRetention(k, 5));
  refused(database_->CreateSnapshot("two"));
  refused(database_->DropSnapshot("one"));
  refused(database_->CreateTable({}));
  refused(database_->DropTable(k));
  refused(database_->Alter(k, {}));
  refused(database_->Scrub());
  EXPECT_FALSE(database_->GetStats().writable);
  EXPECT_EQ(Contents(), before_ + "snapshot one\n");
  ASSERT_TRUE(database_->Close().ok());
  database_.reset();
  Options nowhere = GoldenOptions("/nowhere");
  nowhere.read_only = true;
  ASSERT_TRUE(disk_.MakeDirectories("/nowhere").ok());
  ExpectRefused(Database::Open(&disk_, &clock_, nowhere), ErrorKind::kNotFound, "no database in /nowhere");
}

/// Entries that no program writes, though the log's checksums are right.
class SenselessLog : public WrongCalls {
 protected:
  void TearDown() override {}

  using Payload = std::shared_ptr<arrow::Buffer>;
  static Payload Packed(TableId table, uint32_t version, RowOp op, SectionForm form, const std::vector<std::string_view>& items,
                        const WriteCondition& condition = {}) {
    return EncodePacked(table, version, op, form, items, condition).ValueOrDie();
  }

  /// What opening and a restore say to an entry.
  void ExpectRefusal(const char* what, uint8_t type, const Payload& payload, ErrorKind opening, ErrorKind restoring) {
    SCOPED_TRACE(what);
    const wal::LoggedEntry logged{.lsn = Lsn(database_->GetSnapshot()->lsn().value + 1), .entry = {.type = type, .payload = payload}};
    const Status restored = static_cast<LocalDatabase*>(database_.get())->AppendLogged(logged);
    ASSERT_FALSE(restored.ok());
    EXPECT_EQ(KindOf(restored), restoring) << restored.ToString();
    ASSERT_TRUE(database_->Close().ok());
    database_.reset();
    const auto disk = std::make_unique<io::SimFileSystem>();
    CopyTo(disk.get(), "/db");
    Append(disk.get(), {.type = type, .payload = payload});
    const Status opened = Database::Open(disk.get(), &clock_, GoldenOptions("/db")).status();
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(KindOf(opened), opening) << opened.ToString();
    EXPECT_THAT(opened.message(), HasSubstr("log entry"));
    Open();
    EXPECT_EQ(Contents(), before_);
  }
  void CopyTo(io::SimFileSystem* disk, const std::string& folder) {
    ASSERT_TRUE(disk->MakeDirectories(folder).ok());
    const auto list = disk_.List(folder).ValueOrDie();
    for (const io::FileInfo& file : list) {
      const std::string path = io::Join(folder, file.name);
      file.is_directory ? CopyTo(disk, path) : disk->SetContents(path, disk_.Contents(path).ValueOrDie());
    }
  }
  void Append(io::SimFileSystem* disk, wal::Entry entry) {
    const auto state = parts::LoadManifest(disk, "/db").ValueOrDie().state;
    wal::LogOptions options;
    options.directory = "/db/log";
    options.segment_bytes = 32 << 10;
    std::memcpy(options.database_id.data(), state.database_uuid.data(), options.database_id.size());
    const auto log = wal::Log::Open(
                         disk, &clock_, options, state.covered, std::max(state.covered, state.durable),
                         [](const wal::LoggedEntry&) { return Status::OK(); }, [](const wal::LoggedEntry&) {}, nullptr)
                         .ValueOrDie();
    ASSERT_TRUE(log->Append(std::move(entry), [](const Result<Lsn>& lsn) { EXPECT_TRUE(lsn.ok()); }).ok());
    ASSERT_TRUE(log->Close().ok());
  }
};

TEST_F(SenselessLog, IsRefusedByOpeningAndByARestore) {
  const TableId k = Id("k"), p = Id("p"), nested = Id("nested");
  const std::string row = Row(7), key = Key(7);
  const std::string_view one = row;
  constexpr auto kCorruption = ErrorKind::kCorruption, kUnsupported = ErrorKind::kUnsupported;
  ExpectRefusal("unknown type", 77, arrow::Buffer::FromString("x"), kUnsupported, kUnsupported);
  ExpectRefusal("no rows", kRowsEntry, arrow::Buffer::FromString("x"), kCorruption, kCorruption);
  ExpectRefusal("no change of tables", kDefinitionEntry, arrow::Buffer::FromString("x"), kCorruption, kCorruption);
  ExpectRefusal("unknown table", kRowsEntry, Packed(kNoTable, 1, RowOp::kPut, SectionForm::kRows, {one}), kCorruption, kUnsupported);
  const WriteCondition condition{.expected = Lsn(0), .unchanged_since = {}};
  ExpectRefusal("unknown table, long", kRowsEntry, Packed(kNoTable, 1, RowOp::kPut, SectionForm::kRows, {one}, condition), kCorruption,
                kUnsupported);
  ExpectRefusal("a later version", kRowsEntry, Packed(k, 2, RowOp::kPut, SectionForm::kRows, {one}), kUnsupported, kUnsupported);
  ExpectRefusal("compact rows of an append table", kRowsEntry, Packed(p, 1, RowOp::kPut, SectionForm::kRows, {one}), kCorruption,
                kCorruption);
  ExpectRefusal("a deletion in an append table", kRowsEntry, Packed(p, 1, RowOp::kDelete, SectionForm::kKeys, {key}), kCorruption,
                kCorruption);
  ExpectRefusal("compact rows of nested columns", kRowsEntry, Packed(nested, 1, RowOp::kPut, SectionForm::kRows, {one}), kCorruption,
                kCorruption);
  ExpectRefusal("two compact rows", kRowsEntry, Packed(k, 1, RowOp::kPut, SectionForm::kRows, {one, one}), kCorruption, kCorruption);
  ExpectRefusal("half a row", kRowsEntry, Packed(k, 1, RowOp::kPut, SectionForm::kRows, {std::string_view(row).substr(1)}), kCorruption,
                kCorruption);
  const auto nulls = arrow::MakeArrayOfNull(arrow::int64(), 1).ValueOrDie();
  const auto codec = BatchCodec::Make(Info("k")->schema).ValueOrDie();
  const PayloadRows no_key{.table = k, .codec = codec, .batch = arrow::RecordBatch::Make(codec->schema(), 1, {nulls, nulls})};
  ExpectRefusal("a NULL in a key", kRowsEntry, EncodePayload({no_key}, 1 << 20).ValueOrDie().bytes, kCorruption, kCorruption);
  const auto other = BatchCodec::Make(arrow::schema({arrow::field("id", arrow::int64())})).ValueOrDie();
  const PayloadRows narrow{.table = p, .codec = other, .batch = arrow::RecordBatch::Make(other->schema(), 1, {nulls})};
  const auto encoded = EncodePayload({narrow}, 1 << 20).ValueOrDie();
  ExpectRefusal("rows of another table", kRowsEntry, encoded.bytes, kCorruption, kCorruption);
}

}  // namespace
}  // namespace sheaf::store
