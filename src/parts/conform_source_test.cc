#include "parts/conform_source.h"

#include <algorithm>
#include <numeric>

#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/util/key_value_metadata.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/byte_values.h"
#include "columns/random_testing.h"
#include "columns/zones.h"
#include "io/sim_testing.h"
#include "parts/part.h"

namespace sheaf::parts {
namespace {

using arrow::field;
using columns::EveryType;
using columns::Random;
using columns::RowTexts;
using columns::TestSeed;
using columns::Zone;
using Source = std::shared_ptr<const columns::GranuleSource>;

const char* const kFolder = "/parts";

std::shared_ptr<arrow::Field> WithId(const std::shared_ptr<arrow::Field>& f, int id) {
  return f->WithMetadata(arrow::key_value_metadata({kColumnIdKey}, {std::to_string(id)}));
}

std::shared_ptr<arrow::Schema> Older() {
  arrow::FieldVector fields;
  const auto every = EveryType();
  for (const auto& f : every->fields()) fields.push_back(WithId(f, static_cast<int>(fields.size()) + 1));
  fields.push_back(field("hidden", arrow::uint64(), false));
  return arrow::schema(std::move(fields));
}

std::vector<std::shared_ptr<arrow::DataType>> WiderTypes() {
  return {arrow::int16(),         arrow::int32(),         arrow::int64(),          arrow::uint16(),      arrow::uint32(),
          arrow::uint64(),        arrow::float64(),       arrow::decimal128(5, 2), arrow::large_utf8(),  arrow::large_binary(),
          arrow::decimal128(20, 6), arrow::decimal128(30, 9), arrow::decimal256(40, 6), arrow::decimal128(38, 0)};
}

class Conform : public testing::Test {
 protected:
  Conform() { EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok()); }

  Source Write(const std::shared_ptr<arrow::Schema>& schema, Format format, Random* random) {
    PartInfo info;
    info.id = PartId(1);
    info.format = format;
    Layout layout;
    layout.sort_columns = {schema->GetFieldIndex("i64")};
    for (const char* name : {"id16", "text", "bytes", "word"}) layout.filter_columns.push_back(schema->GetFieldIndex(name));
    layout.granule_rows = 40;
    info = WritePart(&disk_, kFolder, info, layout, schema, {columns::RandomBatch(schema, 100, random)}).ValueOrDie();
    return OpenPart(&disk_, kFolder, info, schema).ValueOrDie();
  }

