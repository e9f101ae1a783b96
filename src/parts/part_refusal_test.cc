/// Parts that are not what the manifest says, that cannot be read, or that lie behind right checksums.

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <arrow/builder.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/few_rows.h"
#include "columns/random_testing.h"
#include "core/memory.h"
#include "io/sim_testing.h"
#include "parts/delete_vector.h"
#include "parts/part.h"
#include "parts/part_damage_testing.h"

namespace sheaf::parts {
namespace {

using columns::RowTexts;
using testing::HasSubstr;
using Batch = std::shared_ptr<arrow::RecordBatch>;
using Schema = std::shared_ptr<arrow::Schema>;
using Source = std::shared_ptr<const columns::GranuleSource>;

const char* const kFolder = "/parts";

/// What every granule holds, or the first error.
Result<std::vector<std::string>> ReadTexts(const columns::GranuleSource& source) {
  std::vector<Batch> read;
  for (int g = 0; g < source.num_granules(); ++g) {
    SHEAF_ASSIGN_OR_RETURN(read.emplace_back(), source.Read(g, AllColumns(*source.schema())));
  }
  return RowTexts(read);
}

/// `rows` rows: a number, a text of four bytes, a word of a dictionary, a list of two.
Schema SomeSchema() {
  return arrow::schema({arrow::field("n", arrow::int64(), false), arrow::field("text", arrow::utf8(), false),
                        arrow::field("word", arrow::dictionary(arrow::int32(), arrow::utf8()), false),
                        arrow::field("pair", arrow::list(arrow::int32()), false)});
}

Batch SomeRows(int rows) {
  arrow::Int64Builder n;
  arrow::StringBuilder text;
  arrow::StringDictionary32Builder word;
  const auto items = std::make_shared<arrow::Int32Builder>();
  arrow::ListBuilder pair(arrow::default_memory_pool(), items);
  for (int i = 0; i < rows; ++i) {
    EXPECT_TRUE(n.Append(i).ok() && text.Append(fmt::format("{:04}", i % 10'000)).ok() && word.Append(i % 3 == 0 ? "cat" : "dog").ok());
    EXPECT_TRUE(pair.Append().ok() && items->Append(i).ok() && items->Append(-i).ok());
  }
  return arrow::RecordBatch::Make(SomeSchema(), rows, {*n.Finish(), *text.Finish(), *word.Finish(), *pair.Finish()});
}

/// A part on a disk of its own, and what it holds.
class PartRefusal : public testing::TestWithParam<Format> {
 protected:
  PartRefusal() { EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok()); }

  void Write(const Batch& rows, int64_t granule_rows, const std::string& database = "fedcba9876543210") {
    schema_ = rows->schema();
    PartInfo info;
    info.id = PartId(7);
    info.table = TableId(3);
    info.format = GetParam();
    info.file_uuid = "0123456789abcdef";
    info.database_uuid = database;
    Layout layout;
    layout.granule_rows = granule_rows;
    layout.filter_columns = {1};
    info_ = WritePart(&disk_, kFolder, info, layout, schema_, {rows}).ValueOrDie();
    rows_ = rows;
  }
  std::vector<std::string> Texts() const { return RowTexts({rows_}); }
  std::string DataPath() const { return io::Join(kFolder, info_.file_name); }
  std::string IndexPath() const { return io::Join(kFolder, IndexFileName(info_.id)); }
  Result<Source> Open() { return OpenPart(&disk_, kFolder, info_, schema_); }
  /// What opening and reading all of it ends with.
  Result<std::vector<std::string>> OpenAndRead() {
    SHEAF_ASSIGN_OR_RETURN(const Source source, Open());
    return ReadTexts(*source);
  }
  void ExpectCorruption(const std::string& what) {
    const Status refused = OpenAndRead().status();
    ASSERT_FALSE(refused.ok()) << what;
    EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption) << refused.ToString();
    EXPECT_THAT(refused.message(), HasSubstr(what));
  }

  /// Changes data and index as somebody would who knows the checksums.
  void Rewrite(const std::function<void(std::string*)>& change_data, const std::function<void(IndexContents*)>& change_index) {
    std::string data = disk_.Contents(DataPath()).ValueOrDie();
    const auto index = PartIndex::Open(arrow::Buffer::FromString(disk_.Contents(IndexPath()).ValueOrDie()), "index").ValueOrDie();
    IndexContents contents = ContentsOf(*index);
    if (change_data) change_data(&data);
    contents.info.data_bytes = static_cast<int64_t>(data.size());
    contents.data_sums = BlockSums(data);
    if (change_index) change_index(&contents);
    const std::string bytes = EncodeIndex(contents);
    disk_.SetContents(DataPath(), data);
    disk_.SetContents(IndexPath(), bytes);
    info_.data_bytes = contents.info.data_bytes;
    info_.index_bytes = static_cast<int64_t>(bytes.size());
    info_.digest = DigestOf(contents.data_sums);
  }

  io::SimFileSystem disk_;
  Schema schema_;
  PartInfo info_;
  Batch rows_;
};
INSTANTIATE_TEST_SUITE_P(Parts, PartRefusal, testing::Values(Format::kHot, Format::kCold),
                         [](const auto& info) { return info.param == Format::kHot ? "Hot" : "Cold"; });

TEST_P(PartRefusal, AFileOfAnotherPartIsToldWhateverDiffers) {
  Write(SomeRows(10), 4);
  ASSERT_EQ(OpenAndRead().ValueOrDie(), Texts());
  const PartInfo good = info_;
  const std::pair<const char*, std::function<void(PartInfo*)>> changes[] = {
      {"uuid", [](PartInfo* p) { p->file_uuid = "another file uid"; }},
      {"id", [](PartInfo* p) { p->id = PartId(8); }},
      {"table", [](PartInfo* p) { p->table = TableId(4); }},
      {"format", [](PartInfo* p) { p->format = p->format == Format::kHot ? Format::kCold : Format::kHot; }},
      {"key_min", [](PartInfo* p) { p->key_min = "a"; }},
      {"key_max", [](PartInfo* p) { p->key_max = "a"; }},
      {"rows", [](PartInfo* p) { ++p->rows; }},
      {"data_bytes", [](PartInfo* p) { ++p->data_bytes; }},
      {"digest", [](PartInfo* p) { p->digest[0] ^= 1; }},
      {"database", [](PartInfo* p) { p->database_uuid = "another database"; }},
  };
  disk_.SetContents(io::Join(kFolder, IndexFileName(PartId(8))), disk_.Contents(IndexPath()).ValueOrDie());
  for (const auto& [what, change] : changes) {
    SCOPED_TRACE(what);
    info_ = good;
    change(&info_);
    ExpectCorruption("belongs to another file");
    EXPECT_EQ(KindOf(VerifyPart(&disk_, kFolder, info_)), ErrorKind::kCorruption);
  }
  info_ = good;
  info_.database_uuid.clear();
  EXPECT_TRUE(OpenAndRead().ok()) << "who does not say whose it is takes anybody's";
  info_ = good;
  ++info_.index_bytes;
  ExpectCorruption("it was cut or replaced");
}

TEST_P(PartRefusal, APartOfNoDatabaseIsAnybodys) {
  Write(SomeRows(10), 4, "");
  info_.database_uuid = "any database uid";
  EXPECT_EQ(OpenAndRead().ValueOrDie(), Texts());
}

TEST_P(PartRefusal, AnotherSchemaIsToldFromTheFile) {
  Write(SomeRows(10), 4);
  schema_ = arrow::schema({SomeSchema()->field(0)});
  ExpectCorruption("part 7 has 4 columns, its table's schema version 1 has 1");
  schema_ = SomeSchema()->SetField(0, arrow::field("n", arrow::utf8(), false)).ValueOrDie();
  ExpectCorruption(GetParam() == Format::kHot ? "expected are" : "Parquet gave values of type");
  schema_ = SomeSchema()->AddField(4, arrow::field("more", arrow::utf8())).ValueOrDie();
  Rewrite(nullptr, [](IndexContents* c) {
    ++c->columns;
    c->zones.push_back(c->zones[0]);
    c->column_bytes.clear();
  });
  ExpectCorruption(GetParam() == Format::kHot ? "expected are" : "row groups of 4 columns; expected are 3 of 5");
}

TEST_P(PartRefusal, GranulesThatAreNotAsTheIndexSays) {
  Write(SomeRows(10), 4);
  Rewrite(nullptr, [](IndexContents* c) {
    ++c->granules[0].rows;
    --c->granules[1].rows;
  });
  ExpectCorruption("granule 0 has 4 rows, its index says 5");
  Write(SomeRows(10), 4);
  Rewrite(nullptr, [](IndexContents* c) {
    c->granules[1].rows += c->granules[2].rows;
    c->granules.pop_back();
    c->column_bytes.pop_back();
    for (auto& zones : c->zones) zones.pop_back();
  });
  ExpectCorruption(GetParam() == Format::kHot ? "holds 3 granules" : "holds 3 row groups of 4 columns; expected are 2 of 4");
}

TEST_P(PartRefusal, AFileWithoutItsEndIsNoPart) {
  Write(SomeRows(10), 4);
  Rewrite([](std::string* data) { data->replace(data->size() - 16, 16, 16, '?'); }, nullptr);
  ExpectCorruption(info_.file_name);
  EXPECT_TRUE(VerifyPart(&disk_, kFolder, info_).ok()) << "its checksums are right";
}

/// Each operation fails in turn: the call says so, or answers rightly; the next time all is well.
TEST_P(PartRefusal, AFailureOfAnyOperationOfReadingIsTold) {
  Write(SomeRows(10), 4);
  const Source source = Open().ValueOrDie();
  ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *source, 1, *columns::DeadRows().With({{1, 3}}), Lsn(1), &info_).ok());
  const auto use = [&]() -> Status {
    SHEAF_ASSIGN_OR_RETURN(const auto texts, OpenAndRead());
    EXPECT_EQ(texts, Texts());
    SHEAF_ASSIGN_OR_RETURN(const auto dead, ReadDeadRows(&disk_, kFolder, info_, *source));
    EXPECT_TRUE(dead->IsDead(1, 3));
    return VerifyPart(&disk_, kFolder, info_);
  };
  for (const ErrorKind kind : {ErrorKind::kIo, ErrorKind::kUnavailable, ErrorKind::kOutOfMemory}) {
    int refused = 0;
    for (uint64_t n = 1;; ++n) {
      const uint64_t first = disk_.operations();
      disk_.SetFaultHook([&](const io::SimOperation& op) {
        return op.number == first + n ? MakeError(kind, "injected") : Status::OK();
      });
      const Status used = use();
      const uint64_t operations = disk_.operations() - first;
      disk_.SetFaultHook(nullptr);
      EXPECT_TRUE(use().ok());
      if (used.ok()) {
        EXPECT_GT(n, operations) << "a failure was swallowed";
        break;
      }
      ++refused;
      EXPECT_EQ(KindOf(used), kind) << used.ToString();
    }
    EXPECT_GT(refused, 8);
  }
}

TEST_P(PartRefusal, VerifyingEndsWhenItsCallerSaysSoAndFindsWhatNobodyRead) {
  Write(SomeRows(40'000), 4096);
  int64_t bytes = 0;
  const Status ended = VerifyPart(&disk_, kFolder, info_, [&](int64_t piece) {
    bytes += piece;
    return MakeError(ErrorKind::kCancelled, "enough");
  });
  EXPECT_EQ(KindOf(ended), ErrorKind::kCancelled);
  EXPECT_EQ(bytes, std::min<int64_t>(info_.data_bytes, 16 * kBlockBytes));
  bytes = 0;
  EXPECT_TRUE(VerifyPart(&disk_, kFolder, info_, [&](int64_t piece) { return bytes += piece, Status::OK(); }).ok());
  EXPECT_EQ(bytes, info_.data_bytes);

  std::string index = disk_.Contents(IndexPath()).ValueOrDie();
  index.back() = static_cast<char>(index.back() ^ 1);  // In the filter, which opening does not read.
  disk_.SetContents(IndexPath(), index);
  EXPECT_TRUE(Open().ValueOrDie()->Read(0, AllColumns(*schema_)).ok());
  EXPECT_EQ(KindOf(VerifyPart(&disk_, kFolder, info_)), ErrorKind::kCorruption);
}

class ColdPartRefusal : public PartRefusal {};
INSTANTIATE_TEST_SUITE_P(Parts, ColdPartRefusal, testing::Values(Format::kCold), [](const auto&) { return "Cold"; });

TEST_P(ColdPartRefusal, MemoryThatRunsOutAnywhereWhileReadingIsAnErrorOfThatRead) {
  columns::Random random(columns::TestSeed());
  Write(columns::RandomBatch(SomeSchema(), 300, &random), 100);
  TrackingPool& pool = NamedPool("cold_read");
  const int64_t in_use = pool.bytes_allocated();
  int refused = 0;
  for (int64_t limit = in_use + 64;; limit += 256) {
    Source source = Open().ValueOrDie();
    pool.SetLimit(limit);
    const auto read = ReadTexts(*source);
    pool.SetLimit(0);
    EXPECT_EQ(ReadTexts(*source).ValueOrDie(), Texts()) << "the next time, after " << limit;
    source.reset();
    EXPECT_EQ(pool.bytes_allocated(), in_use) << "with " << limit;
    if (read.ok()) break;
    ++refused;
    EXPECT_EQ(KindOf(read.status()), ErrorKind::kOutOfMemory) << read.status().ToString();
  }
  EXPECT_GT(refused, 3);
}

class HotPartRefusal : public PartRefusal {
 protected:
  Result<Batch> ReadRows(const std::vector<int>& columns, const std::vector<int64_t>& rows) {
    SHEAF_ASSIGN_OR_RETURN(const Source source, Open());
    return dynamic_cast<const columns::FewRowsSource&>(*source).ReadRows(0, columns, rows);
  }
};
INSTANTIATE_TEST_SUITE_P(Parts, HotPartRefusal, testing::Values(Format::kHot), [](const auto&) { return "Hot"; });

TEST_P(HotPartRefusal, GranulesThatLieElsewhere) {
  Write(SomeRows(10), 4);
  Rewrite(nullptr, [](IndexContents* c) { c->granules[0].bytes = 4; });
  ExpectCorruption("granule 0 is too short");
  Write(SomeRows(10), 4);
  Rewrite(nullptr, [](IndexContents* c) { c->granules[0].offset += 8; });
  ExpectCorruption("where granule 0 should be");
  Write(SomeRows(10), 4);
  Rewrite(nullptr, [](IndexContents* c) { c->granules[0].bytes = 16; });
  ExpectCorruption("where granule 0 should be");
  Write(SomeRows(10), 4);
  int64_t at = 0;
  Rewrite(nullptr, [&](IndexContents* c) { at = c->granules[0].offset; });
  Rewrite([&](std::string* data) { data->replace(static_cast<size_t>(at) + 8, 64, 64, '\xFF'); }, nullptr);
  ExpectCorruption("granule 0");
}

TEST_P(HotPartRefusal, DamageBetweenTheDictionariesIsToldByEachRead) {
  arrow::StringDictionary32Builder word;
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(word.Append(fmt::format("a long word of the dictionary, number {:09}", i)).ok());
  const auto words = word.Finish().ValueOrDie();
  const auto schema = arrow::schema({arrow::field("word", words->type()), arrow::field("id", arrow::utf8())});
  arrow::StringBuilder id;
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(id.Append(std::to_string(i)).ok());
  Write(arrow::RecordBatch::Make(schema, 3000, {words, id.Finish().ValueOrDie()}), 4096);
  std::string data = disk_.Contents(DataPath()).ValueOrDie();
  data[kBlockBytes + 10] ^= 1;
  disk_.SetContents(DataPath(), data);
  const Source source = Open().ValueOrDie();
  for (const int column : {0, 1}) {
    const Status refused = source->Read(0, {column}).status();
    EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption);
    EXPECT_THAT(refused.message(), HasSubstr("block 1"));
  }
}

/// Where the offsets of a row make no sense, or the buffers are too short for it, all of its column is checked.
TEST_P(HotPartRefusal, RowsThatLieOutsideTheirBuffersCostACheckOfTheWholeColumn) {
  constexpr int kRows = 20'001;
  const auto numbers = [](std::vector<int32_t> values) {
    return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int32_t));
  };
  const auto replace = [](std::string* data, const std::string& what, const std::string& with) {
    const size_t at = data->find(what);
    ASSERT_NE(at, std::string::npos);
    data->replace(at, with.size(), with);
  };
  const auto length = [](int64_t bytes) { return std::string(reinterpret_cast<const char*>(&bytes), sizeof bytes); };
  struct Lie {
    const char* what;
    int column;
    std::string find, replace;
  };
  const Lie lies[] = {
      {"a text that begins before its bytes", 1, numbers({0, 4, 8, 12}), numbers({-4})},
      {"a text that ends before it begins", 1, numbers({0, 4, 8, 12}), numbers({8})},
      {"a text that ends behind its bytes", 1, numbers({0, 4, 8, 12}), numbers({0, 1 << 30})},
      {"a list that ends behind its elements", 3, numbers({0, 2, 4, 6, 8, 10}), numbers({0, 1 << 30})},
      {"offsets of no row", 1, length((kRows + 1) * 4), length(0)},
      {"numbers of no row", 0, length(kRows * 8), length(0)},
  };
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.what);
    Write(SomeRows(kRows), kRows);
    Rewrite([&](std::string* data) { replace(data, lie.find, lie.replace); }, nullptr);
    const std::string good = disk_.Contents(DataPath()).ValueOrDie();
    const auto granule = Open().ValueOrDie()->Read(0, {lie.column}).ValueOrDie();
    ASSERT_TRUE(ReadRows({lie.column}, {0}).ok()) << "nothing is damaged";
    const auto& data = *granule->column_data(0);
    const auto& buffer = data.child_data.empty() ? data.buffers.back() : data.child_data[0]->buffers.back();
    if (buffer->size() == 0) continue;
    const size_t at = good.find(std::string(reinterpret_cast<const char*>(buffer->data()), static_cast<size_t>(buffer->size())));
    ASSERT_NE(at, std::string::npos);
    std::string bad = good;
    bad[at + static_cast<size_t>(buffer->size() - 1)] ^= 1;  // Far from row 0, but in its column.
    disk_.SetContents(DataPath(), bad);
    EXPECT_EQ(KindOf(ReadRows({lie.column}, {0}).status()), ErrorKind::kCorruption);
  }
}

