#include "parts/part.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <arrow/array/array_binary.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/compare.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include "columns/byte_values.h"
#include "columns/few_rows.h"
#include "columns/random_testing.h"
#include "core/memory.h"
#include "decode/schemas.h"
#include "io/folder_testing.h"
#include "io/posix.h"
#include "io/sim_testing.h"
#include "parts/part_damage_testing.h"
#include "parts/spans_testing.h"

namespace sheaf::parts {
namespace {

using columns::EveryType;
using testing::Contains;
using testing::Not;
using columns::Random;
using columns::RandomBatch;
using columns::RowTexts;
using columns::TestSeed;
using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;
using Source = std::shared_ptr<const columns::GranuleSource>;

const char* const kFolder = "/parts";

PartInfo NewInfo(Format format) {
  PartInfo info;
  info.id = PartId(7);
  info.table = TableId(3);
  info.format = format;
  info.min_lsn = Lsn(10);
  info.max_lsn = Lsn(20);
  info.file_uuid = "0123456789abcdef";
  info.database_uuid = "fedcba9876543210";
  info.created_ns = 1;
  return info;
}

Batches ReadAll(const columns::GranuleSource& source, const std::vector<int>& columns) {
  Batches out;
  for (int g = 0; g < source.num_granules(); ++g) {
    auto batch = source.Read(g, columns);
    EXPECT_TRUE(batch.ok()) << batch.status().ToString();
    if (!batch.ok()) return out;
    EXPECT_TRUE((*batch)->ValidateFull().ok()) << (*batch)->ValidateFull().ToString();
    EXPECT_EQ((*batch)->num_rows(), source.granule_rows(g));
    out.push_back(std::move(*batch));
  }
  return out;
}

Layout EveryTypeLayout() {
  Layout layout;
  const auto schema = EveryType();
  layout.time_column = schema->GetFieldIndex("time");
  layout.sort_columns = {schema->GetFieldIndex("word"), layout.time_column};
  for (const char* name : {"id16", "id8", "text", "word", "large_bytes"}) layout.filter_columns.push_back(schema->GetFieldIndex(name));
  layout.granule_rows = 40;
  return layout;
}

class EachFormat : public testing::TestWithParam<Format> {
 protected:
  EachFormat() { EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok()); }
  io::SimFileSystem disk_;
};
INSTANTIATE_TEST_SUITE_P(Parts, EachFormat, testing::Values(Format::kHot, Format::kCold),
                         [](const auto& info) { return info.param == Format::kHot ? "Hot" : "Cold"; });

TEST_P(EachFormat, ReadsBackEveryTypeExactly) {
  Random random(TestSeed());
  const auto schema = EveryType();
  for (int round = 0; round < 4; ++round) {
    Batches batches;
    for (int b = 0; b < 5; ++b) batches.push_back(RandomBatch(schema, static_cast<int64_t>(random() % 60), &random));
    batches.push_back(RandomBatch(schema, 1, &random));
    const Layout layout = EveryTypeLayout();
    const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), layout, schema, batches).ValueOrDie();
    const Source source = OpenPart(&disk_, kFolder, info, schema).ValueOrDie();

    const Batches read = ReadAll(*source, AllColumns(*schema));
    ASSERT_FALSE(read.empty());
    EXPECT_TRUE(read[0]->schema()->Equals(*schema)) << read[0]->schema()->ToString();
    std::vector<std::string> want = RowTexts(batches), got = RowTexts(read);
    std::sort(want.begin(), want.end());
    std::sort(got.begin(), got.end());
    ASSERT_EQ(got, want);
    EXPECT_TRUE(VerifyPart(&disk_, kFolder, info).ok());
  }
}

