#include "store/column_types.h"

#include <arrow/type_traits.h>
#include <arrow/util/checked_cast.h>

#include "store/names.h"

namespace sheaf::store {
namespace {

using arrow::Type;
using arrow::internal::checked_cast;

Status Refuse(const std::string& column, const arrow::DataType& type, const char* instead) {
  return MakeError(ErrorKind::kUnsupported, "column '{}' cannot be of type {}; {}", column, type.ToString(), instead);
}

Status CheckDictionary(const std::string& column, const arrow::DataType& type) {
  const auto& dictionary = checked_cast<const arrow::DictionaryType&>(type);
  const Type::type value = dictionary.value_type()->id();
  if (dictionary.index_type()->id() == Type::INT32 && (value == Type::STRING || value == Type::BINARY)) return Status::OK();
  return Refuse(column, type, "dictionaries have int32 indexes and text or binary values");
}

Status CheckType(const std::string& column, const arrow::DataType& type, int depth);

Status CheckNested(const std::string& column, const arrow::DataType& type, int depth) {
  if (type.id() == Type::FIXED_SIZE_LIST) {
    const int32_t size = checked_cast<const arrow::FixedSizeListType&>(type).list_size();
    if (size < 1 || size > kFixedListSizeMax) return Refuse(column, type, "its size must be from 1 to 100,000");
  }
  if (type.num_fields() == 0 || type.num_fields() > kStructFieldsMax)
    return Refuse(column, type, "a struct has 1 to 2,000 fields");
  for (int i = 0; i < type.num_fields(); ++i) {
    SHEAF_RETURN_NOT_OK(CheckType(column, *type.field(i)->type(), depth + 1));
    if (type.id() != Type::STRUCT) continue;
    if (type.field(i)->name().empty()) return Refuse(column, type, "every field of a struct needs a name");
    for (int j = 0; j < i; ++j) {
      if (SameName(type.field(i)->name(), type.field(j)->name()))
        return Refuse(column, type, "fields of a struct need names of their own");
    }
  }
  return Status::OK();
}

Status CheckType(const std::string& column, const arrow::DataType& type, int depth) {
  if (depth > kTypeDepthMax) {
    return MakeError(ErrorKind::kUnsupported, "column '{}' nests types more than {} deep", column, kTypeDepthMax);
  }
  switch (type.id()) {
    case Type::BOOL:
    case Type::INT8:
    case Type::INT16:
    case Type::INT32:
    case Type::INT64:
    case Type::UINT8:
    case Type::UINT16:
    case Type::UINT32:
    case Type::UINT64:
    case Type::FLOAT:
    case Type::DOUBLE:
    case Type::DATE32:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::STRING:
    case Type::BINARY: return Status::OK();
    case Type::DECIMAL128: {
      const auto& decimal = checked_cast<const arrow::Decimal128Type&>(type);
      if (decimal.scale() >= 0 && decimal.scale() <= decimal.precision()) return Status::OK();
      return Refuse(column, type, "its scale must be from 0 to its number of digits");
    }
    case Type::FIXED_SIZE_BINARY:
      if (checked_cast<const arrow::FixedSizeBinaryType&>(type).byte_width() > 0) return Status::OK();
      return Refuse(column, type, "its width must be above 0");
    case Type::DICTIONARY: return CheckDictionary(column, type);
    case Type::FIXED_SIZE_LIST:
    case Type::LIST:
    case Type::MAP:
    case Type::STRUCT: return CheckNested(column, type, depth);
    case Type::LARGE_STRING:
    case Type::STRING_VIEW: return Refuse(column, type, "use text (utf8)");
    case Type::LARGE_BINARY:
    case Type::BINARY_VIEW: return Refuse(column, type, "use binary");
    case Type::LARGE_LIST:
    case Type::LIST_VIEW:
    case Type::LARGE_LIST_VIEW: return Refuse(column, type, "use a list");
    case Type::HALF_FLOAT: return Refuse(column, type, "use float");
    case Type::DATE64: return Refuse(column, type, "use a date in days (date32)");
    case Type::TIME32: return Refuse(column, type, "use a time in microseconds or nanoseconds (time64)");
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL256: return Refuse(column, type, "use a decimal of 128 bits, of up to 38 digits");
    case Type::INTERVAL_MONTHS:
    case Type::INTERVAL_DAY_TIME:
    case Type::INTERVAL_MONTH_DAY_NANO:
    case Type::DURATION: return Refuse(column, type, "keep spans of time as BIGINT, in the unit you need");
    default: return Refuse(column, type, "use a number, a time, text, binary, or lists, structs and maps of these");
  }
}

int Width(const arrow::DataType& type) { return checked_cast<const arrow::FixedWidthType&>(type).bit_width(); }

}  // namespace

Status CheckColumnType(const std::string& column, const arrow::DataType& type) { return CheckType(column, type, 1); }

bool CanSort(const arrow::DataType& type) {
  if (type.id() == Type::DICTIONARY) return CanSort(*checked_cast<const arrow::DictionaryType&>(type).value_type());
  return !arrow::is_nested(type.id());
}

bool IsWidening(const arrow::DataType& from, const arrow::DataType& to) {
  if (from.Equals(to)) return true;
  const bool both_signed = arrow::is_signed_integer(from.id()) && arrow::is_signed_integer(to.id());
  const bool both_unsigned = arrow::is_unsigned_integer(from.id()) && arrow::is_unsigned_integer(to.id());
  if (both_signed || both_unsigned) return Width(from) < Width(to);
  if (from.id() == Type::FLOAT) return to.id() == Type::DOUBLE;
  if (from.id() != Type::DECIMAL128 || to.id() != Type::DECIMAL128) return false;
  const auto& given = checked_cast<const arrow::Decimal128Type&>(from);
  const auto& wanted = checked_cast<const arrow::Decimal128Type&>(to);
  return wanted.scale() >= given.scale() && wanted.precision() - wanted.scale() >= given.precision() - given.scale();
}

bool IsResize(const arrow::DataType& from, const arrow::DataType& to) {
  if (from.id() != Type::FIXED_SIZE_LIST || to.id() != Type::FIXED_SIZE_LIST) return false;
  const auto& given = checked_cast<const arrow::FixedSizeListType&>(from);
  const auto& wanted = checked_cast<const arrow::FixedSizeListType&>(to);
  return given.list_size() != wanted.list_size() && given.value_type()->Equals(*wanted.value_type());
}

}  // namespace sheaf::store
