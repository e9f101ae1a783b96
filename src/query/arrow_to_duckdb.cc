#include "query/arrow_to_duckdb.h"

#include <cstring>

#include <arrow/util/bit_util.h>

#include "query/attribute_vectors.h"
#include "query/copy_living.h"
#include "query/id_types.h"
#include "query/logical_schema.h"

namespace sheaf::query {

namespace {

using duckdb::FlatVector;
using duckdb::idx_t;

/// Keeps an Arrow array alive as long as a vector that borrows from it.
class HeldArray : public duckdb::VectorBuffer {
 public:
  explicit HeldArray(std::shared_ptr<arrow::Array> array)
      : duckdb::VectorBuffer(duckdb::VectorBufferType::OPAQUE_BUFFER), array_(std::move(array)) {}

 private:
  std::shared_ptr<arrow::Array> array_;
};

void ConvertLivingValidity(const arrow::Array& array, const Window& window, duckdb::Vector* out) {
  auto& validity = FlatVector::Validity(*out);
  EachLivingNull(array, window, [&](int64_t i) { validity.SetInvalid(static_cast<idx_t>(i)); });
}

void ConvertValidity(const arrow::Array& array, const Rows& rows, duckdb::Vector* out) {
  if (array.null_count() == 0) return;
  if (rows.list == nullptr) {
    return ConvertLivingValidity(array, {.offset = rows.offset, .count = rows.count, .living = rows.count}, out);
  }
  auto& validity = FlatVector::Validity(*out);
  for (int64_t i = 0; i < rows.count; ++i) {
    if (array.IsNull(rows.list[i])) validity.SetInvalid(static_cast<idx_t>(i));
  }
}

/// Bytes of a value of a type whose values are the same in Arrow and in `out`; else 0.
int SharedWidth(const arrow::Array& array, const duckdb::Vector& out) {
  const bool same_bytes = arrow::is_integer(array.type_id()) || array.type_id() == arrow::Type::FLOAT ||
                          array.type_id() == arrow::Type::DOUBLE || arrow::is_temporal(array.type_id());
  if (!same_bytes) return 0;
  const int width = array.type()->byte_width();
  return duckdb::GetTypeIdSize(out.GetType().InternalType()) == static_cast<idx_t>(width) ? width : 0;
}

/// For structs and arrays: what is inside of a NULL is NULL, as DuckDB has it and Arrow does not.
void ConvertNestedValidity(const arrow::Array& array, const Rows& rows, duckdb::Vector* out) {
  if (array.null_count() == 0) return;
  for (int64_t i = 0; i < rows.count; ++i) {
    if (array.IsNull(rows[i])) FlatVector::SetNull(*out, static_cast<idx_t>(i), true);
  }
}

template <typename T>
void ConvertFixed(const arrow::Array& array, const Rows& rows, duckdb::Vector* out) {
  const T* from = array.data()->GetValues<T>(1);
  T* to = FlatVector::GetData<T>(*out);
  if (rows.list == nullptr) {
    if (rows.count > 0) std::memcpy(to, from + rows.offset, sizeof(T) * static_cast<size_t>(rows.count));
  } else {
    for (int64_t i = 0; i < rows.count; ++i) to[i] = from[rows.list[i]];
  }
}

void ConvertBooleans(const arrow::BooleanArray& array, const Rows& rows, duckdb::Vector* out) {
  bool* to = FlatVector::GetData<bool>(*out);
  for (int64_t i = 0; i < rows.count; ++i) to[i] = array.Value(rows[i]);
}

void ConvertIds(const arrow::FixedSizeBinaryArray& array, const Rows& rows, duckdb::Vector* out) {
  if (array.byte_width() == 16) {
    auto* to = FlatVector::GetData<duckdb::hugeint_t>(*out);
    for (int64_t i = 0; i < rows.count; ++i) to[i] = TraceIdFromBytes(array.GetValue(rows[i]));
  } else {
    auto* to = FlatVector::GetData<uint64_t>(*out);
    for (int64_t i = 0; i < rows.count; ++i) to[i] = SpanIdFromBytes(array.GetValue(rows[i]));
  }
}

/// Puts the text of `length` <= 12 bytes at `at`, of which 12 can be read, into `to`: without a call of memcpy() for a few bytes, and
/// without a text in between, which would be read in other pieces than it was written and so wait for them.
[[gnu::always_inline]] inline void PutShortText(const uint8_t* at, uint32_t length, duckdb::string_t* to) {
  uint64_t low = 0;
  uint32_t high = 0;
  std::memcpy(&low, at, sizeof(low));
  std::memcpy(&high, at + sizeof(low), sizeof(high));
  low &= length >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * length)) - 1;
  high &= length <= 8 ? 0 : length == 12 ? ~uint32_t{0} : (uint32_t{1} << (8 * (length - 8))) - 1;
  auto* bytes = reinterpret_cast<char*>(to);  // Length, then the text and zeros behind it.
  const uint64_t first = length | low << 32, second = low >> 32 | uint64_t{high} << 32;
  std::memcpy(bytes, &first, sizeof(first));
  std::memcpy(bytes + sizeof(first), &second, sizeof(second));
}

