#include "serve/json_parameters.h"

#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/hex.h"

namespace sheaf::serve {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using ScalarPtr = std::shared_ptr<arrow::Scalar>;

ScalarPtr Read(const std::string& text) {
  const auto parameter = ReadJsonParameter(json::parse(text), 0);
  EXPECT_TRUE(parameter.ok()) << text << ": " << parameter.status().ToString();
  return parameter.ok() && std::holds_alternative<ScalarPtr>(*parameter) ? std::get<ScalarPtr>(*parameter) : nullptr;
}

/// Bytes as hex.
std::string TextOf(const arrow::Scalar& scalar) {
  const bool bytes = scalar.type->id() == arrow::Type::BINARY || scalar.type->id() == arrow::Type::FIXED_SIZE_BINARY;
  return bytes ? ToHex(static_cast<const arrow::BaseBinaryScalar&>(scalar).view()) : scalar.ToString();
}

TEST(JsonParameters, OfEachType) {
  const struct {
    const char* type;
    const char* value;
    const char* arrow_type;
    const char* text;
  } rows[] = {
      {"BOOLEAN", "true", "bool", "true"},
      {"TINYINT", "-128", "int8", "-128"},
      {"smallint", "\"300\"", "int16", "300"},
      {"INTEGER", "7", "int32", "7"},
      {"BIGINT", "\"-9223372036854775808\"", "int64", "-9223372036854775808"},
      {"UBIGINT", "18446744073709551615", "uint64", "18446744073709551615"},
      {"FLOAT", "1.5", "float", "1.5"},
      {"DOUBLE", "1e300", "double", "1e+300"},
      {"DECIMAL(18, 6)", "\"-12.340001\"", "decimal128(18, 6)", "-12.340001"},
      {"DECIMAL(38,0)", "\"99999999999999999999999999999999999999\"", "decimal128(38, 0)",
       "99999999999999999999999999999999999999"},
      {"VARCHAR", "\"ä\"", "string", "ä"},
      {"BLOB", "\"AP8=\"", "binary", "00ff"},
      {"DATE", "\"2026-11-30\"", "date32[day]", "2026-11-30"},
      {"TIME", "\"12:34:56.000001\"", "time64[us]", "12:34:56.000001"},
      {"TIMESTAMP", "\"2026-11-30 12:00:00.5\"", "timestamp[us]", "2026-11-30 12:00:00.500000"},
      {"TIMESTAMP_S", "\"2026-11-30T12:00:00\"", "timestamp[s]", "2026-11-30 12:00:00"},
      {"TIMESTAMP_NS", "\"2026-11-30T12:00:00.000000001\"", "timestamp[ns]", "2026-11-30 12:00:00.000000001"},
      {"TIMESTAMPTZ", "\"2026-11-30T12:00:00Z\"", "timestamp[us, tz=UTC]", "2026-11-30 12:00:00.000000Z"},
      {"TRACE_ID", "\"4bf92f3577b34da6a3ce929d0e0e473A\"", "fixed_size_binary[16]", "4bf92f3577b34da6a3ce929d0e0e473a"},
      {"SPAN_ID", "\"00f067aa0ba902b7\"", "fixed_size_binary[8]", "00f067aa0ba902b7"},
      {"BIGINT[]", "[1, null, \"3\"]", "list<item: int64>", "list<item: int64>[1, null, 3]"},
      {"DATE[]", "[]", "list<item: date32[day]>", "list<item: date32[day]>[]"},
      {"DATE", "null", "date32[day]", "null"},
      {"VARCHAR[]", "null", "list<item: string>", "null"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.type);
    const ScalarPtr scalar = Read(std::string("{\"type\": \"") + row.type + "\", \"value\": " + row.value + "}");
    ASSERT_NE(scalar, nullptr);
    EXPECT_EQ(scalar->type->ToString(), row.arrow_type);
    EXPECT_EQ(TextOf(*scalar), row.text);
    EXPECT_TRUE(scalar->ValidateFull().ok());
  }
}

TEST(JsonParameters, ArraysWithoutATypeAreOfTheKindOfTheirValues) {
  EXPECT_EQ(Read("[1, null, 2]")->type->ToString(), "list<item: int64>");
  EXPECT_EQ(Read("[1, 2.5, 3]")->ToString(), "list<item: double>[1, 2.5, 3]");
  EXPECT_EQ(Read("[2.5, 1]")->type->ToString(), "list<item: double>");
  EXPECT_EQ(Read("[\"a\", null]")->type->ToString(), "list<item: string>");
  EXPECT_EQ(Read("[true, false]")->type->ToString(), "list<item: bool>");
}

TEST(JsonParameters, PlainValuesStayPlain) {
  EXPECT_EQ(ReadJsonParameter(json::parse("-5"), 0).ValueOrDie(), query::Parameter(int64_t{-5}));
  EXPECT_EQ(ReadJsonParameter(json::parse("null"), 0).ValueOrDie(), query::Parameter());
  EXPECT_EQ(ReadJsonParameter(json::parse("\"x\""), 0).ValueOrDie(), query::Parameter(std::string("x")));
}

TEST(JsonParameters, SayWhatIsWrong) {
  const struct {
    const char* value;
    const char* message;
  } rows[] = {
      {"18446744073709551615", "params[3] must be"},
      {"{}", "params[3] must be"},
      {R"j({"type": "DATE"})j", "params[3] must be"},
      {R"j({"type": 1, "value": 2})j", "params[3] must be"},
      {R"j({"type": "DATE", "value": "1", "more": 1})j", "params[3] must be"},
      {R"j({"type": "MONEY", "value": 1})j", "unknown type 'MONEY'; known are boolean"},
      {R"j({"type": "DECIMAL(39,0)", "value": 1})j", "unknown type"},
      {R"j({"type": "DECIMAL(3,4)", "value": 1})j", "unknown type"},
      {R"j({"type": "DECIMAL(3", "value": 1})j", "unknown type"},
      {R"j({"type": "TINYINT", "value": 300})j", "params[3] is no TINYINT"},
      {R"j({"type": "INTEGER", "value": 1.5})j", "params[3] is no INTEGER"},
      {R"j({"type": "DECIMAL(4,2)", "value": "1.234"})j", "params[3] is no DECIMAL(4,2)"},
      {R"j({"type": "DECIMAL(38,0)", "value": "999999999999999999999999999999999999999"})j", "has more than 38 digits"},
      {R"j({"type": "DATE", "value": "2026-13-01"})j", "params[3] is no DATE"},
      {R"j({"type": "TIMESTAMP", "value": "2026-01-01 00:00:00.1234567"})j", "params[3] is no TIMESTAMP"},
      {R"j({"type": "BLOB", "value": "***"})j", "params[3] must be base64"},
      {R"j({"type": "SPAN_ID", "value": "00"})j", "params[3] must be 16 hex digits"},
      {R"j({"type": "BIGINT[]", "value": 1})j", "must be an array"},
      {R"j({"type": "BIGINT", "value": [1]})j", "must be no array"},
      {R"j({"type": "BIGINT[]", "value": [1, "x"]})j", "params[3][1] is no BIGINT[]"},
      {R"j({"type": "BIGINT[]", "value": [[1]]})j", "params[3][0] is no value of type BIGINT[]"},
      {"[]", "say it: {\"type\": \"BIGINT[]\""},
      {"[null]", "say it"},
      {"[1, \"a\"]", "params[3][1] is of another kind"},
      {"[true, 1]", "params[3][1] is of another kind"},
      {"[[1]]", "params[3][0] is of another kind than the values before it, or nested"},
  };
  for (const auto& row : rows) {
    const auto parameter = ReadJsonParameter(json::parse(row.value), 3);
    ASSERT_FALSE(parameter.ok()) << row.value;
    EXPECT_EQ(KindOf(parameter.status()), ErrorKind::kInvalid) << row.value;
    EXPECT_THAT(parameter.status().message(), HasSubstr(row.message)) << row.value;
  }
  const json many = {{"type", "BIGINT[]"}, {"value", std::vector<int>(kArrayValuesMax + 1, 1)}};
  EXPECT_EQ(KindOf(ReadJsonParameter(many, 0).status()), ErrorKind::kTooLarge);
}

}  // namespace
}  // namespace sheaf::serve
