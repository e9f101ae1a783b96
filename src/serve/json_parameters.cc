#include "serve/json_parameters.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <arrow/array/array_binary.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/compute/cast.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "columns/decimal_texts.h"
#include "core/hex.h"
#include "wire/base64.h"
#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

using nlohmann::json;
using TypePtr = std::shared_ptr<arrow::DataType>;

constexpr int kDecimalDigitsMax = 38;
constexpr int kTraceIdBytes = 16, kSpanIdBytes = 8;

struct TypeName {
  std::string_view name;
  TypePtr type;
};

const std::vector<TypeName>& TypeNames() {
  static const std::vector<TypeName> names = {
      {"boolean", arrow::boolean()},
      {"tinyint", arrow::int8()},
      {"smallint", arrow::int16()},
      {"integer", arrow::int32()},
      {"bigint", arrow::int64()},
      {"utinyint", arrow::uint8()},
      {"usmallint", arrow::uint16()},
      {"uinteger", arrow::uint32()},
      {"ubigint", arrow::uint64()},
      {"float", arrow::float32()},
      {"double", arrow::float64()},
      {"varchar", arrow::utf8()},
      {"blob", arrow::binary()},
      {"date", arrow::date32()},
      {"time", arrow::time64(arrow::TimeUnit::MICRO)},
      {"timestamp", arrow::timestamp(arrow::TimeUnit::MICRO)},
      {"timestamp_s", arrow::timestamp(arrow::TimeUnit::SECOND)},
      {"timestamp_ms", arrow::timestamp(arrow::TimeUnit::MILLI)},
      {"timestamp_ns", arrow::timestamp(arrow::TimeUnit::NANO)},
      {"timestamptz", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")},
      {"trace_id", arrow::fixed_size_binary(kTraceIdBytes)},
      {"span_id", arrow::fixed_size_binary(kSpanIdBytes)},
  };
  return names;
}

/// "decimal(18,6)" to its type.
std::optional<TypePtr> DecimalOf(std::string_view name) {
  if (!name.starts_with("decimal(") || !name.ends_with(')')) return std::nullopt;
  const char* const end = name.data() + name.size() - 1;
  int precision = 0, scale = 0;
  auto read = std::from_chars(name.data() + 8, end, precision);
  if (read.ec != std::errc() || read.ptr == end || *read.ptr != ',') return std::nullopt;
  read = std::from_chars(read.ptr + 1, end, scale);
  const bool whole = read.ec == std::errc() && read.ptr == end;
  if (!whole || precision < 1 || precision > kDecimalDigitsMax || scale < 0 || scale > precision) return std::nullopt;
  return arrow::decimal128(precision, scale);
}

/// A type by its name in lower case, without spaces; no list.
std::optional<TypePtr> FindType(std::string_view name) {
  for (const TypeName& known : TypeNames()) {
    if (known.name == name) return known.type;
  }
  return DecimalOf(name);
}

/// Where in a request a value stands, for errors.
struct Place {
  size_t parameter;
  std::optional<size_t> element;  // Of an array.

  std::string ToString() const {
    return element ? fmt::format("params[{}][{}]", parameter, *element) : fmt::format("params[{}]", parameter);
  }
};

/// What a JSON value says as text; nothing for arrays and objects.
std::optional<std::string> TextOf(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean() || value.is_number()) return value.dump();
  return std::nullopt;
}

/// The bytes of a text: base64 of BLOB, hex of ids.
std::optional<std::string> BytesOf(const std::string& text, const arrow::DataType& type) {
  if (type.id() == arrow::Type::BINARY) return wire::FromBase64(text);
  std::optional<std::string> bytes = FromHex(wire::LowerCase(text));
  const auto width = static_cast<size_t>(static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width());
  return bytes && bytes->size() == width ? bytes : std::nullopt;
}

/// Arrow's cast has no times of day.
Result<std::shared_ptr<arrow::Array>> ConvertTimes(const arrow::StringArray& texts, const TypePtr& type) {
  arrow::Time64Builder builder(type, arrow::default_memory_pool());
  for (int64_t i = 0; i < texts.length(); ++i) {
    if (texts.IsNull(i)) {
      SHEAF_RETURN_NOT_OK(builder.AppendNull());
      continue;
    }
    SHEAF_ASSIGN_OR_RETURN(const auto time, arrow::Scalar::Parse(type, texts.GetView(i)));
    SHEAF_RETURN_NOT_OK(builder.Append(static_cast<const arrow::Time64Scalar&>(*time).value));
  }
  return builder.Finish();
}

/// Texts to values of `type`, exactly.
Result<std::shared_ptr<arrow::Array>> Convert(const std::shared_ptr<arrow::Array>& texts, const TypePtr& type) {
  if (type->id() == arrow::Type::TIME64) return ConvertTimes(static_cast<const arrow::StringArray&>(*texts), type);
  if (arrow::is_decimal(type->id())) SHEAF_RETURN_NOT_OK(columns::CheckDecimalTexts(*texts));
  const auto cast = arrow::compute::Cast(arrow::Datum(texts), arrow::compute::CastOptions::Safe(type));
  if (!cast.ok()) return cast.status();
  return cast->make_array();
}