TEST_P(EachFormat, SecondsComeBackAsSeconds) {  // Parquet knows milliseconds and finer ones only.
  const auto utc = arrow::timestamp(arrow::TimeUnit::SECOND, "UTC");
  arrow::TimestampBuilder time(arrow::timestamp(arrow::TimeUnit::SECOND), arrow::default_memory_pool());
  arrow::TimestampBuilder zoned(utc, arrow::default_memory_pool());
  arrow::Time32Builder clock(arrow::time32(arrow::TimeUnit::SECOND), arrow::default_memory_pool());
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE((i % 5 == 0 ? time.AppendNull() : time.Append((i - 20) * int64_t{1'000'000'007})).ok());
    ASSERT_TRUE((i % 7 == 0 ? zoned.AppendNull() : zoned.Append(i * 3 - 40)).ok());
    ASSERT_TRUE((i % 3 == 0 ? clock.AppendNull() : clock.Append(i * 1000)).ok());
  }
  const auto schema = arrow::schema({arrow::field("time", time.type()), arrow::field("zoned", utc), arrow::field("clock", clock.type())});
  const auto batch = arrow::RecordBatch::Make(
      schema, 50, {time.Finish().ValueOrDie(), zoned.Finish().ValueOrDie(), clock.Finish().ValueOrDie()});
  Layout layout;
  layout.granule_rows = 20;
  const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), layout, schema, {batch}).ValueOrDie();
  const Source source = OpenPart(&disk_, kFolder, info, schema).ValueOrDie();
  const Batches read = ReadAll(*source, AllColumns(*schema));
  ASSERT_EQ(read.size(), 3u);
  EXPECT_TRUE(read[0]->schema()->Equals(*schema)) << read[0]->schema()->ToString();
  EXPECT_TRUE(read[0]->column(0)->type()->Equals(*schema->field(0)->type()));
  EXPECT_EQ(RowTexts(read), RowTexts({batch}));
}

TEST(ColdPart, EncodesWhatDiffersInEachRowByDifferences) {
  constexpr int kRows = 3000;
  arrow::StringBuilder id, user;
  arrow::Decimal128Builder price(arrow::decimal128(18, 6)), wide(arrow::decimal128(30, 6));
  for (int i = 0; i < kRows; ++i) {
    ASSERT_TRUE((i % 11 == 0 ? id.AppendNull() : id.Append(fmt::format("order-{:09}", i * 3))).ok());
    ASSERT_TRUE(user.Append(fmt::format("user-{}", i % 7)).ok());
    const arrow::Decimal128 cents(int64_t{10'000} * ((i * 37) % 2000 - 1000));
    ASSERT_TRUE((i % 13 == 0 ? price.AppendNull() : price.Append(cents)).ok());
    ASSERT_TRUE(wide.Append(cents * arrow::Decimal128("100000000000000000000")).ok());
  }
  const auto schema = arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("user", arrow::utf8()),
                                     arrow::field("price", price.type()), arrow::field("wide", wide.type())});
  const auto batch = arrow::RecordBatch::Make(
      schema, kRows, {*id.Finish(), *user.Finish(), *price.Finish(), *wide.Finish()});
  const io::TemporaryFolder folder;
  Layout layout;
  layout.granule_rows = 1024;
  const PartInfo info = WritePart(io::PosixFileSystem(), folder.path(), NewInfo(Format::kCold), layout, schema, {batch}).ValueOrDie();
  const auto reader = parquet::ParquetFileReader::OpenFile(io::Join(folder.path(), DataFileName(info.id, Format::kCold)));
  const auto encodings = [&](int column) { return reader->metadata()->RowGroup(1)->ColumnChunk(column)->encodings(); };
  EXPECT_THAT(encodings(0), Contains(parquet::Encoding::DELTA_BYTE_ARRAY));
  EXPECT_THAT(encodings(0), Not(Contains(parquet::Encoding::RLE_DICTIONARY)));
  EXPECT_THAT(encodings(1), Contains(parquet::Encoding::RLE_DICTIONARY));
  EXPECT_THAT(encodings(2), Contains(parquet::Encoding::DELTA_BINARY_PACKED));
  EXPECT_EQ(reader->metadata()->schema()->Column(3)->physical_type(), parquet::Type::FIXED_LEN_BYTE_ARRAY);
  const Source source = OpenPart(io::PosixFileSystem(), folder.path(), info, schema).ValueOrDie();
  EXPECT_EQ(RowTexts(ReadAll(*source, AllColumns(*schema))), RowTexts({batch}));
}

TEST_P(EachFormat, ReadsAnyColumnsInTheOrderAsked) {
  Random random(TestSeed());
  const auto schema = EveryType();
  const Batches batches = {RandomBatch(schema, 100, &random)};
  const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), EveryTypeLayout(), schema, batches).ValueOrDie();
  const Source source = OpenPart(&disk_, kFolder, info, schema).ValueOrDie();
  const auto whole = source->Read(1, AllColumns(*schema)).ValueOrDie();
  for (int round = 0; round < 30; ++round) {
    std::vector<int> columns = AllColumns(*schema);
    std::shuffle(columns.begin(), columns.end(), random);
    columns.resize(random() % 5);
    const auto got = source->Read(1, columns).ValueOrDie();
    ASSERT_EQ(got->num_columns(), static_cast<int>(columns.size()));
    EXPECT_EQ(got->num_rows(), whole->num_rows());
    for (size_t i = 0; i < columns.size(); ++i) {
      const auto one = [&](const arrow::RecordBatch& batch, int c) {
        return RowTexts({arrow::RecordBatch::Make(arrow::schema({schema->field(columns[i])}), batch.num_rows(), {batch.column(c)})});
      };
      EXPECT_EQ(one(*got, static_cast<int>(i)), one(*whole, columns[i]));
    }
    EXPECT_GE(source->granule_bytes(1, AllColumns(*schema)), source->granule_bytes(1, columns));
  }
}

