#include "query/table_rows.h"

#include <string_view>
#include <utility>

#include <arrow/array/array_dict.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_dict.h>
#include <arrow/array/util.h>

#include "query/arrow_to_duckdb.h"
#include "query/duckdb_to_arrow.h"
#include "query/id_types.h"

namespace sheaf::query {

namespace {

using duckdb::LogicalType;
using duckdb::LogicalTypeId;

Status Refuse(const std::string& column, const LogicalType& type, const char* instead) {
  return MakeError(ErrorKind::kUnsupported, "column '{}' cannot be of type {}: {}", column, type.ToString(), instead);
}

Status CheckType(const std::string& column, const LogicalType& type) {
  if (IsTraceId(type) || IsSpanId(type)) return Status::OK();
  switch (type.id()) {
    case LogicalTypeId::BOOLEAN:
    case LogicalTypeId::TINYINT:
    case LogicalTypeId::SMALLINT:
    case LogicalTypeId::INTEGER:
    case LogicalTypeId::BIGINT:
    case LogicalTypeId::UTINYINT:
    case LogicalTypeId::USMALLINT:
    case LogicalTypeId::UINTEGER:
    case LogicalTypeId::UBIGINT:
    case LogicalTypeId::FLOAT:
    case LogicalTypeId::DOUBLE:
    case LogicalTypeId::DECIMAL:
    case LogicalTypeId::VARCHAR:
    case LogicalTypeId::BLOB:
    case LogicalTypeId::DATE:
    case LogicalTypeId::TIME:
    case LogicalTypeId::TIME_NS:
    case LogicalTypeId::TIMESTAMP_SEC:
    case LogicalTypeId::TIMESTAMP_MS:
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_NS:
    case LogicalTypeId::TIMESTAMP_TZ: return Status::OK();
    case LogicalTypeId::LIST: return CheckType(column, duckdb::ListType::GetChildType(type));
    case LogicalTypeId::ARRAY: return CheckType(column, duckdb::ArrayType::GetChildType(type));
    case LogicalTypeId::MAP:
      SHEAF_RETURN_NOT_OK(CheckType(column, duckdb::MapType::KeyType(type)));
      return CheckType(column, duckdb::MapType::ValueType(type));
    case LogicalTypeId::STRUCT:
      for (const auto& [name, child] : duckdb::StructType::GetChildTypes(type)) SHEAF_RETURN_NOT_OK(CheckType(column, child));
      return Status::OK();
    case LogicalTypeId::HUGEINT:
    case LogicalTypeId::UHUGEINT: return Refuse(column, type, "use DECIMAL(38, 0)");
    case LogicalTypeId::UUID: return Refuse(column, type, "use TRACE_ID (16 bytes, shown as hex) or VARCHAR");
    case LogicalTypeId::INTERVAL: return Refuse(column, type, "keep spans of time as BIGINT, in the unit you need");
    case LogicalTypeId::TIME_TZ: return Refuse(column, type, "use TIME");
    case LogicalTypeId::ENUM: return Refuse(column, type, "use VARCHAR");
    case LogicalTypeId::SQLNULL: return Refuse(column, type, "give it a type, as in NULL::VARCHAR");
    default: return Refuse(column, type, "use a number, text, BLOB, a time, or lists, arrays, structs and maps of these");
  }
}

/// The values of a text or binary array behind a dictionary of those that occur.
Result<std::shared_ptr<arrow::Array>> Encode(const arrow::Array& array, const std::shared_ptr<arrow::DataType>& type) {
  const auto& dictionary = static_cast<const arrow::DictionaryType&>(*type);
  const auto encode = [&]<typename Type>(const Type*) -> Result<std::shared_ptr<arrow::Array>> {
    arrow::Dictionary32Builder<Type> builder(dictionary.value_type());
    SHEAF_RETURN_NOT_OK(builder.AppendArray(array));
    std::shared_ptr<arrow::Array> encoded;
    SHEAF_RETURN_NOT_OK(builder.Finish(&encoded));
    return encoded;
  };
  if (dictionary.index_type()->id() == arrow::Type::INT32 && dictionary.value_type()->Equals(array.type())) {
    if (array.type_id() == arrow::Type::STRING) return encode(static_cast<const arrow::StringType*>(nullptr));
    if (array.type_id() == arrow::Type::BINARY) return encode(static_cast<const arrow::BinaryType*>(nullptr));
  }
  return MakeError(ErrorKind::kUnsupported, "SQL cannot write a column of Arrow type {}", type->ToString());
}

/// BLOBs of a column whose values all have one width.
Result<std::shared_ptr<arrow::Array>> FixWidth(const arrow::BinaryArray& array, const std::shared_ptr<arrow::DataType>& type) {
  arrow::FixedSizeBinaryBuilder builder(type);
  for (int64_t i = 0; i < array.length(); ++i) {
    if (array.IsNull(i)) {
      SHEAF_RETURN_NOT_OK(builder.AppendNull());
      continue;
    }
    const std::string_view value = array.GetView(i);
    if (static_cast<int32_t>(value.size()) != builder.byte_width()) {
      return MakeError(ErrorKind::kInvalid, "a value has {} bytes, but the column is {}", value.size(), type->ToString());
    }
    SHEAF_RETURN_NOT_OK(builder.Append(value));
  }
  std::shared_ptr<arrow::Array> fixed;
  SHEAF_RETURN_NOT_OK(builder.Finish(&fixed));
  return fixed;
}

/// `array`, of what SQL makes of the column's type, as that very type.
Result<std::shared_ptr<arrow::Array>> Adapt(const std::shared_ptr<arrow::Array>& array, const std::shared_ptr<arrow::DataType>& type) {
  if (array->type()->Equals(*type)) return array;
  if (type->id() == arrow::Type::DICTIONARY) return Encode(*array, type);
  if (type->id() == arrow::Type::FIXED_SIZE_BINARY && array->type_id() == arrow::Type::BINARY) {
    return FixWidth(static_cast<const arrow::BinaryArray&>(*array), type);
  }
  if (array->type_id() != type->id()) {
    return MakeError(ErrorKind::kUnsupported, "SQL cannot write a column of Arrow type {}", type->ToString());
  }
  // Nested types that differ in names and nullability of their elements only lie in memory alike.
  return array->View(type);
}

}  // namespace

Result<std::shared_ptr<arrow::DataType>> StoredType(const std::string& column, const LogicalType& type) {
  SHEAF_RETURN_NOT_OK(CheckType(column, type));
  return ResultSchema({type}, {column})->field(0)->type();
}

Result<std::shared_ptr<arrow::RecordBatch>> ToTableBatch(duckdb::ClientContext& context, duckdb::DataChunk& chunk,
                                                         const std::shared_ptr<arrow::Schema>& schema) {
  duckdb::vector<std::string> names(schema->field_names());
  SHEAF_ASSIGN_OR_RETURN(auto made, ToRecordBatch(context, chunk, ResultSchema(chunk.GetTypes(), names)));
  arrow::ArrayVector columns;
  for (int i = 0; i < schema->num_fields(); ++i) {
    const auto& field = schema->field(i);
    SHEAF_ASSIGN_OR_RETURN(auto column, Adapt(made->column(i), field->type()));
    if (!field->nullable() && column->null_count() > 0) {
      return MakeError(ErrorKind::kInvalid, "NOT NULL constraint failed: column '{}' has no value in {} of {} rows", field->name(),
                       column->null_count(), column->length());
    }
    columns.push_back(std::move(column));
  }
  return arrow::RecordBatch::Make(schema, made->num_rows(), std::move(columns));
}

Result<std::shared_ptr<arrow::Scalar>> ToScalar(duckdb::ClientContext& context, const duckdb::Value& value,
                                                const std::shared_ptr<arrow::DataType>& type) {
  SHEAF_ASSIGN_OR_RETURN(const LogicalType logical, SqlType(*type));
  duckdb::DataChunk chunk;
  chunk.Initialize(context, duckdb::vector<LogicalType>{logical}, 1);
  chunk.SetValue(0, 0, value.CastAs(context, logical));
  chunk.SetCardinality(1);
  SHEAF_ASSIGN_OR_RETURN(auto batch, ToTableBatch(context, chunk, arrow::schema({arrow::field("value", type)})));
  return batch->column(0)->GetScalar(0);
}

Result<duckdb::Value> ToValue(const arrow::Scalar& scalar) {
  SHEAF_ASSIGN_OR_RETURN(const LogicalType logical, SqlType(*scalar.type));
  if (!scalar.is_valid) return duckdb::Value(logical);
  SHEAF_ASSIGN_OR_RETURN(auto array, arrow::MakeArrayFromScalar(scalar, 1));
  duckdb::Vector vector(logical);
  ConvertArray(array, {.count = 1}, &vector);
  return vector.GetValue(0);
}

}  // namespace sheaf::query
