/// Which types columns can have, and which may take the place of another: every type that Arrow has.

#include "store/column_types.h"

#include <memory>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <gtest/gtest.h>

namespace sheaf::store {
namespace {

using TypePtr = std::shared_ptr<arrow::DataType>;

std::shared_ptr<arrow::DataType> Nested(int depth) {
  TypePtr type = arrow::int8();
  for (int i = 1; i < depth; ++i) type = arrow::list(type);
  return type;
}

TEST(CheckColumnType, TakesWhatCanBeStored) {
  arrow::FieldVector most;
  for (int i = 0; i < kStructFieldsMax; ++i) most.push_back(arrow::field("f" + std::to_string(i), arrow::int8()));
  const TypePtr types[] = {arrow::boolean(), arrow::int8(), arrow::int16(), arrow::int32(), arrow::int64(), arrow::uint8(),
                           arrow::uint16(), arrow::uint32(), arrow::uint64(), arrow::float32(), arrow::float64(), arrow::date32(),
                           arrow::time64(arrow::TimeUnit::MICRO), arrow::timestamp(arrow::TimeUnit::SECOND, "UTC"), arrow::utf8(),
                           arrow::binary(), arrow::decimal128(38, 0), arrow::decimal128(38, 38), arrow::fixed_size_binary(1),
                           arrow::dictionary(arrow::int32(), arrow::utf8()), arrow::dictionary(arrow::int32(), arrow::binary()),
                           arrow::fixed_size_list(arrow::float32(), kFixedListSizeMax), arrow::fixed_size_list(arrow::float32(), 1),
                           arrow::list(arrow::utf8()), arrow::map(arrow::utf8(), arrow::int8()), arrow::struct_(most),
                           Nested(kTypeDepthMax)};
  for (const TypePtr& type : types) {
    const Status status = CheckColumnType("c", *type);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
}

TEST(CheckColumnType, RefusesOthersAndSaysWhatToTake) {
  arrow::FieldVector many(kStructFieldsMax + 1, arrow::field("f", arrow::int8()));
  struct Case {
    TypePtr type;
    const char* instead;
  };
  const Case cases[] = {
      {arrow::large_utf8(), "text (utf8)"},
      {arrow::utf8_view(), "text (utf8)"},
      {arrow::large_binary(), "use binary"},
      {arrow::binary_view(), "use binary"},
      {arrow::large_list(arrow::int8()), "use a list"},
      {arrow::list_view(arrow::int8()), "use a list"},
      {arrow::large_list_view(arrow::int8()), "use a list"},
      {arrow::float16(), "use float"},
      {arrow::date64(), "date32"},
      {arrow::time32(arrow::TimeUnit::SECOND), "time64"},
      {arrow::decimal32(5, 2), "128 bits"},
      {arrow::decimal64(5, 2), "128 bits"},
      {arrow::decimal256(50, 2), "128 bits"},
      {arrow::month_interval(), "BIGINT"},
      {arrow::day_time_interval(), "BIGINT"},
      {arrow::month_day_nano_interval(), "BIGINT"},
      {arrow::duration(arrow::TimeUnit::NANO), "BIGINT"},
      {arrow::null(), "use a number"},
      {arrow::dense_union(arrow::FieldVector{arrow::field("f", arrow::int8())}), "use a number"},
      {arrow::run_end_encoded(arrow::int32(), arrow::int8()), "use a number"},
      {arrow::decimal128(5, -1), "scale must be from 0"},
      {arrow::decimal128(5, 6), "scale must be from 0"},
      {arrow::fixed_size_binary(0), "width must be above 0"},
      {arrow::dictionary(arrow::int8(), arrow::utf8()), "int32 indexes"},
      {arrow::dictionary(arrow::int32(), arrow::int64()), "int32 indexes"},
      {arrow::fixed_size_list(arrow::int8(), 0), "from 1 to 100,000"},
      {arrow::fixed_size_list(arrow::int8(), kFixedListSizeMax + 1), "from 1 to 100,000"},
      {arrow::struct_(arrow::FieldVector()), "1 to 2,000 fields"},
      {arrow::struct_(many), "1 to 2,000 fields"},
      {arrow::struct_({arrow::field("", arrow::int8())}), "needs a name"},
      {arrow::struct_({arrow::field("a", arrow::int8()), arrow::field("A", arrow::int8())}), "names of their own"},
      {arrow::map(arrow::utf8(), arrow::float16()), "use float"},
      {arrow::struct_({arrow::field("a", arrow::list(arrow::date64()))}), "date32"},
      {Nested(kTypeDepthMax + 1), "more than 32 deep"},
  };
  for (const Case& one : cases) {
    const Status status = CheckColumnType("c", *one.type);
    ASSERT_FALSE(status.ok()) << one.type->ToString();
    EXPECT_EQ(KindOf(status), ErrorKind::kUnsupported) << status.ToString();
    EXPECT_NE(status.message().find("column 'c'"), std::string::npos) << status.ToString();
    EXPECT_NE(status.message().find(one.instead), std::string::npos) << status.ToString();
  }
}

TEST(CanSort, ByWhatHasAnOrder) {
  EXPECT_TRUE(CanSort(*arrow::int8()));
  EXPECT_TRUE(CanSort(*arrow::dictionary(arrow::int32(), arrow::utf8())));
  EXPECT_FALSE(CanSort(*arrow::list(arrow::int8())));
  EXPECT_FALSE(CanSort(*arrow::dictionary(arrow::int32(), arrow::list(arrow::int8()))));
}

TEST(IsWidening, HoldsEveryValue) {
  struct Case {
    TypePtr from, to;
    bool widens;
  };
  const Case cases[] = {
      {arrow::utf8(), arrow::utf8(), true},
      {arrow::int8(), arrow::int16(), true},
      {arrow::int64(), arrow::int32(), false},
      {arrow::uint8(), arrow::uint64(), true},
      {arrow::uint16(), arrow::uint8(), false},
      {arrow::uint8(), arrow::int16(), false},
      {arrow::int8(), arrow::uint16(), false},
      {arrow::int8(), arrow::float64(), false},
      {arrow::uint8(), arrow::utf8(), false},
      {arrow::float32(), arrow::float64(), true},
      {arrow::float32(), arrow::utf8(), false},
      {arrow::float64(), arrow::float32(), false},
      {arrow::decimal128(5, 2), arrow::decimal128(7, 2), true},
      {arrow::decimal128(5, 2), arrow::decimal128(7, 4), true},
      {arrow::decimal128(5, 2), arrow::decimal128(7, 5), false},
      {arrow::decimal128(5, 2), arrow::decimal128(7, 1), false},
      {arrow::decimal128(5, 2), arrow::int64(), false},
      {arrow::int64(), arrow::decimal128(20, 0), false},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(IsWidening(*one.from, *one.to), one.widens) << one.from->ToString() << " to " << one.to->ToString();
  }
}

TEST(IsResize, IsOfTheSizeAlone) {
  const TypePtr three = arrow::fixed_size_list(arrow::float32(), 3);
  EXPECT_TRUE(IsResize(*three, *arrow::fixed_size_list(arrow::float32(), 4)));
  EXPECT_FALSE(IsResize(*three, *three));
  EXPECT_FALSE(IsResize(*three, *arrow::fixed_size_list(arrow::float64(), 4)));
  EXPECT_FALSE(IsResize(*three, *arrow::list(arrow::float32())));
  EXPECT_FALSE(IsResize(*arrow::list(arrow::float32()), *three));
}

}  // namespace
}  // namespace sheaf::store
