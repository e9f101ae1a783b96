/// What parts tell of their columns: that it is true, that estimates are near what encodings really take, and that reports of
/// whatever bytes are read or refused.

#include <algorithm>
#include <string>
#include <vector>

#include <arrow/array/array_run_end.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>
#include <arrow/util/key_value_metadata.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_reader.h>

#include "columns/leaves.h"
#include "columns/random_testing.h"
#include "decode/schemas.h"
#include "io/sim_testing.h"
#include "parts/conform_source.h"
#include "parts/part_source.h"
#include "parts/report_codec.h"
#include "parts/spans_testing.h"

namespace sheaf::parts {
namespace {

using columns::ColumnAnalysis;
using columns::ColumnReport;
using columns::Encoding;
using columns::EncodingReason;
using testing::ElementsAre;

constexpr const char* kFolder = "/parts";

/// Bytes of the only column of a Parquet file that is not compressed, its page headers included.
int64_t InParquet(const std::shared_ptr<arrow::Array>& array, parquet::Encoding::type encoding) {
  parquet::WriterProperties::Builder builder;
  builder.compression(parquet::Compression::UNCOMPRESSED)->enable_store_decimal_as_integer()->disable_statistics();
  if (encoding != parquet::Encoding::RLE_DICTIONARY) builder.disable_dictionary()->encoding(encoding);
  builder.dictionary_pagesize_limit(int64_t{1} << 30);
  auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto table = arrow::Table::Make(arrow::schema({arrow::field("value", array->type(), false)}), {array});
  EXPECT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, array->length() + 1, builder.build()).ok());
  const auto reader = parquet::ParquetFileReader::Open(std::make_shared<arrow::io::BufferReader>(sink->Finish().ValueOrDie()));
  return reader->metadata()->RowGroup(0)->ColumnChunk(0)->total_compressed_size();
}

int64_t InRunEnds(const std::shared_ptr<arrow::Array>& array) {
  EXPECT_TRUE(arrow::compute::Initialize().ok());
  const auto encoded = std::static_pointer_cast<arrow::RunEndEncodedArray>(
      arrow::compute::RunEndEncode(array, arrow::compute::RunEndEncodeOptions(arrow::int32())).ValueOrDie().make_array());
  int64_t bytes = encoded->run_ends()->length() * 4;
  for (const auto& buffer : encoded->values()->data()->buffers) bytes += buffer ? buffer->size() : 0;
  return bytes;
}

