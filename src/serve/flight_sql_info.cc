/// What Sheaf can do, as CommandGetSqlInfo asks for it. Numbers and meanings are those of the enum SqlInfo in Arrow's
/// format/FlightSql.proto; a test holds the lists of functions against the engine.

#include <algorithm>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <arrow/array.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_nested.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_union.h>
#include <arrow/util/config.h>

#include "serve/flight_metadata.h"
#include "serve/prepared_statements.h"

namespace sheaf::serve {
namespace {

using Texts = std::vector<std::string>;
using Conversions = std::map<int32_t, std::vector<int32_t>>;
using Value = std::variant<std::string, bool, int64_t, int32_t, Texts, Conversions>;  // In the order of the union's children.

struct Info {
  uint32_t number;
  Value value;
};

Info Number(uint32_t number, int64_t value) { return {number, value}; }
Info Bits(uint32_t number, int32_t value) { return {number, value}; }
Info Flag(uint32_t number, bool value) { return {number, value}; }
Info Text(uint32_t number, const char* value) { return {number, std::string(value)}; }

/// As the enum SqlSupportsConvert numbers types: numbers, truth values and text become one another; times become text and back.
Conversions MakeConversions() {
  enum : int32_t {
    kBigint = 0,
    kBinary = 1,
    kBit = 2,
    kChar = 3,
    kDate = 4,
    kDecimal = 5,
    kFloat = 6,
    kInteger = 7,
    kNumeric = 12,
    kReal = 13,
    kSmallint = 14,
    kTime = 15,
    kTimestamp = 16,
    kTinyint = 17,
    kVarbinary = 18,
    kVarchar = 19
  };
  const std::vector<int32_t> values = {kBigint,  kBit,  kChar,     kDecimal, kFloat,  kInteger,
                                       kNumeric, kReal, kSmallint, kTinyint, kVarchar};
  Conversions conversions;
  for (const int32_t from : values) conversions[from] = values;
  for (const int32_t text : {kChar, kVarchar}) {
    for (const int32_t to : {kDate, kTime, kTimestamp, kBinary, kVarbinary}) conversions[text].push_back(to);
  }
  conversions[kDate] = {kChar, kDate, kTimestamp, kVarchar};
  conversions[kTime] = {kChar, kTime, kVarchar};
  conversions[kTimestamp] = {kChar, kDate, kTime, kTimestamp, kVarchar};
  conversions[kBinary] = conversions[kVarbinary] = {kBinary, kChar, kVarbinary, kVarchar};
  for (auto& [from, to] : conversions) std::sort(to.begin(), to.end());
  return conversions;
}

void AddServer(std::vector<Info>* all) {
  const PreparedLimits limits;
  all->insert(all->end(), {
                              Text(0, "Sheaf"),
                              Text(1, SHEAF_VERSION),
                              Text(2, ARROW_VERSION_STRING),
                              Flag(3, false),   // Read-only.
                              Flag(4, true),    // SQL.
                              Flag(5, false),   // Substrait: no versions (6, 7) either.
                              Bits(8, 0),       // No transactions…
                              Flag(9, true),    // Cancelling.
                              Flag(10, true),   // Bulk ingest…
                              Flag(11, false),  // …outside transactions.
                              Bits(100, static_cast<int32_t>(limits.idle_max.count())),
                              Bits(101, 0),
                          });
}

void AddSyntax(std::vector<Info>* all) {
  all->insert(all->end(),
              {
                  Flag(500, false),  // CREATE CATALOG.
                  Flag(501, false),  // CREATE SCHEMA: a schema is there with its first table.
                  Flag(502, true),   // CREATE TABLE.
                  Bits(503, 1),
                  Text(504, "\""),
                  Bits(505, 1),     // The case of names does not count, quoted or not.
                  Flag(506, true),  // All tables can be read.
                  Bits(507, 3),     // NULLs come last.
                  {508, Texts{"ANTI", "ASOF", "ATTACH", "DESCRIBE", "EXCLUDE", "ILIKE", "LAMBDA", "MACRO", "PIVOT", "POSITIONAL",
                              "PRAGMA", "QUALIFY", "REPLACE", "SEMI", "SHOW", "STRUCT", "SUMMARIZE", "UNPIVOT"}},
                  {509, Texts{"ABS",    "ACOS",  "ASIN", "ATAN", "ATAN2", "CEILING", "COS",  "COT",   "DEGREES",
                              "EXP",    "FLOOR", "LN",   "LOG",  "LOG10", "MOD",     "PI",   "POWER", "RADIANS",
                              "RANDOM", "ROUND", "SIGN", "SIN",  "SQRT",  "TAN",     "TRUNC"}},
                  {510, Texts{"ASCII", "CHR", "CONCAT", "LCASE", "LEFT", "LENGTH", "LOWER", "LTRIM", "REPEAT", "REPLACE",
                              "REVERSE", "RIGHT", "RTRIM", "SUBSTRING", "TRIM", "UCASE", "UPPER"}},
                  {511, Texts{"CURRENT_DATABASE", "CURRENT_SCHEMA", "TYPEOF", "VERSION"}},
                  {512, Texts{"DATE_DIFF", "DATE_PART", "DATE_TRUNC", "DAY", "DAYNAME", "DAYOFMONTH", "DAYOFWEEK", "DAYOFYEAR",
                              "HOUR", "MINUTE", "MONTH", "MONTHNAME", "NOW", "QUARTER", "SECOND", "TIME_BUCKET", "WEEK", "YEAR"}},
                  Text(513, "\\"),
                  Text(514, ""),
                  Flag(515, true),
                  Flag(516, true),
                  {517, MakeConversions()},
                  Flag(518, true),
                  Flag(519, false),
                  Flag(520, true),
                  Flag(521, true),
                  Bits(522, 3),
                  Flag(523, true),
                  Flag(524, true),
                  Bits(525, 7),
                  Bits(526, 1),
                  Flag(527, false),
                  Bits(528, 2),
                  Text(529, "schema"),
                  Text(530, ""),
                  Text(531, "catalog"),
                  Flag(532, true),
                  Bits(533, 0),
                  Bits(534, 0),
                  Bits(535, 0),
                  Flag(536, false),
                  Flag(537, false),
                  Bits(538, 15),
                  Flag(539, true),
                  Bits(540, 3),
              });
}

void AddLimits(const SqlInfoLimits& limits, std::vector<Info>* all) {
  for (uint32_t number = 541; number <= 555; ++number) all->push_back(Number(number, 0));  // No limit that could be told.
  all->insert(all->end(), {
                              Flag(556, true),  Number(557, limits.sql_bytes), Number(558, limits.prepared_statements),
                              Number(559, 0),   Number(560, 0),   Number(561, 0),
                              Bits(562, 0),     Flag(563, false), Bits(564, 1),
                              Flag(565, false), Flag(566, false),  // No transactions.
                              Bits(567, 2),     Bits(568, 0),     Bits(569, 2),
                              Bits(570, 0),     Bits(571, 0),  // Results are read once, forward.
                              Flag(572, true),  Flag(573, false), Flag(574, false),
                              Flag(575, false), Flag(576, false),
                          });
}

std::vector<Info> AllInfos(const SqlInfoLimits& limits) {
  std::vector<Info> all;
  AddServer(&all);
  AddSyntax(&all);
  AddLimits(limits, &all);
  return all;
}

std::shared_ptr<arrow::DataType> ValueType() {
  return arrow::dense_union(
      {arrow::field("string_value", arrow::utf8(), false), arrow::field("bool_value", arrow::boolean(), false),
       arrow::field("bigint_value", arrow::int64(), false), arrow::field("int32_bitmask", arrow::int32(), false),
       arrow::field("string_list", arrow::list(arrow::utf8()), false),
       arrow::field("int32_to_int32_list_map", arrow::map(arrow::int32(), arrow::list(arrow::int32())), false)});
}

/// Appends values to the children of the union.
struct Appender {
  arrow::DenseUnionBuilder* all;

