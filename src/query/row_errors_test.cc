#include "query/row_errors.h"

#include <string>

#include <arrow/buffer.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/memory.h"
#include "query/row_reader.h"

namespace sheaf::query {
namespace {

using testing::ElementsAre;

std::shared_ptr<arrow::Schema> Table() {
  using arrow::field;
  return arrow::schema({field("id", arrow::int64(), false), field("name", arrow::utf8()),
                        field("price", arrow::decimal128(18, 6)), field("small", arrow::int8()), field("day", arrow::date32()),
                        field("at", arrow::timestamp(arrow::TimeUnit::NANO)), field("on", arrow::boolean()),
                        field("tags", arrow::list(arrow::utf8()))});
}

RowErrors Find(Format format, const std::string& document) {
  TrackingPool pool("rows", int64_t{64} << 20, &NamedPool("ingest"));
  return FindRowErrors(format, arrow::Buffer::FromString(document), Table(), &pool);
}

std::vector<std::string> Told(const RowErrors& errors) {
  std::vector<std::string> told;
  for (const RowError& each : errors.first) told.push_back(fmt::format("{} {}: {}", each.line, each.column, each.message));
  return told;
}

TEST(RowErrors, OfCsvNameLineColumnAndReason) {
  const auto errors = Find(Format::kCsv,
                           "id,name,price,small,day\n"
                           "1,a,1.5,1,2026-01-01\n"
                           "x,b,2,2,2026-01-02\n"
                           "3,c,1.2345678,300,someday\n"
                           ",d,1,1,\n"
                           "5,e\n");
  EXPECT_EQ(errors.rows_wrong, 4);
  EXPECT_THAT(Told(errors), ElementsAre("3 id: x is no BIGINT", "4 price: 1.2345678 is no DECIMAL(18,6)",
                                        "4 small: 300 is no TINYINT", "4 day: someday is no DATE", "5 id: the column is NOT NULL",
                                        "6 : the row has 2 fields, the head line 5"));
}

TEST(RowErrors, OfCsvCountTheLinesInsideOfQuotes) {
  const auto errors =
      Find(Format::kCsv, "name,id\r\n\"one\r\ntwo\r\n\r\nfour\",1\r\n\r\n\"five\r\nsix\",x\r\n\"seven\",\"\r\n\"\r\n");
  EXPECT_THAT(Told(errors), ElementsAre("8 id: x is no BIGINT", "9 id: \"\r\n\" is no BIGINT"));
}

TEST(RowErrors, OfCsvAreInTheHeadLineToo) {
  EXPECT_THAT(Told(Find(Format::kCsv, "name\na\n")), ElementsAre("1 id: the column is NOT NULL and absent"));
  EXPECT_THAT(Told(Find(Format::kCsv, "\nid,nmae,id\n1,a,2\n")),
              ElementsAre("2 nmae: the table has no such column", "2 id: the column comes twice"));
}

TEST(RowErrors, OfNdjsonNameLineColumnAndReason) {
  const auto errors = Find(Format::kNdjson,
                           "{\"id\": 1, \"name\": \"a\", \"tags\": [\"x\"]}\n"
                           "{\"id\": \"one\", \"on\": 1}\n"
                           "\n"
                           "{\"id\": 2, \"nmae\": 1}\n"
                           "{\"id\": 3, \"id\": 4}\n"
                           "{\"name\": \"no id\"}\n"
                           "{\"id\": null}\n"
                           "[1]\n"
                           "{\"id\": 5,\n"
                           "  \"at\": \"noon\"}\n"
                           "{\"id\": 6\n"
                           "{\"id\": 7, \"tags\": [1]}\n");
  EXPECT_EQ(errors.rows_wrong, 9);
  EXPECT_THAT(Told(errors), ElementsAre("2 id: \"one\" is no BIGINT", "2 on: 1 is no BOOLEAN",
                                        "4 nmae: the table has no such column", "5 id: the column comes twice in this row",
                                        "6 id: the column is NOT NULL and absent", "7 id: the column is NOT NULL",
                                        "8 : a row is an object, {\"column\": value, …}", "10 at: \"noon\" is no TIMESTAMP_NS",
                                        testing::StartsWith("11 : Missing a comma or"),
                                        "12 tags: [1] is no VARCHAR[]"));
}

TEST(RowErrors, AreFoundAmongMany) {
  std::string document = "id,name\n";
  for (int i = 0; i < 50'000; ++i) document += i == 33'333 ? "x,\n" : fmt::format("{},name {}\n", i, i);
  const auto errors = Find(Format::kCsv, document);
  EXPECT_EQ(errors.rows_wrong, 1);
  EXPECT_THAT(Told(errors), ElementsAre("33335 id: x is no BIGINT"));
}

TEST(RowErrors, AreToldUpToANumberAndCountedUpToAnother) {
  std::string document;
  for (int i = 0; i < 100; ++i) document += "{\"id\": \"x\"}\n{\"id\": 1}\n";
  auto errors = Find(Format::kNdjson, document);
  EXPECT_EQ(errors.first.size(), kRowErrorsToldMax);
  EXPECT_EQ(errors.rows_wrong, 100);
  EXPECT_EQ(errors.first.back().line, 39);
  for (int i = 0; i < 2000; ++i) document += "{\"id\": \"x\"}\n";
  errors = Find(Format::kNdjson, document);
  EXPECT_EQ(errors.rows_wrong, kRowsWrongMax);
}

TEST(RowErrors, QuoteLongValuesInPart) {
  const auto errors = Find(Format::kCsv, "id\n" + std::string(63, 'x') + "ääää\n");
  EXPECT_THAT(Told(errors), ElementsAre("2 id: " + std::string(63, 'x') + "… is no BIGINT"));
}

TEST(RowErrors, AreNoneInWhatIsRead) {
  TrackingPool pool("rows", int64_t{64} << 20, &NamedPool("ingest"));
  const auto good = arrow::Buffer::FromString("id,name\n1,\"a,\"\"\nb\"\n2,\n");
  ASSERT_TRUE(ReadRows(Format::kCsv, good, Table(), &pool).ok());
  EXPECT_EQ(FindRowErrors(Format::kCsv, good, Table(), &pool).rows_wrong, 0);
  EXPECT_EQ(Find(Format::kParquet, "PAR1").rows_wrong, 0) << "no text";
  EXPECT_EQ(Find(Format::kCsv, "").rows_wrong, 0);
}

}  // namespace
}  // namespace sheaf::query
