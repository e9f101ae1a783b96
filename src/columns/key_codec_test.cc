#include "columns/key_codec.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <arrow/array/array_binary.h>
#include <arrow/array/array_decimal.h>
#include <arrow/array/array_dict.h>
#include <arrow/array/array_primitive.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_decimal.h>
#include <arrow/array/builder_dict.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/util.h>
#include <arrow/scalar.h>
#include <arrow/type.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "columns/row_codec.h"

namespace sheaf::columns {
namespace {

using arrow::field;

std::vector<std::shared_ptr<arrow::DataType>> KeyTypes() {
  return {arrow::boolean(),
          arrow::int8(),
          arrow::int16(),
          arrow::int32(),
          arrow::int64(),
          arrow::uint8(),
          arrow::uint16(),
          arrow::uint32(),
          arrow::uint64(),
          arrow::date32(),
          arrow::date64(),
          arrow::time32(arrow::TimeUnit::MILLI),
          arrow::time64(arrow::TimeUnit::NANO),
          arrow::timestamp(arrow::TimeUnit::NANO),
          arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
          arrow::duration(arrow::TimeUnit::NANO),
          arrow::decimal32(9, 2),
          arrow::decimal64(18, 3),
          arrow::decimal128(38, 6),
          arrow::decimal256(76, 10),
          arrow::fixed_size_binary(16),
          arrow::fixed_size_binary(1),
          arrow::utf8(),
          arrow::binary(),
          arrow::large_utf8(),
          arrow::large_binary()};
}

template <typename T>
void Number(Random* random, std::string* out) {
  const uint64_t shape = (*random)() % 6;
  auto value = static_cast<T>((*random)());
  if (shape == 0) value = std::numeric_limits<T>::min();
  if (shape == 1) value = std::numeric_limits<T>::max();
  if (shape == 2) value = 0;
  if (shape == 3) value = static_cast<T>(static_cast<T>((*random)() % 3) - 1);
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Text with zero bytes, what encoding makes of them, high bytes, and beginnings of one another.
std::string Text(bool utf8, Random* random) {
  static const std::vector<std::string> kBytes = {
      std::string(1, '\0'), std::string(2, '\0'), std::string("\0\xFF", 2), "\xFF", "a", "ab", "\1"};
  static const std::vector<std::string> kCharacters = {std::string(1, '\0'), std::string(2, '\0'), "ÿ", "€", "a", "ab", "\1"};
  std::string out;
  for (uint64_t n = (*random)() % 5; n > 0; --n) out += (utf8 ? kCharacters : kBytes)[(*random)() % kBytes.size()];
  return out;
}

/// Many edge values, no NULLs.
std::shared_ptr<arrow::Array> EdgeArray(const std::shared_ptr<arrow::DataType>& type, int64_t rows, Random* random) {
  if (arrow::is_base_binary_like(type->id())) {
    std::unique_ptr<arrow::ArrayBuilder> builder;
    EXPECT_TRUE(arrow::MakeBuilder(arrow::default_memory_pool(), type, &builder).ok());
    for (int64_t i = 0; i < rows; ++i) {
      const std::string text = Text(arrow::is_string(type->id()), random);
      EXPECT_TRUE(builder->AppendScalar(**arrow::MakeScalar(type, arrow::Buffer::FromString(text))).ok());
    }
    return builder->Finish().ValueOrDie();
  }
  std::string values;
  const int width = type->id() == arrow::Type::BOOL ? 1 : type->byte_width();
  for (int64_t i = 0; i < rows; ++i) {
    switch (width) {
      case 1: Number<int8_t>(random, &values); break;
      case 2: Number<int16_t>(random, &values); break;
      case 4: Number<int32_t>(random, &values); break;
      case 8: Number<int64_t>(random, &values); break;
      default:
        for (int word = 0; word < width / 8; ++word) Number<int64_t>(random, &values);
    }
  }
  return arrow::MakeArray(arrow::ArrayData::Make(type, rows, {nullptr, arrow::Buffer::FromString(std::move(values))}, 0));
}

std::shared_ptr<arrow::RecordBatch> EdgeBatch(const std::shared_ptr<arrow::Schema>& schema, int64_t rows, Random* random) {
  arrow::ArrayVector columns;
  for (const auto& f : schema->fields()) columns.push_back(EdgeArray(f->type(), rows + 2, random)->Slice(1, rows));
  return arrow::RecordBatch::Make(schema, rows, std::move(columns));
}

/// The order of two values, by their meaning.
int Order(const arrow::Array& column, int64_t a, int64_t b) {
  const auto compare = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  const auto numbers = [&]<typename T>(T) {
    const T* values = column.data()->GetValues<T>(1);
    return compare(values[a], values[b]);
  };
  const auto bytes = [&]<typename Array>(const Array& array) { return compare(array.GetView(a), array.GetView(b)); };
  switch (column.type_id()) {
    case arrow::Type::BOOL:
      return compare(static_cast<const arrow::BooleanArray&>(column).Value(a),
                     static_cast<const arrow::BooleanArray&>(column).Value(b));
    case arrow::Type::UINT8: return numbers(uint8_t());
    case arrow::Type::UINT16: return numbers(uint16_t());
    case arrow::Type::UINT32: return numbers(uint32_t());
    case arrow::Type::UINT64: return numbers(uint64_t());
    case arrow::Type::STRING:
    case arrow::Type::BINARY: return bytes(static_cast<const arrow::BinaryArray&>(column));
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY: return bytes(static_cast<const arrow::LargeBinaryArray&>(column));
    case arrow::Type::FIXED_SIZE_BINARY: return bytes(static_cast<const arrow::FixedSizeBinaryArray&>(column));
    case arrow::Type::DECIMAL128: {
      const auto& array = static_cast<const arrow::Decimal128Array&>(column);
      return compare(arrow::Decimal128(array.GetValue(a)), arrow::Decimal128(array.GetValue(b)));
    }
    case arrow::Type::DECIMAL256: {
      const auto& array = static_cast<const arrow::Decimal256Array&>(column);
      return compare(arrow::Decimal256(array.GetValue(a)), arrow::Decimal256(array.GetValue(b)));
    }
    default: break;
  }
  switch (column.type()->byte_width()) {
    case 1: return numbers(int8_t());
    case 2: return numbers(int16_t());
    case 4: return numbers(int32_t());
    default: return numbers(int64_t());
  }
}

int Sign(int value) { return value < 0 ? -1 : value > 0 ? 1 : 0; }

std::vector<int> Numbers(int n) {
  std::vector<int> out;
  for (int i = 0; i < n; ++i) out.push_back(i);
  return out;
}

/// All that is promised of the keys of a batch whose columns all are key columns.
void ExpectKeysOrderAndComeBack(const std::shared_ptr<arrow::RecordBatch>& batch, Random* random) {
  const auto codec = KeyCodec::Make(batch->schema(), Numbers(batch->num_columns())).ValueOrDie();
  const KeyColumn keys = codec->Encode(*batch).ValueOrDie();
  ASSERT_EQ(keys.size(), batch->num_rows());
  for (int64_t a = 0; a < batch->num_rows(); ++a) {
    if (codec->fixed_bytes() > 0) {
      ASSERT_EQ(keys[a].size(), codec->fixed_bytes());
    }
    for (int64_t b = 0; b < batch->num_rows(); ++b) {
      int want = 0;
      for (int c = 0; c < batch->num_columns() && want == 0; ++c) want = Order(*batch->column(c), a, b);
      ASSERT_EQ(Sign(keys[a].compare(keys[b])), want) << codec->ToText(keys[a]) << " and " << codec->ToText(keys[b]);
      ASSERT_EQ(Sign(codec->Compare(*batch, a, keys[b])), want) << codec->ToText(keys[a]) << " and " << codec->ToText(keys[b]);
      const std::string part(keys[b].substr(0, keys[b].size() > 0 ? (*random)() % keys[b].size() : 0));
      ASSERT_EQ(Sign(codec->Compare(*batch, a, part)), Sign(keys[a].compare(part)));
    }
    const auto values = codec->Decode(keys[a]);
    ASSERT_TRUE(values.ok()) << values.status();
    for (int c = 0; c < batch->num_columns(); ++c) {
      ASSERT_TRUE((*values)[static_cast<size_t>(c)]->Equals(**batch->column(c)->GetScalar(a))) << codec->ToText(keys[a]);
    }
    ASSERT_EQ(codec->EncodeScalars(*values).ValueOrDie(), keys[a]);
  }
  const auto decoded = codec->DecodeKeys(keys).ValueOrDie();
  ASSERT_TRUE(decoded->Equals(*batch));
}

TEST(KeyCodec, BytesOrderAsValuesOfEveryTypeDoAndComeBack) {
  Random random(TestSeed());
  for (const auto& type : KeyTypes()) {
    SCOPED_TRACE(type->ToString());
    ASSERT_NO_FATAL_FAILURE(
        ExpectKeysOrderAndComeBack(EdgeBatch(arrow::schema({field("k", type, false)}), 60, &random), &random));
  }
}

TEST(KeyCodec, BytesOfCompositeKeysOrderColumnByColumn) {
  Random random(TestSeed());
  const auto types = KeyTypes();
  for (int round = 0; round < 60; ++round) {
    arrow::FieldVector fields;
    for (uint64_t n = 2 + random() % 3; n > 0; --n) {
      const auto& type = random() % 2 == 0 ? types[types.size() - 1 - random() % 4] : types[random() % types.size()];
      fields.push_back(field("k" + std::to_string(n), type, false));
    }
    SCOPED_TRACE(arrow::schema(fields)->ToString());
    ASSERT_NO_FATAL_FAILURE(ExpectKeysOrderAndComeBack(EdgeBatch(arrow::schema(fields), 40, &random), &random));
  }
}

TEST(KeyCodec, LooksThroughDictionaries) {
  Random random(TestSeed());
  for (const auto& value_type : {arrow::utf8(), arrow::int64(), arrow::boolean()}) {
    for (const auto& index_type : {arrow::int8(), arrow::uint16(), arrow::int32(), arrow::int64()}) {
      const auto values = EdgeArray(value_type, 20, &random);
      arrow::ArrayVector plain;
      std::unique_ptr<arrow::ArrayBuilder> indexes;
      ASSERT_TRUE(arrow::MakeBuilder(arrow::default_memory_pool(), index_type, &indexes).ok());
      for (int i = 0; i < 50; ++i) {
        const auto at = static_cast<int64_t>(random() % 20);
        ASSERT_TRUE(indexes->AppendScalar(**arrow::MakeScalar(index_type, at)).ok());
        plain.push_back(values->Slice(at, 1));
      }
      const auto type = arrow::dictionary(index_type, value_type);
      const auto words = std::make_shared<arrow::DictionaryArray>(type, indexes->Finish().ValueOrDie(), values);
      const auto schema =
          arrow::schema({field("other", arrow::float64()), field("word", type, false), field("n", arrow::int32(), false)});
      const auto batch = arrow::RecordBatch::Make(
          schema, 50, {EdgeArray(arrow::float64(), 50, &random), words, EdgeArray(arrow::int32(), 50, &random)});
      const auto codec = KeyCodec::Make(schema, {1, 2}).ValueOrDie();
      EXPECT_TRUE(codec->key_schema()->field(0)->type()->Equals(value_type));
      const KeyColumn keys = codec->Encode(*batch).ValueOrDie();
      const auto key_batch = batch->SelectColumns({1, 2}).ValueOrDie();
      const auto decoded = codec->DecodeKeys(keys).ValueOrDie();
      for (int64_t i = 0; i < 50; ++i) {
        ASSERT_EQ(codec->Compare(*key_batch, i, keys[i]), 0);
        ASSERT_TRUE(decoded->column(0)->Slice(i, 1)->Equals(plain[static_cast<size_t>(i)]));
      }
      ASSERT_EQ(codec->EncodeKeys(*key_batch).ValueOrDie().bytes, keys.bytes);
      ASSERT_EQ(codec->EncodeKeys(*decoded).ValueOrDie().bytes, keys.bytes);
    }
  }
}

std::shared_ptr<const KeyCodec> CodecOf(const std::shared_ptr<arrow::DataType>& type) {
  return KeyCodec::Make(arrow::schema({field("k", type)}), {0}).ValueOrDie();
}

std::shared_ptr<arrow::RecordBatch> TextBatch(const std::vector<std::string>& texts) {
  arrow::StringBuilder builder;
  for (const std::string& text : texts) EXPECT_TRUE((text == "NULL" ? builder.AppendNull() : builder.Append(text)).ok());
  return arrow::RecordBatch::Make(arrow::schema({field("k", arrow::utf8())}), static_cast<int64_t>(texts.size()),
                                  {builder.Finish().ValueOrDie()});
}

TEST(KeyCodec, RefusesNullsLongKeysAndOtherTypesByName) {
  const auto codec = CodecOf(arrow::utf8());
  const auto null = codec->Encode(*TextBatch({"a", "NULL"}));
  EXPECT_EQ(KindOf(null.status()), ErrorKind::kInvalid);
  EXPECT_NE(null.status().message().find("'k' is NULL in row 1"), std::string::npos) << null.status();
  EXPECT_LT(codec->Compare(*TextBatch({"NULL"}), 0, ""), 0);
  EXPECT_TRUE(codec->Encode(*TextBatch({std::string(kKeyBytesMax, 'x')})).ok());
  EXPECT_EQ(KindOf(codec->Encode(*TextBatch({std::string(kKeyBytesMax + 1, 'x')})).status()), ErrorKind::kTooLarge);
  EXPECT_EQ(KindOf(CodecOf(arrow::int64())->Encode(*TextBatch({"a"})).status()), ErrorKind::kInvalid);
  EXPECT_EQ(codec->Encode(*TextBatch({})).ValueOrDie().size(), 0);

  const auto outside =
      arrow::ArrayData::Make(arrow::dictionary(arrow::int8(), arrow::utf8()), 1, {nullptr, arrow::Buffer::FromString("\5")}, 0);
  outside->dictionary = TextBatch({"a"})->column_data(0);
  const auto batch = arrow::RecordBatch::Make(arrow::schema({field("k", outside->type)}), 1, std::vector{outside});
  EXPECT_EQ(KindOf(codec->Encode(*batch).status()), ErrorKind::kCorruption);
}

TEST(KeyCodec, IsMadeOnlyOfColumnsThatCanBeKeys) {
  const auto schema = EveryType();
  const auto kind = [&](std::vector<int> columns) { return KindOf(KeyCodec::Make(schema, std::move(columns)).status()); };
  EXPECT_EQ(kind({}), ErrorKind::kInvalid);
  EXPECT_EQ(kind({3, 3}), ErrorKind::kInvalid);
  EXPECT_EQ(kind({-1}), ErrorKind::kInvalid);
  EXPECT_EQ(kind({schema->num_fields()}), ErrorKind::kInvalid);
  for (const char* name : {"f32", "f64", "half", "numbers", "record", "vector", "deep"}) {
    const auto made = KeyCodec::Make(schema, {schema->GetFieldIndex(name)});
    EXPECT_EQ(KindOf(made.status()), ErrorKind::kUnsupported);
    EXPECT_NE(made.status().message().find(name), std::string::npos);
  }
  EXPECT_EQ(
      KindOf(KeyCodec::Make(arrow::schema({field("a", arrow::fixed_size_binary(600)), field("b", arrow::fixed_size_binary(600))}),
                            {0, 1})
                 .status()),
      ErrorKind::kUnsupported);
}

TEST(KeyCodec, BytesThatAreNoKeyAreCorruptionAndComeAsHex) {
  const auto pair = KeyCodec::Make(arrow::schema({field("a", arrow::utf8()), field("b", arrow::boolean())}), {0, 1}).ValueOrDie();
  const auto good = pair->EncodeText(std::vector<std::string>{"x", "true"}).ValueOrDie();
  EXPECT_EQ(good, std::string("x\0\0\1", 4));
  EXPECT_EQ(pair->ToText(good), "('x', true)");
  for (const std::string& bad :
       {std::string(), std::string("x"), std::string("x\0", 2), std::string("x\0\0", 3), std::string("x\0\0\2", 4),
        std::string("x\0\1\0\0\1", 6), std::string("x\0\0\1\1", 5), std::string("\xFF\0\0\1", 4)}) {
    EXPECT_EQ(KindOf(pair->Decode(bad).status()), ErrorKind::kCorruption);
    EXPECT_TRUE(pair->ToText(bad).starts_with("0x"));
  }
  EXPECT_EQ(KindOf(CodecOf(arrow::binary())->Decode(std::string(kKeyBytesMax + 1, 'x')).status()), ErrorKind::kCorruption);
}

TEST(KeyCodec, ReadsTextAsPeopleWriteIt) {
  const auto text_of = [](const std::shared_ptr<arrow::DataType>& type, const std::string& text) {
    const auto codec = CodecOf(type);
    const auto key = codec->EncodeText(std::vector{text});
    if (!key.ok()) return std::string(ErrorKindName(KindOf(key.status())));
    return codec->ToText(*key);
  };
  const auto ns = arrow::timestamp(arrow::TimeUnit::NANO);
  EXPECT_EQ(text_of(arrow::int64(), "-7"), "-7");
  EXPECT_EQ(text_of(arrow::uint8(), "255"), "255");
  for (const char* bad : {"256", "-1", "", " 1", "1.0", "0x1", "1e3"}) EXPECT_EQ(text_of(arrow::uint8(), bad), "invalid") << bad;
  EXPECT_EQ(text_of(ns, "2026-01-02T03:04:05.000000006Z"), text_of(ns, "1767323045000000006"));
  EXPECT_EQ(text_of(ns, "2026-01-02 03:04:05"), text_of(ns, "1767323045000000000"));
  EXPECT_EQ(text_of(arrow::timestamp(arrow::TimeUnit::SECOND, "UTC"), "2026-01-02T03:04:05Z"),
            text_of(arrow::timestamp(arrow::TimeUnit::SECOND, "UTC"), "1767323045"));
  EXPECT_EQ(text_of(arrow::timestamp(arrow::TimeUnit::SECOND), "2026-01-02T03:04:05.5Z"), "invalid");
  EXPECT_EQ(text_of(arrow::date32(), "2026-01-02"), "2026-01-02");
  EXPECT_EQ(text_of(arrow::date32(), "2026-01-02Z"), "invalid");
  EXPECT_EQ(text_of(arrow::time64(arrow::TimeUnit::MICRO), "03:04:05.25"), "03:04:05.250000");
  EXPECT_EQ(text_of(arrow::decimal128(10, 2), "-12.5"), "-12.50");
  EXPECT_EQ(text_of(arrow::decimal128(10, 2), "12"), "12.00");
  for (const char* bad : {"12.345", "123456789.00", "x", ""}) EXPECT_EQ(text_of(arrow::decimal128(10, 2), bad), "invalid") << bad;
  EXPECT_EQ(text_of(arrow::boolean(), "true"), "true");
  EXPECT_EQ(text_of(arrow::boolean(), "1"), "invalid");
  EXPECT_EQ(text_of(arrow::fixed_size_binary(2), "0AfF"), "0x0aff");
  EXPECT_EQ(text_of(arrow::fixed_size_binary(2), "0a"), "invalid");
  EXPECT_EQ(text_of(arrow::utf8(), "it's"), "'it''s'");
  EXPECT_EQ(text_of(arrow::utf8(), "\xFF"), "invalid");
  EXPECT_EQ(text_of(arrow::utf8(), std::string(2000, 'x')), "too_large");
  EXPECT_EQ(KindOf(CodecOf(arrow::int64())->EncodeText(std::vector<std::string>{"1", "2"}).status()), ErrorKind::kInvalid);
}

TEST(KeyCodec, CastsScalarsOnlyWithoutLoss) {
  const auto text_of = [](const std::shared_ptr<arrow::DataType>& type, const std::shared_ptr<arrow::Scalar>& value) {
    const auto codec = CodecOf(type);
    const auto key = codec->EncodeScalars(std::vector{value});
    if (!key.ok()) return std::string(ErrorKindName(KindOf(key.status())));
    return codec->ToText(*key);
  };
  const auto int32 = [](int32_t v) { return std::make_shared<arrow::Int32Scalar>(v); };
  const auto real = [](double v) { return std::make_shared<arrow::DoubleScalar>(v); };
  const auto text = [](const char* v) { return std::make_shared<arrow::StringScalar>(v); };
  const auto seconds = [](int64_t v) {
    return std::make_shared<arrow::TimestampScalar>(v, arrow::timestamp(arrow::TimeUnit::SECOND));
  };
  EXPECT_EQ(text_of(arrow::int64(), int32(-5)), "-5");
  EXPECT_EQ(text_of(arrow::int8(), int32(127)), "127");
  EXPECT_EQ(text_of(arrow::int8(), int32(128)), "invalid");
  EXPECT_EQ(text_of(arrow::uint64(), int32(-1)), "invalid");
  EXPECT_EQ(text_of(arrow::int64(), real(3)), "3");
  EXPECT_EQ(text_of(arrow::int64(), real(3.5)), "invalid");
  EXPECT_EQ(text_of(arrow::int64(), real(NAN)), "invalid");
  EXPECT_EQ(text_of(arrow::decimal128(10, 2), int32(3)), "3.00");
  EXPECT_EQ(text_of(arrow::decimal128(4, 2), int32(300)), "invalid");
  EXPECT_EQ(text_of(arrow::decimal128(10, 2),
                    std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(1500), arrow::decimal128(10, 3))),
            "1.50");
  EXPECT_EQ(text_of(arrow::decimal128(10, 2),
                    std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(1501), arrow::decimal128(10, 3))),
            "invalid");
  EXPECT_EQ(text_of(arrow::int64(), std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(1500), arrow::decimal128(10, 2))),
            "15");
  EXPECT_EQ(text_of(arrow::timestamp(arrow::TimeUnit::NANO), seconds(1)),
            text_of(arrow::timestamp(arrow::TimeUnit::NANO), int32(1'000'000'000)));
  EXPECT_EQ(text_of(arrow::date32(), seconds(86'400)), "1970-01-02");
  EXPECT_EQ(text_of(arrow::date32(), seconds(86'401)), "invalid");
  EXPECT_EQ(text_of(arrow::int64(), text("12")), "12");
  EXPECT_EQ(text_of(arrow::int64(), text("x")), "invalid");
  EXPECT_EQ(text_of(arrow::binary(), text("x")), "0x78");
  EXPECT_EQ(text_of(arrow::large_utf8(), text("x")), "'x'");
  EXPECT_EQ(text_of(arrow::utf8(), std::make_shared<arrow::BinaryScalar>(std::string("\xFF"))), "invalid");
  EXPECT_EQ(text_of(arrow::utf8(), int32(1)), "invalid");
  EXPECT_EQ(text_of(arrow::boolean(), int32(1)), "invalid");
  EXPECT_EQ(text_of(arrow::boolean(), std::make_shared<arrow::BooleanScalar>(true)), "true");
  EXPECT_EQ(text_of(arrow::int64(), arrow::MakeNullScalar(arrow::int64())), "invalid");
  EXPECT_EQ(text_of(arrow::int64(), nullptr), "invalid");
}

}  // namespace
}  // namespace sheaf::columns
