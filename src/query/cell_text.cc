#include "query/cell_text.h"

#include <array>
#include <cmath>

#include <arrow/type.h>
#include <arrow/util/base64.h>
#include <arrow/util/decimal.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>

#include "core/hex.h"

namespace sheaf::query {

namespace {

void AppendPadded(uint64_t value, int digits, std::string* out) {
  char text[20];
  for (int i = digits - 1; i >= 0; --i, value /= 10) text[i] = static_cast<char>('0' + value % 10);
  out->append(text, static_cast<size_t>(digits));
}

/// Appends year-month-day of a day counted from 1970-01-01 (proleptic Gregorian calendar).
void AppendDay(int64_t day, std::string* out) {
  day += 719'468;  // Days from 0000-03-01, where years end with their leap day.
  const int64_t era = (day >= 0 ? day : day - 146'096) / 146'097;
  const auto of_era = static_cast<uint64_t>(day - era * 146'097);
  const uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36'524 - of_era / 146'096) / 365;
  const uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const uint64_t month_from_march = (5 * of_year + 2) / 153;
  const uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const int64_t year = static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0);
  if (year < 0) *out += '-';
  AppendPadded(static_cast<uint64_t>(std::abs(year)), year > 9999 || year < -9999 ? 6 : 4, out);
  *out += '-';
  AppendPadded(month, 2, out);
  *out += '-';
  AppendPadded(of_year - (153 * month_from_march + 2) / 5 + 1, 2, out);
}

void AppendTimeOfDay(int64_t ns, std::string* out) {
  const auto seconds = static_cast<uint64_t>(ns / 1'000'000'000);
  AppendPadded(seconds / 3600, 2, out);
  *out += ':';
  AppendPadded(seconds / 60 % 60, 2, out);
  *out += ':';
  AppendPadded(seconds % 60, 2, out);
  *out += '.';
  AppendPadded(static_cast<uint64_t>(ns % 1'000'000'000), 9, out);
}

void AppendTimestamp(int64_t value, arrow::TimeUnit::type unit, std::string* out) {
  static constexpr std::array<int64_t, 4> kPerSecond = {1, 1'000, 1'000'000, 1'000'000'000};
  const int64_t per_second = kPerSecond[static_cast<size_t>(unit)];
  int64_t seconds = value / per_second, rest = value % per_second;
  if (rest < 0) {
    rest += per_second;
    --seconds;
  }
  int64_t day = seconds / 86'400, of_day = seconds % 86'400;
  if (of_day < 0) {
    of_day += 86'400;
    --day;
  }
  AppendDay(day, out);
  *out += 'T';
  AppendTimeOfDay(of_day * 1'000'000'000 + rest * (1'000'000'000 / per_second), out);
  *out += 'Z';
}

/// ISO 8601, such as P1M2DT3.500000000S.
void AppendInterval(const arrow::MonthDayNanoIntervalType::MonthDayNanos& value, std::string* out) {
  const bool negative = value.nanoseconds < 0;
  const auto ns = negative ? 0 - static_cast<uint64_t>(value.nanoseconds) : static_cast<uint64_t>(value.nanoseconds);
  fmt::format_to(std::back_inserter(*out), "P{}M{}DT{}{}.{:09}S", value.months, value.days, negative ? "-" : "", ns / 1'000'000'000,
                 ns % 1'000'000'000);
}

/// What stands for the value in text, quoted or not: numbers and words as they are, everything else as its text.
enum class Shape { kNumber, kWord, kText, kNested };

template <typename T>
Shape AppendDouble(T value, std::string* out) {
  if (std::isnan(value)) return *out += "NaN", Shape::kText;
  if (std::isinf(value)) return *out += value > 0 ? "Infinity" : "-Infinity", Shape::kText;
  fmt::format_to(std::back_inserter(*out), "{}", value);
  return Shape::kNumber;
}

template <typename ArrayType>
Shape AppendInteger(const arrow::Array& array, int64_t row, std::string* out) {
  fmt::format_to(std::back_inserter(*out), "{}", static_cast<const ArrayType&>(array).Value(row));
  return Shape::kNumber;
}

Shape AppendDecimal(const arrow::Array& array, int64_t row, std::string* out) {
  const auto& decimals = static_cast<const arrow::Decimal128Array&>(array);
  *out += decimals.FormatValue(row);
  return static_cast<const arrow::Decimal128Type&>(*array.type()).scale() == 0 ? Shape::kNumber : Shape::kText;
}

/// Appends a value that is not nested and not text; `kNested` and `kText` of a string are left to the caller.
Shape AppendScalar(const arrow::Array& array, int64_t row, std::string* out) {
  using arrow::Type;
  switch (array.type_id()) {
    case Type::BOOL: return *out += static_cast<const arrow::BooleanArray&>(array).Value(row) ? "true" : "false", Shape::kWord;
    case Type::INT8: return AppendInteger<arrow::Int8Array>(array, row, out);
    case Type::INT16: return AppendInteger<arrow::Int16Array>(array, row, out);
    case Type::INT32: return AppendInteger<arrow::Int32Array>(array, row, out);
    case Type::INT64: return AppendInteger<arrow::Int64Array>(array, row, out);
    case Type::UINT8: return AppendInteger<arrow::UInt8Array>(array, row, out);
    case Type::UINT16: return AppendInteger<arrow::UInt16Array>(array, row, out);
    case Type::UINT32: return AppendInteger<arrow::UInt32Array>(array, row, out);
    case Type::UINT64: return AppendInteger<arrow::UInt64Array>(array, row, out);
    case Type::FLOAT: return AppendDouble(static_cast<const arrow::FloatArray&>(array).Value(row), out);
    case Type::DOUBLE: return AppendDouble(static_cast<const arrow::DoubleArray&>(array).Value(row), out);
    case Type::DECIMAL128: return AppendDecimal(array, row, out);
    case Type::DATE32: return AppendDay(static_cast<const arrow::Date32Array&>(array).Value(row), out), Shape::kText;
    case Type::TIME64: {
      const auto unit = static_cast<const arrow::Time64Type&>(*array.type()).unit();
      const int64_t value = static_cast<const arrow::Time64Array&>(array).Value(row);
      return AppendTimeOfDay(unit == arrow::TimeUnit::MICRO ? value * 1000 : value, out), Shape::kText;
    }
    case Type::TIMESTAMP:
      AppendTimestamp(static_cast<const arrow::TimestampArray&>(array).Value(row),
                      static_cast<const arrow::TimestampType&>(*array.type()).unit(), out);
      return Shape::kText;
    case Type::INTERVAL_MONTH_DAY_NANO:
      return AppendInterval(static_cast<const arrow::MonthDayNanoIntervalArray&>(array).GetValue(row), out), Shape::kText;
    case Type::BINARY: return *out += arrow::util::base64_encode(static_cast<const arrow::BinaryArray&>(array).GetView(row)), Shape::kText;
    case Type::FIXED_SIZE_BINARY: return *out += ToHex(static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(row)), Shape::kText;
    default: return Shape::kNested;
  }
}

void AppendJsonNested(const arrow::Array& array, int64_t row, std::string* out);

void AppendJsonElements(const arrow::Array& values, int64_t begin, int64_t end, std::string* out) {
  *out += '[';
  for (int64_t i = begin; i < end; ++i) {
    if (i > begin) *out += ',';
    AppendJsonCell(values, i, false, out);
  }
  *out += ']';
}

void AppendJsonMap(const arrow::MapArray& array, int64_t row, std::string* out) {
  const arrow::Array& keys = *array.keys();
  const bool is_object = keys.type_id() == arrow::Type::STRING;
  const int64_t begin = array.value_offset(row), end = begin + array.value_length(row);
  *out += is_object ? '{' : '[';
  for (int64_t i = begin; i < end; ++i) {
    if (i > begin) *out += ',';
    if (!is_object) *out += R"({"key":)";
    AppendJsonCell(keys, i, false, out);
    *out += is_object ? ":" : R"(,"value":)";
    AppendJsonCell(*array.items(), i, false, out);
    if (!is_object) *out += '}';
  }
  *out += is_object ? '}' : ']';
}

void AppendJsonNested(const arrow::Array& array, int64_t row, std::string* out) {
  switch (array.type_id()) {
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      return AppendJsonElements(*list.values(), list.value_offset(row), list.value_offset(row) + list.value_length(row), out);
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& list = static_cast<const arrow::FixedSizeListArray&>(array);
      return AppendJsonElements(*list.values(), list.value_offset(row), list.value_offset(row) + list.value_length(row), out);
    }
    case arrow::Type::MAP: return AppendJsonMap(static_cast<const arrow::MapArray&>(array), row, out);
    case arrow::Type::STRUCT: {
      const auto& group = static_cast<const arrow::StructArray&>(array);
      *out += '{';
      for (int i = 0; i < group.num_fields(); ++i) {
        if (i > 0) *out += ',';
        AppendJsonString(array.type()->field(i)->name(), out);
        *out += ':';
        AppendJsonCell(*group.field(i), row, IsJson(*array.type()->field(i)), out);
      }
      *out += '}';
      return;
    }
    default: *out += "null";
  }
}

std::string NestedTypeName(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::LIST: return SqlTypeName(*type.field(0)) + "[]";
    case arrow::Type::FIXED_SIZE_LIST:
      return fmt::format("{}[{}]", SqlTypeName(*type.field(0)), static_cast<const arrow::FixedSizeListType&>(type).list_size());
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(type);
      return fmt::format("MAP({}, {})", SqlTypeName(*map.key_field()), SqlTypeName(*map.item_field()));
    }
    case arrow::Type::STRUCT: {
      std::string fields;
      for (const auto& field : type.fields()) fields += (fields.empty() ? "" : ", ") + field->name() + " " + SqlTypeName(*field);
      return "STRUCT(" + fields + ")";
    }
    default: return type.ToString();
  }
}

std::string Label(const arrow::Field& field) {
  if (!field.metadata()) return {};
  auto label = field.metadata()->Get("sheaf.type");
  return label.ok() ? *label : std::string();
}

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  *out += '"';
  size_t plain = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out->append(text, plain, i - plain);
    plain = i + 1;
    switch (c) {
      case '"': *out += "\\\""; break;
      case '\\': *out += "\\\\"; break;
      case '\n': *out += "\\n"; break;
      case '\r': *out += "\\r"; break;
      case '\t': *out += "\\t"; break;
      default:
        *out += "\\u00";
        *out += kDigits[c >> 4];
        *out += kDigits[c & 15];
    }
  }
  out->append(text, plain, text.size() - plain);
  *out += '"';
}

