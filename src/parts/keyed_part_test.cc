#include "parts/keyed_part.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <thread>

#include <arrow/array/builder_primitive.h>
#include <arrow/array/util.h>
#include <arrow/util/key_value_metadata.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "columns/row_union.h"
#include "core/check.h"
#include "io/sim_testing.h"
#include "parts/conform_source.h"

namespace sheaf::parts {
namespace {

using arrow::field;
using columns::KeyCodec;
using columns::KeyColumn;
using columns::Random;
using columns::RowText;
using columns::TestSeed;
using Position = KeyedPart::Position;

const char* const kFolder = "/parts";

/// Key columns of many kinds, with others between and behind them.
struct Shape {
  std::shared_ptr<arrow::Schema> schema;
  std::vector<int> keys;
};

std::vector<Shape> Shapes() {
  const auto word = arrow::dictionary(arrow::int32(), arrow::utf8());
  const auto time = arrow::timestamp(arrow::TimeUnit::NANO);
  const auto key = [](const char* name, std::shared_ptr<arrow::DataType> type) { return field(name, std::move(type), false); };
  const auto rest = [](arrow::FieldVector fields) {
    fields.insert(fields.end(), {field("text", arrow::utf8()), field("price", arrow::decimal128(18, 6)), field("n", arrow::int64())});
    return arrow::schema(std::move(fields));
  };
  return {{rest({key("id", arrow::int64())}), {0}},
          {rest({field("x", arrow::float64()), key("id", arrow::uint32())}), {1}},
          {rest({key("name", arrow::utf8())}), {0}},
          {rest({key("i8", arrow::int8()), key("name", arrow::utf8())}), {0, 1}},
          {rest({key("name", arrow::binary()), field("x", arrow::boolean()), key("i16", arrow::int16())}), {0, 2}},
          {rest({key("b", arrow::uint16()), key("a", arrow::int32())}), {1, 0}},
          {rest({key("id", arrow::fixed_size_binary(16)), key("day", arrow::date32())}), {0, 1}},
          {rest({key("at", time), key("flag", arrow::boolean()), key("name", arrow::large_utf8())}), {0, 1, 2}},
          {rest({key("amount", arrow::decimal128(18, 6)), key("word", word)}), {0, 1}}};
}

/// Rows with different keys, in any order, each with an LSN; and the same by key.
struct Data {
  std::shared_ptr<arrow::RecordBatch> batch;          // With kLsnColumn.
  std::map<std::string, int64_t, std::less<>> rows;   // Encoded key to row of `batch`.
};

Data MakeData(const Shape& shape, int64_t about, Random* random) {
  const auto schema = KeyedSchema(*shape.schema);
  auto batch = columns::RandomBatch(schema, about, random);
  for (const int column : shape.keys) {  // Values over a wide range, so that enough keys differ.
    if (schema->field(column)->type()->id() != arrow::Type::INT64 || shape.keys.size() > 1) continue;
    arrow::Int64Builder builder;
    for (int64_t i = 0; i < about; ++i) {
      const auto wide = static_cast<int64_t>((*random)());
      SHEAF_CHECK(builder.Append((*random)() % 2 == 0 ? wide : wide % (about * 2)).ok());
    }
    batch = batch->SetColumn(column, schema->field(column), builder.Finish().ValueOrDie()).ValueOrDie();
  }
  const auto codec = KeyCodec::Make(schema, shape.keys).ValueOrDie();
  const KeyColumn keys = codec->Encode(*batch).ValueOrDie();
  std::map<std::string, uint32_t> first;
  for (int64_t i = 0; i < keys.size(); ++i) first.emplace(keys[i], static_cast<uint32_t>(i));
  std::vector<uint32_t> kept;
  for (const auto& [key, row] : first) kept.push_back(row);
  std::shuffle(kept.begin(), kept.end(), *random);
  Data out;
  const auto rows = columns::RowUnion::Make(schema, {batch}).ValueOrDie();
  out.batch = rows->Gather(kept, static_cast<int64_t>(kept.size())).ValueOrDie()[0];
  const KeyColumn in_order = codec->Encode(*out.batch).ValueOrDie();
  for (int64_t i = 0; i < in_order.size(); ++i) out.rows.emplace(in_order[i], i);
  return out;
}

std::shared_ptr<arrow::RecordBatch> WithoutLsn(const std::shared_ptr<arrow::RecordBatch>& batch) {
  return batch->RemoveColumn(batch->num_columns() - 1).ValueOrDie();
}

class KeyedPartTest : public testing::TestWithParam<Format> {
 protected:
  KeyedPartTest() { EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok()); }

