#include "columns/random_testing.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include <arrow/array/array_dict.h>
#include <arrow/array/array_nested.h>
#include <arrow/array/array_primitive.h>
#include <arrow/array/data.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/util/bit_util.h>

#include "columns/byte_values.h"
#include "core/check.h"
#include "core/hex.h"

namespace sheaf::columns {
namespace {

int64_t Below(int64_t limit, Random* random) { return static_cast<int64_t>((*random)() % static_cast<uint64_t>(limit)); }

std::shared_ptr<arrow::Buffer> MakeBuffer(std::string bytes) { return arrow::Buffer::FromString(std::move(bytes)); }

std::shared_ptr<arrow::Buffer> RandomValidity(int64_t rows, Random* random) {
  std::string bits(static_cast<size_t>(arrow::bit_util::BytesForBits(rows)), '\0');
  for (int64_t i = 0; i < rows; ++i) {
    arrow::bit_util::SetBitTo(reinterpret_cast<uint8_t*>(bits.data()), i, Below(5, random) != 0);
  }
  return MakeBuffer(std::move(bits));
}

std::string RandomText(Random* random) {
  const int64_t shape = Below(20, random);
  if (shape == 0) return {};
  if (shape == 1) return std::string(static_cast<size_t>(Below(80, random)), static_cast<char>(Below(2, random) == 0 ? 0x7F : 'a'));
  return "value " + std::to_string(Below(40, random)) + (shape == 2 ? std::string(60, 'x') + std::to_string(Below(9, random)) : "");
}

template <typename Offset>
void SetText(int64_t rows, Random* random, arrow::ArrayData* out) {
  std::string offsets, bytes;
  for (int64_t i = 0; i <= rows; ++i) {
    const auto offset = static_cast<Offset>(bytes.size());
    offsets.append(reinterpret_cast<const char*>(&offset), sizeof offset);
    if (i < rows) bytes += RandomText(random);
  }
  out->buffers.push_back(MakeBuffer(std::move(offsets)));
  out->buffers.push_back(MakeBuffer(std::move(bytes)));
}

template <typename Offset>
int64_t SetListOffsets(int64_t rows, Random* random, arrow::ArrayData* out) {
  std::string offsets;
  Offset end = 0;
  for (int64_t i = 0; i <= rows; ++i) {
    offsets.append(reinterpret_cast<const char*>(&end), sizeof end);
    if (i < rows) end += static_cast<Offset>(Below(5, random));
  }
  out->buffers.push_back(MakeBuffer(std::move(offsets)));
  return end;
}

template <typename T>
void AppendNumber(Random* random, std::string* out) {
  T value = static_cast<T>(Below(50, random));
  if constexpr (std::is_signed_v<T>) value = static_cast<T>(value - 25);
  if constexpr (std::is_floating_point_v<T>) {
    if (Below(10, random) == 0) value = std::numeric_limits<T>::quiet_NaN();
  }
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void AppendFixed(const arrow::DataType& type, Random* random, std::string* out) {
  switch (type.storage_id()) {
    case arrow::Type::FLOAT: return AppendNumber<float>(random, out);
    case arrow::Type::DOUBLE: return AppendNumber<double>(random, out);
    case arrow::Type::HALF_FLOAT: {
      const uint16_t half = static_cast<uint16_t>(0x3C00 + Below(50, random));
      out->append(reinterpret_cast<const char*>(&half), sizeof half);
      return;
    }
    case arrow::Type::DECIMAL128: {
      const int64_t words[2] = {Below(2000, random) - 1000, 0};
      const int64_t high = words[0] < 0 ? -1 : 0;
      out->append(reinterpret_cast<const char*>(words), 8);
      out->append(reinterpret_cast<const char*>(&high), 8);
      return;
    }
    case arrow::Type::TIME64:
    case arrow::Type::DATE64: {  // Whole days, and times of day at or after midnight, are all that is valid.
      const int64_t day = Below(1000, random) * (type.id() == arrow::Type::DATE64 ? 86'400'000 : 1);
      out->append(reinterpret_cast<const char*>(&day), 8);
      return;
    }
    case arrow::Type::FIXED_SIZE_BINARY:
      for (int i = 0; i < type.byte_width(); ++i) out->push_back(static_cast<char>(i == 0 ? Below(40, random) : i));
      return;
    default: break;
  }
  switch (type.byte_width()) {
    case 1: return AppendNumber<int8_t>(random, out);
    case 2: return AppendNumber<int16_t>(random, out);
    case 4: return AppendNumber<int32_t>(random, out);
    case 8: return AppendNumber<int64_t>(random, out);
    default: SHEAF_CHECK(false);
  }
}

std::shared_ptr<arrow::ArrayData> RandomDictionary(const arrow::DataType& type, int64_t rows, Random* random,
                                                   std::shared_ptr<arrow::ArrayData> out) {
  const auto& dictionary = static_cast<const arrow::DictionaryType&>(type);
  const int64_t distinct = 1 + Below(30, random);
  out->dictionary = RandomArray(dictionary.value_type(), distinct, false, random)->data();
  std::string indexes;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t index = Below(distinct, random);
    indexes.append(reinterpret_cast<const char*>(&index), static_cast<size_t>(type.byte_width()));
  }
  out->buffers.push_back(MakeBuffer(std::move(indexes)));
  return out;
}

std::shared_ptr<arrow::ArrayData> RandomData(const std::shared_ptr<arrow::DataType>& type, int64_t rows, bool nullable, Random* random) {
  auto out = std::make_shared<arrow::ArrayData>(type, rows, arrow::kUnknownNullCount);
  out->buffers = {nullable && rows > 0 ? RandomValidity(rows, random) : nullptr};
  if (!out->buffers[0]) out->null_count = 0;
  const auto child = [&](int i, int64_t child_rows) {
    const arrow::Field& field = *type->field(i);
    out->child_data.push_back(RandomArray(field.type(), child_rows, field.nullable(), random)->data());
  };
  switch (type->id()) {
    case arrow::Type::NA:
      out->null_count = rows;
      out->buffers = {nullptr};
      break;
    case arrow::Type::BOOL: out->buffers.push_back(RandomValidity(rows, random)); break;
    case arrow::Type::STRING:
    case arrow::Type::BINARY: SetText<int32_t>(rows, random, out.get()); break;
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY: SetText<int64_t>(rows, random, out.get()); break;
    case arrow::Type::LIST:
    case arrow::Type::MAP: child(0, SetListOffsets<int32_t>(rows, random, out.get())); break;
    case arrow::Type::LARGE_LIST: child(0, SetListOffsets<int64_t>(rows, random, out.get())); break;
    case arrow::Type::FIXED_SIZE_LIST: child(0, rows * static_cast<const arrow::FixedSizeListType&>(*type).list_size()); break;
    case arrow::Type::STRUCT:
      for (int i = 0; i < type->num_fields(); ++i) child(i, rows);
      break;
    case arrow::Type::DICTIONARY: return RandomDictionary(*type, rows, random, out);
    default: {
      std::string values;
      for (int64_t i = 0; i < rows; ++i) AppendFixed(*type, random, &values);
      out->buffers.push_back(MakeBuffer(std::move(values)));
    }
  }
  return out;
}

void AppendValue(const arrow::Array& array, int64_t i, std::string* out) {
  if (array.IsNull(i)) {
    *out += "NULL";
    return;
  }
  const auto list = [&](const arrow::Array& values, int64_t begin, int64_t end) {
    *out += '[';
    for (int64_t v = begin; v < end; ++v) {
      AppendValue(values, v, out);
      *out += ',';
    }
    *out += ']';
  };
  switch (array.type_id()) {
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryArray&>(array);
      return AppendValue(*dictionary.dictionary(), dictionary.GetValueIndex(i), out);
    }
    case arrow::Type::STRUCT: {
      const auto& fields = static_cast<const arrow::StructArray&>(array);
      *out += '{';
      for (int f = 0; f < fields.num_fields(); ++f) {
        AppendValue(*fields.field(f), i, out);
        *out += ';';
      }
      *out += '}';
      return;
    }
    case arrow::Type::LIST:
    case arrow::Type::MAP: {
      const auto& lists = static_cast<const arrow::ListArray&>(array);
      return list(*lists.values(), lists.value_offset(i), lists.value_offset(i + 1));
    }
    case arrow::Type::LARGE_LIST: {
      const auto& lists = static_cast<const arrow::LargeListArray&>(array);
      return list(*lists.values(), lists.value_offset(i), lists.value_offset(i + 1));
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& lists = static_cast<const arrow::FixedSizeListArray&>(array);
      return list(*lists.values(), lists.value_offset(i), lists.value_offset(i + 1));
    }
    case arrow::Type::BOOL: *out += static_cast<const arrow::BooleanArray&>(array).Value(i) ? "true" : "false"; return;
    default: *out += ToHex((*ByteValues::Of(*array.data()))[i]);
  }
}

}  // namespace