/// Texts of rows none of which is NULL.
template <bool kListed, typename ArrayType>
void BorrowTexts(const ArrayType& array, const Rows& rows, duckdb::string_t* to) {
  const auto* ends = array.raw_value_offsets();
  const uint8_t* bytes = array.value_data()->data();
  const int64_t readable = array.value_data()->size() - static_cast<int64_t>(duckdb::string_t::INLINE_LENGTH);
  const int64_t count = rows.count, offset = rows.offset;
  const int64_t* list = rows.list;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = kListed ? list[i] : offset + i;
    const int64_t begin = ends[row];
    const auto length = static_cast<uint32_t>(ends[row + 1] - begin);
    if (length <= duckdb::string_t::INLINE_LENGTH && begin <= readable) {
      PutShortText(bytes + begin, length, &to[i]);
    } else {
      to[i] = BorrowText({reinterpret_cast<const char*>(bytes) + begin, length});
    }
  }
}

template <typename ArrayType>
void ConvertBytes(const std::shared_ptr<arrow::Array>& array, const Rows& rows, duckdb::Vector* out) {
  const auto& typed = static_cast<const ArrayType&>(*array);
  auto* to = FlatVector::GetData<duckdb::string_t>(*out);
  KeepAlive(array, out);
  if constexpr (requires { typed.raw_value_offsets(); }) {
    if (typed.null_count() == 0 && typed.value_data() != nullptr) {
      return rows.list == nullptr ? BorrowTexts<false>(typed, rows, to) : BorrowTexts<true>(typed, rows, to);
    }
  }
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows[i];
    to[i] = typed.IsNull(row) ? duckdb::string_t() : BorrowText(typed.GetView(row));
  }
}

void ConvertDictionary(const arrow::DictionaryArray& array, const Rows& rows, duckdb::Vector* out) {
  std::vector<int64_t> list(static_cast<size_t>(rows.count));
  auto& validity = FlatVector::Validity(*out);
  std::vector<idx_t> nulls;
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows[i];
    const bool null = array.IsNull(row);
    list[static_cast<size_t>(i)] = null ? 0 : array.GetValueIndex(row);
    if (null) nulls.push_back(static_cast<idx_t>(i));
  }
  if (array.dictionary()->length() > 0) {
    ConvertArray(array.dictionary(), {.count = rows.count, .list = list.data()}, out);
  }
  for (idx_t row : nulls) validity.SetInvalid(row);
}

/// Fills the list entries of `out` and returns the element rows they stand for.
std::vector<int64_t> ConvertListEntries(const arrow::ListArray& array, const Rows& rows, duckdb::Vector* out) {
  auto* entries = FlatVector::GetData<duckdb::list_entry_t>(*out);
  std::vector<int64_t> elements;
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows[i];
    const int64_t length = array.IsNull(row) ? 0 : array.value_length(row);
    entries[i] = duckdb::list_entry_t(elements.size(), static_cast<idx_t>(length));
    for (int64_t k = 0; k < length; ++k) elements.push_back(array.value_offset(row) + k);
  }
  return elements;
}

void ConvertList(const arrow::ListArray& array, const Rows& rows, duckdb::Vector* out) {
  const std::vector<int64_t> elements = ConvertListEntries(array, rows, out);
  duckdb::ListVector::Reserve(*out, elements.size());
  if (!elements.empty()) {
    ConvertArray(array.values(), {.count = static_cast<int64_t>(elements.size()), .list = elements.data()},
                 &duckdb::ListVector::GetEntry(*out));
  }
  duckdb::ListVector::SetListSize(*out, elements.size());
}

