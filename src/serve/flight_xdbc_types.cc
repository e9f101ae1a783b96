/// The types of SQL, as CommandGetXdbcTypeInfo asks for them; numbers are those of ODBC and JDBC.

#include <optional>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_nested.h>
#include <arrow/array/builder_primitive.h>

#include "serve/flight_metadata.h"

namespace sheaf::serve {
namespace {

struct Type {
  const char* name;
  int32_t number;     // XdbcDataType.
  int32_t size;       // Digits, bits of a float, characters; 0: does not apply.
  const char* quote;  // Before and after a literal; null: none.
  bool decimal_parameters;
  bool is_text;
  std::optional<bool> is_unsigned;  // Of numbers.
  std::optional<int32_t> scale_min, scale_max;
  int32_t sql_number;                // XdbcDataType again, the times as one.
  std::optional<int32_t> time_code;  // XdbcDatetimeSubcode.
  std::optional<int32_t> radix;
};

constexpr int32_t kDateTime = 9;

// By number, then by name.
constexpr Type kTypes[] = {
    {"BOOLEAN", -7, 1, nullptr, false, false, {}, {}, {}, -7, {}, {}},
    {"TINYINT", -6, 3, nullptr, false, false, false, 0, 0, -6, {}, 10},
    {"UTINYINT", -6, 3, nullptr, false, false, true, 0, 0, -6, {}, 10},
    {"BIGINT", -5, 19, nullptr, false, false, false, 0, 0, -5, {}, 10},
    {"UBIGINT", -5, 20, nullptr, false, false, true, 0, 0, -5, {}, 10},
    {"BLOB", -3, 0, "'", false, false, {}, {}, {}, -3, {}, {}},
    {"DECIMAL", 3, 38, nullptr, true, false, false, 0, 38, 3, {}, 10},
    {"HUGEINT", 3, 38, nullptr, false, false, false, 0, 0, 3, {}, 10},
    {"INTEGER", 4, 10, nullptr, false, false, false, 0, 0, 4, {}, 10},
    {"UINTEGER", 4, 10, nullptr, false, false, true, 0, 0, 4, {}, 10},
    {"SMALLINT", 5, 5, nullptr, false, false, false, 0, 0, 5, {}, 10},
    {"USMALLINT", 5, 5, nullptr, false, false, true, 0, 0, 5, {}, 10},
    {"FLOAT", 7, 24, nullptr, false, false, false, {}, {}, 7, {}, 2},
    {"DOUBLE", 8, 53, nullptr, false, false, false, {}, {}, 8, {}, 2},
    {"VARCHAR", 12, 0, "'", false, true, {}, {}, {}, 12, {}, {}},
    {"DATE", 91, 10, "'", false, false, {}, {}, {}, kDateTime, 1, {}},
    {"TIME", 92, 15, "'", false, false, {}, 0, 6, kDateTime, 2, {}},
    {"TIMESTAMP", 93, 26, "'", false, false, {}, 0, 6, kDateTime, 3, {}},
    {"TIMESTAMP WITH TIME ZONE", 93, 32, "'", false, false, {}, 0, 6, kDateTime, 5, {}},
    {"TIMESTAMP_NS", 93, 29, "'", false, false, {}, 0, 9, kDateTime, 3, {}},
};

/// Appends a value, or NULL where there is none.
template <typename Builder, typename Value>
Status Append(Builder* builder, const std::optional<Value>& value) {
  return value ? builder->Append(*value) : builder->AppendNull();
}

std::optional<std::string> TextOf(const char* text) { return text != nullptr ? std::optional<std::string>(text) : std::nullopt; }

Status AppendType(const Type& type, const std::vector<std::unique_ptr<arrow::ArrayBuilder>>& columns) {
  const auto numbers = [&](int i) { return static_cast<arrow::Int32Builder*>(columns[static_cast<size_t>(i)].get()); };
  const auto texts = [&](int i) { return static_cast<arrow::StringBuilder*>(columns[static_cast<size_t>(i)].get()); };
  const auto flags = [&](int i) { return static_cast<arrow::BooleanBuilder*>(columns[static_cast<size_t>(i)].get()); };
  SHEAF_RETURN_NOT_OK(texts(0)->Append(type.name));
  SHEAF_RETURN_NOT_OK(numbers(1)->Append(type.number));
  SHEAF_RETURN_NOT_OK(Append(numbers(2), type.size > 0 ? std::optional(type.size) : std::nullopt));
  SHEAF_RETURN_NOT_OK(Append(texts(3), TextOf(type.quote)));
  SHEAF_RETURN_NOT_OK(Append(texts(4), TextOf(type.quote)));
  auto* const parameters = static_cast<arrow::ListBuilder*>(columns[5].get());
  SHEAF_RETURN_NOT_OK(type.decimal_parameters ? parameters->Append() : parameters->AppendNull());
  if (type.decimal_parameters) {
    SHEAF_RETURN_NOT_OK(static_cast<arrow::StringBuilder*>(parameters->value_builder())->AppendValues({"precision", "scale"}));
  }
  SHEAF_RETURN_NOT_OK(numbers(6)->Append(1));  // NULLs are allowed,
  SHEAF_RETURN_NOT_OK(flags(7)->Append(type.is_text));
  SHEAF_RETURN_NOT_OK(numbers(8)->Append(type.is_text ? 3 : 2));  // any operator of WHERE is, LIKE only of text.
  SHEAF_RETURN_NOT_OK(Append(flags(9), type.is_unsigned));
  SHEAF_RETURN_NOT_OK(flags(10)->Append(type.scale_min == type.scale_max && type.scale_min.has_value()));
  SHEAF_RETURN_NOT_OK(Append(flags(11), type.is_unsigned ? std::optional(false) : std::nullopt));
  SHEAF_RETURN_NOT_OK(texts(12)->Append(type.name));
  SHEAF_RETURN_NOT_OK(Append(numbers(13), type.scale_min));
  SHEAF_RETURN_NOT_OK(Append(numbers(14), type.scale_max));
  SHEAF_RETURN_NOT_OK(numbers(15)->Append(type.sql_number));
  SHEAF_RETURN_NOT_OK(Append(numbers(16), type.time_code));
  SHEAF_RETURN_NOT_OK(Append(numbers(17), type.radix));
  return numbers(18)->AppendNull();
}

}  // namespace

std::shared_ptr<arrow::Schema> XdbcTypesSchema() {
  using arrow::field;
  const auto text = arrow::utf8(), number = arrow::int32(), flag = arrow::boolean();
  return arrow::schema({field("type_name", text, false), field("data_type", number, false), field("column_size", number),
                        field("literal_prefix", text), field("literal_suffix", text),
                        field("create_params", arrow::list(field("item", text, false))), field("nullable", number, false),
                        field("case_sensitive", flag, false), field("searchable", number, false),
                        field("unsigned_attribute", flag), field("fixed_prec_scale", flag, false), field("auto_increment", flag),
                        field("local_type_name", text), field("minimum_scale", number), field("maximum_scale", number),
                        field("sql_data_type", number, false), field("datetime_subcode", number), field("num_prec_radix", number),
                        field("interval_precision", number)});
}

Result<std::shared_ptr<arrow::RecordBatch>> XdbcTypesBatch(std::optional<int32_t> asked) {
  const auto schema = XdbcTypesSchema();
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> columns(static_cast<size_t>(schema->num_fields()));
  for (int i = 0; i < schema->num_fields(); ++i) {
    SHEAF_RETURN_NOT_OK(
        arrow::MakeBuilder(arrow::default_memory_pool(), schema->field(i)->type(), &columns[static_cast<size_t>(i)]));
  }
  for (const Type& type : kTypes) {
    if (!asked || *asked == type.number) SHEAF_RETURN_NOT_OK(AppendType(type, columns));
  }
  arrow::ArrayVector arrays;
  for (const auto& column : columns) {
    SHEAF_ASSIGN_OR_RETURN(auto array, column->Finish());
    arrays.push_back(std::move(array));
  }
  const int64_t rows = arrays.front()->length();
  return arrow::RecordBatch::Make(schema, rows, std::move(arrays));
}

}  // namespace sheaf::serve