/// One value or the elements of an array, as an array of `type`. `type_name` as the client wrote it.
Result<std::shared_ptr<arrow::Array>> ReadValues(const json& values, const TypePtr& type, const std::string& type_name,
                                                 Place place) {
  const bool list = values.is_array();
  const size_t count = list ? values.size() : 1;
  const bool bytes = type->id() == arrow::Type::BINARY || type->id() == arrow::Type::FIXED_SIZE_BINARY;
  arrow::StringBuilder text_builder;
  arrow::BinaryBuilder bytes_builder;
  arrow::BinaryBuilder& builder = bytes ? bytes_builder : text_builder;
  for (size_t i = 0; i < count; ++i) {
    const json& value = list ? values[i] : values;
    if (list) place.element = i;
    if (value.is_null()) {
      SHEAF_RETURN_NOT_OK(builder.AppendNull());
      continue;
    }
    std::optional<std::string> text = TextOf(value);
    if (!text)
      return MakeError(ErrorKind::kInvalid, "{} is no value of type {}: arrays and objects have none", place.ToString(),
                       type_name);
    if (bytes) {
      text = BytesOf(*text, *type);
      if (!text) {
        return MakeError(
            ErrorKind::kInvalid, "{} must be {}", place.ToString(),
            type->id() == arrow::Type::BINARY ? std::string("base64") : fmt::format("{} hex digits", 2 * type->bit_width() / 8));
      }
    }
    SHEAF_RETURN_NOT_OK(builder.Append(*text));
  }
  SHEAF_ASSIGN_OR_RETURN(const auto texts, builder.Finish());
  if (texts->type()->Equals(type)) return texts;
  auto converted = Convert(texts, type);
  if (converted.ok()) return converted;
  // Once more, one by one, to name the one that is wrong.
  for (int64_t i = 0; list && i < texts->length(); ++i) {
    place.element = static_cast<size_t>(i);
    if (auto one = Convert(texts->Slice(i, 1), type); !one.ok()) {
      return MakeError(ErrorKind::kInvalid, "{} is no {}: {}", place.ToString(), type_name, one.status().message());
    }
  }
  return MakeError(ErrorKind::kInvalid, "{} is no {}: {}", place.ToString(), type_name, converted.status().message());
}

Result<query::Parameter> ReadOfType(const json& value, std::string type_name, size_t index) {
  std::string name = wire::LowerCase(type_name);
  std::erase(name, ' ');
  const bool list = name.ends_with("[]");
  if (list) name.resize(name.size() - 2);
  const std::optional<TypePtr> type = FindType(name);
  if (!type) {
    std::string known;
    for (const TypeName& each : TypeNames()) known += std::string(each.name) + ", ";
    return MakeError(ErrorKind::kInvalid,
                     "params[{}] has the unknown type '{}'; known are {}decimal(p,s), and these with [] behind", index,
                     type_name.substr(0, 64), known);
  }
  const TypePtr whole = list ? arrow::list(*type) : *type;
  if (value.is_null()) return query::Parameter(arrow::MakeNullScalar(whole));
  if (list != value.is_array()) {
    return MakeError(ErrorKind::kInvalid, "params[{}] of type {} must be {}", index, type_name, list ? "an array" : "no array");
  }
  if (list && value.size() > kArrayValuesMax) {
    return MakeError(ErrorKind::kTooLarge, "params[{}] has {} values; at most {}", index, value.size(), kArrayValuesMax);
  }
  SHEAF_ASSIGN_OR_RETURN(const auto values, ReadValues(value, *type, type_name, {index, std::nullopt}));
  if (list) return query::Parameter(std::shared_ptr<arrow::Scalar>(std::make_shared<arrow::ListScalar>(values)));
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Scalar> scalar, values->GetScalar(0));
  return query::Parameter(std::move(scalar));
}

/// The type that fits all elements of an array without one.
Result<std::string> TypeOfElements(const json& array, size_t index) {
  std::string type;
  for (size_t i = 0; i < array.size(); ++i) {
    const json& value = array[i];
    if (value.is_null()) continue;
    std::string here;
    if (value.is_boolean()) here = "boolean";
    if (value.is_string()) here = "varchar";
    if (value.is_number()) here = value.is_number_float() ? "double" : "bigint";
    if (type == "bigint" && here == "double") type = here;
    if (type == "double" && here == "bigint") here = type;
    if (type.empty()) type = here;
    if (here.empty() || here != type) {
      return MakeError(ErrorKind::kInvalid, "params[{}][{}] is of another kind than the values before it, or nested", index, i);
    }
  }
  if (!type.empty()) return type + "[]";
  return MakeError(ErrorKind::kInvalid,
                   "params[{}] has no value that shows its type; say it: {{\"type\": \"BIGINT[]\", \"value\": []}}", index);
}

bool IsTyped(const json& value) {
  return value.is_object() && value.size() == 2 && value.contains("type") && value.contains("value") && value["type"].is_string();
}

}  // namespace

Result<query::Parameter> ReadJsonParameter(const json& value, size_t index) {
  switch (value.type()) {
    case json::value_t::null: return query::Parameter();
    case json::value_t::boolean: return query::Parameter(value.get<bool>());
    case json::value_t::number_integer: return query::Parameter(value.get<int64_t>());
    case json::value_t::number_unsigned:
      if (value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) break;
      return query::Parameter(value.get<int64_t>());
    case json::value_t::number_float: return query::Parameter(value.get<double>());
    case json::value_t::string: return query::Parameter(value.get<std::string>());
    case json::value_t::array: {
      SHEAF_ASSIGN_OR_RETURN(std::string type, TypeOfElements(value, index));
      return ReadOfType(value, std::move(type), index);
    }
    case json::value_t::object:
      if (IsTyped(value)) return ReadOfType(value["value"], value["type"].get<std::string>(), index);
      break;
    default: break;
  }
  return MakeError(ErrorKind::kInvalid,
                   "params[{}] must be null, true, false, a text, a number of 64 bits with sign, an array of these, or "
                   "{{\"type\": \"DECIMAL(18,6)\", \"value\": …}}",
                   index);
}

}  // namespace sheaf::serve
