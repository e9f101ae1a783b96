/// Single values to every type of a column: what fits comes out equal, what does not is refused. More: table_change_test.cc.

#include "store/scalar_cast.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include <arrow/api.h>
#include <gtest/gtest.h>

namespace sheaf::store {
namespace {

using TypePtr = std::shared_ptr<arrow::DataType>;
using ScalarPtr = std::shared_ptr<arrow::Scalar>;

std::string Cast(const ScalarPtr& value, const TypePtr& type) {
  const auto cast = CastScalar(value, type);
  if (!cast.ok()) {
    EXPECT_EQ(KindOf(cast.status()), ErrorKind::kInvalid) << cast.status().ToString();
    return "no";
  }
  if (*cast == nullptr) return "NULL";
  EXPECT_TRUE((*cast)->type->Equals(*type));
  EXPECT_TRUE((*cast)->ValidateFull().ok());
  return (*cast)->ToString();
}

ScalarPtr Integer(const TypePtr& type, int64_t value) { return arrow::MakeScalar(type, value).ValueOrDie(); }
ScalarPtr Decimal(const char* digits, int precision, int scale) {
  return std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(digits), arrow::decimal128(precision, scale));
}
ScalarPtr Binary(const std::string& bytes) { return std::make_shared<arrow::BinaryScalar>(arrow::Buffer::FromString(bytes)); }

const TypePtr kIntegers[] = {arrow::int8(),  arrow::int16(),  arrow::int32(),  arrow::int64(),
                             arrow::uint8(), arrow::uint16(), arrow::uint32(), arrow::uint64()};

TEST(CastScalarTypes, EachIntegerBecomesEachOther) {
  for (const TypePtr& from : kIntegers) {
    for (const TypePtr& to : kIntegers) EXPECT_EQ(Cast(Integer(from, 100), to), "100") << from->ToString() << to->ToString();
    EXPECT_EQ(Cast(Integer(from, 7), arrow::float32()), "7");
    EXPECT_EQ(Cast(Integer(from, 7), arrow::float64()), "7");
    EXPECT_EQ(Cast(Integer(from, 7), arrow::decimal128(3, 1)), "7.0");
    EXPECT_EQ(Cast(Integer(from, 7), arrow::boolean()), "no");
    EXPECT_EQ(Cast(Integer(from, 7), arrow::timestamp(arrow::TimeUnit::NANO)), "no");
  }
}

TEST(CastScalarTypes, IntegersThatDoNotFitAreRefused) {
  struct Case {
    TypePtr type;
    int64_t below, above;
  };
  const Case cases[] = {{arrow::int8(), -129, 128},
                        {arrow::int16(), -32'769, 32'768},
                        {arrow::int32(), -(int64_t{1} << 31) - 1, int64_t{1} << 31},
                        {arrow::uint8(), -1, 256},
                        {arrow::uint16(), -1, 65'536},
                        {arrow::uint32(), -1, int64_t{1} << 32}};
  for (const Case& one : cases) {
    for (const int64_t value : {one.below, one.above}) {
      EXPECT_EQ(Cast(Integer(arrow::int64(), value), one.type), "no") << one.type->ToString();
    }
  }
}

TEST(CastScalarTypes, RealNumbers) {
  EXPECT_EQ(Cast(arrow::MakeScalar(2.0f), arrow::float64()), "2");
  EXPECT_EQ(Cast(arrow::MakeScalar(2.0f), arrow::int16()), "2");
  EXPECT_EQ(Cast(arrow::MakeScalar(2.5f), arrow::int16()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(0.1), arrow::float32()), "0.1");
  EXPECT_EQ(Cast(arrow::MakeScalar(1e300), arrow::float32()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(std::numeric_limits<double>::infinity()), arrow::float32()), "inf");
  for (const double value : {1e19, -1e19, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(Cast(arrow::MakeScalar(value), arrow::int64()), "no") << value;
  }
  EXPECT_EQ(Cast(arrow::MakeScalar(1e18), arrow::int64()), "1000000000000000000");
  EXPECT_EQ(Cast(arrow::MakeScalar(2.5), arrow::decimal128(3, 1)), "2.5");
  EXPECT_EQ(Cast(arrow::MakeScalar(1e10), arrow::decimal128(3, 1)), "no");
  EXPECT_EQ(Cast(Decimal("25", 3, 1), arrow::float64()), "2.5");
  EXPECT_EQ(Cast(Decimal("25", 3, 1), arrow::float32()), "2.5");
  EXPECT_EQ(Cast(Decimal("25", 3, 1), arrow::int8()), "no");
  EXPECT_EQ(Cast(Decimal("-20", 3, 1), arrow::int8()), "-2");
  EXPECT_EQ(Cast(arrow::MakeScalar(true), arrow::float64()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(true), arrow::decimal128(3, 1)), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(true), arrow::int8()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(true), arrow::utf8()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(true), arrow::boolean()), "true");
}

TEST(CastScalarTypes, Times) {
  const auto At = [](arrow::TimeUnit::type unit, int64_t value) {
    return std::make_shared<arrow::TimestampScalar>(value, arrow::timestamp(unit));
  };
  const TypePtr ns = arrow::timestamp(arrow::TimeUnit::NANO), s = arrow::timestamp(arrow::TimeUnit::SECOND),
                ms = arrow::timestamp(arrow::TimeUnit::MILLI);
  EXPECT_EQ(Cast(At(arrow::TimeUnit::SECOND, 1), ns), "1970-01-01 00:00:01.000000000");
  EXPECT_EQ(Cast(At(arrow::TimeUnit::MILLI, 1), ns), "1970-01-01 00:00:00.001000000");
  EXPECT_EQ(Cast(At(arrow::TimeUnit::NANO, 2'000'000'000), s), "1970-01-01 00:00:02");
  EXPECT_EQ(Cast(At(arrow::TimeUnit::NANO, 2'000'001), ms), "no");
  EXPECT_EQ(Cast(At(arrow::TimeUnit::SECOND, int64_t{1} << 40), ns), "no") << "beyond the year 2262";
  EXPECT_EQ(Cast(At(arrow::TimeUnit::SECOND, -(int64_t{1} << 40)), ns), "no");
  EXPECT_EQ(Cast(std::make_shared<arrow::Date32Scalar>(1), s), "1970-01-02 00:00:00");
  EXPECT_EQ(Cast(std::make_shared<arrow::Date32Scalar>(1'000'000), ns), "no");
}

TEST(CastScalarTypes, TextAndBytes) {
  EXPECT_EQ(Cast(arrow::MakeScalar("ab"), arrow::utf8()), "ab");
  EXPECT_EQ(Cast(arrow::MakeScalar("ab"), arrow::binary()), "ab");
  EXPECT_EQ(Cast(Binary("ab"), arrow::utf8()), "no");
  EXPECT_EQ(Cast(Binary("12"), arrow::int8()), "no");
  EXPECT_EQ(Cast(std::make_shared<arrow::LargeStringScalar>("ab"), arrow::utf8()), "ab");
  EXPECT_EQ(Cast(std::make_shared<arrow::LargeStringScalar>("a\xff"), arrow::utf8()), "no") << "not UTF-8";
  EXPECT_NE(Cast(Binary("ab"), arrow::fixed_size_binary(2)), "no");
  EXPECT_EQ(Cast(Binary("abc"), arrow::fixed_size_binary(2)), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar("12"), arrow::int8()), "12");
  EXPECT_EQ(Cast(arrow::MakeScalar("x"), arrow::int8()), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar("1.5"), arrow::float64()), "1.5");
  EXPECT_EQ(Cast(arrow::MakeScalar("true"), arrow::boolean()), "true");
  EXPECT_EQ(Cast(arrow::MakeScalar("ab"), arrow::list(arrow::utf8())), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar("12.5"), arrow::decimal128(3, 1)), "12.5");
  EXPECT_EQ(Cast(arrow::MakeScalar("x"), arrow::decimal128(3, 1)), "no");
}

TEST(CastScalarTypes, DictionariesAreTheirValues) {
  const TypePtr words = arrow::dictionary(arrow::int32(), arrow::utf8()), bytes = arrow::dictionary(arrow::int32(), arrow::binary());
  const ScalarPtr word = CastScalar(arrow::MakeScalar("ab"), words).ValueOrDie();
  EXPECT_EQ(Cast(word, arrow::utf8()), "ab");
  EXPECT_EQ(Cast(word, arrow::int8()), "no");
  EXPECT_NE(Cast(word, bytes), "no");
  EXPECT_EQ(Cast(arrow::MakeScalar(7), words), "no");
  EXPECT_EQ(Cast(Binary("ab"), words), "no");
}

TEST(CastScalarTypes, NullsAreNull) {
  EXPECT_EQ(Cast(nullptr, arrow::int8()), "NULL");
  EXPECT_EQ(Cast(arrow::MakeNullScalar(arrow::int64()), arrow::int8()), "NULL");
  EXPECT_EQ(Cast(std::make_shared<arrow::NullScalar>(), arrow::utf8()), "NULL");
}

}  // namespace
}  // namespace sheaf::store
