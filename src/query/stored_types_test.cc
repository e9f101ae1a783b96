/// Every type that a column can have, through the whole store: appended, sealed, made cold, read by SQL as it was.

#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <arrow/table.h>
#include <arrow/type_traits.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "io/sim_testing.h"
#include "query/engine.h"
#include "query/testing.h"
#include "store/database.h"

namespace sheaf::query {
namespace {

using arrow::TimeUnit;

struct Stored {
  const char* sql;  // The type that DESCRIBE shows.
  std::shared_ptr<arrow::DataType> type;
};

std::vector<Stored> EveryStoredType() {
  const auto text = arrow::utf8();
  return {
      {"BOOLEAN", arrow::boolean()},
      {"TINYINT", arrow::int8()},
      {"SMALLINT", arrow::int16()},
      {"INTEGER", arrow::int32()},
      {"BIGINT", arrow::int64()},
      {"UTINYINT", arrow::uint8()},
      {"USMALLINT", arrow::uint16()},
      {"UINTEGER", arrow::uint32()},
      {"UBIGINT", arrow::uint64()},
      {"FLOAT", arrow::float32()},
      {"DOUBLE", arrow::float64()},
      {"DECIMAL(4,1)", arrow::decimal128(4, 1)},
      {"DECIMAL(9,2)", arrow::decimal128(9, 2)},
      {"DECIMAL(18,6)", arrow::decimal128(18, 6)},
      {"DECIMAL(38,10)", arrow::decimal128(38, 10)},
      {"DATE", arrow::date32()},
      {"TIME", arrow::time64(TimeUnit::MICRO)},
      {"TIME_NS", arrow::time64(TimeUnit::NANO)},
      {"TIMESTAMP_S", arrow::timestamp(TimeUnit::SECOND)},
      {"TIMESTAMP_MS", arrow::timestamp(TimeUnit::MILLI)},
      {"TIMESTAMP", arrow::timestamp(TimeUnit::MICRO)},
      {"TIMESTAMP_NS", arrow::timestamp(TimeUnit::NANO)},
      {"TIMESTAMP WITH TIME ZONE", arrow::timestamp(TimeUnit::MICRO, "UTC")},
      {"TIMESTAMP_NS", arrow::timestamp(TimeUnit::NANO, "UTC")},
      {"VARCHAR", text},
      {"BLOB", arrow::binary()},
      {"BLOB", arrow::fixed_size_binary(5)},
      {"TRACE_ID", arrow::fixed_size_binary(16)},
      {"VARCHAR", arrow::dictionary(arrow::int32(), text)},
      {"BIGINT[]", arrow::list(arrow::int64())},
      {"VARCHAR[][]", arrow::list(arrow::list(text))},
      {"FLOAT[3]", arrow::fixed_size_list(arrow::float32(), 3)},
      {"FLOAT[384]", arrow::fixed_size_list(arrow::float32(), 384)},
      {"VARCHAR[2][]", arrow::list(arrow::fixed_size_list(text, 2))},
      {"MAP(VARCHAR, BIGINT)", arrow::map(text, arrow::int64())},
      {"STRUCT(a INTEGER, b VARCHAR[])",
       arrow::struct_({arrow::field("a", arrow::int32()), arrow::field("b", arrow::list(text))})},
      {"STRUCT(s STRUCT(d DATE), m MAP(VARCHAR, DOUBLE))[]",
       arrow::list(arrow::struct_({arrow::field("s", arrow::struct_({arrow::field("d", arrow::date32())})),
                                   arrow::field("m", arrow::map(text, arrow::float64()))}))},
  };
}

class StoredTypesTest : public testing::Test {
 protected:
  void SetUp() override {
    store::Options options;
    options.directory = "/db";
    options.free_space_min_fraction = 0;
    auto opened = store::Database::Open(&disk_, &clock_, options);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *std::move(opened);
    auto engine = Engine::Open(database_.get(), {});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = *std::move(engine);
  }

  std::vector<std::string> Values(const std::string& table, const std::string& where = "") {
    const auto read = RunAll(engine_.get(), {.sql = "SELECT v FROM " + table + where + " ORDER BY n"});
    EXPECT_TRUE(read.ok()) << read.status().ToString();
    std::vector<std::string> texts;
    if (!read.ok()) return texts;
    arrow::TableBatchReader reader(**read);
    while (const auto batch = reader.Next().ValueOrDie()) {
      for (int64_t row = 0; row < batch->num_rows(); ++row) texts.push_back(columns::RowText(*batch, row));
    }
    return texts;
  }

