/// Streams of granules that are misused or fail: refused, never finished afterwards, and nothing is left of them.

#include "parts/part_stream.h"

#include <functional>
#include <string>
#include <vector>

#include <arrow/array/array_dict.h>
#include <arrow/builder.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "core/memory.h"
#include "io/sim_testing.h"
#include "parts/cold_part.h"
#include "parts/spans_testing.h"

namespace sheaf::parts {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using Batch = std::shared_ptr<arrow::RecordBatch>;

const char* const kFolder = "/parts";

std::shared_ptr<arrow::Schema> Numbers() { return arrow::schema({arrow::field("n", arrow::int64(), false)}); }

Batch BatchOf(const std::vector<int64_t>& numbers) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(numbers).ok());
  return arrow::RecordBatch::Make(Numbers(), static_cast<int64_t>(numbers.size()), {builder.Finish().ValueOrDie()});
}

/// One row whose index lies outside its dictionary.
Batch LyingWord(const std::shared_ptr<arrow::Schema>& schema) {
  arrow::Int32Builder index;
  arrow::StringBuilder words;
  EXPECT_TRUE(index.Append(5).ok() && words.Append("a").ok());
  const auto array = std::make_shared<arrow::DictionaryArray>(schema->field(0)->type(), index.Finish().ValueOrDie(),
                                                              words.Finish().ValueOrDie());
  return arrow::RecordBatch::Make(schema, 1, {array});
}

class EachStream : public testing::TestWithParam<Format> {
 protected:
  EachStream() { EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok()); }
  Result<std::unique_ptr<PartStream>> Open(const Layout& layout, const std::shared_ptr<arrow::Schema>& schema = Numbers()) {
    PartInfo info;
    info.id = PartId(7);
    info.format = GetParam();
    return PartStream::Open(&disk_, kFolder, info, layout, schema);
  }
  void ExpectNothingLeft() { EXPECT_THAT(disk_.List(kFolder).ValueOrDie(), IsEmpty()); }

  io::SimFileSystem disk_;
};
INSTANTIATE_TEST_SUITE_P(Parts, EachStream, testing::Values(Format::kHot, Format::kCold),
                         [](const auto& info) { return info.param == Format::kHot ? "Hot" : "Cold"; });

TEST_P(EachStream, AGranuleThatCannotBeEndsThePart) {
  struct Row {
    const char* what;
    Batch granule;
    const char* refusal;
  };
  const auto two = arrow::schema({arrow::field("n", arrow::int64()), arrow::field("m", arrow::int64())});
  const auto column = BatchOf({1})->column(0);
  const Row rows[] = {
      {"no rows", BatchOf({}), "a granule needs at least one row"},
      {"another column", arrow::RecordBatch::Make(two, 1, {column, column}), "a granule has 2 columns, its table 1"},
      {"a key that comes twice", BatchOf({9, 9}), "comes twice"},
      {"keys that fall", BatchOf({9, 8}), "follows"},
      {"keys below those before", BatchOf({2}), "follows"},
  };
  Layout keyed;
  keyed.sort_columns = keyed.key_columns = {0};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    auto stream = Open(keyed).ValueOrDie();
    ASSERT_TRUE(stream->Write(BatchOf({1, 2, 3})).ok());
    const Status refused = stream->Write(row.granule);
    EXPECT_EQ(KindOf(refused), ErrorKind::kInvalid);
    EXPECT_THAT(refused.message(), HasSubstr(row.refusal));
    EXPECT_THAT(stream->Write(BatchOf({10})).message(), HasSubstr("failed before"));
    EXPECT_THAT(stream->Finish().status().message(), HasSubstr("failed before"));
    EXPECT_EQ(stream->rows(), 3);
    stream.reset();
    ExpectNothingLeft();
  }
}

TEST_P(EachStream, APartNeedsARow) {
  auto stream = Open(Layout()).ValueOrDie();
  const Status refused = stream->Finish().status();
  EXPECT_EQ(KindOf(refused), ErrorKind::kInvalid);
  EXPECT_THAT(refused.message(), HasSubstr("no rows"));
  stream.reset();
  ExpectNothingLeft();
}

TEST_P(EachStream, WordsOutsideTheirDictionaryAreCorruption) {
  const auto schema = arrow::schema({arrow::field("word", arrow::dictionary(arrow::int32(), arrow::utf8()))});
  for (const bool filtered : {false, true}) {
    Layout layout;
    if (filtered) layout.filter_columns = {0};
    auto stream = Open(layout, schema).ValueOrDie();
    const Status refused = stream->Write(LyingWord(schema));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption) << refused.ToString();
    stream.reset();
    ExpectNothingLeft();
  }
}