  PartInfo Write(const Shape& shape, const std::shared_ptr<arrow::RecordBatch>& batch, int64_t granule_rows) {
    PartInfo info;
    info.id = PartId(7);
    info.format = GetParam();
    Layout layout;
    layout.sort_columns = layout.key_columns = shape.keys;
    layout.granule_rows = granule_rows;
    return WritePart(&disk_, kFolder, info, layout, KeyedSchema(*shape.schema), {batch}).ValueOrDie();
  }
  std::shared_ptr<const KeyedPart> Open(const Shape& shape, const PartInfo& info) {
    KeyedPart::Options options{.keys = KeyCodec::Make(shape.schema, shape.keys).ValueOrDie(), .schema = shape.schema};
    options.cache = GetParam() == Format::kCold ? &cache_ : nullptr;
    return KeyedPart::Open(&disk_, kFolder, info, std::move(options)).ValueOrDie();
  }
  static void ExpectRow(const KeyedPart& part, Position position, const Data& data, int64_t row) {
    const KeyedPartRow got = part.Row(position).ValueOrDie();
    EXPECT_EQ(RowText(*got.batch, got.row), RowText(*WithoutLsn(data.batch), row));
    EXPECT_EQ(got.lsn.value, data.batch->column_data(data.batch->num_columns() - 1)->GetValues<uint64_t>(1)[row]);
  }