TEST_P(HotPartRefusal, FewRowsOfMapsAndOfNothing) {
  const auto map = arrow::map(arrow::utf8(), arrow::int64());
  const auto item = std::make_shared<arrow::Int64Builder>();
  const auto key = std::make_shared<arrow::StringBuilder>();
  arrow::MapBuilder maps(arrow::default_memory_pool(), key, item, map);
  arrow::NullBuilder nulls;
  arrow::StringBuilder ids;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(maps.Append().ok() && key->Append(std::to_string(i)).ok() && item->Append(i).ok());
    ASSERT_TRUE(nulls.AppendNull().ok() && ids.Append("x").ok());
  }
  const arrow::ArrayVector arrays = {*nulls.Finish(), *ids.Finish(), *maps.Finish()};
  const auto schema = arrow::schema({arrow::field("nothing", arrow::null()), arrow::field("id", arrow::utf8()), arrow::field("map", map)});
  const Batch rows = arrow::RecordBatch::Make(schema, 20, arrays);
  Write(rows, 20);
  const Batch read = ReadRows({0, 1, 2}, {3, 4, 9}).ValueOrDie();
  for (const int64_t row : {3, 4, 9}) {
    for (int c = 0; c < 3; ++c) {
      EXPECT_TRUE(read->column(c)->Slice(row, 1)->Equals(arrays[static_cast<size_t>(c)]->Slice(row, 1))) << c << " " << row;
    }
  }
}

}  // namespace
}  // namespace sheaf::parts
