#include "columns/zones.h"

#include <cmath>
#include <cstring>

#include <arrow/array/array_dict.h>
#include <arrow/array/array_primitive.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/util/float16.h>
#include <gtest/gtest.h>

#include "columns/byte_values.h"
#include "columns/random_testing.h"

namespace sheaf::columns {
namespace {

void ExpectInside(const Zone& zone, const arrow::Array& array, int64_t i) {
  if (array.type_id() == arrow::Type::DICTIONARY) {
    const auto& d = static_cast<const arrow::DictionaryArray&>(array);
    return ExpectInside(zone, *d.dictionary(), d.GetValueIndex(i));
  }
  if (zone.kind == Zone::Kind::kNone) return;
  if (array.type_id() == arrow::Type::BOOL) {
    const int64_t v = static_cast<const arrow::BooleanArray&>(array).Value(i) ? 1 : 0;
    EXPECT_TRUE(zone.int_min <= v && v <= zone.int_max);
    return;
  }
  const std::string_view raw = (*ByteValues::Of(*array.data()))[i];
  int64_t integer = 0;
  const bool one_word = !raw.empty() && raw.size() <= 8;
  if (one_word) std::memcpy(&integer, raw.data(), raw.size());
  const int shift = one_word ? 64 - 8 * static_cast<int>(raw.size()) : 0;
  switch (zone.kind) {
    case Zone::Kind::kInt64: {
      int64_t v = integer << shift >> shift;
      if (raw.size() == 16) std::memcpy(&v, raw.data(), 8);  // A decimal's low word; the random ones fit.
      EXPECT_TRUE(zone.int_min <= v && v <= zone.int_max) << v;
      break;
    }
    case Zone::Kind::kUint64:
      EXPECT_TRUE(static_cast<uint64_t>(zone.int_min) <= static_cast<uint64_t>(integer) &&
                  static_cast<uint64_t>(integer) <= static_cast<uint64_t>(zone.int_max));
      break;
    case Zone::Kind::kDouble: {
      double v = 0;
      if (raw.size() == 8) std::memcpy(&v, raw.data(), 8);
      if (raw.size() == 4) {
        float f;
        std::memcpy(&f, raw.data(), 4);
        v = f;
      }
      if (raw.size() == 2) v = arrow::util::Float16::FromBits(static_cast<uint16_t>(integer)).ToFloat();
      EXPECT_TRUE(std::isnan(v) ? zone.has_nan : (zone.double_min <= v && v <= zone.double_max)) << v;
      break;
    }
    default:
      EXPECT_LE(zone.bytes_min, raw);
      EXPECT_GE(zone.bytes_max, raw);
  }
}

TEST(Zones, AreTrueBoundsForEveryTypeAlsoMerged) {
  Random random(TestSeed());
  const auto schema = EveryType();
  for (int round = 0; round < 50; ++round) {
    for (const auto& field : schema->fields()) {
      const auto a = RandomArray(field->type(), static_cast<int64_t>(random() % 6), field->nullable(), &random);
      const auto b = RandomArray(field->type(), static_cast<int64_t>(random() % 30), field->nullable(), &random);
      Zone merged = ComputeZone(*a->data()).ValueOrDie();
      const Zone zone = ComputeZone(*b->data()).ValueOrDie();
      EXPECT_EQ(zone.null_count, b->null_count());
      MergeZone(zone, b->length(), a->length(), &merged);
      EXPECT_EQ(merged.null_count, a->null_count() + b->null_count());
      for (int64_t i = 0; i < b->length(); ++i) {
        if (b->IsNull(i)) continue;
        ExpectInside(zone, *b, i);
        ExpectInside(merged, *b, i);
      }
      for (int64_t i = 0; i < a->length(); ++i) {
        if (a->IsValid(i)) ExpectInside(merged, *a, i);
      }
    }
  }
}

Zone ZoneOfText(const std::vector<std::string>& values) {
  arrow::StringBuilder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return ComputeZone(*builder.Finish().ValueOrDie()->data()).ValueOrDie();
}

TEST(Zones, LongUpperBoundsAreCutAndRoundedUp) {
  const std::string tail(30, '\xFF');
  const Zone zone = ZoneOfText({std::string(47, 'a') + "bc", std::string(20, 'x') + tail + "y"});
  EXPECT_EQ(zone.bytes_min, std::string(47, 'a') + "b");
  EXPECT_FALSE(zone.bytes_min_is_exact);
  EXPECT_EQ(zone.bytes_max, std::string(19, 'x') + "y");
  EXPECT_FALSE(zone.bytes_max_is_exact);
}

TEST(Zones, AnUpperBoundOfOnlyHighestBytesStaysWhole) {
  const std::string highest(100, '\xFF');
  const Zone zone = ZoneOfText({"a", highest});
  EXPECT_EQ(zone.bytes_max, highest);
  EXPECT_TRUE(zone.bytes_max_is_exact);
}

TEST(Zones, NanIsCountedApart) {
  arrow::DoubleBuilder builder;
  ASSERT_TRUE(builder.AppendValues({1.0, std::nan(""), -3.0}).ok());
  const Zone zone = ComputeZone(*builder.Finish().ValueOrDie()->data()).ValueOrDie();
  EXPECT_TRUE(zone.has_nan);
  EXPECT_EQ(zone.double_min, -3.0);
  EXPECT_EQ(zone.double_max, 1.0);
}

TEST(Zones, UnsignedValuesAboveTheSignedRangeCompareUnsigned) {
  arrow::UInt64Builder builder;
  ASSERT_TRUE(builder.AppendValues({5, ~uint64_t{0}}).ok());
  Zone zone = ComputeZone(*builder.Finish().ValueOrDie()->data()).ValueOrDie();
  EXPECT_EQ(zone.kind, Zone::Kind::kUint64);
  EXPECT_EQ(static_cast<uint64_t>(zone.int_max), ~uint64_t{0});
  EXPECT_EQ(static_cast<uint64_t>(zone.int_min), 5u);
}

TEST(Zones, MergingWithASideOfNullsKeepsTheBounds) {
  Zone zone;
  zone.null_count = 4;
  Zone other;
  other.kind = Zone::Kind::kInt64;
  other.int_min = 1;
  other.int_max = 2;
  MergeZone(other, 2, 4, &zone);
  EXPECT_EQ(zone.kind, Zone::Kind::kInt64);
  EXPECT_EQ(zone.null_count, 4);
  Zone nulls;
  nulls.null_count = 3;
  MergeZone(nulls, 3, 6, &zone);
  EXPECT_EQ(zone.int_max, 2);
  EXPECT_EQ(zone.null_count, 7);
}

}  // namespace
}  // namespace sheaf::columns