void ConvertStruct(const arrow::StructArray& array, const Rows& rows, duckdb::Vector* out) {
  auto& children = duckdb::StructVector::GetEntries(*out);
  for (int i = 0; i < array.num_fields(); ++i) ConvertArray(array.field(i), rows, children[static_cast<size_t>(i)].get());
  ConvertNestedValidity(array, rows, out);
}

void ConvertFixedList(const arrow::FixedSizeListArray& array, const Rows& rows, duckdb::Vector* out) {
  const int64_t size = array.list_type()->list_size();
  duckdb::Vector* elements = &duckdb::ArrayVector::GetEntry(*out);
  if (rows.list == nullptr) {
    ConvertArray(array.values(), {.offset = array.value_offset(rows.offset), .count = rows.count * size}, elements);
  } else {
    std::vector<int64_t> list;
    list.reserve(static_cast<size_t>(rows.count * size));
    for (int64_t i = 0; i < rows.count; ++i) {
      for (int64_t k = 0; k < size; ++k) list.push_back(array.value_offset(rows.list[i]) + k);
    }
    ConvertArray(array.values(), {.count = static_cast<int64_t>(list.size()), .list = list.data()}, elements);
  }
  ConvertNestedValidity(array, rows, out);
}

/// DuckDB keeps a decimal in the narrowest integer that its digits fit; Arrow's low bits hold the same value.
template <typename T>
void ConvertDecimalTo(const arrow::Decimal128Array& array, const Rows& rows, duckdb::Vector* out) {
  T* to = FlatVector::GetData<T>(*out);
  for (int64_t i = 0; i < rows.count; ++i) to[i] = static_cast<T>(arrow::Decimal128(array.GetValue(rows[i])).low_bits());
}

void ConvertDecimal(const arrow::Decimal128Array& array, const Rows& rows, duckdb::Vector* out) {
  switch (out->GetType().InternalType()) {
    case duckdb::PhysicalType::INT16: return ConvertDecimalTo<int16_t>(array, rows, out);
    case duckdb::PhysicalType::INT32: return ConvertDecimalTo<int32_t>(array, rows, out);
    case duckdb::PhysicalType::INT64: return ConvertDecimalTo<int64_t>(array, rows, out);
    default: break;
  }
  auto* to = FlatVector::GetData<duckdb::hugeint_t>(*out);
  for (int64_t i = 0; i < rows.count; ++i) {
    const arrow::Decimal128 value(array.GetValue(rows[i]));
    to[i].upper = value.high_bits();
    to[i].lower = value.low_bits();
  }
}

/// Arrow's timestamps with a zone are UTC too. Only microseconds have a type with a zone in SQL; others show the UTC time.
duckdb::LogicalType TimestampType(const arrow::TimestampType& type) {
  using duckdb::LogicalType;
  switch (type.unit()) {
    case arrow::TimeUnit::SECOND: return LogicalType::TIMESTAMP_S;
    case arrow::TimeUnit::MILLI: return LogicalType::TIMESTAMP_MS;
    case arrow::TimeUnit::MICRO: return type.timezone().empty() ? LogicalType::TIMESTAMP : LogicalType::TIMESTAMP_TZ;
    default: return LogicalType::TIMESTAMP_NS;
  }
}

Result<duckdb::LogicalType> StructType(const arrow::DataType& type) {
  duckdb::child_list_t<duckdb::LogicalType> children;
  for (const auto& field : type.fields()) {
    SHEAF_ASSIGN_OR_RETURN(auto child, SqlType(*field->type()));
    children.emplace_back(field->name(), std::move(child));
  }
  return duckdb::LogicalType::STRUCT(std::move(children));
}

}  // namespace

uint64_t NullBits(const arrow::Array& array, int64_t row, int64_t rows) {
  const uint64_t every = LivingBits(0, rows);
  const uint8_t* const valid = array.null_bitmap_data();
  if (valid == nullptr) return every;  // All are: an array of type NULL.
  const int64_t bit = array.offset() + row;
  uint64_t bits = 0;
  if (rows == 64 && bit % 8 == 0) {
    std::memcpy(&bits, valid + bit / 8, sizeof(bits));
  } else {
    for (int64_t i = 0; i < rows; ++i) bits |= static_cast<uint64_t>(arrow::bit_util::GetBit(valid, bit + i)) << i;
  }
  return ~bits & every;
}

