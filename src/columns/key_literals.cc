// Keys from values as queries and addresses give them.

#include <charconv>
#include <utility>

#include <arrow/scalar.h>
#include <arrow/type_traits.h>
#include <arrow/util/decimal.h>
#include <arrow/util/utf8.h>

#include "columns/key_codec.h"
#include "core/check.h"
#include "core/hex.h"

namespace sheaf::columns {
namespace {

template <typename T>
bool ParseInteger(const std::string& text, std::string* bytes) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  bytes->assign(reinterpret_cast<const char*>(&value), sizeof value);
  return true;
}

/// A number of the type's width; times take theirs in their unit.
bool ParseWhole(const arrow::DataType& type, const std::string& text, std::string* bytes) {
  const bool is_signed = !arrow::is_unsigned_integer(type.id());
  switch (type.byte_width()) {
    case 1: return is_signed ? ParseInteger<int8_t>(text, bytes) : ParseInteger<uint8_t>(text, bytes);
    case 2: return is_signed ? ParseInteger<int16_t>(text, bytes) : ParseInteger<uint16_t>(text, bytes);
    case 4: return is_signed ? ParseInteger<int32_t>(text, bytes) : ParseInteger<uint32_t>(text, bytes);
    default: return is_signed ? ParseInteger<int64_t>(text, bytes) : ParseInteger<uint64_t>(text, bytes);
  }
}

template <typename Decimal>
bool ParseDecimal(const arrow::DecimalType& type, const std::string& text, std::string* bytes) {
  Decimal value;
  int32_t precision = 0, scale = 0;
  if (!Decimal::FromString(text, &value, &precision, &scale).ok()) return false;
  const auto scaled = scale == type.scale() ? Result<Decimal>(value) : value.Rescale(scale, type.scale());
  if (!scaled.ok() || !scaled->FitsInPrecision(type.precision())) return false;
  bytes->resize(static_cast<size_t>(type.byte_width()));
  scaled->ToBytes(reinterpret_cast<uint8_t*>(bytes->data()));
  return true;
}

/// The bytes of a fixed-width scalar or of text, little-endian.
std::string_view BytesOf(const arrow::Scalar& value) {
  return static_cast<const arrow::internal::PrimitiveScalarBase&>(value).view();
}

/// Midnight and whole seconds may be left out, Z may stand behind.
std::shared_ptr<arrow::Scalar> ParseTime(const std::shared_ptr<arrow::DataType>& type, std::string text) {
  const bool utc = !text.empty() && text.back() == 'Z';
  if (utc) text.pop_back();
  const bool zoned = type->id() == arrow::Type::TIMESTAMP && !static_cast<const arrow::TimestampType&>(*type).timezone().empty();
  if (utc && type->id() != arrow::Type::TIMESTAMP) return nullptr;
  auto parsed =
      arrow::Scalar::Parse(zoned ? arrow::timestamp(static_cast<const arrow::TimestampType&>(*type).unit()) : type, text);
  return parsed.ok() ? *parsed : nullptr;
}

/// The value's bytes, little-endian. False: not a value of the type.
bool ParseText(const std::shared_ptr<arrow::DataType>& type, const std::string& text, std::string* bytes) {
  switch (type->id()) {
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING: *bytes = text; return arrow::util::ValidateUTF8(text);
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY: *bytes = text; return true;
    case arrow::Type::FIXED_SIZE_BINARY: {
      const auto value = FromHex(text);
      if (!value || value->size() != static_cast<size_t>(type->byte_width())) return false;
      *bytes = *value;
      return true;
    }
    case arrow::Type::BOOL: *bytes = std::string(1, text == "true" ? '\1' : '\0'); return text == "true" || text == "false";
    case arrow::Type::DECIMAL32:
      return ParseDecimal<arrow::Decimal32>(static_cast<const arrow::DecimalType&>(*type), text, bytes);
    case arrow::Type::DECIMAL64:
      return ParseDecimal<arrow::Decimal64>(static_cast<const arrow::DecimalType&>(*type), text, bytes);
    case arrow::Type::DECIMAL128:
      return ParseDecimal<arrow::Decimal128>(static_cast<const arrow::DecimalType&>(*type), text, bytes);
    case arrow::Type::DECIMAL256:
      return ParseDecimal<arrow::Decimal256>(static_cast<const arrow::DecimalType&>(*type), text, bytes);
    default: break;
  }
  if (ParseWhole(*type, text, bytes)) return true;
  if (!arrow::is_date(type->id()) && !arrow::is_time(type->id()) && type->id() != arrow::Type::TIMESTAMP) return false;
  const auto value = ParseTime(type, text);
  if (!value) return false;
  bytes->assign(BytesOf(*value));
  return true;
}

/// Cast, where casting back gives the same.
std::shared_ptr<arrow::Scalar> CastExactly(const arrow::Scalar& value, const std::shared_ptr<arrow::DataType>& type) {
  const auto there = value.CastTo(type);
  if (!there.ok()) return nullptr;
  const auto back = (*there)->CastTo(value.type);
  return back.ok() && (*back)->Equals(value) ? *there : nullptr;
}

}  // namespace