  template <typename Builder>
  Builder* Child() const {
    return static_cast<Builder*>(all->child(index));
  }
  Status operator()(const std::string& value) const { return Child<arrow::StringBuilder>()->Append(value); }
  Status operator()(bool value) const { return Child<arrow::BooleanBuilder>()->Append(value); }
  Status operator()(int64_t value) const { return Child<arrow::Int64Builder>()->Append(value); }
  Status operator()(int32_t value) const { return Child<arrow::Int32Builder>()->Append(value); }
  Status operator()(const Texts& values) const {
    auto* const list = Child<arrow::ListBuilder>();
    SHEAF_RETURN_NOT_OK(list->Append());
    return static_cast<arrow::StringBuilder*>(list->value_builder())->AppendValues(values);
  }
  Status operator()(const Conversions& values) const {
    auto* const map = Child<arrow::MapBuilder>();
    SHEAF_RETURN_NOT_OK(map->Append());
    auto* const lists = static_cast<arrow::ListBuilder*>(map->item_builder());
    for (const auto& [from, to] : values) {
      SHEAF_RETURN_NOT_OK(static_cast<arrow::Int32Builder*>(map->key_builder())->Append(from));
      SHEAF_RETURN_NOT_OK(lists->Append());
      SHEAF_RETURN_NOT_OK(static_cast<arrow::Int32Builder*>(lists->value_builder())->AppendValues(to));
    }
    return Status::OK();
  }

  int index = 0;
};

}  // namespace

std::shared_ptr<arrow::Schema> SqlInfoSchema() {
  return arrow::schema({arrow::field("info_name", arrow::uint32(), false), arrow::field("value", ValueType(), false)});
}

Result<std::shared_ptr<arrow::RecordBatch>> SqlInfoBatch(std::span<const uint32_t> asked, const SqlInfoLimits& limits) {
  arrow::UInt32Builder numbers;
  std::unique_ptr<arrow::ArrayBuilder> made;
  SHEAF_RETURN_NOT_OK(arrow::MakeBuilder(arrow::default_memory_pool(), ValueType(), &made));
  auto* const values = static_cast<arrow::DenseUnionBuilder*>(made.get());
  for (const Info& info : AllInfos(limits)) {
    if (!asked.empty() && std::find(asked.begin(), asked.end(), info.number) == asked.end()) continue;
    SHEAF_RETURN_NOT_OK(numbers.Append(info.number));
    SHEAF_RETURN_NOT_OK(values->Append(static_cast<int8_t>(info.value.index())));
    SHEAF_RETURN_NOT_OK(std::visit(Appender{values, static_cast<int>(info.value.index())}, info.value));
  }
  SHEAF_ASSIGN_OR_RETURN(const auto number_array, numbers.Finish());
  SHEAF_ASSIGN_OR_RETURN(const auto value_array, values->Finish());
  return arrow::RecordBatch::Make(SqlInfoSchema(), number_array->length(), {number_array, value_array});
}

}  // namespace sheaf::serve
