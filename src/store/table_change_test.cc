/// What may be made and changed of tables, as tables of cases.

#include "store/table_change.h"

#include <functional>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "columns/key_codec.h"
#include "parts/conform_source.h"
#include "store/ready_tables.h"
#include "store/scalar_cast.h"
#include "store/table_record.h"

namespace sheaf::store {
namespace {

using Kind = AlterTable::Kind;

NewTable Orders() {
  NewTable table;
  table.schema_name = "Main";
  table.name = "Orders";
  table.schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("Time", arrow::timestamp(arrow::TimeUnit::NANO)),
                                arrow::field("who", arrow::utf8()), arrow::field("price", arrow::decimal128(18, 6)),
                                arrow::field("small", arrow::int16()), arrow::field("tags", arrow::list(arrow::utf8()))});
  table.primary_key = {"ID"};
  table.settings.time_column = "time";
  return table;
}

NewTable Events() {
  NewTable table = Orders();
  table.primary_key = {};
  return table;
}

TEST(MakeTable, NumbersItsColumnsAndSortsByItsKey) {
  const TableInfo table = MakeTable(Orders()).ValueOrDie();
  EXPECT_EQ(table.schema_name, "main");
  EXPECT_EQ(table.name, "Orders");
  EXPECT_EQ(table.kind, TableKind::kKeyed);
  EXPECT_EQ(table.key_columns, std::vector<int>{0});
  EXPECT_EQ(table.layout.sort_columns, std::vector<int>{0});
  EXPECT_EQ(table.layout.key_columns, std::vector<int>{0});
  EXPECT_EQ(table.layout.time_column, 1);
  EXPECT_EQ(table.layout.granule_rows, parts::kKeyedGranuleRows);
  EXPECT_FALSE(table.schema->field(0)->nullable()) << "a key takes no NULL";
  EXPECT_TRUE(table.schema->field(2)->nullable());
  for (int i = 0; i < 6; ++i) EXPECT_EQ(ColumnId(*table.schema->field(i)), static_cast<uint32_t>(i) + 1);
  EXPECT_EQ(table.next_column_id, 7u);
  EXPECT_NE(table.keys, nullptr);
  EXPECT_EQ(table.rows, nullptr) << "lists have no compact rows";
}

TEST(MakeTable, SortsAnAppendTableByTimeUnlessToldOtherwise) {
  NewTable asked = Events();
  EXPECT_EQ(MakeTable(asked).ValueOrDie().layout.sort_columns, std::vector<int>{1});
  asked.settings.sort = {"WHO", "time"};
  asked.settings.filters = {"who"};
  asked.settings.tokens = {"who"};
  asked.settings.retention_ms = 5;
  asked.settings.durability = Durability::kBuffered;
  const TableInfo table = MakeTable(asked).ValueOrDie();
  EXPECT_EQ(table.kind, TableKind::kAppend);
  EXPECT_EQ(table.layout.sort_columns, (std::vector<int>{2, 1}));
  EXPECT_EQ(table.keys, nullptr);
  const TableSettings settings = SettingsOf(table);
  EXPECT_EQ(settings.sort, (std::vector<std::string>{"who", "Time"}));
  EXPECT_EQ(settings.filters, std::vector<std::string>{"who"});
  EXPECT_EQ(settings.tokens, std::vector<std::string>{"who"});
  EXPECT_EQ(settings.time_column, "Time");
  EXPECT_EQ(settings.retention_ms, 5);
  EXPECT_EQ(settings.durability, Durability::kBuffered);
}

TEST(MakeTable, HasCompactRowsWhereColumnsAreFlat) {
  NewTable asked = Orders();
  asked.schema = asked.schema->RemoveField(5).ValueOrDie();
  EXPECT_NE(MakeTable(asked).ValueOrDie().rows, nullptr);
}

struct Refused {
  const char* what;
  std::function<void(NewTable*)> change;
  ErrorKind kind;
  const char* text;
};

std::shared_ptr<arrow::Schema> OneColumn(std::shared_ptr<arrow::DataType> type) {
  return arrow::schema({arrow::field("id", std::move(type))});
}

void Only(NewTable* table, std::shared_ptr<arrow::DataType> type) {
  table->schema = OneColumn(std::move(type));
  table->primary_key = {};
  table->settings = {};
}