TEST_P(EachFormat, TimesAreNanosecondsWhateverTheColumnsUnit) {
  const auto Times = [&](const std::shared_ptr<arrow::DataType>& type, const std::vector<std::optional<int64_t>>& values) {
    arrow::Int64Builder builder;
    for (const auto& value : values) EXPECT_TRUE((value ? builder.Append(*value) : builder.AppendNull()).ok());
    const auto numbers = builder.Finish().ValueOrDie();
    const auto schema = arrow::schema({arrow::field("time", type)});
    auto column = numbers->data()->Copy();
    column->type = type;
    Layout layout;
    layout.time_column = 0;
    const auto batch = arrow::RecordBatch::Make(schema, numbers->length(), {arrow::MakeArray(column)});
    const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), layout, schema, {batch}).ValueOrDie();
    return std::pair{info.time_min, info.time_max};
  };
  using Range = std::pair<int64_t, int64_t>;
  EXPECT_EQ(Times(arrow::timestamp(arrow::TimeUnit::SECOND), {-1, 2}), Range(-1'000'000'000, 2'000'000'000));
  EXPECT_EQ(Times(arrow::timestamp(arrow::TimeUnit::MILLI), {1, 2}), Range(1'000'000, 2'000'000));
  EXPECT_EQ(Times(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), {1, 2}), Range(1'000, 2'000));
  EXPECT_EQ(Times(arrow::timestamp(arrow::TimeUnit::NANO), {1, 2}), Range(1, 2));
  EXPECT_EQ(Times(arrow::int64(), {1, 2}), Range(1, 2));
  EXPECT_EQ(Times(arrow::timestamp(arrow::TimeUnit::SECOND), {INT64_MIN / 1000, INT64_MAX / 1000}), Range(INT64_MIN, INT64_MAX));
  EXPECT_EQ(Times(arrow::timestamp(arrow::TimeUnit::NANO), {1, std::nullopt}).second, INT64_MAX) << "what has no time never expires";
  EXPECT_EQ(Times(arrow::timestamp(arrow::TimeUnit::NANO), {std::nullopt}).second, INT64_MAX);
}

TEST_P(EachFormat, ZonesBoundAndFiltersFindEveryRow) {
  Random random(TestSeed());
  const auto schema = EveryType();
  Batches batches;
  for (int b = 0; b < 4; ++b) batches.push_back(RandomBatch(schema, 70, &random));
  const Layout layout = EveryTypeLayout();
  const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), layout, schema, batches).ValueOrDie();
  const Source source = OpenPart(&disk_, kFolder, info, schema).ValueOrDie();
  const int time = layout.time_column, id = schema->GetFieldIndex("id16");
  EXPECT_FALSE(source->has_filter(time));
  EXPECT_TRUE(source->has_filter(id));
  EXPECT_EQ(source->source_zone(time)->int_min, info.time_min);
  EXPECT_EQ(source->source_zone(time)->int_max, info.time_max);
  for (int g = 0; g < source->num_granules(); ++g) {
    const auto batch = source->Read(g, {time, id}).ValueOrDie();
    const columns::Zone* zone = source->granule_zone(g, time);
    ASSERT_NE(zone, nullptr);
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      const int64_t at = batch->column_data(0)->GetValues<int64_t>(1)[i];
      EXPECT_TRUE(zone->int_min <= at && at <= zone->int_max);
      const auto value = (*columns::ByteValues::Of(*batch->column_data(1)))[i];
      std::vector<int> granules;
      ASSERT_TRUE(source->FindGranules(id, value, &granules).ok());
      EXPECT_THAT(granules, testing::Contains(g));
    }
  }
}

