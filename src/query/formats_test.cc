#include "query/formats.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/table.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

/// One row with a value of each kind, one with NULLs.
constexpr char kValues[] = R"(
  SELECT * FROM (VALUES
    (true, 1::TINYINT, 9007199254740993::BIGINT, 18446744073709551615::UBIGINT, 1.5::DOUBLE, 1.50::DECIMAL(9,2),
     170141183460469231731::HUGEINT, 'a "b", c', '\x00\xFF'::BLOB, DATE '2026-11-21', TIME '10:00:01',
     TIMESTAMP_NS '2026-11-21 10:00:00.123456789',
     '4bf92f3577b34da6a3ce929d0e0e4736'::TRACE_ID, '00f067aa0ba902b7'::SPAN_ID, [1, NULL], {'x': 1, 'y': 'z'}, MAP {'k': 'v'},
     INTERVAL 1 MONTH),
    (NULL, NULL, NULL, NULL, 'NaN'::DOUBLE, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL))
  t(b, i8, i64, u64, d, dec, huge, s, bin, day, clock, ts, tid, sid, l, st, m, iv))";

class FormatsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto engine = Engine::Open(&database_, {.threads = 1});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }
  std::string Run(const std::string& sql, Format format) {
    auto text = RunToText(engine_.get(), {.sql = sql}, format);
    return text.ok() ? *text : text.status().ToString();
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(FormatsTest, NdjsonSaysEveryValueExactly) {
  EXPECT_EQ(Run(kValues, Format::kNdjson),
            R"({"b":true,"i8":1,"i64":9007199254740993,"u64":18446744073709551615,"d":1.5,"dec":"1.50","huge":170141183460469231731,)"
            R"("s":"a \"b\", c","bin":"AP8=","day":"2026-11-21","clock":"10:00:01.000000000","ts":"2026-11-21T10:00:00.123456789Z",)"
            R"("tid":"4bf92f3577b34da6a3ce929d0e0e4736","sid":"00f067aa0ba902b7","l":[1,null],"st":{"x":1,"y":"z"},"m":{"k":"v"},)"
            R"("iv":"P1M0DT0.000000000S"})"
            "\n"
            R"({"b":null,"i8":null,"i64":null,"u64":null,"d":"NaN","dec":null,"huge":null,"s":null,"bin":null,"day":null,"clock":null,)"
            R"("ts":null,"tid":null,"sid":null,"l":null,"st":null,"m":null,"iv":null})"
            "\n");
}

TEST_F(FormatsTest, JsonHasColumnsAndRows) {
  EXPECT_EQ(Run("SELECT 1::BIGINT AS a, 'x' AS b UNION ALL SELECT 2, NULL ORDER BY 1", Format::kJson),
            "{\"columns\":[{\"name\":\"a\",\"type\":\"BIGINT\"},{\"name\":\"b\",\"type\":\"VARCHAR\"}],\"rows\":[\n"
            "{\"a\":1,\"b\":\"x\"},\n{\"a\":2,\"b\":null}\n],\"row_count\":2}\n");
  EXPECT_EQ(Run("SELECT 1 AS a WHERE false", Format::kJson),
            "{\"columns\":[{\"name\":\"a\",\"type\":\"INTEGER\"}],\"rows\":[\n],\"row_count\":0}\n");
}

TEST_F(FormatsTest, NamesThatOccurTwiceAreToldApartInJson) {
  EXPECT_EQ(Run("SELECT 1 AS a, 2 AS a", Format::kNdjson), "{\"a\":1,\"a_2\":2}\n");
}

TEST_F(FormatsTest, JsonTextStaysJson) {
  EXPECT_EQ(Run("SELECT '{\"a\": [1, 2]}'::JSON AS j", Format::kNdjson), "{\"j\":{\"a\": [1, 2]}}\n");
}