  io::SimFileSystem disk_{1};
  io::SimClock clock_;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(StoredTypesTest, ComeBackAsTheyWereFromMemoryHotAndColdParts) {
  columns::Random random(columns::TestSeed());
  const std::vector<Stored> types = EveryStoredType();
  for (size_t t = 0; t < types.size(); ++t) {
    const std::string name = "t" + std::to_string(t);
    SCOPED_TRACE(types[t].type->ToString());
    store::NewTable asked;
    asked.schema_name = "main";
    asked.name = name;
    asked.schema = arrow::schema({arrow::field("n", arrow::int64()), arrow::field("v", types[t].type)});
    const auto made = database_->CreateTable(asked);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    std::vector<std::string> expected;
    int64_t number = 0;
    for (const int64_t rows : {1, 300, 3000}) {
      arrow::Int64Builder numbers;
      for (int64_t i = 0; i < rows; ++i) ASSERT_TRUE(numbers.Append(number++).ok());
      const auto values = columns::RandomArray(types[t].type, rows, /*nullable=*/true, &random);
      const auto alone = arrow::RecordBatch::Make(arrow::schema({arrow::field("v", types[t].type)}), rows, {values});
      for (int64_t row = 0; row < rows; ++row) expected.push_back(columns::RowText(*alone, row));
      const auto batch = arrow::RecordBatch::Make((*made)->schema, rows, {numbers.Finish().ValueOrDie(), values});
      const auto lsn = database_->Append({{(*made)->id, batch}});
      ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
    }
    ASSERT_EQ(Values(name), expected) << "in memory";
    ASSERT_TRUE(database_->Flush().ok());
    ASSERT_EQ(Values(name), expected) << "in a hot part";
    const Status cold = database_->MakeCold((*made)->id);
    ASSERT_TRUE(cold.ok()) << cold.ToString();
    ASSERT_EQ(Values(name), expected) << "in a cold part";
    const auto half = Values(name, " WHERE n % 2 = 0");
    ASSERT_EQ(half.size(), (expected.size() + 1) / 2);
    for (size_t i = 0; i < half.size(); ++i) ASSERT_EQ(half[i], expected[2 * i]) << "some rows of a granule";
  }
}

/// A keyed table of which single rows, a stretch and the end were replaced.
TEST_F(StoredTypesTest, ComeBackFromBetweenDeadRows) {
  constexpr int64_t kRows = 5000;
  const auto replaced = [](int64_t n) { return n % 5 == 0 || (n > 3000 && n < 3200) || n > 4990; };
  columns::Random random(columns::TestSeed());
  const std::vector<Stored> types = EveryStoredType();
  for (size_t t = 0; t < types.size(); ++t) {
    SCOPED_TRACE(types[t].type->ToString());
    const std::string name = "k" + std::to_string(t);
    store::NewTable asked;
    asked.schema_name = "main";
    asked.name = name;
    asked.schema = arrow::schema({arrow::field("n", arrow::int64(), false), arrow::field("v", types[t].type)});
    asked.primary_key = {"n"};
    const auto made = database_->CreateTable(asked);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    std::vector<std::string> expected(kRows);
    for (const bool again : {false, true}) {
      std::vector<int64_t> keys;
      for (int64_t n = 0; n < kRows; ++n) {
        if (!again || replaced(n)) keys.push_back(n);
      }
      const auto rows = static_cast<int64_t>(keys.size());
      arrow::Int64Builder numbers;
      ASSERT_TRUE(numbers.AppendValues(keys).ok());
      const auto values = columns::RandomArray(types[t].type, rows, /*nullable=*/true, &random);
      const auto alone = arrow::RecordBatch::Make(arrow::schema({arrow::field("v", types[t].type)}), rows, {values});
      for (int64_t row = 0; row < rows; ++row) {
        expected[static_cast<size_t>(keys[static_cast<size_t>(row)])] = columns::RowText(*alone, row);
      }
      const auto batch = arrow::RecordBatch::Make((*made)->schema, rows, {numbers.Finish().ValueOrDie(), values});
      ASSERT_TRUE(database_->Append({{(*made)->id, batch}}).ok());
      if (again) ASSERT_EQ(Values(name), expected) << "some in memory";
      ASSERT_TRUE(database_->Flush().ok());
    }
    ASSERT_EQ(Values(name), expected) << "in hot parts";
    const auto most = Values(name, " WHERE n >= 100");  // The key is read first.
    ASSERT_EQ(most, std::vector<std::string>(expected.begin() + 100, expected.end())) << "most rows";
    const auto few = Values(name, " WHERE n % 100 = 1");
    ASSERT_EQ(few.size(), 50U);
    for (size_t i = 0; i < few.size(); ++i) ASSERT_EQ(few[i], expected[100 * i + 1]) << "few rows";
  }
}

/// Comparisons that prune, against the same ones where nothing can be pruned.
TEST_F(StoredTypesTest, ComparisonsFindTheSameRowsWithAndWithoutPruning) {
  columns::Random random(columns::TestSeed());
  const std::vector<Stored> types = EveryStoredType();
  for (size_t t = 0; t < types.size(); ++t) {
    if (arrow::is_nested(types[t].type->id())) continue;
    SCOPED_TRACE(types[t].type->ToString());
    store::NewTable asked;
    asked.schema_name = "main";
    asked.name = "t" + std::to_string(t);
    asked.schema = arrow::schema({arrow::field("v", types[t].type)});
    const auto made = database_->CreateTable(asked).ValueOrDie();
    const auto values = columns::RandomArray(types[t].type, 500, /*nullable=*/true, &random);
    ASSERT_TRUE(database_->Append({{made->id, arrow::RecordBatch::Make(made->schema, 500, {values})}}).ok());
    ASSERT_TRUE(database_->Flush().ok());
    for (const char* bound : {"min", "max"}) {
      for (const char* comparison : {"<", "<=", "=", ">=", ">"}) {
        const auto text = RunAll(engine_.get(), {.sql = "SELECT " + std::string(bound) + "(v)::VARCHAR AS b FROM " + asked.name});
        ASSERT_TRUE(text.ok()) << text.status().ToString();
        const std::string literal = (*text)->column(0)->GetScalar(0).ValueOrDie()->ToString();
        const std::string condition = std::string("v ") + comparison + " '" + literal + "'::" + types[t].sql;
        const auto pruned = RunToText(engine_.get(), {.sql = "SELECT count(*) AS n FROM " + asked.name + " WHERE " + condition},
                                      Format::kNdjson);
        const auto whole = RunToText(
            engine_.get(), {.sql = "SELECT count(*) FILTER (WHERE " + condition + ") AS n FROM " + asked.name}, Format::kNdjson);
        ASSERT_TRUE(pruned.ok() && whole.ok()) << pruned.status().ToString() << whole.status().ToString() << condition;
        EXPECT_EQ(*pruned, *whole) << condition;
      }
    }
  }
}

TEST_F(StoredTypesTest, AreShownByTheirNamesInSql) {
  arrow::FieldVector fields;
  const std::vector<Stored> types = EveryStoredType();
  for (size_t t = 0; t < types.size(); ++t) fields.push_back(arrow::field("c" + std::to_string(t), types[t].type));
  store::NewTable asked;
  asked.schema_name = "main";
  asked.name = "every";
  asked.schema = arrow::schema(fields);
  ASSERT_TRUE(database_->CreateTable(asked).ok());
  const auto described = RunToText(engine_.get(), {.sql = "SELECT column_type FROM (DESCRIBE every)"}, Format::kCsv);
  ASSERT_TRUE(described.ok()) << described.status().ToString();
  for (const Stored& stored : types)
    EXPECT_NE(described->find(stored.sql), std::string::npos) << stored.sql << "\n" << *described;
}

TEST_F(StoredTypesTest, FieldsOfANullStructAreNull) {
  const auto type = arrow::struct_({arrow::field("a", arrow::int32())});
  store::NewTable asked;
  asked.schema_name = "main";
  asked.name = "nulls";
  asked.schema = arrow::schema({arrow::field("v", type)});
  const auto made = database_->CreateTable(asked).ValueOrDie();
  arrow::Int32Builder inner;
  ASSERT_TRUE(inner.AppendValues({7, 8}).ok());
  const auto bits = arrow::Buffer::FromString("\x02");  // The first is NULL, and has a 7 inside all the same.
  const auto values = std::make_shared<arrow::StructArray>(type, 2, arrow::ArrayVector{inner.Finish().ValueOrDie()}, bits);
  ASSERT_TRUE(database_->Append({{made->id, arrow::RecordBatch::Make(made->schema, 2, {values})}}).ok());
  EXPECT_EQ(RunToText(engine_.get(), {.sql = "SELECT v.a AS a FROM nulls ORDER BY a NULLS FIRST"}, Format::kNdjson).ValueOrDie(),
            "{\"a\":null}\n{\"a\":8}\n");
}

TEST_F(StoredTypesTest, ReadyTablesAreListedAndDescribed) {
  const std::string tables = RunToText(engine_.get(), {.sql = "SHOW TABLES"}, Format::kCsv).ValueOrDie();
  for (const char* name : {"orders", "trades", "accounts", "records"}) EXPECT_NE(tables.find(name), std::string::npos) << tables;
  const std::string records = RunToText(engine_.get(), {.sql = "DESCRIBE memory.records"}, Format::kCsv).ValueOrDie();
  for (const char* text : {"embedding,FLOAT[384]", "entities,VARCHAR[]", "diff_data,BLOB", "created_at,TIMESTAMP_NS"}) {
    EXPECT_NE(records.find(text), std::string::npos) << records;
  }
  const std::string orders = RunToText(engine_.get(), {.sql = "DESCRIBE orders"}, Format::kCsv).ValueOrDie();
  EXPECT_NE(orders.find("\"DECIMAL(18,6)\""), std::string::npos) << orders;
  EXPECT_EQ(RunToText(engine_.get(), {.sql = "SELECT count(*) AS n FROM trading.accounts"}, Format::kNdjson).ValueOrDie(),
            "{\"n\":0}\n");
}

}  // namespace
}  // namespace sheaf::query