TEST_P(EachFormat, SpansOfATraceLieInOneGranuleOrTwoNeighbours) {
  const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
  Layout layout = SpanLayout();
  layout.granule_rows = 500;
  const Batches batches = MakeSpans(TestSeed(), 8, 500);
  const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), layout, schema, batches).ValueOrDie();
  const Source source = OpenPart(&disk_, kFolder, info, schema).ValueOrDie();
  ASSERT_EQ(source->num_granules(), 8);
  const Batches read = ReadAll(*source, AllColumns(*schema));
  std::vector<std::string> want = RowTexts(batches), got = RowTexts(read);
  std::sort(want.begin(), want.end());
  std::sort(got.begin(), got.end());
  ASSERT_EQ(got, want);

  std::map<std::string, std::set<int>> granules_of;
  for (int g = 0; g < 8; ++g) {
    const auto ids = *columns::ByteValues::Of(*read[static_cast<size_t>(g)]->column_data(layout.trace_column));
    for (int64_t i = 0; i < ids.size(); ++i) granules_of[std::string(ids[i])].insert(g);
  }
  for (const auto& [trace, in] : granules_of) {
    EXPECT_LE(in.size(), 2u);
    EXPECT_EQ(*in.rbegin() - *in.begin() + 1, static_cast<int>(in.size()));
    std::vector<int> found;
    const Status status = source->FindGranules(layout.trace_column, trace, &found);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_THAT(found, testing::IsSupersetOf(in));
    EXPECT_LE(found.size(), in.size() + 1);
  }
}

TEST_P(EachFormat, EveryFlippedByteOfTheDataIsAnErrorOrHarmless) {
  Random random(TestSeed());
  const auto schema = EveryType();
  const Batches batches = {RandomBatch(schema, 60, &random)};
  const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), EveryTypeLayout(), schema, batches).ValueOrDie();
  const std::string path = io::Join(kFolder, info.file_name);
  const std::string good = disk_.Contents(path).ValueOrDie();
  for (int round = 0; round < 300; ++round) {
    std::string bad = good;
    bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
    disk_.SetContents(path, bad);
    EXPECT_EQ(KindOf(VerifyPart(&disk_, kFolder, info)), ErrorKind::kCorruption);
    auto source = OpenPart(&disk_, kFolder, info, schema);
    if (!source.ok()) {
      EXPECT_EQ(KindOf(source.status()), ErrorKind::kCorruption);
      continue;
    }
    for (int g = 0; g < (*source)->num_granules(); ++g) {
      auto batch = (*source)->Read(g, AllColumns(*schema));
      if (batch.ok()) continue;
      EXPECT_EQ(KindOf(batch.status()), ErrorKind::kCorruption);
    }
  }
}

TEST_P(EachFormat, DamageIsAnErrorThatNamesFileBlockAndGranule) {
  const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
  Layout layout = SpanLayout();
  layout.granule_rows = 1000;
  const Batches batches = MakeSpans(5, 6, 1000);
  const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), layout, schema, batches).ValueOrDie();
  const std::string path = io::Join(kFolder, info.file_name);
  std::string bytes = disk_.Contents(path).ValueOrDie();
  ASSERT_GT(bytes.size(), size_t{4 * 65'536});
  bytes[2 * 65'536 + 77] ^= 1;
  disk_.SetContents(path, bytes);
  const Source source = OpenPart(&disk_, kFolder, info, schema).ValueOrDie();  // The damage is not in what opening reads.
  int failed = 0;
  for (int g = 0; g < source->num_granules(); ++g) {
    const auto batch = source->Read(g, AllColumns(*schema));
    if (batch.ok()) continue;
    ++failed;
    EXPECT_EQ(KindOf(batch.status()), ErrorKind::kCorruption);
    EXPECT_THAT(batch.status().message(), testing::AllOf(testing::HasSubstr(info.file_name), testing::HasSubstr("block 2"),
                                                         testing::HasSubstr(fmt::format("granule {}", g))));
  }
  EXPECT_TRUE(failed == 1 || failed == 2) << failed;
}

TEST_P(EachFormat, EveryDamageOfTheIndexIsRefused) {
  Random random(TestSeed());
  const auto schema = EveryType();
  const Batches batches = {RandomBatch(schema, 60, &random)};
  const Layout layout = EveryTypeLayout();
  const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), layout, schema, batches).ValueOrDie();
  const std::string path = io::Join(kFolder, IndexFileName(info.id));
  const std::string good = disk_.Contents(path).ValueOrDie();
  for (size_t at = 0; at < good.size(); at += 1 + random() % 13) {
    std::string bad = good;
    bad[at] ^= static_cast<char>(1 << random() % 8);
    disk_.SetContents(path, bad);
    auto source = OpenPart(&disk_, kFolder, info, schema);
    Status error = source.status();
    for (const int column : layout.filter_columns) {
      std::vector<int> granules;
      if (error.ok()) error = (*source)->FindGranules(column, "x", &granules);
    }
    ASSERT_FALSE(error.ok()) << "flip at " << at;
    EXPECT_EQ(KindOf(error), ErrorKind::kCorruption) << error.ToString();
  }
  for (size_t length = 0; length < good.size(); length += 1 + random() % 29) {
    disk_.SetContents(path, good.substr(0, length));
    EXPECT_EQ(KindOf(OpenPart(&disk_, kFolder, info, schema).status()), ErrorKind::kCorruption);
  }
}