TEST_F(FormatsTest, ControlCharactersAreEscaped) {
  EXPECT_EQ(Run("SELECT chr(1) || chr(10) || '\\' AS a", Format::kNdjson), "{\"a\":\"\\u0001\\n\\\\\"}\n");
}

TEST_F(FormatsTest, CsvQuotesAsItMust) {
  EXPECT_EQ(Run("SELECT 'a,\"b\"' AS x, '' AS y, NULL AS z, [1] AS l", Format::kCsv), "x,y,z,l\r\n\"a,\"\"b\"\"\",\"\",,[1]\r\n");
}

TEST_F(FormatsTest, TableIsDrawnWithNumbersToTheRight) {
  EXPECT_EQ(Run("SELECT 'é' AS name, 10 AS n UNION ALL SELECT 'ab', 5 ORDER BY n DESC", Format::kTable),
            "┌─────────┬─────────┐\n"
            "│ name    │       n │\n"
            "│ VARCHAR │ INTEGER │\n"
            "├─────────┼─────────┤\n"
            "│ é       │      10 │\n"
            "│ ab      │       5 │\n"
            "└─────────┴─────────┘\n"
            "2 rows\n");
}

TEST_F(FormatsTest, ArrowStreamReadsBack) {
  const std::string bytes = Run(kValues, Format::kArrow);
  auto reader = arrow::ipc::RecordBatchStreamReader::Open(std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(bytes)));
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  const auto table = (*reader)->ToTable();
  ASSERT_TRUE(table.ok());
  EXPECT_TRUE((*table)->ValidateFull().ok());
  EXPECT_EQ((*table)->num_rows(), 2);
  EXPECT_TRUE((*table)->schema()->GetFieldByName("tid")->type()->Equals(arrow::fixed_size_binary(16)));
}

TEST_F(FormatsTest, ParquetReadsBack) {
  const std::string bytes =
      Run("SELECT range AS i, '4bf92f3577b34da6a3ce929d0e0e4736'::TRACE_ID AS id, MAP {'k': 'v'} AS m FROM range(300000)",
          Format::kParquet);
  auto reader = parquet::arrow::OpenFile(std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(bytes)),
                                         arrow::default_memory_pool());
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  std::shared_ptr<arrow::Table> table;
  ASSERT_TRUE((*reader)->ReadTable(&table).ok());
  EXPECT_EQ(table->num_rows(), 300'000);
}

TEST_F(FormatsTest, ManyRowsComeInOrderInEveryTextFormat) {
  const std::string sql = "SELECT range AS a FROM range(50000)";
  std::string expected = "a\r\n";
  for (int i = 0; i < 50'000; ++i) expected += std::to_string(i) + "\r\n";
  EXPECT_EQ(Run(sql, Format::kCsv), expected);
}

TEST(FormatNames, AreNamesAndMediaTypes) {
  for (Format format : {Format::kJson, Format::kNdjson, Format::kCsv, Format::kArrow, Format::kParquet}) {
    EXPECT_EQ(*ParseFormat(MediaType(format)), format);
  }
  EXPECT_EQ(*ParseFormat("table"), Format::kTable);
  EXPECT_EQ(KindOf(ParseFormat("xml").status()), ErrorKind::kInvalid);
}

TEST(ResultWriterTest, ErrorOfTheSinkStopsTheWriter) {
  auto writer = ResultWriter::Make(Format::kNdjson, arrow::schema({arrow::field("a", arrow::null())}),
                                   [](std::string_view) { return MakeError(ErrorKind::kIo, "gone"); });
  ASSERT_TRUE(writer.ok());
  const auto batch = arrow::RecordBatch::Make((*writer) ? arrow::schema({arrow::field("a", arrow::null())}) : nullptr, 1,
                                              arrow::ArrayVector{std::make_shared<arrow::NullArray>(1)});
  EXPECT_EQ(KindOf((*writer)->Write(*batch)), ErrorKind::kIo);
}

}  // namespace
}  // namespace sheaf::query