/// Numbers that repeat `run` times on average, from `low` on in steps below `step`, or of `distinct` kinds.
std::shared_ptr<arrow::Array> Numbers(columns::Random* random, int64_t rows, uint64_t run, uint64_t distinct, bool rising) {
  arrow::Int64Builder builder;
  int64_t now = 1'700'000'000'000'000'000;
  for (int64_t i = 0; i < rows; ++i) {
    if ((*random)() % run == 0) {
      const auto step = static_cast<int64_t>((*random)() % distinct);
      now = rising ? now + step : 1'700'000'000'000'000'000 + step * 1'000'003;
    }
    EXPECT_TRUE(builder.Append(now).ok());
  }
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Array> Texts(columns::Random* random, int64_t rows, uint64_t run, uint64_t distinct) {
  arrow::StringBuilder builder;
  std::string now;
  for (int64_t i = 0; i < rows; ++i) {
    if (i == 0 || (*random)() % run == 0) now = "user-" + std::to_string((*random)() % distinct) + "@example.org";
    EXPECT_TRUE(builder.Append(now).ok());
  }
  return builder.Finish().ValueOrDie();
}

void ExpectNear(int64_t estimate, int64_t made, const char* what) {
  constexpr double kHeaderBytes = 150;  // Of the pages.
  EXPECT_NEAR(static_cast<double>(estimate), static_cast<double>(made), static_cast<double>(made) * 0.1 + kHeaderBytes) << what;
}

TEST(ColumnEstimates, AreNearWhatTheEncodingsTake) {
  columns::Random random(columns::TestSeed());
  for (const uint64_t run : {1, 3, 20, 500}) {
    for (const uint64_t distinct : {1, 7, 900, 1 << 30}) {
      for (const bool rising : {false, true}) {
        SCOPED_TRACE(fmt::format("runs of {}, {} values{}", run, distinct, rising ? ", rising" : ""));
        const auto numbers = Numbers(&random, 12'000, run, distinct, rising);
        columns::ColumnAnalyzer analyzer(numbers->type());
        ASSERT_TRUE(analyzer.Add(*numbers->data()).ok());
        const ColumnAnalysis analysis = analyzer.Analysis();
        EXPECT_EQ(analysis.plain_bytes, 12'000 * 8);
        ExpectNear(analysis.dictionary_bytes, InParquet(numbers, parquet::Encoding::RLE_DICTIONARY), "dictionary");
        // A sample of a quarter, of what comes in bursts.
        if (run < 100) ExpectNear(analysis.delta_bytes, InParquet(numbers, parquet::Encoding::DELTA_BINARY_PACKED), "delta");
        EXPECT_EQ(analysis.run_end_bytes, InRunEnds(numbers));
      }
      SCOPED_TRACE(fmt::format("texts, runs of {}, {} values", run, distinct));
      const auto texts = Texts(&random, 12'000, run, distinct);
      columns::ColumnAnalyzer analyzer(texts->type());
      ASSERT_TRUE(analyzer.Add(*texts->data()).ok());
      const ColumnAnalysis analysis = analyzer.Analysis();
      ExpectNear(analysis.plain_bytes, InParquet(texts, parquet::Encoding::PLAIN), "plain");
      ExpectNear(analysis.dictionary_bytes, InParquet(texts, parquet::Encoding::RLE_DICTIONARY), "dictionary");
      if (run < 10) ExpectNear(analysis.delta_bytes, InParquet(texts, parquet::Encoding::DELTA_BYTE_ARRAY), "delta");
      ExpectNear(analysis.run_end_bytes, InRunEnds(texts), "run ends");
    }
  }
}

class ReportsOf : public testing::TestWithParam<Format> {
 protected:
  ReportsOf() { EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok()); }
  std::shared_ptr<const PartSource> Write(const std::shared_ptr<arrow::Schema>& schema, const Layout& layout,
                                          const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
    PartInfo info;
    info.id = PartId(1);
    info.format = GetParam();
    info_ = WritePart(&disk_, kFolder, info, layout, schema, batches).ValueOrDie();
    return OpenPartSource(&disk_, kFolder, info_, schema).ValueOrDie();
  }

  io::SimFileSystem disk_;
  PartInfo info_;
};
INSTANTIATE_TEST_SUITE_P(Parts, ReportsOf, testing::Values(Format::kHot, Format::kCold),
                         [](const auto& info) { return info.param == Format::kHot ? "Hot" : "Cold"; });

TEST_P(ReportsOf, SpansTellOfEveryLeafAndAddUpToTheirColumns) {
  const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
  Layout layout = SpanLayout();
  layout.granule_rows = 400;
  const auto part = Write(schema, layout, MakeSpans(1, 2, 500));
  const std::vector<ColumnReport> reports = part->ReportColumns().ValueOrDie();
  const auto find = [&](const std::string& path) {
    const auto found =
        std::find_if(reports.begin(), reports.end(), [&](const ColumnReport& report) { return report.path == path; });
    EXPECT_NE(found, reports.end()) << path;
    return found != reports.end() ? *found : ColumnReport();
  };
  EXPECT_EQ(find("span_id").analysis.cardinality, 1000);
  EXPECT_EQ(find("attributes.key").analysis.values, 6000);
  EXPECT_EQ(find("attributes.key").analysis.cardinality, 6);
  EXPECT_EQ(find("dropped_events_count").analysis.runs, 1);
  EXPECT_EQ(find("dropped_events_count").analysis.longest_run, 1000);
  EXPECT_EQ(find("service_name").stored.encoding, Encoding::kDictionary);
  EXPECT_EQ(find("attributes[http.request.method]").analysis.cardinality, 2) << "columns of attributes, too";
  const auto time = find("start_time").stored;
  EXPECT_EQ(time.encoding, GetParam() == Format::kHot ? Encoding::kPlain : Encoding::kDelta);
  EXPECT_EQ(time.reason, GetParam() == Format::kHot ? EncodingReason::kReadInPlace : EncodingReason::kSmallDifferences);

  for (int column = 0; column < schema->num_fields(); ++column) {
    int64_t of_leaves = 0, of_column = 0;
    for (const ColumnReport& report : reports) of_leaves += report.column == column ? report.stored_bytes : 0;
    for (int granule = 0; granule < part->num_granules(); ++granule) of_column += part->granule_bytes(granule, {column});
    if (GetParam() == Format::kHot && schema->field(column)->type()->id() != arrow::Type::TIMESTAMP) continue;  // Dictionaries.
    EXPECT_EQ(of_leaves, of_column) << schema->field(column)->name();
  }
}

TEST_P(ReportsOf, EveryTypeIsToldAndStaysTheSame) {
  columns::Random random(columns::TestSeed());
  const auto schema = columns::EveryType();
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int i = 0; i < 3; ++i) batches.push_back(columns::RandomBatch(schema, 70, &random));
  Layout layout;
  layout.granule_rows = 50;
  const auto part = Write(schema, layout, batches);
  const auto reports = part->ReportColumns().ValueOrDie();
  EXPECT_EQ(reports.size(), columns::LeavesOf(*schema).size());
  for (const ColumnReport& report : reports) {
    SCOPED_TRACE(report.path);
    EXPECT_NE(report.stored.encoding, Encoding::kUnknown);
    EXPECT_NE(report.stored.reason, EncodingReason::kUnknown);
    EXPECT_GE(report.stored_bytes, 0);
    EXPECT_GE(report.analysis.values, report.analysis.nulls);
    const bool is_nested = arrow::is_nested(schema->field(report.column)->type()->storage_id());
    if (!is_nested) {
      EXPECT_EQ(report.analysis.values, 210);
    }
  }
  EXPECT_TRUE(VerifyPart(&disk_, kFolder, info_).ok());
}

TEST_P(ReportsOf, ADictionaryThatGrowsTooLargeIsTold) {
  arrow::StringBuilder builder;  // Few values in the first granule, many long ones in the second.
  for (int i = 0; i < 4000; ++i) {
    ASSERT_TRUE(builder.Append(i < 2000 ? "few" : std::string(1500, static_cast<char>('a' + i % 25)) + std::to_string(i)).ok());
  }
  const auto schema = arrow::schema({arrow::field("text", arrow::utf8(), false)});
  const auto batch = arrow::RecordBatch::Make(schema, 4000, {builder.Finish().ValueOrDie()});
  Layout layout;
  layout.granule_rows = 2000;
  const auto part = Write(schema, layout, {batch});
  const ColumnReport report = part->ReportColumns().ValueOrDie()[0];
  EXPECT_EQ(report.stored.encoding, GetParam() == Format::kHot ? Encoding::kPlain : Encoding::kDictionaryThenPlain);
  EXPECT_EQ(report.stored.reason, GetParam() == Format::kHot ? EncodingReason::kReadInPlace : EncodingReason::kOutgrown);
  EXPECT_EQ(columns::RowTexts({part->Read(1, {0}).ValueOrDie()}), columns::RowTexts({batch->Slice(2000)}));
}

TEST_P(ReportsOf, AnOlderSchemaHasTheNamesOfNow) {
  const auto id = arrow::key_value_metadata({kColumnIdKey}, {"1"});
  const auto before = arrow::schema({arrow::field("old", arrow::int32(), true, id)});
  const auto now = arrow::schema({arrow::field("late", arrow::utf8()), arrow::field("new", arrow::int64(), true, id)});
  columns::Random random(columns::TestSeed());
  const auto part = ConformSource(Write(before, {}, {columns::RandomBatch(before, 20, &random)}), now, {}).ValueOrDie();
  const auto reports = dynamic_cast<const columns::ColumnReportSource&>(*part).ReportColumns().ValueOrDie();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].path, "new");
  EXPECT_EQ(reports[0].analysis.values, 20);
}