TEST_P(EachFormat, SwappedStaleForeignAndMissingFilesAreRefused) {
  Random random(TestSeed());
  const auto schema = EveryType();
  const auto write = [&](uint64_t id, const std::string& uuid, const std::string& database) {
    PartInfo info = NewInfo(GetParam());
    info.id = PartId(id);
    info.file_uuid = uuid;
    info.database_uuid = database;
    Random same(1);
    return WritePart(&disk_, kFolder, info, EveryTypeLayout(), schema, {RandomBatch(schema, 60, &same)}).ValueOrDie();
  };
  const PartInfo a = write(1, "aaaaaaaaaaaaaaaa", "dddddddddddddddd"), b = write(2, "bbbbbbbbbbbbbbbb", "dddddddddddddddd");
  const std::string a_data = io::Join(kFolder, a.file_name), b_data = io::Join(kFolder, b.file_name);
  const std::string a_index = io::Join(kFolder, IndexFileName(a.id)), b_index = io::Join(kFolder, IndexFileName(b.id));
  const std::string a_bytes = disk_.Contents(a_data).ValueOrDie(), a_index_bytes = disk_.Contents(a_index).ValueOrDie();
  const auto refused = [&](const PartInfo& info) {
    auto source = OpenPart(&disk_, kFolder, info, schema);
    Status error = source.status();
    if (error.ok()) error = (*source)->Read(0, AllColumns(*schema)).status();
    return !error.ok() && KindOf(error) == ErrorKind::kCorruption;
  };
  disk_.SetContents(a_data, disk_.Contents(b_data).ValueOrDie());
  EXPECT_TRUE(refused(a)) << "data of another part";
  disk_.SetContents(a_index, disk_.Contents(b_index).ValueOrDie());
  EXPECT_TRUE(refused(a)) << "data and index of another part";
  disk_.SetContents(a_data, a_bytes);
  EXPECT_TRUE(refused(a)) << "index of another part";
  disk_.SetContents(a_index, a_index_bytes);
  EXPECT_FALSE(refused(a));
  PartInfo foreign = a;
  foreign.database_uuid = "eeeeeeeeeeeeeeee";
  EXPECT_TRUE(refused(foreign)) << "part of another database";
  write(1, "cccccccccccccccc", "dddddddddddddddd");
  EXPECT_TRUE(refused(a)) << "another file under the same name";
  ASSERT_TRUE(disk_.Remove(b_data).ok());
  EXPECT_EQ(KindOf(OpenPart(&disk_, kFolder, b, schema).status()), ErrorKind::kNotFound);
}

TEST_P(EachFormat, AFailureOfAnyOperationLeavesNothingBehind) {
  Random random(TestSeed());
  const auto schema = EveryType();
  const Batches batches = {RandomBatch(schema, 60, &random)};
  for (uint64_t n = 1;; ++n) {
    io::SimFileSystem disk(n);
    ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
    const uint64_t first = disk.operations();
    disk.SetFaultHook([&](const io::SimOperation& op) {
      return op.number == first + n ? MakeError(ErrorKind::kIo, "injected") : Status::OK();
    });
    const auto info = WritePart(&disk, kFolder, NewInfo(GetParam()), EveryTypeLayout(), schema, batches);
    const uint64_t operations = disk.operations() - first;
    disk.SetFaultHook(nullptr);
    if (info.ok()) {
      EXPECT_GT(n, operations) << "a failure was swallowed";
      break;
    }
    EXPECT_EQ(KindOf(info.status()), ErrorKind::kIo);
    EXPECT_TRUE(disk.List(kFolder).ValueOrDie().empty()) << "after failing operation " << n;
    EXPECT_TRUE(disk.violations().empty());
  }
}