Status KeyCodec::AppendText(size_t part, const std::string& value, std::string* key) const {
  const std::shared_ptr<arrow::DataType>& type = key_schema_->field(static_cast<int>(part))->type();
  std::string bytes;
  if (!ParseText(type, value, &bytes)) {
    return MakeError(ErrorKind::kInvalid, "'{}' is no value of key column '{}' of type {}", value, NameOf(part),
                     type->ToString());
  }
  Append(part, bytes, key);
  return Status::OK();
}

Status KeyCodec::AppendScalar(size_t part, const arrow::Scalar& value, std::string* key) const {
  const std::shared_ptr<arrow::DataType>& type = key_schema_->field(static_cast<int>(part))->type();
  if (!value.is_valid) return MakeError(ErrorKind::kInvalid, "key column '{}' is NULL", NameOf(part));
  const arrow::Type::type from = value.type->id();
  if (from == arrow::Type::DICTIONARY) {
    SHEAF_ASSIGN_OR_RETURN(const auto plain, static_cast<const arrow::DictionaryScalar&>(value).GetEncodedValue());
    return AppendScalar(part, *plain, key);
  }
  const bool to_text = arrow::is_base_binary_like(type->id());
  if (value.type->Equals(*type) || (to_text && arrow::is_base_binary_like(from))) {
    const std::string_view bytes = BytesOf(value);
    if (arrow::is_string(type->id()) && !arrow::is_string(from) && !arrow::util::ValidateUTF8(bytes)) {
      return MakeError(ErrorKind::kInvalid, "key column '{}' holds text, and the value is not UTF-8", NameOf(part));
    }
    Append(part, bytes, key);
    return Status::OK();
  }
  // Text and whole numbers as people would write them; all else as Arrow casts it.
  if (arrow::is_string(from)) return AppendText(part, std::string(BytesOf(value)), key);
  if (arrow::is_integer(from) && !to_text && type->id() != arrow::Type::BOOL) return AppendText(part, value.ToString(), key);
  if (arrow::is_decimal(from) && (arrow::is_integer(type->id()) || arrow::is_decimal(type->id()))) {
    std::string text = value.ToString();  // A cast there and back would want digits that no type has.
    if (arrow::is_integer(type->id()) && text.find('.') != std::string::npos) text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
    return AppendText(part, text, key);
  }
  const auto exact = type->id() == arrow::Type::BOOL || to_text ? nullptr : CastExactly(value, type);
  if (!exact) {
    return MakeError(ErrorKind::kInvalid, "{} of type {} is no value of key column '{}' of type {}", value.ToString(),
                     value.type->ToString(), NameOf(part), type->ToString());
  }
  Append(part, BytesOf(*exact), key);
  return Status::OK();
}

Result<std::string> KeyCodec::EncodeScalars(std::span<const std::shared_ptr<arrow::Scalar>> values) const {
  if (values.size() != parts_.size())
    return MakeError(ErrorKind::kInvalid, "{} values for a key of {} columns", values.size(), parts_.size());
  return EncodePrefix(values);
}

Result<std::string> KeyCodec::EncodePrefix(std::span<const std::shared_ptr<arrow::Scalar>> values) const {
  if (values.size() > parts_.size())
    return MakeError(ErrorKind::kInvalid, "{} values for a key of {} columns", values.size(), parts_.size());
  std::string key;
  for (size_t p = 0; p < values.size(); ++p) {
    if (!values[p]) return MakeError(ErrorKind::kInvalid, "key column '{}' is NULL", NameOf(p));
    SHEAF_RETURN_NOT_OK(AppendScalar(p, *values[p], &key));
  }
  if (key.size() > kKeyBytesMax) return TooLong(key.size());
  return key;
}

Result<std::string> KeyCodec::EncodeText(std::span<const std::string> values) const {
  if (values.size() != parts_.size())
    return MakeError(ErrorKind::kInvalid, "{} values for a key of {} columns", values.size(), parts_.size());
  std::string key;
  for (size_t p = 0; p < parts_.size(); ++p) SHEAF_RETURN_NOT_OK(AppendText(p, values[p], &key));
  if (key.size() > kKeyBytesMax) return TooLong(key.size());
  return key;
}

}  // namespace sheaf::columns