void AppendJsonCell(const arrow::Array& array, int64_t row, bool is_json, std::string* out) {
  if (array.IsNull(row)) {
    *out += "null";
    return;
  }
  if (array.type_id() == arrow::Type::STRING) {
    const std::string_view text = static_cast<const arrow::StringArray&>(array).GetView(row);
    if (is_json) {
      *out += text;
    } else {
      AppendJsonString(text, out);
    }
    return;
  }
  const size_t start = out->size();
  switch (AppendScalar(array, row, out)) {
    case Shape::kNumber:
    case Shape::kWord: return;
    case Shape::kText:  // None of these texts has anything to escape.
      out->insert(start, 1, '"');
      *out += '"';
      return;
    case Shape::kNested: AppendJsonNested(array, row, out);
  }
}

void AppendPlainCell(const arrow::Array& array, int64_t row, std::string* out) {
  if (array.IsNull(row)) return;
  if (array.type_id() == arrow::Type::STRING) {
    *out += static_cast<const arrow::StringArray&>(array).GetView(row);
  } else if (AppendScalar(array, row, out) == Shape::kNested) {
    AppendJsonNested(array, row, out);
  }
}

bool IsJson(const arrow::Field& field) { return Label(field) == "json"; }

std::string SqlTypeName(const arrow::Field& field) {
  using arrow::Type;
  const std::string label = Label(field);
  if (label == "trace_id") return "TRACE_ID";
  if (label == "span_id") return "SPAN_ID";
  if (label == "json") return "JSON";
  switch (field.type()->id()) {
    case Type::NA: return "NULL";
    case Type::BOOL: return "BOOLEAN";
    case Type::INT8: return "TINYINT";
    case Type::INT16: return "SMALLINT";
    case Type::INT32: return "INTEGER";
    case Type::INT64: return "BIGINT";
    case Type::UINT8: return "UTINYINT";
    case Type::UINT16: return "USMALLINT";
    case Type::UINT32: return "UINTEGER";
    case Type::UINT64: return "UBIGINT";
    case Type::FLOAT: return "FLOAT";
    case Type::DOUBLE: return "DOUBLE";
    case Type::STRING: return "VARCHAR";
    case Type::BINARY:
    case Type::FIXED_SIZE_BINARY: return "BLOB";
    case Type::DATE32: return "DATE";
    case Type::TIME64: return "TIME";
    case Type::INTERVAL_MONTH_DAY_NANO: return "INTERVAL";
    case Type::TIMESTAMP: {
      static constexpr std::array<const char*, 4> kNames = {"TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS"};
      const auto& type = static_cast<const arrow::TimestampType&>(*field.type());
      return type.timezone().empty() ? kNames[static_cast<size_t>(type.unit())] : "TIMESTAMP WITH TIME ZONE";
    }
    case Type::DECIMAL128: {
      const auto& type = static_cast<const arrow::Decimal128Type&>(*field.type());
      return type.precision() == 38 && type.scale() == 0 ? "HUGEINT" : fmt::format("DECIMAL({},{})", type.precision(), type.scale());
    }
    default: return NestedTypeName(*field.type());
  }
}

}  // namespace sheaf::query