TEST_P(EachStream, LayoutsThatDoNotFitTheirTableAreRefused) {
  const auto schema = arrow::schema({arrow::field("n", arrow::int64(), false), arrow::field("list", arrow::list(arrow::int64()), false),
                                     arrow::field("id", arrow::utf8(), false)});
  struct Row {
    std::function<void(Layout*)> change;
    ErrorKind kind;
    const char* refusal;
  };
  const Row rows[] = {
      {[](Layout* l) { l->key_columns = {0}; }, ErrorKind::kInvalid, "sorted by its key"},
      {[](Layout* l) { l->sort_columns = l->key_columns = {0}, l->cluster_traces = true; }, ErrorKind::kInvalid, "sorted by its key"},
      {[](Layout* l) { l->sort_columns = {-1}; }, ErrorKind::kInvalid, "names column -1 of a table with 3"},
      {[](Layout* l) { l->filter_columns = {3}; }, ErrorKind::kInvalid, "names column 3 of a table with 3"},
      {[](Layout* l) { l->time_column = 3; }, ErrorKind::kInvalid, "names column 3 of a table with 3"},
      {[](Layout* l) { l->cluster_traces = true; }, ErrorKind::kInvalid, "names column -1 of a table with 3"},
      {[](Layout* l) { l->filter_columns = {2, 1}; }, ErrorKind::kUnsupported, "column 'list' of type"},
      {[](Layout* l) { l->granule_rows = 0; }, ErrorKind::kInvalid, "granules of 0 rows"},
      {[](Layout* l) { l->sort_columns = l->key_columns = {1}; }, ErrorKind::kUnsupported, "list"},
  };
  for (const Row& row : rows) {
    Layout layout;
    row.change(&layout);
    const Status refused = Open(layout, schema).status();
    ASSERT_FALSE(refused.ok()) << row.refusal;
    EXPECT_EQ(KindOf(refused), row.kind) << refused.ToString();
    EXPECT_THAT(refused.message(), HasSubstr(row.refusal));
    ExpectNothingLeft();
  }
}

TEST_P(EachStream, BatchesOfAnotherTableAreRefused) {
  PartInfo info;
  info.id = PartId(7);
  info.format = GetParam();
  const auto schema = arrow::schema({arrow::field("list", arrow::list(arrow::int64()))});
  EXPECT_EQ(KindOf(WritePart(&disk_, kFolder, info, Layout(), schema, {BatchOf({1})}).status()), ErrorKind::kInvalid);
  columns::Random random(1);
  Layout by_list;
  by_list.sort_columns = {0};
  EXPECT_EQ(KindOf(WritePart(&disk_, kFolder, info, by_list, schema, {columns::RandomBatch(schema, 3, &random)}).status()),
            ErrorKind::kUnsupported);
  ExpectNothingLeft();
}

/// As EachFormat.AFailureOfAnyOperationLeavesNothingBehind, with what a crash left, and more than one write of data.
TEST_P(EachStream, AFailureOfAnyOperationOfALargePartIsTold) {
  columns::Random random(columns::TestSeed());
  const auto schema = arrow::schema({arrow::field("id", arrow::fixed_size_binary(16), false)});
  std::string bytes(16 * 150'000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  const auto ids = std::make_shared<arrow::FixedSizeBinaryArray>(schema->field(0)->type(), 150'000, arrow::Buffer::FromString(bytes));
  const Batch batch = arrow::RecordBatch::Make(schema, ids->length(), {ids});
  int refused = 0;
  for (uint64_t n = 1;; ++n) {
    io::SimFileSystem disk(n);
    ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
    for (const std::string& name : {DataFileName(PartId(7), GetParam()), IndexFileName(PartId(7))}) {
      disk.SetContents(io::Join(kFolder, name + ".tmp"), "left over from a crash");
    }
    const uint64_t first = disk.operations();
    disk.SetFaultHook([&](const io::SimOperation& op) {
      return op.number == first + n ? MakeError(ErrorKind::kIo, "injected") : Status::OK();
    });
    PartInfo info;
    info.id = PartId(7);
    info.format = GetParam();
    const auto written = WritePart(&disk, kFolder, info, Layout(), schema, {batch});
    const uint64_t operations = disk.operations() - first;
    disk.SetFaultHook(nullptr);
    if (written.ok()) {
      EXPECT_GT(n, operations) << "a failure was swallowed";
      EXPECT_TRUE(VerifyPart(&disk, kFolder, *written).ok());
      break;
    }
    ++refused;
    EXPECT_EQ(KindOf(written.status()), ErrorKind::kIo) << written.status().ToString();
    for (const io::FileInfo& file : disk.List(kFolder).ValueOrDie()) {
      EXPECT_EQ(disk.Contents(io::Join(kFolder, file.name)).ValueOrDie(), "left over from a crash") << "after failing operation " << n;
    }
  }
  EXPECT_GT(refused, 12);
}

TEST_P(EachStream, MemoryThatRunsOutWhileRowsAreSortedIsAnError) {
  const auto batches = MakeSpans(3, 2, 100);
  TrackingPool& pool = NamedPool("seal");
  const int64_t in_use = pool.bytes_allocated();
  int refused = 0;
  for (int64_t limit = in_use + 64;; limit += 4096) {
    PartInfo info;
    info.id = PartId(7);
    info.format = GetParam();
    pool.SetLimit(limit);
    const auto written = WritePart(&disk_, kFolder, info, SpanLayout(), batches[0]->schema(), batches);
    pool.SetLimit(0);
    EXPECT_EQ(pool.bytes_allocated(), in_use) << "with " << limit;
    if (written.ok()) break;
    ++refused;
    EXPECT_EQ(KindOf(written.status()), ErrorKind::kOutOfMemory) << written.status().ToString();
    ExpectNothingLeft();
  }
  EXPECT_GT(refused, 2);
}

TEST(ColdWriterAlone, NeedsARow) {
  io::SimFileSystem disk;
  const auto file = disk.Open("/file", io::OpenMode::kCreate).ValueOrDie();
  const auto writer = ColdWriter::Make(std::make_shared<SummingStream>(file.get()), Numbers(), Layout()).ValueOrDie();
  EXPECT_EQ(KindOf(writer->Finish()), ErrorKind::kInvalid);
}

}  // namespace
}  // namespace sheaf::parts