  io::SimFileSystem disk_;
  GranuleCache cache_{1 << 20};
};
INSTANTIATE_TEST_SUITE_P(Parts, KeyedPartTest, testing::Values(Format::kHot, Format::kCold),
                         [](const auto& info) { return info.param == Format::kHot ? "Hot" : "Cold"; });

/// Bytes near keys that are there, and any.
std::string SomeKey(const Data& data, Random* random) {
  auto it = data.rows.begin();
  std::advance(it, static_cast<int64_t>((*random)() % data.rows.size()));
  std::string key = it->first;
  switch ((*random)() % 6) {
    case 0: return key;
    case 1: return key + '\0';
    case 2: return key.substr(0, (*random)() % (key.size() + 1));
    case 3: return key + static_cast<char>((*random)());
    case 4: return std::string(1 + (*random)() % 9, static_cast<char>((*random)()));
    default:
      if (!key.empty()) key[(*random)() % key.size()] ^= static_cast<char>(1 << (*random)() % 8);
      return key;
  }
}

TEST_P(KeyedPartTest, FindsEachKeyAndNoOther) {
  Random random(TestSeed());
  for (const Shape& shape : Shapes()) {
    const Data data = MakeData(shape, 300, &random);
    const PartInfo info = Write(shape, data.batch, 1 + static_cast<int64_t>(random() % 90));
    const auto part = Open(shape, info);
    KeyColumn many;
    for (const auto& [key, row] : data.rows) {
      const auto found = part->Find(key).ValueOrDie();
      ASSERT_TRUE(found.has_value()) << shape.schema->ToString();
      ExpectRow(*part, *found, data, row);
      EXPECT_LE(info.key_min, key);
      EXPECT_GE(info.key_max, key);
    }
    for (int i = 0; i < 500; ++i) {
      const std::string key = SomeKey(data, &random);
      many.Add(key);
      const auto found = part->Find(key).ValueOrDie();
      ASSERT_EQ(found.has_value(), data.rows.contains(key));
    }
    const auto answers = part->FindMany(many).ValueOrDie();
    ASSERT_EQ(answers.size(), static_cast<size_t>(many.size()));
    for (int64_t i = 0; i < many.size(); ++i) EXPECT_EQ(answers[static_cast<size_t>(i)], part->Find(many[i]).ValueOrDie());
  }
}

TEST_P(KeyedPartTest, LowerBoundAndCursorFollowTheOrderOfKeys) {
  Random random(TestSeed());
  for (const Shape& shape : Shapes()) {
    const Data data = MakeData(shape, 300, &random);
    const auto part = Open(shape, Write(shape, data.batch, 1 + static_cast<int64_t>(random() % 90)));
    for (int i = 0; i < 60; ++i) {
      const std::string from = i == 0 ? "" : SomeKey(data, &random);
      auto want = data.rows.lower_bound(from);
      const auto cursor = part->Scan(from).ValueOrDie();
      const int64_t limit = i % 4 == 0 ? INT64_MAX : 10;
      int64_t count = 0;
      for (; count < limit && cursor->Next().ValueOrDie(); ++count, ++want) {
        ASSERT_NE(want, data.rows.end());
        ASSERT_EQ(cursor->key(), want->first);
        if (count == 0) EXPECT_EQ(cursor->position(), part->LowerBound(from).ValueOrDie());
        if (count % 7 == 0) ExpectRow(*part, cursor->position(), data, want->second);
      }
      if (count == limit) continue;
      EXPECT_EQ(want, data.rows.end());
      EXPECT_FALSE(cursor->Next().ValueOrDie()) << "still at the end";
      if (count == 0) EXPECT_EQ(part->LowerBound(from).ValueOrDie(), (Position{part->source()->num_granules(), 0}));
    }
  }
}

TEST_P(KeyedPartTest, ScansSeeTheLsnBehindTheTablesColumns) {
  Random random(TestSeed());
  const Shape shape = Shapes()[3];
  const Data data = MakeData(shape, 200, &random);
  const auto part = Open(shape, Write(shape, data.batch, 50));
  EXPECT_TRUE(part->source()->schema()->Equals(*KeyedSchema(*shape.schema)));
  std::vector<int> all(static_cast<size_t>(shape.schema->num_fields()) + 1);
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::string> got;
  for (int g = 0; g < part->source()->num_granules(); ++g) {
    const auto batch = part->source()->Read(g, all).ValueOrDie();
    for (int64_t i = 0; i < batch->num_rows(); ++i) got.push_back(RowText(*batch, i));
  }
  std::vector<std::string> want;
  for (const auto& [key, row] : data.rows) want.push_back(RowText(*data.batch, row));
  EXPECT_EQ(got, want) << "in the order of keys";
}

TEST_P(KeyedPartTest, DamageIsAnErrorAndNeverAnotherRow) {
  Random random(TestSeed());
  const Shape shape = Shapes()[3];
  const Data data = MakeData(shape, 200, &random);
  const PartInfo info = Write(shape, data.batch, 40);
  int refused = 0;
  for (const std::string& name : {info.file_name, IndexFileName(info.id)}) {
    const std::string path = io::Join(kFolder, name), good = disk_.Contents(path).ValueOrDie();
    for (int round = 0; round < 60; ++round) {
      std::string bad = good;
      bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
      disk_.SetContents(path, bad);
      auto part = KeyedPart::Open(&disk_, kFolder, info,
                                  {.keys = KeyCodec::Make(shape.schema, shape.keys).ValueOrDie(), .schema = shape.schema});
      if (!part.ok()) {
        EXPECT_EQ(KindOf(part.status()), ErrorKind::kCorruption) << part.status().ToString();
        ++refused;
        continue;
      }
      for (int i = 0; i < 20; ++i) {
        const std::string key = SomeKey(data, &random);
        const auto found = (*part)->Find(key);
        if (!found.ok()) {
          EXPECT_EQ(KindOf(found.status()), ErrorKind::kCorruption) << found.status().ToString();
          ++refused;
          continue;
        }
        ASSERT_EQ(found->has_value(), data.rows.contains(key));
        if (!found->has_value() || !(*part)->Row(**found).ok()) continue;
        ExpectRow(**part, **found, data, data.rows.find(key)->second);
      }
    }
    disk_.SetContents(path, good);
  }
  EXPECT_GT(refused, 0);
}

TEST_P(KeyedPartTest, KeysThatComeTwiceOrAreNullAreRefused) {
  Random random(TestSeed());
  const Shape shape = Shapes()[0];
  const Data data = MakeData(shape, 20, &random);
  Layout layout;
  layout.sort_columns = layout.key_columns = shape.keys;
  const auto kind = [&](const Layout& with, std::vector<std::shared_ptr<arrow::RecordBatch>> batches) {
    PartInfo info;
    info.id = PartId(9);
    info.format = GetParam();
    return KindOf(WritePart(&disk_, kFolder, info, with, batches[0]->schema(), batches).status());
  };
  EXPECT_EQ(kind(layout, {data.batch, data.batch->Slice(3, 1)}), ErrorKind::kInvalid);
  const auto nulls = arrow::MakeArrayOfNull(arrow::int64(), data.batch->num_rows()).ValueOrDie();
  EXPECT_EQ(kind(layout, {data.batch->SetColumn(0, arrow::field("id", arrow::int64()), nulls).ValueOrDie()}), ErrorKind::kInvalid);
  layout.sort_columns = {1};
  EXPECT_EQ(kind(layout, {data.batch}), ErrorKind::kInvalid);
  layout.sort_columns = layout.key_columns = {99};
  EXPECT_EQ(kind(layout, {data.batch}), ErrorKind::kInvalid);
  EXPECT_TRUE(disk_.List(kFolder).ValueOrDie().empty());
}

TEST_P(KeyedPartTest, OfAnOlderSchemaShowsTheTableAsItIsNow) {
  Random random(TestSeed());
  const auto with_id = [](std::shared_ptr<arrow::Field> f, const char* id) {
    return f->WithMetadata(arrow::key_value_metadata({kColumnIdKey}, {id}));
  };
  const Shape older{arrow::schema({with_id(field("gone", arrow::utf8()), "1"), with_id(field("k", arrow::int32(), false), "2"),
                                   with_id(field("v", arrow::int32()), "3")}), {1}};
  const auto now = arrow::schema({with_id(field("key", arrow::int32(), false), "2"), with_id(field("v", arrow::int64()), "3"),
                                  with_id(field("gone", arrow::utf8(), false), "4")});
  const Data data = MakeData(older, 300, &random);
  const PartInfo info = Write(older, data.batch, 20);
  KeyedPart::Options options{.keys = KeyCodec::Make(now, {0}).ValueOrDie(), .schema = now, .written = older.schema};
  options.fills = {nullptr, nullptr, arrow::MakeScalar("new")};
  options.cache = &cache_;
  const auto part = KeyedPart::Open(&disk_, kFolder, info, options).ValueOrDie();
  for (const auto& [key, row] : data.rows) {
    const auto found = part->Find(key).ValueOrDie();
    ASSERT_TRUE(found.has_value());
    const KeyedPartRow got = part->Row(*found).ValueOrDie();
    ASSERT_TRUE(got.batch->schema()->Equals(*now));
    EXPECT_EQ(got.batch->column_data(0)->GetValues<int32_t>(1)[got.row], data.batch->column_data(1)->GetValues<int32_t>(1)[row]);
    ASSERT_EQ(got.batch->column(1)->IsNull(got.row), data.batch->column(2)->IsNull(row));
    if (!got.batch->column(1)->IsNull(got.row)) {
      EXPECT_EQ(got.batch->column_data(1)->GetValues<int64_t>(1)[got.row], data.batch->column_data(2)->GetValues<int32_t>(1)[row]);
    }
    EXPECT_EQ(got.batch->column(2)->GetScalar(got.row).ValueOrDie()->ToString(), "new");
  }
}

TEST_P(KeyedPartTest, ManyThreadsFindTheSame) {
  Random random(TestSeed());
  const Shape shape = Shapes()[4];
  const Data data = MakeData(shape, 300, &random);
  const auto part = Open(shape, Write(shape, data.batch, 20));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (const auto& [key, row] : data.rows) {
        const auto found = part->Find(key).ValueOrDie();
        ASSERT_TRUE(found.has_value());
        ExpectRow(*part, *found, data, row);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(KeyedPartTest, ARowOutlivesItsPart) {
  Random random(TestSeed());
  const Shape shape = Shapes()[2];
  const Data data = MakeData(shape, 50, &random);
  auto part = Open(shape, Write(shape, data.batch, 20));
  const auto& [key, row] = *data.rows.begin();
  const KeyedPartRow got = part->Row(*part->Find(key).ValueOrDie()).ValueOrDie();
  part.reset();
  EXPECT_EQ(RowText(*got.batch, got.row), RowText(*WithoutLsn(data.batch), row));
}

TEST(ColdKeyedPart, DecodesAGranuleOnceWhileTheCacheHoldsIt) {
  Random random(TestSeed());
  io::SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
  const Shape shape = Shapes()[0];
  const Data data = MakeData(shape, 300, &random);
  PartInfo info;
  info.format = Format::kCold;
  Layout layout;
  layout.sort_columns = layout.key_columns = shape.keys;
  layout.granule_rows = 64;
  info = WritePart(&disk, kFolder, info, layout, data.batch->schema(), {data.batch}).ValueOrDie();
  GranuleCache cache(1 << 20);
  KeyedPart::Options options{.keys = KeyCodec::Make(shape.schema, shape.keys).ValueOrDie(), .schema = shape.schema, .cache = &cache};
  auto part = KeyedPart::Open(&disk, kFolder, info, options).ValueOrDie();
  for (int round = 0; round < 3; ++round) {
    for (const auto& [key, row] : data.rows) ASSERT_TRUE(part->Row(*part->Find(key).ValueOrDie()).ok());
  }
  const GranuleCache::Stats stats = cache.stats();
  EXPECT_EQ(stats.misses, static_cast<uint64_t>(2 * part->source()->num_granules())) << "keys and rows of each";
  EXPECT_EQ(stats.granules, 2 * part->source()->num_granules());
  EXPECT_GT(stats.bytes, 0);
  part.reset();
  EXPECT_EQ(cache.stats().granules, 0) << "granules go with their part";
  EXPECT_EQ(cache.stats().bytes, 0);
}

}  // namespace
}  // namespace sheaf::parts
