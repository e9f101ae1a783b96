#include "query/text_rows.h"

#include <gtest/gtest.h>

namespace sheaf::query {
namespace {

struct Row {
  std::string text;
  int64_t line;
  bool operator==(const Row&) const = default;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.line << ": " << row.text; }

std::vector<Row> RowsOf(Format format, std::string_view text) {
  TextRows rows(format, text);
  std::vector<Row> found;
  while (const auto row = rows.Next()) found.push_back({std::string(text.substr(row->begin, row->end - row->begin)), row->line});
  return found;
}

TEST(TextRows, AQuoteThatIsNeverClosedIsFound) {
  for (const char* closed : {"", "a,b\n1,2\n", "\"a\"\n", "a\"b,c\n", "\"a\"\"\",\"\n\"", "a,\"\"", "\xEF\xBB\xBF\"a\"\r\n"}) {
    EXPECT_EQ(OpenQuoteLine(closed), std::nullopt) << closed;
  }
  EXPECT_EQ(OpenQuoteLine("\""), 1);
  EXPECT_EQ(OpenQuoteLine("a\"b\nc,\"d\ne\n"), 2);
  EXPECT_EQ(OpenQuoteLine("a\r\n\"b\n\",\"c\"\"\n"), 3);
}

TEST(TextRows, OfCsvEndOutsideOfQuotes) {
  EXPECT_EQ(RowsOf(Format::kCsv, "a,b\n1,\"x\ny\"\n\n2,z"), (std::vector<Row>{{"a,b", 1}, {"1,\"x\ny\"", 2}, {"2,z", 5}}));
  EXPECT_EQ(RowsOf(Format::kCsv,
                   "\xEF\xBB\xBF"
                   "a\r\n\r\n1\r\n"),
            (std::vector<Row>{{"a", 1}, {"1", 3}}));
  EXPECT_EQ(RowsOf(Format::kCsv, "\"a\"\"\n\"\",\",b\nc"), (std::vector<Row>{{"\"a\"\"\n\"\",\",b", 1}, {"c", 3}}));
  EXPECT_EQ(RowsOf(Format::kCsv, "a\"b\n\"never closed\nx"), (std::vector<Row>{{"a\"b", 1}, {"\"never closed\nx", 2}}));
  EXPECT_TRUE(RowsOf(Format::kCsv, "\n\r\n").empty());
}

TEST(TextRows, OfNdjsonAreObjectsWhereverTheirLinesEnd) {
  EXPECT_EQ(RowsOf(Format::kNdjson, "\n{\"a\": 1}\n {\"a\": {\"b\": [1]}} {}\n"),
            (std::vector<Row>{{"{\"a\": 1}", 2}, {"{\"a\": {\"b\": [1]}}", 3}, {"{}", 3}}));
  EXPECT_EQ(RowsOf(Format::kNdjson, "{\n  \"a\": 1\n}\n{}"), (std::vector<Row>{{"{\n  \"a\": 1\n}", 1}, {"{}", 4}}));
  EXPECT_EQ(RowsOf(Format::kNdjson, "{\"a\": \"}{\\\"\"}\n"), (std::vector<Row>{{"{\"a\": \"}{\\\"\"}", 1}}));
}

TEST(TextRows, OfMalformedNdjsonDoNotSwallowThoseThatFollow) {
  EXPECT_EQ(RowsOf(Format::kNdjson, "{\"a\": 1\n{\"a\": 2}\n"), (std::vector<Row>{{"{\"a\": 1", 1}, {"{\"a\": 2}", 2}}));
  EXPECT_EQ(RowsOf(Format::kNdjson, "{\"a\": \"x\n{\"a\": 2}"), (std::vector<Row>{{"{\"a\": \"x", 1}, {"{\"a\": 2}", 2}}));
  EXPECT_EQ(RowsOf(Format::kNdjson, "null\n7\n{}"), (std::vector<Row>{{"null", 1}, {"7", 2}, {"{}", 3}}));
}

TEST(CsvFields, KnowTheLineTheyBeginOn) {
  const auto fields = CsvFields("1,\"a\nb\n\",,\"\"", 7);
  ASSERT_EQ(fields.size(), 4u);
  EXPECT_EQ(fields[1].text, "\"a\nb\n\"");
  EXPECT_EQ(fields[1].line, 7);
  EXPECT_EQ(fields[2].line, 9);
  EXPECT_TRUE(fields[2].is_null);
  EXPECT_FALSE(fields[3].is_null) << "an empty text is no NULL";
  EXPECT_EQ(CsvText("\"say \"\"a\"\"\"x"), "say \"a\"x");
}

TEST(ObjectMembers, KnowTheLineTheyBeginOn) {
  const auto members = ObjectMembers("{ \"a\" : 1,\n\"b\": {\"x\": [1,\n2]} ,\n \"c\": null, \"d\": \"}\"}", 3);
  ASSERT_EQ(members.size(), 4u);
  EXPECT_EQ(members[0].name, "a");
  EXPECT_EQ(members[0].text, "1");
  EXPECT_EQ(members[1].line, 4);
  EXPECT_EQ(members[1].text, "{\"x\": [1,\n2]}");
  EXPECT_EQ(members[2].line, 6);
  EXPECT_TRUE(members[2].is_null);
  EXPECT_EQ(members[3].text, "\"}\"");
}

TEST(ObjectMembers, OfMalformedObjectsAreThoseBeforeTheFault) {
  EXPECT_EQ(ObjectMembers("{\"a\": 1, b: 2}", 1).size(), 1u);
  EXPECT_EQ(ObjectMembers("{\"a\" 1}", 1).size(), 0u);
  EXPECT_EQ(ObjectMembers("{\"a\": 1", 1).size(), 1u);
  EXPECT_EQ(ObjectMembers("{", 1).size(), 0u);
  EXPECT_EQ(ObjectMembers("{\"", 1).size(), 0u);
}

}  // namespace
}  // namespace sheaf::query