uint64_t TestSeed() {
  static const uint64_t seed = [] {
    const char* set = std::getenv("SHEAF_SEED");
    const uint64_t value = set != nullptr ? std::strtoull(set, nullptr, 10) : std::random_device()();
    std::printf("seed %llu; replay with SHEAF_SEED=%llu and the same --gtest_filter\n", static_cast<unsigned long long>(value),
                static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

std::shared_ptr<arrow::Array> RandomArray(const std::shared_ptr<arrow::DataType>& type, int64_t rows, bool nullable, Random* random) {
  const int64_t before = Below(3, random), after = Below(3, random);
  auto whole = arrow::MakeArray(RandomData(type, before + rows + after, nullable, random));
  return whole->Slice(before, rows);
}

std::shared_ptr<arrow::RecordBatch> RandomBatch(const std::shared_ptr<arrow::Schema>& schema, int64_t rows, Random* random) {
  arrow::ArrayVector columns;
  for (const auto& field : schema->fields()) columns.push_back(RandomArray(field->type(), rows, field->nullable(), random));
  return arrow::RecordBatch::Make(schema, rows, std::move(columns));
}

std::shared_ptr<arrow::Schema> EveryType() {
  using arrow::field;
  const auto words = arrow::dictionary(arrow::int32(), arrow::utf8());
  const auto inner = arrow::struct_({field("key", words, false), field("num", arrow::int64()), field("val", arrow::binary(), false)});
  return arrow::schema(
      {field("i8", arrow::int8()),
       field("i16", arrow::int16()),
       field("i32", arrow::int32()),
       field("i64", arrow::int64(), false),
       field("u8", arrow::uint8()),
       field("u16", arrow::uint16()),
       field("u32", arrow::uint32()),
       field("u64", arrow::uint64()),
       field("f32", arrow::float32()),
       field("f64", arrow::float64()),
       field("half", arrow::float16()),
       field("flag", arrow::boolean()),
       field("time", arrow::timestamp(arrow::TimeUnit::NANO), false),
       field("utc", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
       field("day", arrow::date32()),
       field("day_ms", arrow::date64()),
       field("clock", arrow::time64(arrow::TimeUnit::NANO)),
       field("span", arrow::duration(arrow::TimeUnit::NANO)),
       field("price", arrow::decimal128(18, 6)),
       field("id16", arrow::fixed_size_binary(16), false),
       field("id8", arrow::fixed_size_binary(8)),
       field("text", arrow::utf8()),
       field("bytes", arrow::binary()),
       field("large_text", arrow::large_utf8()),
       field("large_bytes", arrow::large_binary()),
       field("word", words),
       field("blob_word", arrow::dictionary(arrow::int32(), arrow::binary()), false),
       field("small_word", arrow::dictionary(arrow::int16(), arrow::utf8())),
       field("numbers", arrow::list(field("item", arrow::uint64(), false))),
       field("large_numbers", arrow::large_list(arrow::float64())),
       field("vector", arrow::fixed_size_list(field("item", arrow::float32(), false), 4), false),
       field("record", inner),
       field("records", arrow::list(field("item", inner, false)), false),
       field("deep", arrow::list(field("item",
                                       arrow::struct_({field("name", words, false),
                                                       field("inner", arrow::list(field("item", inner, false)), false)}),
                                       false)))});
}

std::string RowText(const arrow::RecordBatch& batch, int64_t row) {
  std::string out;
  for (int c = 0; c < batch.num_columns(); ++c) {
    AppendValue(*batch.column(c), row, &out);
    out += '|';
  }
  return out;
}

std::vector<std::string> RowTexts(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  std::vector<std::string> out;
  for (const auto& batch : batches) {
    for (int64_t i = 0; i < batch->num_rows(); ++i) out.push_back(RowText(*batch, i));
  }
  return out;
}

}  // namespace sheaf::columns