TEST(MakeTable, RefusesWhatCannotBe) {
  const std::vector<Refused> cases = {
      {"no name", [](NewTable* t) { t->name = ""; }, ErrorKind::kInvalid, "needs a name"},
      {"long name", [](NewTable* t) { t->name = std::string(256, 'x'); }, ErrorKind::kInvalid, "at most 255"},
      {"control character", [](NewTable* t) { t->name = "a\nb"; }, ErrorKind::kInvalid, "control characters"},
      {"not UTF-8", [](NewTable* t) { t->name = "a\xff"; }, ErrorKind::kInvalid, "UTF-8"},
      {"delete character", [](NewTable* t) { t->name = "a\x7f"; }, ErrorKind::kInvalid, "control characters"},
      {"schema without a name", [](NewTable* t) { t->schema_name = ""; }, ErrorKind::kInvalid, "a schema needs a name"},
      {"column without a name", [](NewTable* t) { t->schema = arrow::schema({arrow::field("", arrow::int8())}); }, ErrorKind::kInvalid,
       "a column needs a name"},
      {"no schema", [](NewTable* t) { t->schema = nullptr; }, ErrorKind::kInvalid, "1 to 2000"},
      {"unknown time", [](NewTable* t) { t->settings.time_column = "tim"; }, ErrorKind::kNotFound, "did you mean 'Time'"},
      {"unknown order", [](NewTable* t) { t->settings.sort = {"idd"}; }, ErrorKind::kNotFound, "did you mean 'id'"},
      {"unknown filter", [](NewTable* t) { t->settings.filters = {"whoo"}; }, ErrorKind::kNotFound, "did you mean 'who'"},
      {"order of lists",
       [](NewTable* t) {
         t->primary_key = {};
         t->settings.sort = {"tags"};
       },
       ErrorKind::kInvalid, "cannot be sorted by column 'tags'"},
      {"dotted schema", [](NewTable* t) { t->schema_name = "a.b"; }, ErrorKind::kInvalid, "dot"},
      {"telemetry schema", [](NewTable* t) { t->schema_name = "OTEL"; }, ErrorKind::kDenied, "main"},
      {"system schema", [](NewTable* t) { t->schema_name = "sheaf"; }, ErrorKind::kDenied, "main"},
      {"no columns", [](NewTable* t) { t->schema = arrow::schema(arrow::FieldVector()); }, ErrorKind::kInvalid, "1 to 2000"},
      {"two of one name",
       [](NewTable* t) { t->schema = arrow::schema({arrow::field("id", arrow::int8()), arrow::field("ID", arrow::int8())}); },
       ErrorKind::kInvalid, "two columns named 'ID'"},
      {"unknown key", [](NewTable* t) { t->primary_key = {"di"}; }, ErrorKind::kNotFound, "did you mean 'id'"},
      {"key twice", [](NewTable* t) { t->primary_key = {"id", "ID"}; }, ErrorKind::kInvalid, "twice"},
      {"key that has no order", [](NewTable* t) { t->primary_key = {"tags"}; }, ErrorKind::kUnsupported, "tags"},
      {"sorted otherwise than by key", [](NewTable* t) { t->settings.sort = {"who"}; }, ErrorKind::kInvalid, "primary key"},
      {"time that is none", [](NewTable* t) { t->settings.time_column = "who"; }, ErrorKind::kInvalid, "time column"},
      {"retention without time",
       [](NewTable* t) {
         t->settings.time_column = "";
         t->settings.retention_ms = 1;
       },
       ErrorKind::kInvalid, "no time column"},
      {"retention of nothing", [](NewTable* t) { t->settings.retention_ms = 0; }, ErrorKind::kInvalid, "positive"},
      {"durability of the table", [](NewTable* t) { t->settings.durability = Durability::kTable; }, ErrorKind::kInvalid,
       "buffered or local"},
      {"tokens of numbers", [](NewTable* t) { t->settings.tokens = {"small"}; }, ErrorKind::kInvalid, "takes no token index"},
      {"filter on numbers", [](NewTable* t) { t->settings.filters = {"small"}; }, ErrorKind::kInvalid, "takes no filter"},
      {"default that does not fit",
       [](NewTable* t) { t->defaults = {nullptr, nullptr, nullptr, nullptr, arrow::MakeScalar(int64_t{70'000})}; },
       ErrorKind::kInvalid, "default of column 'small'"},
      {"too many defaults", [](NewTable* t) { t->defaults.resize(7); }, ErrorKind::kInvalid, "7 defaults"},
      {"interval", [](NewTable* t) { Only(t, arrow::month_day_nano_interval()); }, ErrorKind::kUnsupported, "BIGINT"},
      {"large text", [](NewTable* t) { Only(t, arrow::large_utf8()); }, ErrorKind::kUnsupported, "utf8"},
      {"half float", [](NewTable* t) { Only(t, arrow::float16()); }, ErrorKind::kUnsupported, "float"},
      {"wide decimal", [](NewTable* t) { Only(t, arrow::decimal256(50, 2)); }, ErrorKind::kUnsupported, "128 bits"},
      {"nothing at all", [](NewTable* t) { Only(t, arrow::null()); }, ErrorKind::kUnsupported, "'id'"},
      {"empty struct", [](NewTable* t) { Only(t, arrow::struct_(arrow::FieldVector())); }, ErrorKind::kUnsupported,
       "1 to 2,000 fields"},
      {"bad within a list", [](NewTable* t) { Only(t, arrow::list(arrow::float16())); }, ErrorKind::kUnsupported, "'id'"},
  };
  for (const Refused& refused : cases) {
    SCOPED_TRACE(refused.what);
    NewTable asked = Orders();
    refused.change(&asked);
    const auto made = MakeTable(asked);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(KindOf(made.status()), refused.kind) << made.status().ToString();
    EXPECT_NE(made.status().message().find(refused.text), std::string::npos) << made.status().ToString();
  }
}

TEST(MakeTable, TheOrderOfAKeyMayBeSaid) {
  NewTable asked = Orders();
  asked.settings.sort = {"ID"};
  asked.schema_name = "s1";
  EXPECT_EQ(MakeTable(asked).ValueOrDie().layout.sort_columns, std::vector<int>{0});
  EXPECT_EQ(MakeTable(asked).ValueOrDie().schema_name, "s1");
}

TEST(ColumnId, IsANumberOfTheFieldsMetadata) {
  const auto With = [](const char* key, const char* value) {
    return arrow::field("c", arrow::int8(), true, arrow::key_value_metadata({{key, value}}));
  };
  EXPECT_EQ(ColumnId(*With(parts::kColumnIdKey, "12")), 12u);
  EXPECT_EQ(ColumnId(*With(parts::kColumnIdKey, "12x")), 0u);
  EXPECT_EQ(ColumnId(*With(parts::kColumnIdKey, "x")), 0u);
  EXPECT_EQ(ColumnId(*With("other", "12")), 0u);
  EXPECT_EQ(ColumnId(*arrow::field("c", arrow::int8())), 0u);
}

TEST(MakeTable, TakesAsManyColumnsAsItSays) {
  NewTable asked = Events();
  asked.settings = {};
  arrow::FieldVector fields;
  for (int i = 0; i < kTableColumnsMax; ++i) fields.push_back(arrow::field("c" + std::to_string(i), arrow::int8()));
  asked.schema = arrow::schema(fields);
  const auto full = MakeTable(asked);
  ASSERT_TRUE(full.ok());
  const AlterTable more{.kind = Kind::kAddColumn, .field = arrow::field("more", arrow::int8())};
  EXPECT_EQ(KindOf(ChangeTable(*full, more, Lsn(1)).status()), ErrorKind::kInvalid);
  fields.push_back(arrow::field("more", arrow::int8()));
  asked.schema = arrow::schema(fields);
  EXPECT_EQ(KindOf(MakeTable(asked).status()), ErrorKind::kInvalid);
}

TEST(ChangeTable, AddsAColumnBehindTheOthersWithANumberOfItsOwn) {
  const TableInfo before = MakeTable(Orders()).ValueOrDie();
  const TableInfo after = ChangeTable(before,
                                      {.kind = Kind::kAddColumn,
                                       .field = arrow::field("more", arrow::int32(), false),
                                       .default_value = arrow::MakeScalar(int64_t{5})},
                                      Lsn(9))
                              .ValueOrDie();
  EXPECT_TRUE(ColumnsChanged(before, after));
  EXPECT_EQ(after.schema_version, 2u);
  EXPECT_EQ(after.since, Lsn(9));
  ASSERT_EQ(after.history.size(), 1u);
  EXPECT_EQ(after.history[0].version, 1u);
  EXPECT_TRUE(after.history[0].schema->Equals(*before.schema, /*check_metadata=*/true));
  EXPECT_EQ(after.schema->field(6)->name(), "more");
  EXPECT_EQ(ColumnId(*after.schema->field(6)), 7u);
  EXPECT_EQ(after.next_column_id, 8u);
  EXPECT_EQ(after.defaults[6]->ToString(), "5");
  EXPECT_TRUE(after.defaults[6]->type->Equals(*arrow::int32()));
  EXPECT_EQ(after.fills[6]->ToString(), "5");
  EXPECT_EQ(after.keys->columns(), std::vector<int>{0});
}

TEST(ChangeTable, ADefaultThatChangesLeavesRowsThatAreThere) {
  TableInfo table = MakeTable(Orders()).ValueOrDie();
  table =
      ChangeTable(
          table, {.kind = Kind::kAddColumn, .field = arrow::field("more", arrow::int32()), .default_value = arrow::MakeScalar(5)},
          Lsn(9))
          .ValueOrDie();
  const TableInfo after =
      ChangeTable(table, {.kind = Kind::kSetDefault, .column = "MORE", .default_value = arrow::MakeScalar(6)}, Lsn(10))
          .ValueOrDie();
  EXPECT_FALSE(ColumnsChanged(table, after));
  EXPECT_EQ(after.defaults[6]->ToString(), "6");
  EXPECT_EQ(after.fills[6]->ToString(), "5");
  const TableInfo none = ChangeTable(after, {.kind = Kind::kSetDefault, .column = "more"}, Lsn(11)).ValueOrDie();
  EXPECT_EQ(none.defaults[6], nullptr);
  EXPECT_EQ(none.fills[6]->ToString(), "5");
}

TEST(ChangeTable, DropsAColumnAndMovesThoseBehindIt) {
  NewTable asked = Events();
  asked.settings.sort = {"who", "small"};
  asked.settings.filters = {"who"};
  asked.settings.tokens = {"who"};
  asked.primary_key = {};
  const TableInfo before = MakeTable(asked).ValueOrDie();
  TableInfo after = ChangeTable(before, {.kind = Kind::kDropColumn, .column = "ID"}, Lsn(3)).ValueOrDie();
  EXPECT_EQ(after.layout.time_column, 0);
  EXPECT_EQ(after.layout.sort_columns, (std::vector<int>{1, 3}));
  EXPECT_EQ(after.layout.filter_columns, std::vector<int>{1});
  EXPECT_EQ(after.layout.token_columns, std::vector<int>{1});
  after = ChangeTable(after, {.kind = Kind::kDropColumn, .column = "who"}, Lsn(4)).ValueOrDie();
  EXPECT_EQ(after.layout.sort_columns, std::vector<int>{2});
  EXPECT_TRUE(after.layout.filter_columns.empty());
  EXPECT_TRUE(after.layout.token_columns.empty());
  after = ChangeTable(after, {.kind = Kind::kDropColumn, .column = "small"}, Lsn(5)).ValueOrDie();
  EXPECT_EQ(after.layout.sort_columns, std::vector<int>{0}) << "by time, where no other order is left";
  after = ChangeTable(after, {.kind = Kind::kAddColumn, .field = arrow::field("who", arrow::utf8())}, Lsn(6)).ValueOrDie();
  EXPECT_EQ(ColumnId(*after.schema->field(after.schema->GetFieldIndex("who"))), 7u) << "another column than the one before";
  EXPECT_EQ(after.history.size(), 4u);
  EXPECT_EQ(after.history[1].since, Lsn(3));
}

TEST(ChangeTable, RenamesWidensAndLetsNullsIn) {
  NewTable asked = Orders();
  asked.schema = asked.schema->SetField(4, arrow::field("small", arrow::int16(), false)).ValueOrDie();
  asked.defaults = {nullptr, nullptr, nullptr, nullptr, arrow::MakeScalar(int16_t{4})};
  TableInfo table = MakeTable(asked).ValueOrDie();
  table = ChangeTable(table, {.kind = Kind::kRenameColumn, .column = "small", .new_name = "Size"}, Lsn(1)).ValueOrDie();
  EXPECT_EQ(table.schema->field(4)->name(), "Size");
  EXPECT_EQ(ColumnId(*table.schema->field(4)), 5u);
  table = ChangeTable(table, {.kind = Kind::kRenameColumn, .column = "id", .new_name = "order_id"}, Lsn(1)).ValueOrDie();
  EXPECT_EQ(table.keys->key_schema()->field(0)->name(), "order_id");
  table = ChangeTable(table, {.kind = Kind::kWidenColumn, .column = "size", .field = arrow::field("", arrow::int64())}, Lsn(2))
              .ValueOrDie();
  EXPECT_TRUE(table.schema->field(4)->type()->Equals(*arrow::int64()));
  EXPECT_TRUE(table.defaults[4]->type->Equals(*arrow::int64()));
  EXPECT_FALSE(table.schema->field(4)->nullable());
  table = ChangeTable(table, {.kind = Kind::kSetNullable, .column = "size"}, Lsn(3)).ValueOrDie();
  EXPECT_TRUE(table.schema->field(4)->nullable());
  EXPECT_EQ(ColumnId(*table.schema->field(4)), 5u);
  EXPECT_EQ(table.schema_version, 5u);
}

TEST(ChangeTable, NothingToDoIsNoErrorWhereToldSo) {
  const TableInfo table = MakeTable(Orders()).ValueOrDie();
  EXPECT_FALSE(ColumnsChanged(
      table, ChangeTable(table, {.kind = Kind::kDropColumn, .column = "nix", .if_exists = true}, Lsn(1)).ValueOrDie()));
  EXPECT_FALSE(ColumnsChanged(
      table,
      ChangeTable(table, {.kind = Kind::kAddColumn, .field = arrow::field("WHO", arrow::int8()), .if_not_exists = true}, Lsn(1))
          .ValueOrDie()));
  const std::vector<AlterTable> nothings = {{.kind = Kind::kSetNullable, .column = "who"},
                                            {.kind = Kind::kRenameColumn, .column = "who", .new_name = "who"},
                                            {.kind = Kind::kWidenColumn, .column = "who", .field = arrow::field("", arrow::utf8())}};
  for (const AlterTable& nothing : nothings) {
    EXPECT_FALSE(ColumnsChanged(table, ChangeTable(table, nothing, Lsn(1)).ValueOrDie()));
  }
}

TEST(ChangeTable, KeepsAWayOpenForTheDimensionOfEmptyVectors) {
  NewTable asked = Events();
  asked.settings = {};
  asked.schema = OneColumn(arrow::fixed_size_list(arrow::float32(), 384));
  const TableInfo table = MakeTable(asked).ValueOrDie();
  const auto Widen = [&](std::shared_ptr<arrow::DataType> type) {
    return ChangeTable(table, {.kind = Kind::kWidenColumn, .column = "id", .field = arrow::field("", std::move(type))}, Lsn(1));
  };
  EXPECT_TRUE(Widen(arrow::fixed_size_list(arrow::float32(), 3)).ok());
  EXPECT_EQ(KindOf(Widen(arrow::fixed_size_list(arrow::float64(), 384)).status()), ErrorKind::kInvalid);
}

struct RefusedChange {
  const char* what;
  AlterTable change;
  ErrorKind kind;
  const char* text;
};

AlterTable Widen(const char* column, std::shared_ptr<arrow::DataType> type) {
  return {.kind = Kind::kWidenColumn, .column = column, .field = arrow::field("", std::move(type))};
}

TEST(ChangeTable, RefusesWhatCannotBe) {
  NewTable asked = Orders();
  asked.schema = arrow::schema({arrow::field("id", arrow::int32()), arrow::field("time", arrow::int64()),
                                arrow::field("word", arrow::utf8()), arrow::field("price", arrow::decimal128(18, 6)),
                                arrow::field("u", arrow::uint16()), arrow::field("f", arrow::float32()),
                                arrow::field("d", arrow::date32())});
  const TableInfo table = MakeTable(asked).ValueOrDie();
  const std::vector<RefusedChange> cases = {
      {"key dropped", {.kind = Kind::kDropColumn, .column = "id"}, ErrorKind::kInvalid, "primary key"},
      {"time dropped", {.kind = Kind::kDropColumn, .column = "time"}, ErrorKind::kInvalid, "time column"},
      {"unknown dropped", {.kind = Kind::kDropColumn, .column = "wrod"}, ErrorKind::kNotFound, "did you mean 'word'"},
      {"added twice", {.kind = Kind::kAddColumn, .field = arrow::field("ID", arrow::int8())}, ErrorKind::kAlreadyExists, "'id'"},
      {"added without a type", {.kind = Kind::kAddColumn}, ErrorKind::kInvalid, "a type"},
      {"added NOT NULL",
       {.kind = Kind::kAddColumn, .field = arrow::field("n", arrow::int8(), false)},
       ErrorKind::kInvalid,
       "need a default"},
      {"added of no type", {.kind = Kind::kAddColumn, .field = arrow::field("n", arrow::null())}, ErrorKind::kUnsupported, "'n'"},
      {"added with a bad default",
       {.kind = Kind::kAddColumn, .field = arrow::field("n", arrow::int8()), .default_value = arrow::MakeScalar(300)},
       ErrorKind::kInvalid,
       "does not fit"},
      {"renamed onto another", {.kind = Kind::kRenameColumn, .column = "u", .new_name = "F"}, ErrorKind::kAlreadyExists, "'f'"},
      {"renamed to nothing", {.kind = Kind::kRenameColumn, .column = "u"}, ErrorKind::kInvalid, "needs a name"},
      {"widened to nothing", {.kind = Kind::kWidenColumn, .column = "u"}, ErrorKind::kInvalid, "needs a type"},
      {"key widened", Widen("id", arrow::int64()), ErrorKind::kInvalid, "primary key"},
      {"narrowed", Widen("time", arrow::int32()), ErrorKind::kInvalid, "hold every value"},
      {"made signed", Widen("u", arrow::int32()), ErrorKind::kInvalid, "hold every value"},
      {"made whole", Widen("f", arrow::int64()), ErrorKind::kInvalid, "hold every value"},
      {"scale taken from digits", Widen("price", arrow::decimal128(18, 8)), ErrorKind::kInvalid, "hold every value"},
      {"date to time", Widen("d", arrow::timestamp(arrow::TimeUnit::NANO)), ErrorKind::kInvalid, "hold every value"},
      {"text to large text", Widen("word", arrow::large_utf8()), ErrorKind::kUnsupported, "utf8"},
      {"key with NULLs", {.kind = Kind::kSetNullable, .column = "id"}, ErrorKind::kInvalid, "primary key"},
      {"table without a name", {.kind = Kind::kRenameTable}, ErrorKind::kInvalid, "needs a name"},
      {"default of another sort",
       {.kind = Kind::kSetDefault, .column = "u", .default_value = arrow::MakeScalar("many")},
       ErrorKind::kInvalid,
       "does not fit"},
      {"settings that cannot be",
       {.kind = Kind::kSetSettings, .settings = {.filters = {"u"}}},
       ErrorKind::kInvalid,
       "takes no filter"},
  };
  for (const RefusedChange& refused : cases) {
    SCOPED_TRACE(refused.what);
    const auto changed = ChangeTable(table, refused.change, Lsn(1));
    ASSERT_FALSE(changed.ok());
    EXPECT_EQ(KindOf(changed.status()), refused.kind) << changed.status().ToString();
    EXPECT_NE(changed.status().message().find(refused.text), std::string::npos) << changed.status().ToString();
  }
  for (const AlterTable& allowed :
       {Widen("u", arrow::uint64()), Widen("f", arrow::float64()), Widen("price", arrow::decimal128(20, 8))}) {
    EXPECT_TRUE(ChangeTable(table, allowed, Lsn(1)).ok());
  }
}

TEST(ChangeTable, TheLastColumnStays) {
  NewTable asked = Events();
  Only(&asked, arrow::int8());
  EXPECT_EQ(KindOf(ChangeTable(MakeTable(asked).ValueOrDie(), {.kind = Kind::kDropColumn, .column = "id"}, Lsn(1)).status()),
            ErrorKind::kInvalid);
}

TEST(ChangeTable, ColumnsOfReadyTablesStayAsTheyAre) {
  const TableInfo& orders = *FindReadyTable("trading", "orders");
  for (const AlterTable& change : std::vector<AlterTable>{{.kind = Kind::kDropColumn, .column = "status"},
                                                          {.kind = Kind::kRenameColumn, .column = "status", .new_name = "state"},
                                                          {.kind = Kind::kSetNullable, .column = "status"},
                                                          Widen("status", arrow::large_utf8())}) {
    const auto changed = ChangeTable(orders, change, Lsn(1));
    EXPECT_EQ(KindOf(changed.status()), ErrorKind::kDenied) << changed.status().ToString();
  }
  EXPECT_TRUE(ChangeTable(orders, {.kind = Kind::kAddColumn, .field = arrow::field("note", arrow::utf8())}, Lsn(1)).ok());
}

TEST(ChangeTable, TelemetryTablesTakeRetentionAndDurabilityOnly) {
  const TableInfo& traces = *FindReadyTable("otel", "TRACES");
  TableSettings settings = SettingsOf(traces);
  settings.retention_ms = 1000;
  settings.durability = Durability::kBuffered;
  const TableInfo after = ChangeTable(traces, {.kind = Kind::kSetSettings, .settings = settings}, Lsn(1)).ValueOrDie();
  EXPECT_EQ(after.retention_ms, 1000);
  EXPECT_TRUE(after.layout.cluster_traces);
  settings.sort = {"service_name"};
  EXPECT_EQ(KindOf(ChangeTable(traces, {.kind = Kind::kSetSettings, .settings = settings}, Lsn(1)).status()), ErrorKind::kDenied);
  settings = SettingsOf(traces);
  settings.filters = {};
  EXPECT_EQ(KindOf(ChangeTable(traces, {.kind = Kind::kSetSettings, .settings = settings}, Lsn(1)).status()), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(ChangeTable(traces, {.kind = Kind::kDropColumn, .column = "kind"}, Lsn(1)).status()), ErrorKind::kDenied);
}

std::string Cast(const std::shared_ptr<arrow::Scalar>& value, const std::shared_ptr<arrow::DataType>& type) {
  const auto cast = CastScalar(value, type);
  if (!cast.ok()) return "no";
  if (*cast == nullptr) return "NULL";
  EXPECT_TRUE((*cast)->type->Equals(*type));
  return (*cast)->ToString();
}

TEST(CastScalar, LosesNothing) {
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO), ns = arrow::timestamp(arrow::TimeUnit::NANO);
  const auto Decimal = [](const char* text, int precision, int scale) {
    return std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(text), arrow::decimal128(precision, scale));
  };
  EXPECT_EQ(Cast(nullptr, arrow::int8()), "NULL");
  EXPECT_EQ(Cast(arrow::MakeNullScalar(arrow::utf8()), arrow::int8()), "NULL");
  EXPECT_EQ(Cast(arrow::MakeScalar(int64_t{-128}), arrow::int8()), "-128");
  EXPECT_EQ(Cast(arrow::MakeScalar(int64_t{-129}), arrow::int8()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(-1), arrow::uint64()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(UINT64_MAX), arrow::int64()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(UINT64_MAX), arrow::decimal128(20, 0)), "18446744073709551615");
  EXPECT_EQ(Cast(arrow::MakeScalar((int64_t{1} << 53) + 1), arrow::float64()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(2.5), arrow::int32()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(3.0), arrow::int32()), "3");
  EXPECT_EQ(Cast(arrow::MakeScalar(1e300), arrow::float32()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(7), arrow::decimal128(18, 6)), "7.000000");
  EXPECT_EQ(Cast(Decimal("150", 10, 2), arrow::decimal128(10, 1)), "1.5");
  EXPECT_EQ(Cast(Decimal("155", 10, 2), arrow::decimal128(10, 1)), "no");
  EXPECT_EQ(Cast(Decimal("-400", 10, 2), arrow::int16()), "-4");
  EXPECT_EQ(Cast(Decimal("1230", 4, 1), arrow::decimal128(3, 1)), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar("x"), arrow::dictionary(arrow::int32(), arrow::utf8())).find("no"), std::string::npos);
  EXPECT_EQ(Cast(arrow::MakeScalar("2026-11-21 10:00:00"), us), "2026-11-21 10:00:00.000000");
  EXPECT_EQ(Cast(arrow::MakeScalar("soon"), us), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar("-12.5"), arrow::decimal128(18, 6)), "-12.500000");
  EXPECT_EQ(Cast(arrow::MakeScalar("0.0000001"), arrow::decimal128(18, 6)), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar("x"), arrow::decimal128(18, 6)), "no");
  EXPECT_EQ(Cast(std::make_shared<arrow::TimestampScalar>(1500, ns), us), "no");
  EXPECT_EQ(Cast(std::make_shared<arrow::TimestampScalar>(2000, ns), us), "1970-01-01 00:00:00.000002");
  EXPECT_EQ(Cast(std::make_shared<arrow::Date32Scalar>(1), ns), "1970-01-02 00:00:00.000000000");
  EXPECT_EQ(Cast(arrow::MakeScalar(true), arrow::int8()), "no");
}