  io::SimFileSystem disk_;
};

/// A later version of a schema, at random, and what its columns should hold.
struct Later {
  std::shared_ptr<arrow::Schema> schema;
  std::vector<int> from;                                // Position in the older one; -1: filled.
  std::vector<std::shared_ptr<arrow::Scalar>> fills;
};

Later RandomChange(const arrow::Schema& older, Random* random) {
  struct Entry {
    std::shared_ptr<arrow::Field> field;
    int from;
    std::shared_ptr<arrow::Scalar> fill;
  };
  std::vector<Entry> entries;
  for (int c = 0; c < older.num_fields(); ++c) {
    auto f = older.field(c);
    if ((*random)() % 4 == 0) continue;                                              // Dropped.
    if (f->HasMetadata() && (*random)() % 3 == 0) f = f->WithName("renamed " + f->name());
    std::vector<std::shared_ptr<arrow::DataType>> wider;
    for (const auto& type : WiderTypes()) {
      if (CanWiden(*f->type(), *type)) wider.push_back(type);
    }
    if (!wider.empty() && (*random)() % 2 == 0) f = f->WithType(wider[(*random)() % wider.size()]);
    entries.push_back({f, c, nullptr});
  }
  for (int i = 0; i < 4; ++i) {                                                      // Added; a name may be an old one's.
    const auto f = older.field(static_cast<int>((*random)() % static_cast<uint64_t>(older.num_fields())));
    const auto value = columns::RandomArray(f->type(), 1, false, random);
    entries.push_back({WithId(field(f->name(), f->type()), 1000 + i), -1, i % 2 == 0 ? value->GetScalar(0).ValueOrDie() : nullptr});
  }
  std::shuffle(entries.begin(), entries.end(), *random);
  Later out;
  arrow::FieldVector fields;
  for (Entry& entry : entries) {
    fields.push_back(entry.field);
    out.from.push_back(entry.from);
    out.fills.push_back(std::move(entry.fill));
  }
  out.schema = arrow::schema(std::move(fields));
  return out;
}

std::shared_ptr<arrow::Array> Expected(const Later& later, int column, const columns::GranuleSource& source, int granule) {
  const auto& type = later.schema->field(column)->type();
  const int from = later.from[static_cast<size_t>(column)];
  const auto& fill = later.fills[static_cast<size_t>(column)];
  if (from < 0) {
    return fill ? arrow::MakeArrayFromScalar(*fill, source.granule_rows(granule)).ValueOrDie()
                : arrow::MakeArrayOfNull(type, source.granule_rows(granule)).ValueOrDie();
  }
  const auto old = source.Read(granule, {from}).ValueOrDie()->column(0);
  return old->type()->Equals(*type) ? old : arrow::compute::Cast(*old, type).ValueOrDie();
}

void ExpectZoneHolds(const Zone& zone, const arrow::ArrayData& data) {
  const Zone real = columns::ComputeZone(data).ValueOrDie();
  EXPECT_EQ(zone.kind, real.kind);
  EXPECT_EQ(zone.null_count, real.null_count);
  EXPECT_EQ(zone.int_min, real.int_min);
  EXPECT_EQ(zone.int_max, real.int_max);
  EXPECT_EQ(zone.double_min, real.double_min);
  EXPECT_EQ(zone.double_max, real.double_max);
  EXPECT_EQ(zone.bytes_min, real.bytes_min);
  EXPECT_EQ(zone.bytes_max, real.bytes_max);
}

void ExpectFilterFinds(const columns::GranuleSource& source, int column, int granule, const arrow::ArrayData& data) {
  if (data.type->id() == arrow::Type::DICTIONARY) return;
  const auto values = *columns::ByteValues::Of(data);
  for (int64_t i = 0; i < values.size(); ++i) {
    if (values.IsNull(i)) continue;
    std::vector<int> found;
    ASSERT_TRUE(source.FindGranules(column, values[i], &found).ok());
    EXPECT_THAT(found, testing::Contains(granule));
  }
}

TEST_F(Conform, ShowsEveryColumnAsTheTableHasItNow) {
  Random random(TestSeed());
  const auto older = Older();
  int zones = 0, filters = 0;
  for (int round = 0; round < 12; ++round) {
    const Source source = Write(older, round % 2 == 0 ? Format::kHot : Format::kCold, &random);
    const Later later = RandomChange(*older, &random);
    const Source now = ConformSource(source, later.schema, later.fills).ValueOrDie();
    ASSERT_TRUE(now->schema()->Equals(*later.schema));
    ASSERT_EQ(now->num_granules(), source->num_granules());
    std::vector<int> all(later.from.size());
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), random);
    for (int g = 0; g < now->num_granules(); ++g) {
      const auto batch = now->Read(g, all).ValueOrDie();
      ASSERT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
      int64_t bytes = 0;
      for (size_t i = 0; i < all.size(); ++i) {
        const int c = all[i], from = later.from[static_cast<size_t>(c)];
        const auto one = [](const std::shared_ptr<arrow::Array>& array) {
          return RowTexts({arrow::RecordBatch::Make(arrow::schema({field("x", array->type())}), array->length(), {array})});
        };
        ASSERT_TRUE(batch->column(static_cast<int>(i))->type()->Equals(*later.schema->field(c)->type()));
        ASSERT_EQ(one(batch->column(static_cast<int>(i))), one(Expected(later, c, *source, g))) << later.schema->field(c)->ToString();
        if (from >= 0) bytes += source->granule_bytes(g, {from});
        if (const Zone* zone = now->granule_zone(g, c); zone != nullptr && zone->kind != Zone::Kind::kNone) {
          ++zones;
          ExpectZoneHolds(*zone, *batch->column_data(static_cast<int>(i)));
        }
        if (!now->has_filter(c)) continue;
        ++filters;
        ExpectFilterFinds(*now, c, g, *batch->column_data(static_cast<int>(i)));
      }
      EXPECT_EQ(now->granule_bytes(g, all), bytes);
    }
  }
  EXPECT_GT(zones, 0);
  EXPECT_GT(filters, 0);
}

