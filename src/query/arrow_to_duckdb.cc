#include "query/arrow_to_duckdb.h"

#include <cstring>

#include "query/attribute_vectors.h"
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

void ConvertValidity(const arrow::Array& array, const Rows& rows, duckdb::Vector* out) {
  if (array.null_count() == 0) return;
  auto& validity = FlatVector::Validity(*out);
  for (int64_t i = 0; i < rows.count; ++i) {
    if (array.IsNull(rows[i])) validity.SetInvalid(static_cast<idx_t>(i));
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

template <typename ArrayType>
void ConvertBytes(const std::shared_ptr<arrow::Array>& array, const Rows& rows, duckdb::Vector* out) {
  const auto& typed = static_cast<const ArrayType&>(*array);
  auto* to = FlatVector::GetData<duckdb::string_t>(*out);
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows[i];
    to[i] = typed.IsNull(row) ? duckdb::string_t() : BorrowText(typed.GetView(row));
  }
  KeepAlive(array, out);
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
  ConvertValidity(array, rows, out);
}

void ConvertDecimal(const arrow::Decimal128Array& array, const Rows& rows, duckdb::Vector* out) {
  for (int64_t i = 0; i < rows.count; ++i) {
    const arrow::Decimal128 value(array.GetValue(rows[i]));
    if (out->GetType().InternalType() == duckdb::PhysicalType::INT64) {
      FlatVector::GetData<int64_t>(*out)[i] = static_cast<int64_t>(value.low_bits());
    } else {
      duckdb::hugeint_t wide;
      wide.upper = value.high_bits();
      wide.lower = value.low_bits();
      FlatVector::GetData<duckdb::hugeint_t>(*out)[i] = wide;
    }
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
    case arrow::Type::TIMESTAMP:
      if (static_cast<const arrow::TimestampType&>(type).unit() == arrow::TimeUnit::NANO) {
        return LogicalType(LogicalType::TIMESTAMP_NS);
      }
      break;
    case arrow::Type::FIXED_SIZE_BINARY: {
      const int width = static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width();
      if (width == 16) return TraceIdType();
      if (width == 8) return SpanIdType();
      break;
    }
    case arrow::Type::DECIMAL128: {
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
      if (decimal.precision() < 10) break;
      return LogicalType::DECIMAL(static_cast<uint8_t>(decimal.precision()), static_cast<uint8_t>(decimal.scale()));
    }
    case arrow::Type::DICTIONARY: return SqlType(*static_cast<const arrow::DictionaryType&>(type).value_type());
    case arrow::Type::LIST: {
      if (IsAttributes(type)) return LogicalType::MAP(LogicalType::VARCHAR, LogicalType::VARCHAR);
      SHEAF_ASSIGN_OR_RETURN(auto element, SqlType(*static_cast<const arrow::ListType&>(type).value_type()));
      return LogicalType::LIST(element);
    }
    case arrow::Type::STRUCT: return StructType(type);
    default: break;
  }
  return MakeError(ErrorKind::kUnsupported, "SQL cannot show a column of Arrow type {} yet", type.ToString());
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
    case arrow::Type::FIXED_SIZE_BINARY: ConvertIds(static_cast<const arrow::FixedSizeBinaryArray&>(*array), rows, out); break;
    case arrow::Type::STRING: ConvertBytes<arrow::StringArray>(array, rows, out); break;
    case arrow::Type::BINARY: ConvertBytes<arrow::BinaryArray>(array, rows, out); break;
    case arrow::Type::DECIMAL128: ConvertDecimal(static_cast<const arrow::Decimal128Array&>(*array), rows, out); break;
    case arrow::Type::DICTIONARY: ConvertDictionary(static_cast<const arrow::DictionaryArray&>(*array), rows, out); break;
    case arrow::Type::STRUCT: return ConvertStruct(static_cast<const arrow::StructArray&>(*array), rows, out);
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