TEST(TableRecord, KeepsEverythingOfADefinition) {
  NewTable asked = Orders();
  asked.settings.filters = {"who"};
  asked.settings.tokens = {"who"};
  asked.settings.retention_ms = 77;
  asked.settings.durability = Durability::kBuffered;
  arrow::StringBuilder builder;
  ASSERT_TRUE(builder.AppendValues({"a", "b"}).ok());
  const auto tags = builder.Finish().ValueOrDie();
  asked.defaults = {nullptr,
                    nullptr,
                    arrow::MakeScalar("ünd"),
                    std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(1), arrow::decimal128(18, 6)),
                    nullptr,
                    std::make_shared<arrow::ListScalar>(tags)};
  TableInfo table = MakeTable(asked).ValueOrDie();
  table.id = TableId(9);
  table =
      ChangeTable(
          table,
          {.kind = Kind::kAddColumn, .field = arrow::field("more", arrow::float64()), .default_value = arrow::MakeScalar(0.1)},
          Lsn(1))
          .ValueOrDie();
  table = ChangeTable(table, {.kind = Kind::kDropColumn, .column = "small"}, Lsn(UINT64_MAX >> 1)).ValueOrDie();
  const TableInfo back = FromRecord(ToRecord(table).ValueOrDie()).ValueOrDie();
  EXPECT_EQ(back.id, table.id);
  EXPECT_EQ(back.name, table.name);
  EXPECT_EQ(back.layout.token_columns, std::vector<int>{2});
  EXPECT_EQ(back.schema_name, table.schema_name);
  EXPECT_EQ(back.kind, TableKind::kKeyed);
  EXPECT_TRUE(back.schema->Equals(*table.schema, /*check_metadata=*/true));
  EXPECT_EQ(back.schema_version, 3u);
  EXPECT_EQ(back.since, table.since);
  EXPECT_EQ(back.next_column_id, 8u);
  EXPECT_EQ(back.key_columns, table.key_columns);
  EXPECT_NE(back.keys, nullptr);
  EXPECT_EQ(back.durability, Durability::kBuffered);
  EXPECT_EQ(back.retention_ms, 77);
  EXPECT_EQ(back.layout.granule_rows, parts::kKeyedGranuleRows);
  EXPECT_EQ(back.layout.filter_columns, table.layout.filter_columns);
  ASSERT_EQ(back.history.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(back.history[i].version, table.history[i].version);
    EXPECT_EQ(back.history[i].since, table.history[i].since);
    EXPECT_TRUE(back.history[i].schema->Equals(*table.history[i].schema, /*check_metadata=*/true));
  }
  for (const auto values : {&TableInfo::defaults, &TableInfo::fills}) {
    ASSERT_EQ((back.*values).size(), 6u);
    for (size_t i = 0; i < 6; ++i) {
      const auto &is = (back.*values)[i], &was = (table.*values)[i];
      ASSERT_EQ(is == nullptr, was == nullptr) << i;
      if (is != nullptr) {
        EXPECT_TRUE(is->Equals(*was)) << is->ToString();
      }
    }
  }
}

