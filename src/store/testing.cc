#include "store/testing.h"

#include <string>
#include <utility>
#include <vector>

#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/builder.h>
#include <arrow/type.h>
#include <arrow/util/checked_cast.h>

namespace sheaf::store {
namespace {

using arrow::internal::checked_cast;

constexpr int64_t kHourNs = 3'600'000'000'000;

/// Makes arrays of any type that the ready tables use.
class RandomArrays {
 public:
  RandomArrays(std::mt19937_64* random, int64_t time_ns) : random_(*random), time_ns_(time_ns) {}

  std::shared_ptr<arrow::Array> Make(const std::shared_ptr<arrow::DataType>& type, int64_t length, bool nullable) {
    switch (type->id()) {
      case arrow::Type::LIST: return MakeList(type, length);
      case arrow::Type::STRUCT: return MakeStruct(type, length);
      case arrow::Type::DICTIONARY: return MakeDictionary(type, length);
      default: return MakeFlat(type, length, nullable);
    }
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }

  std::string Text() {
    std::string text(Below(4) == 0 ? 0 : Below(20), 'a');
    for (char& c : text) c = static_cast<char>('a' + Below(26));
    return text;
  }

  std::shared_ptr<arrow::Array> MakeFlat(const std::shared_ptr<arrow::DataType>& type, int64_t length, bool nullable) {
    auto builder = arrow::MakeBuilder(type).ValueOrDie();
    for (int64_t i = 0; i < length; ++i) {
      const arrow::Status status = nullable && Below(3) == 0 ? builder->AppendNull() : AppendValue(*type, builder.get());
      if (!status.ok()) status.Abort();
    }
    return builder->Finish().ValueOrDie();
  }

  arrow::Status AppendValue(const arrow::DataType& type, arrow::ArrayBuilder* builder) {
    switch (type.id()) {
      case arrow::Type::BOOL: return checked_cast<arrow::BooleanBuilder*>(builder)->Append(Below(2) == 1);
      case arrow::Type::UINT8: return checked_cast<arrow::UInt8Builder*>(builder)->Append(static_cast<uint8_t>(Below(8)));
      case arrow::Type::INT32: return checked_cast<arrow::Int32Builder*>(builder)->Append(static_cast<int32_t>(random_()));
      case arrow::Type::UINT32: return checked_cast<arrow::UInt32Builder*>(builder)->Append(static_cast<uint32_t>(random_()));
      case arrow::Type::INT64: return checked_cast<arrow::Int64Builder*>(builder)->Append(static_cast<int64_t>(random_()));
      case arrow::Type::UINT64: return checked_cast<arrow::UInt64Builder*>(builder)->Append(random_());
      case arrow::Type::DOUBLE: return checked_cast<arrow::DoubleBuilder*>(builder)->Append(static_cast<double>(Below(1000)) / 8);
      case arrow::Type::TIMESTAMP:
        return checked_cast<arrow::TimestampBuilder*>(builder)->Append(time_ns_ + static_cast<int64_t>(Below(kHourNs)));
      case arrow::Type::STRING: return checked_cast<arrow::StringBuilder*>(builder)->Append(Text());
      case arrow::Type::BINARY: return checked_cast<arrow::BinaryBuilder*>(builder)->Append(Text());
      case arrow::Type::FIXED_SIZE_BINARY: {
        std::string id(static_cast<size_t>(checked_cast<const arrow::FixedSizeBinaryType&>(type).byte_width()), '\0');
        for (char& byte : id) byte = static_cast<char>(random_());
        return checked_cast<arrow::FixedSizeBinaryBuilder*>(builder)->Append(id);
      }
      default: return arrow::Status::NotImplemented(type.ToString());
    }
  }

  std::shared_ptr<arrow::Array> MakeList(const std::shared_ptr<arrow::DataType>& type, int64_t length) {
    arrow::Int32Builder offsets;
    int32_t end = 0;
    for (int64_t i = 0; i <= length; ++i) {
      if (!offsets.Append(end).ok()) std::abort();
      if (i < length) end += static_cast<int32_t>(Below(4));
    }
    const auto items = Make(type->field(0)->type(), end, false);
    return std::make_shared<arrow::ListArray>(type, length, offsets.Finish().ValueOrDie()->data()->buffers[1], items);
  }

  std::shared_ptr<arrow::Array> MakeStruct(const std::shared_ptr<arrow::DataType>& type, int64_t length) {
    arrow::ArrayVector children;
    for (const auto& field : type->fields()) children.push_back(Make(field->type(), length, field->nullable()));
    return std::make_shared<arrow::StructArray>(type, length, children);
  }

  std::shared_ptr<arrow::Array> MakeDictionary(const std::shared_ptr<arrow::DataType>& type, int64_t length) {
    constexpr uint64_t kValues = 7;
    const auto values = MakeFlat(checked_cast<const arrow::DictionaryType&>(*type).value_type(), kValues, false);
    arrow::Int32Builder indices;
    for (int64_t i = 0; i < length; ++i) {
      if (!indices.Append(static_cast<int32_t>(Below(kValues))).ok()) std::abort();
    }
    return std::make_shared<arrow::DictionaryArray>(type, indices.Finish().ValueOrDie(), values);
  }

  std::mt19937_64& random_;
  const int64_t time_ns_;
};

}  // namespace

std::shared_ptr<arrow::RecordBatch> RandomBatch(const std::shared_ptr<arrow::Schema>& schema, int64_t rows, std::mt19937_64* random,
                                                int64_t time_ns) {
  RandomArrays arrays(random, time_ns);
  arrow::ArrayVector columns;
  for (const auto& field : schema->fields()) columns.push_back(arrays.Make(field->type(), rows, field->nullable()));
  return arrow::RecordBatch::Make(schema, rows, columns);
}

}  // namespace sheaf::store