TEST_F(Conform, ValuesKeepTheirMeaning) {
  Random random(TestSeed());
  const auto older = Older();
  const Source source = Write(older, Format::kHot, &random);
  const auto column = [&](const char* name, std::shared_ptr<arrow::DataType> type) {
    const auto now = ConformSource(source, arrow::schema({older->GetFieldByName(name)->WithType(std::move(type))}), {}).ValueOrDie();
    return now->Read(0, {0}).ValueOrDie()->column(0);
  };
  const auto i8 = source->Read(0, {older->GetFieldIndex("i8")}).ValueOrDie()->column(0);
  for (int64_t i = 0; i < i8->length(); ++i) {
    const std::string value = i8->GetScalar(i).ValueOrDie()->ToString();
    EXPECT_EQ(column("i8", arrow::int64())->GetScalar(i).ValueOrDie()->ToString(), value);
    EXPECT_EQ(column("i8", arrow::float64())->GetScalar(i).ValueOrDie()->ToString(), value);
    EXPECT_EQ(column("i8", arrow::decimal128(5, 2))->GetScalar(i).ValueOrDie()->ToString(), value == "null" ? value : value + ".00");
  }
}

TEST_F(Conform, ZonesGoAlongOnlyWhereTheirValuesStayTheSame) {
  Random random(TestSeed());
  const auto older = Older();
  const Source source = Write(older, Format::kHot, &random);
  const auto keeps = [&](const char* name, std::shared_ptr<arrow::DataType> type) {
    const auto now = ConformSource(source, arrow::schema({older->GetFieldByName(name)->WithType(std::move(type))}), {}).ValueOrDie();
    EXPECT_EQ(now->source_zone(0) != nullptr, now->granule_zone(0, 0) != nullptr);
    return now->source_zone(0) != nullptr;
  };
  EXPECT_TRUE(keeps("i8", arrow::int64()));
  EXPECT_TRUE(keeps("f32", arrow::float64()));
  EXPECT_TRUE(keeps("text", arrow::large_utf8()));
  EXPECT_TRUE(keeps("price", arrow::decimal128(20, 6)));
  EXPECT_FALSE(keeps("u8", arrow::int64())) << "of another kind";
  EXPECT_FALSE(keeps("i8", arrow::float64()));
  EXPECT_FALSE(keeps("i8", arrow::decimal128(5, 2)));
  EXPECT_FALSE(keeps("price", arrow::decimal128(30, 9))) << "of another scale";
  EXPECT_FALSE(keeps("price", arrow::decimal256(40, 6)));
}

TEST_F(Conform, ColumnsWithoutAnIdAreFoundByTheirNames) {
  Random random(TestSeed());
  const Source source = Write(Older(), Format::kHot, &random);
  const auto other = arrow::key_value_metadata({"comment"}, {"no id of a column"});
  const auto hidden = field("hidden", arrow::uint64(), false)->WithMetadata(other), named = field("i64", arrow::int64());
  const auto now = ConformSource(source, arrow::schema({hidden, named}), {}).ValueOrDie();
  const auto read = now->Read(0, {0, 1}).ValueOrDie();
  EXPECT_TRUE(read->column(0)->Equals(source->Read(0, {Older()->GetFieldIndex("hidden")}).ValueOrDie()->column(0)));
  EXPECT_EQ(read->column(1)->null_count(), read->num_rows()) << "a column with an id is none without one";
}

TEST_F(Conform, FillsAreCastOrNull) {
  Random random(TestSeed());
  const Source source = Write(Older(), Format::kHot, &random);
  const auto now = ConformSource(source, arrow::schema({WithId(field("a", arrow::int64()), 98), WithId(field("b", arrow::int64()), 99)}),
                                 {arrow::MakeScalar("17"), arrow::MakeNullScalar(arrow::int64())}).ValueOrDie();
  const auto read = now->Read(0, {0, 1}).ValueOrDie();
  EXPECT_EQ(read->column(0)->GetScalar(0).ValueOrDie()->ToString(), "17");
  EXPECT_EQ(read->column(1)->null_count(), read->num_rows());
}