/// Parquet's own encoders go on after an allocation that failed.
TEST(ColdPart, MemoryThatRunsOutAnywhereIsAnError) {
  Random random(TestSeed());
  const auto schema = EveryType();
  const Batches batches = {RandomBatch(schema, 60, &random)};
  TrackingPool& pool = NamedPool("cold_write");
  const int64_t in_use = pool.bytes_allocated();
  int refused = 0;
  for (int64_t limit = in_use + 64;; limit += 512) {
    io::SimFileSystem disk;
    ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
    pool.SetLimit(limit);
    const auto info = WritePart(&disk, kFolder, NewInfo(Format::kCold), EveryTypeLayout(), schema, batches);
    pool.SetLimit(0);
    EXPECT_EQ(pool.bytes_allocated(), in_use) << "with " << limit;
    if (info.ok()) break;
    ++refused;
    EXPECT_EQ(KindOf(info.status()), ErrorKind::kOutOfMemory) << info.status().ToString();
    EXPECT_TRUE(disk.List(kFolder).ValueOrDie().empty()) << "with " << limit;
  }
  EXPECT_GT(refused, 10);
}

TEST_P(EachFormat, APartThatWasReturnedSurvivesALossOfPower) {
  Random random(TestSeed());
  const auto schema = EveryType();
  const Batches batches = {RandomBatch(schema, 60, &random)};
  disk_.SetContents(io::Join(kFolder, DataFileName(PartId(7), GetParam()) + ".tmp"), "left over from a crash");
  ASSERT_TRUE(disk_.SyncDirectory("/").ok());
  const PartInfo info = WritePart(&disk_, kFolder, NewInfo(GetParam()), EveryTypeLayout(), schema, batches).ValueOrDie();
  const auto after = disk_.Crash(&random, io::CrashKeeps::kNothing);
  EXPECT_TRUE(VerifyPart(after.get(), kFolder, info).ok()) << VerifyPart(after.get(), kFolder, info).ToString();
}

TEST_P(EachFormat, RefusesBadRequests) {
  Random random(1);
  const auto schema = EveryType();
  const auto kind = [&](const Layout& layout, const Batches& batches) {
    return KindOf(WritePart(&disk_, kFolder, NewInfo(GetParam()), layout, schema, batches).status());
  };
  const Batches some = {RandomBatch(schema, 3, &random)};
  EXPECT_EQ(kind(EveryTypeLayout(), {}), ErrorKind::kInvalid);
  Layout layout = EveryTypeLayout();
  layout.filter_columns = {schema->GetFieldIndex("numbers")};
  EXPECT_EQ(kind(layout, some), ErrorKind::kUnsupported);
  layout = EveryTypeLayout();
  layout.sort_columns = {99};
  EXPECT_EQ(kind(layout, some), ErrorKind::kInvalid);
  layout = EveryTypeLayout();
  layout.granule_rows = 0;
  EXPECT_EQ(kind(layout, some), ErrorKind::kInvalid);
  EXPECT_TRUE(disk_.List(kFolder).ValueOrDie().empty());
}

TEST(HotPart, IsReadFromTheMappingWithoutACopy) {
  const io::TemporaryFolder folder;
  const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
  const Batches batches = MakeSpans(1, 4, 1000);
  Layout layout = SpanLayout();
  layout.granule_rows = 1000;
  io::FileSystem* files = io::PosixFileSystem();
  const PartInfo info = WritePart(files, folder.path(), NewInfo(Format::kHot), layout, schema, batches).ValueOrDie();
  const Source source = OpenPart(files, folder.path(), info, schema).ValueOrDie();
  const Batches read = ReadAll(*source, AllColumns(*schema));
  uintptr_t low = ~uintptr_t{0}, high = 0;
  const std::function<void(const arrow::ArrayData&)> visit = [&](const arrow::ArrayData& data) {
    for (const auto& buffer : data.buffers) {
      if (!buffer || buffer->size() == 0) continue;
      EXPECT_EQ(buffer->address() % 8, 0u);
      low = std::min(low, buffer->address());
      high = std::max(high, buffer->address() + static_cast<uintptr_t>(buffer->size()));
    }
    for (const auto& child : data.child_data) visit(*child);
    if (data.dictionary) visit(*data.dictionary);
  };
  for (const auto& batch : read) {
    for (int c = 0; c < batch->num_columns(); ++c) visit(*batch->column_data(c));
  }
  EXPECT_LE(high - low, static_cast<uintptr_t>(info.data_bytes)) << "all buffers lie in one mapping of the file";
  const int name = schema->GetFieldIndex("name");
  EXPECT_EQ(read[0]->column_data(name)->dictionary, read[3]->column_data(name)->dictionary);
}