TEST_P(ReportsOf, CountsOfDistinctValuesAreKeptForPlanning) {
  const auto id = arrow::key_value_metadata({kColumnIdKey}, {"1"});
  const auto lists = arrow::field("lists", arrow::list(arrow::int32()));
  const auto before = arrow::schema({arrow::field("old", arrow::int32(), false, id), lists});
  arrow::Int32Builder builder;
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(builder.Append(i % 7).ok());
  columns::Random random(columns::TestSeed());
  const auto items = columns::RandomBatch(arrow::schema({lists}), 60, &random)->column(0);
  const auto part = Write(before, {}, {arrow::RecordBatch::Make(before, 60, {builder.Finish().ValueOrDie(), items})});
  EXPECT_EQ(part->DistinctValues(0), 7);
  EXPECT_EQ(part->DistinctValues(1), -1) << "lists are not counted, only what is in them";

  const auto now = arrow::schema({arrow::field("late", arrow::utf8()), arrow::field("new", arrow::int64(), false, id)});
  const auto conformed = ConformSource(part, now, {}).ValueOrDie();
  const auto& reports = dynamic_cast<const columns::ColumnReportSource&>(*conformed);
  EXPECT_EQ(reports.DistinctValues(0), -1);
  EXPECT_EQ(reports.DistinctValues(1), 7);
}