void KeepAlive(const std::shared_ptr<arrow::Array>& array, duckdb::Vector* vector) {
  duckdb::StringVector::AddBuffer(*vector, duckdb::make_buffer<HeldArray>(array));
}

Result<duckdb::LogicalType> SqlType(const arrow::DataType& type) {
  using duckdb::LogicalType;
  switch (type.id()) {
    case arrow::Type::BOOL: return LogicalType(LogicalType::BOOLEAN);
    case arrow::Type::INT8: return LogicalType(LogicalType::TINYINT);
    case arrow::Type::INT16: return LogicalType(LogicalType::SMALLINT);
    case arrow::Type::INT32: return LogicalType(LogicalType::INTEGER);
    case arrow::Type::INT64: return LogicalType(LogicalType::BIGINT);
    case arrow::Type::UINT8: return LogicalType(LogicalType::UTINYINT);
    case arrow::Type::UINT16: return LogicalType(LogicalType::USMALLINT);
    case arrow::Type::UINT32: return LogicalType(LogicalType::UINTEGER);
    case arrow::Type::UINT64: return LogicalType(LogicalType::UBIGINT);
    case arrow::Type::FLOAT: return LogicalType(LogicalType::FLOAT);
    case arrow::Type::DOUBLE: return LogicalType(LogicalType::DOUBLE);
    case arrow::Type::STRING: return LogicalType(LogicalType::VARCHAR);
    case arrow::Type::BINARY: return LogicalType(LogicalType::BLOB);
    case arrow::Type::DATE32: return LogicalType(LogicalType::DATE);
    case arrow::Type::TIME64:
      return LogicalType(static_cast<const arrow::Time64Type&>(type).unit() == arrow::TimeUnit::NANO ? LogicalType::TIME_NS
                                                                                                    : LogicalType::TIME);
    case arrow::Type::TIMESTAMP: return TimestampType(static_cast<const arrow::TimestampType&>(type));
    case arrow::Type::FIXED_SIZE_BINARY: {
      const int width = static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width();
      if (width == 16) return TraceIdType();
      if (width == 8) return SpanIdType();
      return LogicalType(LogicalType::BLOB);
    }
    case arrow::Type::DECIMAL128: {
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
      if (decimal.scale() < 0 || decimal.scale() > decimal.precision()) break;
      return LogicalType::DECIMAL(static_cast<uint8_t>(decimal.precision()), static_cast<uint8_t>(decimal.scale()));
    }
    case arrow::Type::DICTIONARY: return SqlType(*static_cast<const arrow::DictionaryType&>(type).value_type());
    case arrow::Type::LIST: {
      if (IsAttributes(type)) return LogicalType::MAP(LogicalType::VARCHAR, LogicalType::VARCHAR);
      SHEAF_ASSIGN_OR_RETURN(auto element, SqlType(*static_cast<const arrow::ListType&>(type).value_type()));
      return LogicalType::LIST(element);
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& list = static_cast<const arrow::FixedSizeListType&>(type);
      SHEAF_ASSIGN_OR_RETURN(auto element, SqlType(*list.value_type()));
      if (list.list_size() < 1 || static_cast<idx_t>(list.list_size()) > duckdb::ArrayType::MAX_ARRAY_SIZE) break;
      return LogicalType::ARRAY(element, static_cast<idx_t>(list.list_size()));
    }
    case arrow::Type::MAP: {
      SHEAF_ASSIGN_OR_RETURN(auto key, SqlType(*static_cast<const arrow::MapType&>(type).key_type()));
      SHEAF_ASSIGN_OR_RETURN(auto item, SqlType(*static_cast<const arrow::MapType&>(type).item_type()));
      return LogicalType::MAP(key, item);
    }
    case arrow::Type::STRUCT: return StructType(type);
    default: break;
  }
  return MakeError(ErrorKind::kUnsupported, "SQL cannot show a column of Arrow type {} yet", type.ToString());
}

bool BorrowArray(const arrow::Array& array, const Rows& rows, duckdb::Vector* out) {
  const int width = SharedWidth(array, *out);
  if (width == 0 || rows.list != nullptr || rows.count == 0) return false;
  // DuckDB does the same with its own columns, and writes to no vector that it was given to read.
  const uint8_t* from = array.data()->GetValues<uint8_t>(1, 0) + (array.offset() + rows.offset) * width;
  FlatVector::SetData(*out, const_cast<duckdb::data_ptr_t>(from));
  ConvertValidity(array, rows, out);
  return true;
}