/// Rows of `batch`, and nothing of its others.
std::vector<std::string> TextsOf(const std::shared_ptr<arrow::RecordBatch>& batch, const std::vector<int64_t>& rows) {
  Batches alone;
  for (const int64_t row : rows) alone.push_back(batch->Slice(row, 1));
  return RowTexts(alone);
}

TEST(HotPart, RowsAreReadWholeOrNotAtAllWhereverTheFileIsDamaged) {
  Random random(TestSeed());
  io::SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
  Layout spans = SpanLayout(), every = EveryTypeLayout();
  spans.granule_rows = every.granule_rows = 4000;
  int refused = 0, read_beside_damage = 0;
  for (const bool is_spans : {true, false}) {
    const auto schema = is_spans ? decode::SignalSchema(decode::Signal::kTraces) : EveryType();
    const Batches batches = is_spans ? MakeSpans(5, 6, 1000) : Batches{RandomBatch(schema, 6000, &random)};
    const PartInfo info = WritePart(&disk, kFolder, NewInfo(Format::kHot), is_spans ? spans : every, schema, batches).ValueOrDie();
    const std::string path = io::Join(kFolder, info.file_name);
    const std::string good = disk.Contents(path).ValueOrDie();
    const Batches whole = ReadAll(*OpenPart(&disk, kFolder, info, schema).ValueOrDie(), AllColumns(*schema));
    ASSERT_EQ(whole.size(), 2u);
    for (int round = 0; round < 200; ++round) {
      std::string bad = good;
      const size_t at = random() % bad.size();
      bad[at] ^= static_cast<char>(1 << random() % 8);
      disk.SetContents(path, bad);
      const auto source = OpenPart(&disk, kFolder, info, schema);
      if (!source.ok()) continue;  // The damage is in what opening reads.
      const auto* few = dynamic_cast<const columns::FewRowsSource*>(source->get());
      ASSERT_NE(few, nullptr);
      const int granule = static_cast<int>(random() % 2);
      std::vector<int64_t> rows;
      const int64_t count = whole[static_cast<size_t>(granule)]->num_rows();
      for (int64_t row = static_cast<int64_t>(random() % count); row < count && rows.size() < 12; row += round % 3 == 0 ? 7 : 1) {
        rows.push_back(row);
      }
      const auto read = few->ReadRows(granule, AllColumns(*schema), rows);
      if (!read.ok()) {
        EXPECT_EQ(KindOf(read.status()), ErrorKind::kCorruption);
        ++refused;
        continue;
      }
      EXPECT_EQ(TextsOf(*read, rows), TextsOf(whole[static_cast<size_t>(granule)], rows)) << "byte " << at;
      if (!(*source)->Read(granule, AllColumns(*schema)).ok()) ++read_beside_damage;
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(read_beside_damage, 0);
}

TEST(Part, StaysReadableAfterItsFilesWereRemoved) {
  const io::TemporaryFolder folder;
  const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
  io::FileSystem* files = io::PosixFileSystem();
  const PartInfo info = WritePart(files, folder.path(), NewInfo(Format::kHot), SpanLayout(), schema, MakeSpans(1, 1, 100)).ValueOrDie();
  const Source source = OpenPart(files, folder.path(), info, schema).ValueOrDie();
  ASSERT_TRUE(files->Remove(io::Join(folder.path(), info.file_name)).ok());
  ASSERT_TRUE(files->Remove(io::Join(folder.path(), IndexFileName(info.id))).ok());
  EXPECT_EQ(ReadAll(*source, AllColumns(*schema)).size(), 1u);
}

}  // namespace
}  // namespace sheaf::parts