std::vector<ColumnReport> SoundReports() {
  ColumnReport one{.column = 1,
                   .path = "attributes.key",
                   .analysis = {},
                   .stored = {Encoding::kDelta, EncodingReason::kSmallDifferences},
                   .stored_bytes = 77};
  one.analysis = {.values = 1,
                  .nulls = 2,
                  .looked_at = 3,
                  .runs = 4,
                  .longest_run = 5,
                  .cardinality = 6,
                  .cardinality_is_exact = true,
                  .plain_bytes = 7,
                  .dictionary_bytes = 8,
                  .run_end_bytes = 9,
                  .delta_bytes = 10,
                  .frame_bytes = -1};
  return {ColumnReport{.column = 0, .path = "", .analysis = {}, .stored = {}, .stored_bytes = -1}, one};
}

TEST(ReportCodec, WhatIsWrittenComesBack) {
  const std::vector<ColumnReport> back = DecodeReports(EncodeReports(SoundReports()), 2).ValueOrDie();
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].stored_bytes, -1);
  const ColumnAnalysis& analysis = back[1].analysis;
  EXPECT_EQ(back[1].path, "attributes.key");
  EXPECT_EQ(back[1].column, 1);
  EXPECT_EQ(back[1].stored.encoding, Encoding::kDelta);
  EXPECT_EQ(back[1].stored.reason, EncodingReason::kSmallDifferences);
  EXPECT_EQ(back[1].stored_bytes, 77);
  EXPECT_THAT((std::vector<int64_t>{analysis.values, analysis.nulls, analysis.looked_at, analysis.runs, analysis.longest_run,
                                    analysis.cardinality, analysis.plain_bytes, analysis.dictionary_bytes, analysis.run_end_bytes,
                                    analysis.delta_bytes, analysis.frame_bytes}),
              ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -1));
  EXPECT_TRUE(analysis.cardinality_is_exact);
  EXPECT_EQ(EncodeReports(back), EncodeReports(SoundReports()));
}

TEST(ReportCodec, WhatMakesNoSenseIsRefused) {
  const std::string sound = EncodeReports(SoundReports());
  for (size_t bytes = 0; bytes < sound.size(); ++bytes) {
    EXPECT_EQ(KindOf(DecodeReports(std::string_view(sound).substr(0, bytes), 2).status()), ErrorKind::kCorruption) << bytes;
  }
  EXPECT_EQ(KindOf(DecodeReports(sound, 1).status()), ErrorKind::kCorruption) << "a column that the part has not";
  EXPECT_EQ(KindOf(DecodeReports("\xFF\xFF\xFF\xFF", 2).status()), ErrorKind::kCorruption);
  std::string later = sound;
  later[8] = '\x63';
  later[9] = '\x63';
  const auto read = DecodeReports(later, 2).ValueOrDie();
  EXPECT_EQ(read[0].stored.encoding, Encoding::kUnknown) << "an encoding of a later version";
  EXPECT_EQ(read[0].stored.reason, EncodingReason::kUnknown);
}

}  // namespace
}  // namespace sheaf::parts
