#include "serve/flight_parameters.h"

#include <utility>

#include <arrow/array.h>
#include <arrow/compute/cast.h>
#include <arrow/compute/exec.h>

namespace sheaf::serve {
namespace {

using arrow::Type;

constexpr int kDecimalDigitsMax = 38;

std::shared_ptr<arrow::Field> StoredField(const arrow::Field& field) {
  return arrow::field(field.name(), StoredType(field.type()), field.nullable());
}

std::shared_ptr<arrow::DataType> StoredDecimal(const std::shared_ptr<arrow::DataType>& type) {
  const auto& decimal = static_cast<const arrow::DecimalType&>(*type);
  if (decimal.precision() > kDecimalDigitsMax) return type;
  return arrow::decimal128(decimal.precision(), decimal.scale());
}

std::shared_ptr<arrow::DataType> StoredStruct(const arrow::DataType& type) {
  arrow::FieldVector fields;
  for (const auto& field : type.fields()) fields.push_back(StoredField(*field));
  return arrow::struct_(std::move(fields));
}

bool IsText(Type::type type) { return type == Type::STRING; }

/// Whether SQL means a value and not a text where it expects one of `type`.
bool IsNumberOrTime(Type::type type) {
  return type == Type::BOOL || arrow::is_numeric(type) || arrow::is_decimal(type) || arrow::is_temporal(type);
}

Result<std::shared_ptr<arrow::Array>> Cast(const std::shared_ptr<arrow::Array>& array,
                                           const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool) {
  if (array->type()->Equals(type)) return array;
  arrow::compute::ExecContext context(pool);
  const auto cast = arrow::compute::Cast(arrow::Datum(array), arrow::compute::CastOptions::Safe(type), &context);
  if (!cast.ok()) return cast.status();
  return cast->make_array();
}

query::Parameter ToParameter(const std::shared_ptr<arrow::Scalar>& scalar) {
  if (!scalar->is_valid && scalar->type->id() == Type::NA) return std::monostate();
  if (!scalar->is_valid) return scalar;
  // The simple ones are those that HTTP's JSON has as well: one statement, one plan, one kept answer.
  switch (scalar->type->id()) {
    case Type::BOOL: return static_cast<const arrow::BooleanScalar&>(*scalar).value;
    case Type::INT8: return int64_t{static_cast<const arrow::Int8Scalar&>(*scalar).value};
    case Type::INT16: return int64_t{static_cast<const arrow::Int16Scalar&>(*scalar).value};
    case Type::INT32: return int64_t{static_cast<const arrow::Int32Scalar&>(*scalar).value};
    case Type::INT64: return static_cast<const arrow::Int64Scalar&>(*scalar).value;
    case Type::DOUBLE: return static_cast<const arrow::DoubleScalar&>(*scalar).value;
    case Type::STRING: return std::string(static_cast<const arrow::StringScalar&>(*scalar).view());
    default: return scalar;
  }
}

}  // namespace

std::shared_ptr<arrow::DataType> StoredType(const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case Type::LARGE_STRING:
    case Type::STRING_VIEW: return arrow::utf8();
    case Type::LARGE_BINARY:
    case Type::BINARY_VIEW: return arrow::binary();
    case Type::HALF_FLOAT: return arrow::float32();
    case Type::DATE64: return arrow::date32();
    case Type::TIME32: return arrow::time64(arrow::TimeUnit::MICRO);
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL256: return StoredDecimal(type);
    case Type::DICTIONARY: return StoredType(static_cast<const arrow::DictionaryType&>(*type).value_type());
    case Type::RUN_END_ENCODED: return StoredType(static_cast<const arrow::RunEndEncodedType&>(*type).value_type());
    case Type::EXTENSION: return StoredType(static_cast<const arrow::ExtensionType&>(*type).storage_type());
    case Type::LIST:
    case Type::LARGE_LIST:
    case Type::LIST_VIEW:
    case Type::LARGE_LIST_VIEW: return arrow::list(StoredField(*type->field(0)));
    case Type::FIXED_SIZE_LIST:
      return arrow::fixed_size_list(StoredField(*type->field(0)),
                                    static_cast<const arrow::FixedSizeListType&>(*type).list_size());
    case Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(*type);
      return arrow::map(StoredType(map.key_type()), StoredField(*map.item_field()), map.keys_sorted());
    }
    case Type::STRUCT: return StoredStruct(*type);
    default: return type;
  }
}

std::shared_ptr<arrow::Schema> StoredSchema(const arrow::Schema& schema) {
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) fields.push_back(StoredField(*field));
  return arrow::schema(std::move(fields));
}

Result<std::shared_ptr<arrow::RecordBatch>> PrepareParameters(const arrow::RecordBatch& given, const arrow::Schema& expected,
                                                              arrow::MemoryPool* pool) {
  if (given.num_columns() != expected.num_fields()) {
    return MakeError(ErrorKind::kInvalid, "the statement has {} parameters and {} were given", expected.num_fields(),
                     given.num_columns());
  }
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (int i = 0; i < given.num_columns(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(auto column, Cast(given.column(i), StoredType(given.column(i)->type()), pool));
    const auto& wanted = expected.field(i)->type();
    if (IsText(column->type_id()) && IsNumberOrTime(wanted->id())) {
      auto read = Cast(column, wanted, pool);  // What cannot be read so SQL reads in its own way, or refuses.
      if (read.ok()) column = std::move(*read);
    }
    fields.push_back(arrow::field(expected.field(i)->name(), column->type()));
    columns.push_back(std::move(column));
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), given.num_rows(), std::move(columns));
}

Result<std::vector<query::Parameter>> ParametersOfRow(const arrow::RecordBatch& batch, int64_t row) {
  std::vector<query::Parameter> parameters;
  for (const auto& column : batch.columns()) {
    SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<arrow::Scalar> scalar, column->GetScalar(row));
    parameters.push_back(ToParameter(scalar));
  }
  return parameters;
}

}  // namespace sheaf::serve
