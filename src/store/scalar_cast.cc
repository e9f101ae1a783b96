#include "store/scalar_cast.h"

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <arrow/array/util.h>
#include <arrow/type_traits.h>
#include <arrow/util/checked_cast.h>
#include <arrow/util/decimal.h>

namespace sheaf::store {
namespace {

using arrow::Type;
using arrow::internal::checked_cast;
using ScalarPtr = std::shared_ptr<arrow::Scalar>;

/// Room for every integer of 64 bits, with or without sign.
using Wide = __int128;

Wide IntegerOf(const arrow::Scalar& value) {
  switch (value.type->id()) {
    case Type::INT8: return checked_cast<const arrow::Int8Scalar&>(value).value;
    case Type::INT16: return checked_cast<const arrow::Int16Scalar&>(value).value;
    case Type::INT32: return checked_cast<const arrow::Int32Scalar&>(value).value;
    case Type::INT64: return checked_cast<const arrow::Int64Scalar&>(value).value;
    case Type::UINT8: return checked_cast<const arrow::UInt8Scalar&>(value).value;
    case Type::UINT16: return checked_cast<const arrow::UInt16Scalar&>(value).value;
    case Type::UINT32: return checked_cast<const arrow::UInt32Scalar&>(value).value;
    default: return checked_cast<const arrow::UInt64Scalar&>(value).value;
  }
}

template <typename ScalarType>
ScalarPtr MakeInteger(Wide value) {
  using Value = typename ScalarType::ValueType;
  if (value < Wide{std::numeric_limits<Value>::min()} || value > Wide{std::numeric_limits<Value>::max()}) return nullptr;
  return std::make_shared<ScalarType>(static_cast<Value>(value));
}

ScalarPtr IntegerTo(Wide value, Type::type id) {
  switch (id) {
    case Type::INT8: return MakeInteger<arrow::Int8Scalar>(value);
    case Type::INT16: return MakeInteger<arrow::Int16Scalar>(value);
    case Type::INT32: return MakeInteger<arrow::Int32Scalar>(value);
    case Type::INT64: return MakeInteger<arrow::Int64Scalar>(value);
    case Type::UINT8: return MakeInteger<arrow::UInt8Scalar>(value);
    case Type::UINT16: return MakeInteger<arrow::UInt16Scalar>(value);
    case Type::UINT32: return MakeInteger<arrow::UInt32Scalar>(value);
    default: return MakeInteger<arrow::UInt64Scalar>(value);
  }
}

std::optional<double> RealOf(const arrow::Scalar& value) {
  if (value.type->id() == Type::FLOAT) return checked_cast<const arrow::FloatScalar&>(value).value;
  if (value.type->id() == Type::DOUBLE) return checked_cast<const arrow::DoubleScalar&>(value).value;
  return std::nullopt;
}

/// As a decimal with its scale; numbers only.
std::optional<std::pair<arrow::Decimal128, int32_t>> DecimalOf(const arrow::Scalar& value) {
  if (arrow::is_integer(value.type->id())) {
    const Wide wide = IntegerOf(value);
    return std::pair{arrow::Decimal128(static_cast<int64_t>(wide >> 64), static_cast<uint64_t>(wide)), 0};
  }
  if (value.type->id() != Type::DECIMAL128) return std::nullopt;
  const auto& decimal = checked_cast<const arrow::Decimal128Scalar&>(value);
  return std::pair{decimal.value, checked_cast<const arrow::Decimal128Type&>(*value.type).scale()};
}

/// Null where digits would be lost.
ScalarPtr DecimalWith(const arrow::Decimal128& value, int32_t scale, const std::shared_ptr<arrow::DataType>& type) {
  const auto& wanted = checked_cast<const arrow::Decimal128Type&>(*type);
  const auto rescaled = value.Rescale(scale, wanted.scale());
  if (!rescaled.ok() || !rescaled->FitsInPrecision(wanted.precision())) return nullptr;
  return std::make_shared<arrow::Decimal128Scalar>(*rescaled, type);
}

ScalarPtr ToDecimal(const arrow::Scalar& value, const std::shared_ptr<arrow::DataType>& type) {
  if (const auto decimal = DecimalOf(value)) return DecimalWith(decimal->first, decimal->second, type);
  const auto real = RealOf(value);
  if (!real) return nullptr;
  const auto& wanted = checked_cast<const arrow::Decimal128Type&>(*type);
  const auto rounded = arrow::Decimal128::FromReal(*real, wanted.precision(), wanted.scale());
  return rounded.ok() ? std::make_shared<arrow::Decimal128Scalar>(*rounded, type) : nullptr;
}

ScalarPtr ToReal(const arrow::Scalar& value, Type::type id) {
  double real = 0;
  if (arrow::is_integer(value.type->id())) {
    const Wide wide = IntegerOf(value);
    real = static_cast<double>(wide);
    if (static_cast<Wide>(real) != wide) return nullptr;
  } else if (const auto given = RealOf(value)) {
    real = *given;
  } else if (const auto decimal = DecimalOf(value)) {
    real = decimal->first.ToDouble(decimal->second);
  } else {
    return nullptr;
  }
  if (id == Type::DOUBLE) return std::make_shared<arrow::DoubleScalar>(real);
  const auto narrow = static_cast<float>(real);
  if (std::isinf(narrow) && !std::isinf(real)) return nullptr;
  return std::make_shared<arrow::FloatScalar>(narrow);
}

ScalarPtr ToInteger(const arrow::Scalar& value, Type::type id) {
  if (arrow::is_integer(value.type->id())) return IntegerTo(IntegerOf(value), id);
  if (const auto real = RealOf(value)) {
    constexpr double kLimit = 1e19;
    if (!(std::abs(*real) < kLimit) || std::trunc(*real) != *real) return nullptr;
    return IntegerTo(static_cast<Wide>(*real), id);
  }
  const auto decimal = DecimalOf(value);
  if (!decimal) return nullptr;
  const auto whole = decimal->first.Rescale(decimal->second, 0);
  if (!whole.ok()) return nullptr;
  return IntegerTo(
      static_cast<Wide>(static_cast<unsigned __int128>(static_cast<uint64_t>(whole->high_bits())) << 64 | whole->low_bits()), id);
}

int64_t UnitsPerSecond(arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND: return 1;
    case arrow::TimeUnit::MILLI: return 1'000;
    case arrow::TimeUnit::MICRO: return 1'000'000;
    default: return 1'000'000'000;
  }
}

ScalarPtr ToTimestamp(const arrow::Scalar& value, const std::shared_ptr<arrow::DataType>& type) {
  const int64_t wanted = UnitsPerSecond(checked_cast<const arrow::TimestampType&>(*type).unit());
  Wide made = 0;
  if (value.type->id() == Type::TIMESTAMP) {
    const int64_t given = UnitsPerSecond(checked_cast<const arrow::TimestampType&>(*value.type).unit());
    const Wide scaled = Wide{checked_cast<const arrow::TimestampScalar&>(value).value} * wanted;
    if (scaled % given != 0) return nullptr;
    made = scaled / given;
  } else if (value.type->id() == Type::DATE32) {
    made = Wide{checked_cast<const arrow::Date32Scalar&>(value).value} * 86'400 * wanted;
  } else {
    return nullptr;
  }
  if (made < std::numeric_limits<int64_t>::min() || made > std::numeric_limits<int64_t>::max()) return nullptr;
  return std::make_shared<arrow::TimestampScalar>(static_cast<int64_t>(made), type);
}

ScalarPtr FromText(const arrow::Scalar& value, const std::shared_ptr<arrow::DataType>& type) {
  const auto& bytes = checked_cast<const arrow::BaseBinaryScalar&>(value).value;
  switch (type->id()) {
    case Type::STRING: return arrow::is_string(value.type->id()) ? std::make_shared<arrow::StringScalar>(bytes) : nullptr;
    case Type::BINARY: return std::make_shared<arrow::BinaryScalar>(bytes);
    case Type::FIXED_SIZE_BINARY:
      if (bytes->size() != checked_cast<const arrow::FixedSizeBinaryType&>(*type).byte_width()) return nullptr;
      return std::make_shared<arrow::FixedSizeBinaryScalar>(bytes, type);
    case Type::DECIMAL128: {
      arrow::Decimal128 decimal;
      int32_t precision = 0, scale = 0;
      const bool read = arrow::Decimal128::FromString(std::string_view(*bytes), &decimal, &precision, &scale).ok();
      return read ? DecimalWith(decimal, scale, type) : nullptr;
    }
    default: break;
  }
  if (!arrow::is_string(value.type->id()) || !arrow::is_primitive(type->id())) return nullptr;
  const auto parsed = arrow::Scalar::Parse(type, std::string_view(*bytes));
  return parsed.ok() ? *parsed : nullptr;
}

/// Null where it does not fit.
ScalarPtr Cast(const ScalarPtr& value, const std::shared_ptr<arrow::DataType>& type) {
  if (value->type->Equals(*type)) return value;
  if (value->type->id() == Type::DICTIONARY) {
    const auto plain = checked_cast<const arrow::DictionaryScalar&>(*value).GetEncodedValue();
    return plain.ok() ? Cast(*plain, type) : nullptr;
  }
  if (type->id() == Type::DICTIONARY) {
    const ScalarPtr plain = Cast(value, checked_cast<const arrow::DictionaryType&>(*type).value_type());
    const auto values = plain == nullptr ? Result<std::shared_ptr<arrow::Array>>(nullptr) : arrow::MakeArrayFromScalar(*plain, 1);
    const auto index = arrow::MakeScalar(checked_cast<const arrow::DictionaryType&>(*type).index_type(), 0);
    if (plain == nullptr || !values.ok() || !index.ok()) return nullptr;
    return std::make_shared<arrow::DictionaryScalar>(arrow::DictionaryScalar::ValueType{*index, *values}, type);
  }
  if (arrow::is_base_binary_like(value->type->id())) return FromText(*value, type);
  if (arrow::is_integer(type->id())) return ToInteger(*value, type->id());
  switch (type->id()) {
    case Type::FLOAT:
    case Type::DOUBLE: return ToReal(*value, type->id());
    case Type::DECIMAL128: return ToDecimal(*value, type);
    case Type::TIMESTAMP: return ToTimestamp(*value, type);
    default: return nullptr;
  }
}

}  // namespace

Result<ScalarPtr> CastScalar(const ScalarPtr& value, const std::shared_ptr<arrow::DataType>& type) {
  if (value == nullptr || !value->is_valid || value->type->id() == Type::NA) return ScalarPtr();
  ScalarPtr cast = Cast(value, type);
  if (cast == nullptr) {
    return MakeError(ErrorKind::kInvalid, "the value {} of type {} does not fit type {}", value->ToString(),
                     value->type->ToString(), type->ToString());
  }
  if (const Status valid = cast->ValidateFull(); !valid.ok()) {
    return MakeError(ErrorKind::kInvalid, "the value {} is no {}: {}", value->ToString(), type->ToString(), valid.message());
  }
  return cast;
}

}  // namespace sheaf::store