bool CopyLivingRows(const arrow::Array& array, const Window& window, duckdb::Vector* out) {
  const auto copy = [&]<typename T>(T* to) {
    CopyLiving(array.data()->GetValues<T>(1) + window.offset, window.dead, window.count, to, STANDARD_VECTOR_SIZE);
  };
  switch (SharedWidth(array, *out)) {
    case 4: copy(reinterpret_cast<uint32_t*>(FlatVector::GetData(*out))); break;
    case 8: copy(reinterpret_cast<uint64_t*>(FlatVector::GetData(*out))); break;
    default: return false;
  }
  ConvertLivingValidity(array, window, out);
  return true;
}

void ConvertArray(const std::shared_ptr<arrow::Array>& array, const Rows& rows, duckdb::Vector* out) {
  switch (array->type_id()) {
    case arrow::Type::BOOL: ConvertBooleans(static_cast<const arrow::BooleanArray&>(*array), rows, out); break;
    case arrow::Type::INT8: ConvertFixed<int8_t>(*array, rows, out); break;
    case arrow::Type::INT16: ConvertFixed<int16_t>(*array, rows, out); break;
    case arrow::Type::INT32: ConvertFixed<int32_t>(*array, rows, out); break;
    case arrow::Type::INT64: ConvertFixed<int64_t>(*array, rows, out); break;
    case arrow::Type::UINT8: ConvertFixed<uint8_t>(*array, rows, out); break;
    case arrow::Type::UINT16: ConvertFixed<uint16_t>(*array, rows, out); break;
    case arrow::Type::UINT32: ConvertFixed<uint32_t>(*array, rows, out); break;
    case arrow::Type::UINT64: ConvertFixed<uint64_t>(*array, rows, out); break;
    case arrow::Type::FLOAT: ConvertFixed<float>(*array, rows, out); break;
    case arrow::Type::DOUBLE: ConvertFixed<double>(*array, rows, out); break;
    case arrow::Type::TIMESTAMP: ConvertFixed<duckdb::timestamp_ns_t>(*array, rows, out); break;
    case arrow::Type::DATE32: ConvertFixed<duckdb::date_t>(*array, rows, out); break;
    case arrow::Type::TIME64: ConvertFixed<duckdb::dtime_t>(*array, rows, out); break;
    case arrow::Type::FIXED_SIZE_BINARY:
      if (out->GetType().InternalType() == duckdb::PhysicalType::VARCHAR) {
        ConvertBytes<arrow::FixedSizeBinaryArray>(array, rows, out);
      } else {
        ConvertIds(static_cast<const arrow::FixedSizeBinaryArray&>(*array), rows, out);
      }
      break;
    case arrow::Type::STRING: ConvertBytes<arrow::StringArray>(array, rows, out); break;
    case arrow::Type::BINARY: ConvertBytes<arrow::BinaryArray>(array, rows, out); break;
    case arrow::Type::DECIMAL128: ConvertDecimal(static_cast<const arrow::Decimal128Array&>(*array), rows, out); break;
    case arrow::Type::DICTIONARY: ConvertDictionary(static_cast<const arrow::DictionaryArray&>(*array), rows, out); break;
    case arrow::Type::STRUCT: return ConvertStruct(static_cast<const arrow::StructArray&>(*array), rows, out);
    case arrow::Type::FIXED_SIZE_LIST: return ConvertFixedList(static_cast<const arrow::FixedSizeListArray&>(*array), rows, out);
    case arrow::Type::MAP: ConvertList(static_cast<const arrow::MapArray&>(*array), rows, out); break;
    case arrow::Type::LIST:
      if (IsAttributes(*array->type())) {
        AttributesView(array).ToMap(rows, AttributeText::kValue, out);
      } else {
        ConvertList(static_cast<const arrow::ListArray&>(*array), rows, out);
      }
      break;
    default: throw duckdb::InternalException("cannot convert an array of Arrow type %s", array->type()->ToString());
  }
  if (array->type_id() != arrow::Type::DICTIONARY) ConvertValidity(*array, rows, out);
}

}  // namespace sheaf::query