TEST(TableRecord, ReadsOlderRecords) {
  const TableInfo& logs = *FindReadyTable("otel", "logs");
  parts::TableRecord record = ToRecord(logs).ValueOrDie();
  record.settings_json =
      R"({"kind":"append","time":"time","sort":["service_name","time"],"filters":["trace_id"],"cluster_traces":false,"trace":"trace_id",)"
      R"("service":"service_name","parent":null,"granule_rows":16384})";
  const TableInfo back = FromRecord(record).ValueOrDie();
  EXPECT_EQ(back.durability, Durability::kLocal);
  EXPECT_TRUE(back.history.empty());
  EXPECT_EQ(back.keys, nullptr);
}

TEST(TableRecord, DamageIsCorruption) {
  const parts::TableRecord good = ToRecord(MakeTable(Orders()).ValueOrDie()).ValueOrDie();
  for (const char* bad :
       {R"("defaults":"AAAA")", R"("fills":7)", R"("history":[1])", R"("history":[{"version":1,"since":0,"schema":"?"}])",
        R"("key":["nix"])", R"("key":[])", R"("durability":"maybe")", R"("since":"x")"}) {
    parts::TableRecord record = good;
    record.settings_json.pop_back();
    record.settings_json += std::string(",") + bad + "}";
    const auto back = FromRecord(record);
    ASSERT_FALSE(back.ok()) << bad;
    EXPECT_EQ(KindOf(back.status()), ErrorKind::kCorruption) << bad;
  }
}

}  // namespace
}  // namespace sheaf::store
