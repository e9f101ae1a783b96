#include "query/duckdb_to_arrow.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include <arrow/builder.h>
#include <arrow/util/decimal.h>
#include <arrow/util/key_value_metadata.h>

#include "core/memory.h"
#include "query/id_types.h"

namespace sheaf::query {

namespace {

using duckdb::idx_t;
using duckdb::LogicalType;
using duckdb::LogicalTypeId;
using duckdb::UnifiedVectorFormat;
using duckdb::Vector;

std::shared_ptr<arrow::Field> ArrowField(const std::string& name, const LogicalType& type);

std::shared_ptr<arrow::DataType> ArrowType(const LogicalType& type) {
  if (IsTraceId(type)) return arrow::fixed_size_binary(16);
  if (IsSpanId(type)) return arrow::fixed_size_binary(8);
  switch (type.id()) {
    case LogicalTypeId::SQLNULL: return arrow::null();
    case LogicalTypeId::BOOLEAN: return arrow::boolean();
    case LogicalTypeId::TINYINT: return arrow::int8();
    case LogicalTypeId::SMALLINT: return arrow::int16();
    case LogicalTypeId::INTEGER: return arrow::int32();
    case LogicalTypeId::BIGINT: return arrow::int64();
    case LogicalTypeId::UTINYINT: return arrow::uint8();
    case LogicalTypeId::USMALLINT: return arrow::uint16();
    case LogicalTypeId::UINTEGER: return arrow::uint32();
    case LogicalTypeId::UBIGINT: return arrow::uint64();
    case LogicalTypeId::HUGEINT: return arrow::decimal128(38, 0);
    case LogicalTypeId::FLOAT: return arrow::float32();
    case LogicalTypeId::DOUBLE: return arrow::float64();
    case LogicalTypeId::DECIMAL: return arrow::decimal128(duckdb::DecimalType::GetWidth(type), duckdb::DecimalType::GetScale(type));
    case LogicalTypeId::BLOB: return arrow::binary();
    case LogicalTypeId::DATE: return arrow::date32();
    case LogicalTypeId::TIME: return arrow::time64(arrow::TimeUnit::MICRO);
    case LogicalTypeId::TIME_NS: return arrow::time64(arrow::TimeUnit::NANO);
    case LogicalTypeId::TIMESTAMP_SEC: return arrow::timestamp(arrow::TimeUnit::SECOND);
    case LogicalTypeId::TIMESTAMP_MS: return arrow::timestamp(arrow::TimeUnit::MILLI);
    case LogicalTypeId::TIMESTAMP: return arrow::timestamp(arrow::TimeUnit::MICRO);
    case LogicalTypeId::TIMESTAMP_NS: return arrow::timestamp(arrow::TimeUnit::NANO);
    case LogicalTypeId::TIMESTAMP_TZ: return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case LogicalTypeId::INTERVAL: return arrow::month_day_nano_interval();
    case LogicalTypeId::LIST: return arrow::list(ArrowField("item", duckdb::ListType::GetChildType(type)));
    case LogicalTypeId::ARRAY:
      return arrow::fixed_size_list(ArrowField("item", duckdb::ArrayType::GetChildType(type)),
                                    static_cast<int32_t>(duckdb::ArrayType::GetSize(type)));
    case LogicalTypeId::MAP:
      return std::make_shared<arrow::MapType>(ArrowField("key", duckdb::MapType::KeyType(type))->WithNullable(false),
                                              ArrowField("value", duckdb::MapType::ValueType(type)));
    case LogicalTypeId::STRUCT: {
      arrow::FieldVector fields;
      for (const auto& [name, child] : duckdb::StructType::GetChildTypes(type)) fields.push_back(ArrowField(name, child));
      return arrow::struct_(std::move(fields));
    }
    default: return arrow::utf8();
  }
}

std::shared_ptr<arrow::Field> ArrowField(const std::string& name, const LogicalType& type) {
  auto field = arrow::field(name, ArrowType(type));
  const char* label = IsTraceId(type) ? "trace_id" : IsSpanId(type) ? "span_id" : type.IsJSONType() ? "json" : nullptr;
  return label == nullptr ? field : field->WithMetadata(arrow::key_value_metadata({"sheaf.type"}, {label}));
}

/// Whether ArrowType() shows the type as text that a cast makes.
bool IsCastToText(const LogicalType& type) {
  return type.id() != LogicalTypeId::VARCHAR && !IsTraceId(type) && !IsSpanId(type) && ArrowType(type)->id() == arrow::Type::STRING;
}

/// Whether Representable() is another type. Most results need no cast, and nested types take long to make anew.
bool NeedsCast(const LogicalType& type) {
  switch (type.id()) {
    case LogicalTypeId::LIST: return NeedsCast(duckdb::ListType::GetChildType(type));
    case LogicalTypeId::ARRAY: return NeedsCast(duckdb::ArrayType::GetChildType(type));
    case LogicalTypeId::MAP: return NeedsCast(duckdb::MapType::KeyType(type)) || NeedsCast(duckdb::MapType::ValueType(type));
    case LogicalTypeId::STRUCT: {
      const auto& children = duckdb::StructType::GetChildTypes(type);
      return std::any_of(children.begin(), children.end(), [](const auto& child) { return NeedsCast(child.second); });
    }
    default: return IsCastToText(type);
  }
}

/// The type with everything that has no Arrow counterpart replaced by text.
LogicalType Representable(const LogicalType& type) {
  switch (type.id()) {
    case LogicalTypeId::LIST: return LogicalType::LIST(Representable(duckdb::ListType::GetChildType(type)));
    case LogicalTypeId::ARRAY:
      return LogicalType::ARRAY(Representable(duckdb::ArrayType::GetChildType(type)), duckdb::ArrayType::GetSize(type));
    case LogicalTypeId::MAP:
      return LogicalType::MAP(Representable(duckdb::MapType::KeyType(type)), Representable(duckdb::MapType::ValueType(type)));
    case LogicalTypeId::STRUCT: {
      duckdb::child_list_t<LogicalType> children;
      for (const auto& [name, child] : duckdb::StructType::GetChildTypes(type)) children.emplace_back(name, Representable(child));
      return LogicalType::STRUCT(std::move(children));
    }
    default: return IsCastToText(type) ? LogicalType(LogicalType::VARCHAR) : type;
  }
}

/// The rows of a vector to convert, as positions in it.
struct Chosen {
  const idx_t* rows;
  idx_t count;
};

using ArrayResult = Result<std::shared_ptr<arrow::Array>>;

ArrayResult ToArray(Vector& vector, idx_t size, const Chosen& chosen, const std::shared_ptr<arrow::DataType>& type);

TrackingPool& ResultPool() {
  static TrackingPool& pool = NamedPool("results");
  return pool;
}

template <typename Builder, typename T, typename AppendValue>
ArrayResult Build(const UnifiedVectorFormat& format, const Chosen& chosen, const std::shared_ptr<arrow::DataType>& type,
                  AppendValue&& append) {
  Builder builder(type, &ResultPool());
  const T* values = UnifiedVectorFormat::GetData<T>(format);
  SHEAF_RETURN_NOT_OK(builder.Reserve(static_cast<int64_t>(chosen.count)));
  for (idx_t i = 0; i < chosen.count; ++i) {
    const idx_t at = format.sel->get_index(chosen.rows[i]);
    if (!format.validity.RowIsValid(at)) {
      SHEAF_RETURN_NOT_OK(builder.AppendNull());
    } else {
      SHEAF_RETURN_NOT_OK(append(&builder, values[at]));
    }
  }
  return builder.Finish();
}

template <typename ArrowType, typename T = typename ArrowType::c_type>
ArrayResult BuildNumbers(const UnifiedVectorFormat& format, const Chosen& chosen, const std::shared_ptr<arrow::DataType>& type) {
  using Builder = typename arrow::TypeTraits<ArrowType>::BuilderType;
  return Build<Builder, T>(format, chosen, type, [](Builder* builder, const T& value) {
    typename ArrowType::c_type number;
    static_assert(std::is_same_v<T, bool> || sizeof(number) == sizeof(T));
    if constexpr (std::is_same_v<T, bool>) {
      number = value;
    } else {
      std::memcpy(&number, &value, sizeof(number));  // DuckDB's dates and times are structs of one number.
    }
    builder->UnsafeAppend(number);
    return Status::OK();
  });
}

template <typename Builder>
ArrayResult BuildBytes(const UnifiedVectorFormat& format, const Chosen& chosen, const std::shared_ptr<arrow::DataType>& type) {
  return Build<Builder, duckdb::string_t>(format, chosen, type, [](Builder* builder, const duckdb::string_t& value) {
    return builder->Append(value.GetData(), static_cast<int32_t>(value.GetSize()));
  });
}

ArrayResult BuildIds(const LogicalType& logical, const UnifiedVectorFormat& format, const Chosen& chosen,
                     const std::shared_ptr<arrow::DataType>& type) {
  using Builder = arrow::FixedSizeBinaryBuilder;
  if (IsTraceId(logical)) {
    return Build<Builder, duckdb::hugeint_t>(format, chosen, type, [](Builder* builder, duckdb::hugeint_t id) {
      uint8_t bytes[16];
      TraceIdToBytes(id, bytes);
      return builder->Append(bytes);
    });
  }
  return Build<Builder, uint64_t>(format, chosen, type, [](Builder* builder, uint64_t id) {
    uint8_t bytes[8];
    SpanIdToBytes(id, bytes);
    return builder->Append(bytes);
  });
}

template <typename T>
ArrayResult BuildDecimals(const UnifiedVectorFormat& format, const Chosen& chosen, const std::shared_ptr<arrow::DataType>& type) {
  using Builder = arrow::Decimal128Builder;
  return Build<Builder, T>(format, chosen, type, [](Builder* builder, T value) -> Status {
    if constexpr (std::is_same_v<T, duckdb::hugeint_t>) {
      const arrow::Decimal128 wide(value.upper, value.lower);
      if (!wide.FitsInPrecision(38)) {
        return MakeError(ErrorKind::kInvalid, "the integer {} has more than 38 digits: cast it to VARCHAR", wide.ToIntegerString());
      }
      return builder->Append(wide);
    } else {
      return builder->Append(arrow::Decimal128(static_cast<int64_t>(value)));
    }
  });
}

ArrayResult BuildIntervals(const UnifiedVectorFormat& format, const Chosen& chosen, const std::shared_ptr<arrow::DataType>& type) {
  using Builder = arrow::MonthDayNanoIntervalBuilder;
  return Build<Builder, duckdb::interval_t>(format, chosen, type, [](Builder* builder, const duckdb::interval_t& value) {
    return builder->Append({value.months, value.days, value.micros * 1000});
  });
}

/// The validity bitmap of the chosen rows; null where all are valid.
Result<std::shared_ptr<arrow::Buffer>> Validity(const UnifiedVectorFormat& format, const Chosen& chosen, int64_t* nulls) {
  *nulls = 0;
  if (format.validity.AllValid()) return nullptr;
  arrow::TypedBufferBuilder<bool> bits;
  for (idx_t i = 0; i < chosen.count; ++i) {
    const bool valid = format.validity.RowIsValid(format.sel->get_index(chosen.rows[i]));
    *nulls += !valid;
    SHEAF_RETURN_NOT_OK(bits.Append(valid));
  }
  return bits.Finish();
}

/// Lists and maps: offsets, and the positions of the elements they stand for.
ArrayResult BuildLists(Vector& vector, const UnifiedVectorFormat& format, const Chosen& chosen,
                       const std::shared_ptr<arrow::DataType>& type) {
  const auto* entries = UnifiedVectorFormat::GetData<duckdb::list_entry_t>(format);
  arrow::TypedBufferBuilder<int32_t> offsets;
  std::vector<idx_t> rows;
  SHEAF_RETURN_NOT_OK(offsets.Append(0));
  for (idx_t i = 0; i < chosen.count; ++i) {
    const idx_t at = format.sel->get_index(chosen.rows[i]);
    for (idx_t k = 0; format.validity.RowIsValid(at) && k < entries[at].length; ++k) rows.push_back(entries[at].offset + k);
    SHEAF_RETURN_NOT_OK(offsets.Append(static_cast<int32_t>(rows.size())));
  }
  int64_t nulls;
  SHEAF_ASSIGN_OR_RETURN(auto validity, Validity(format, chosen, &nulls));
  SHEAF_ASSIGN_OR_RETURN(auto offset_buffer, offsets.Finish());
  const idx_t size = duckdb::ListVector::GetListSize(vector);
  SHEAF_ASSIGN_OR_RETURN(auto elements,
                         ToArray(duckdb::ListVector::GetEntry(vector), size, {rows.data(), rows.size()}, type->field(0)->type()));
  return arrow::MakeArray(arrow::ArrayData::Make(type, static_cast<int64_t>(chosen.count), {std::move(validity), std::move(offset_buffer)},
                                                 {elements->data()}, nulls));
}

ArrayResult BuildFixedLists(Vector& vector, const UnifiedVectorFormat& format, const Chosen& chosen, idx_t size,
                            const std::shared_ptr<arrow::DataType>& type) {
  const auto length = static_cast<idx_t>(static_cast<const arrow::FixedSizeListType&>(*type).list_size());
  std::vector<idx_t> rows;
  for (idx_t i = 0; i < chosen.count; ++i) {
    for (idx_t k = 0; k < length; ++k) rows.push_back(format.sel->get_index(chosen.rows[i]) * length + k);
  }
  int64_t nulls;
  SHEAF_ASSIGN_OR_RETURN(auto validity, Validity(format, chosen, &nulls));
  SHEAF_ASSIGN_OR_RETURN(auto elements, ToArray(duckdb::ArrayVector::GetEntry(vector), size * length, {rows.data(), rows.size()},
                                                type->field(0)->type()));
  return arrow::MakeArray(
      arrow::ArrayData::Make(type, static_cast<int64_t>(chosen.count), {std::move(validity)}, {elements->data()}, nulls));
}

ArrayResult BuildStructs(Vector& vector, const UnifiedVectorFormat& format, const Chosen& chosen, idx_t size,
                         const std::shared_ptr<arrow::DataType>& type) {
  std::vector<idx_t> rows;
  for (idx_t i = 0; i < chosen.count; ++i) rows.push_back(format.sel->get_index(chosen.rows[i]));
  int64_t nulls;
  SHEAF_ASSIGN_OR_RETURN(auto validity, Validity(format, chosen, &nulls));
  auto& children = duckdb::StructVector::GetEntries(vector);
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays;
  for (size_t i = 0; i < children.size(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(auto child, ToArray(*children[i], size, {rows.data(), rows.size()}, type->field(static_cast<int>(i))->type()));
    arrays.push_back(child->data());
  }
  return arrow::MakeArray(
      arrow::ArrayData::Make(type, static_cast<int64_t>(chosen.count), {std::move(validity)}, std::move(arrays), nulls));
}

ArrayResult BuildNested(Vector& vector, idx_t size, const Chosen& chosen, const std::shared_ptr<arrow::DataType>& type) {
  vector.Flatten(size);
  UnifiedVectorFormat format;
  vector.ToUnifiedFormat(size, format);
  switch (type->id()) {
    case arrow::Type::LIST:
    case arrow::Type::MAP: return BuildLists(vector, format, chosen, type);
    case arrow::Type::FIXED_SIZE_LIST: return BuildFixedLists(vector, format, chosen, size, type);
    default: return BuildStructs(vector, format, chosen, size, type);
  }
}

ArrayResult ToArray(Vector& vector, idx_t size, const Chosen& chosen, const std::shared_ptr<arrow::DataType>& type) {
  const LogicalType& logical = vector.GetType();
  if (arrow::is_nested(type->id())) return BuildNested(vector, size, chosen, type);
  UnifiedVectorFormat format;
  vector.ToUnifiedFormat(size, format);
  switch (type->id()) {
    case arrow::Type::NA: return std::make_shared<arrow::NullArray>(static_cast<int64_t>(chosen.count));
    case arrow::Type::BOOL: return BuildNumbers<arrow::BooleanType, bool>(format, chosen, type);
    case arrow::Type::INT8: return BuildNumbers<arrow::Int8Type>(format, chosen, type);
    case arrow::Type::INT16: return BuildNumbers<arrow::Int16Type>(format, chosen, type);
    case arrow::Type::INT32: return BuildNumbers<arrow::Int32Type>(format, chosen, type);
    case arrow::Type::INT64: return BuildNumbers<arrow::Int64Type>(format, chosen, type);
    case arrow::Type::UINT8: return BuildNumbers<arrow::UInt8Type>(format, chosen, type);
    case arrow::Type::UINT16: return BuildNumbers<arrow::UInt16Type>(format, chosen, type);
    case arrow::Type::UINT32: return BuildNumbers<arrow::UInt32Type>(format, chosen, type);
    case arrow::Type::UINT64: return BuildNumbers<arrow::UInt64Type>(format, chosen, type);
    case arrow::Type::FLOAT: return BuildNumbers<arrow::FloatType>(format, chosen, type);
    case arrow::Type::DOUBLE: return BuildNumbers<arrow::DoubleType>(format, chosen, type);
    case arrow::Type::DATE32: return BuildNumbers<arrow::Date32Type, duckdb::date_t>(format, chosen, type);
    case arrow::Type::TIME64: return BuildNumbers<arrow::Time64Type, duckdb::dtime_t>(format, chosen, type);
    case arrow::Type::TIMESTAMP: return BuildNumbers<arrow::TimestampType, duckdb::timestamp_t>(format, chosen, type);
    case arrow::Type::STRING: return BuildBytes<arrow::StringBuilder>(format, chosen, type);
    case arrow::Type::BINARY: return BuildBytes<arrow::BinaryBuilder>(format, chosen, type);
    case arrow::Type::FIXED_SIZE_BINARY: return BuildIds(logical, format, chosen, type);
    case arrow::Type::INTERVAL_MONTH_DAY_NANO: return BuildIntervals(format, chosen, type);
    case arrow::Type::DECIMAL128:
      switch (logical.InternalType()) {
        case duckdb::PhysicalType::INT16: return BuildDecimals<int16_t>(format, chosen, type);
        case duckdb::PhysicalType::INT32: return BuildDecimals<int32_t>(format, chosen, type);
        case duckdb::PhysicalType::INT64: return BuildDecimals<int64_t>(format, chosen, type);
        default: return BuildDecimals<duckdb::hugeint_t>(format, chosen, type);
      }
    default: return MakeError(ErrorKind::kUnsupported, "a result of SQL type {} cannot be given out", logical.ToString());
  }
}

}  // namespace

std::shared_ptr<arrow::Schema> ResultSchema(const duckdb::vector<LogicalType>& types, const duckdb::vector<std::string>& names) {
  arrow::FieldVector fields;
  for (size_t i = 0; i < types.size(); ++i) fields.push_back(ArrowField(names[i], types[i]));
  return arrow::schema(std::move(fields));
}

Result<std::shared_ptr<arrow::Array>> ToArrowArray(Vector& vector, idx_t size, const std::vector<idx_t>& rows,
                                                   const std::shared_ptr<arrow::DataType>& type) {
  return ToArray(vector, size, {rows.data(), rows.size()}, type);
}

Result<std::shared_ptr<arrow::RecordBatch>> ToRecordBatch(duckdb::ClientContext& context, duckdb::DataChunk& chunk,
                                                          const std::shared_ptr<arrow::Schema>& schema) {
  const idx_t count = chunk.size();
  std::vector<idx_t> rows(count);
  std::iota(rows.begin(), rows.end(), idx_t{0});
  arrow::ArrayVector arrays;
  for (size_t i = 0; i < chunk.ColumnCount(); ++i) {
    Vector* column = &chunk.data[i];
    std::optional<Vector> cast;
    if (NeedsCast(column->GetType())) {
      cast.emplace(Representable(column->GetType()), std::max<idx_t>(count, STANDARD_VECTOR_SIZE));
      duckdb::VectorOperations::Cast(context, *column, *cast, count);
      column = &*cast;
    }
    SHEAF_ASSIGN_OR_RETURN(auto array, ToArray(*column, count, {rows.data(), count}, schema->field(static_cast<int>(i))->type()));
    arrays.push_back(std::move(array));
  }
  return arrow::RecordBatch::Make(schema, static_cast<int64_t>(count), std::move(arrays));
}

}  // namespace sheaf::query