TEST_F(Conform, DamageOfTheSourceIsToldThroughIt) {
  Random random(TestSeed());
  const auto older = Older();
  PartInfo info;
  info.id = PartId(1);
  const auto schema = arrow::schema({older->GetFieldByName("i64"), older->GetFieldByName("id16")});
  info = WritePart(&disk_, kFolder, info, Layout(), schema, {columns::RandomBatch(schema, 9000, &random)}).ValueOrDie();
  const std::string path = io::Join(kFolder, info.file_name);
  std::string bytes = disk_.Contents(path).ValueOrDie();
  bytes[65'536 + 9000] ^= 1;
  disk_.SetContents(path, bytes);
  const Source source = OpenPart(&disk_, kFolder, info, schema).ValueOrDie();
  const auto now = ConformSource(source, arrow::schema({schema->field(1), schema->field(0)->WithName("renamed")}), {}).ValueOrDie();
  EXPECT_EQ(KindOf(now->Read(0, {0, 1}).status()), ErrorKind::kCorruption);
}

TEST_F(Conform, TheSameSchemaIsTheSourceItself) {
  Random random(TestSeed());
  const Source source = Write(Older(), Format::kHot, &random);
  EXPECT_EQ(ConformSource(source, Older(), {}).ValueOrDie(), source);
}

TEST_F(Conform, RefusesNarrowingAndColumnsWithoutAValue) {
  Random random(TestSeed());
  const auto older = Older();
  const Source source = Write(older, Format::kHot, &random);
  const auto kind = [&](std::shared_ptr<arrow::Field> f, std::vector<std::shared_ptr<arrow::Scalar>> fills) {
    return KindOf(ConformSource(source, arrow::schema({std::move(f)}), fills).status());
  };
  EXPECT_EQ(kind(older->GetFieldByName("i64")->WithType(arrow::int32()), {}), ErrorKind::kUnsupported);
  EXPECT_EQ(kind(older->GetFieldByName("text")->WithType(arrow::int64()), {}), ErrorKind::kUnsupported);
  EXPECT_EQ(kind(WithId(field("new", arrow::int64(), false), 99), {}), ErrorKind::kInvalid);
  EXPECT_EQ(kind(WithId(field("new", arrow::int64(), false), 99), {arrow::MakeNullScalar(arrow::int64())}), ErrorKind::kInvalid);
  EXPECT_EQ(kind(WithId(field("new", arrow::int64(), false), 99), {arrow::MakeScalar("word")}), ErrorKind::kInvalid);
}

TEST(CanWiden, IsTrueWhereEveryValueStaysExactly) {
  using arrow::decimal128;
  EXPECT_TRUE(CanWiden(*arrow::int32(), *arrow::int64()));
  EXPECT_TRUE(CanWiden(*arrow::uint32(), *arrow::int64()));
  EXPECT_TRUE(CanWiden(*arrow::int32(), *arrow::float64()));
  EXPECT_TRUE(CanWiden(*arrow::float32(), *arrow::float64()));
  EXPECT_TRUE(CanWiden(*decimal128(10, 2), *decimal128(12, 4)));
  EXPECT_TRUE(CanWiden(*decimal128(10, 2), *arrow::decimal256(60, 2)));
  EXPECT_TRUE(CanWiden(*arrow::int64(), *decimal128(21, 2)));
  EXPECT_TRUE(CanWiden(*arrow::utf8(), *arrow::large_utf8()));
  EXPECT_FALSE(CanWiden(*arrow::int64(), *arrow::int64()));
  EXPECT_FALSE(CanWiden(*arrow::int64(), *arrow::int32()));
  EXPECT_FALSE(CanWiden(*arrow::int64(), *arrow::uint64()));
  EXPECT_FALSE(CanWiden(*arrow::int64(), *arrow::float64()));
  EXPECT_FALSE(CanWiden(*arrow::int64(), *decimal128(20, 2)));
  EXPECT_FALSE(CanWiden(*decimal128(10, 2), *decimal128(11, 4)));
  EXPECT_FALSE(CanWiden(*decimal128(10, 2), *arrow::float64()));
  EXPECT_FALSE(CanWiden(*arrow::decimal256(10, 2), *decimal128(20, 4)));
  EXPECT_FALSE(CanWiden(*decimal128(10, 2), *decimal128(20, 1)));
  EXPECT_FALSE(CanWiden(*arrow::int8(), *decimal128(10, -2))) << "the last digits would go";
  EXPECT_TRUE(CanWiden(*arrow::uint8(), *decimal128(3, 0)));
  EXPECT_TRUE(CanWiden(*arrow::uint64(), *decimal128(20, 0)));
  EXPECT_FALSE(CanWiden(*arrow::uint64(), *decimal128(19, 0)));
  EXPECT_FALSE(CanWiden(*arrow::int8(), *arrow::uint16()));
  EXPECT_FALSE(CanWiden(*arrow::int8(), *arrow::utf8()));
  EXPECT_FALSE(CanWiden(*arrow::boolean(), *arrow::int8()));
  EXPECT_FALSE(CanWiden(*arrow::utf8(), *arrow::int64()));
  EXPECT_FALSE(CanWiden(*arrow::binary(), *arrow::large_utf8()));
  EXPECT_FALSE(CanWiden(*arrow::large_utf8(), *arrow::utf8()));
}

}  // namespace
}  // namespace sheaf::parts
