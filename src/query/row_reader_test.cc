/// Documents of rows that ask for far more memory than they are long. What they hold otherwise is tested through HTTP (http_api_test.cc,
/// tests/e2e), and against any bytes by row_reader_fuzz.cc.

#include "query/row_reader.h"

#include <memory>
#include <string>

#include <arrow/array.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/util.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <arrow/util/compression.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include "core/memory.h"

namespace sheaf::query {
namespace {

constexpr int64_t kBytesMax = int64_t{32} << 20;

std::shared_ptr<arrow::Schema> Table() {
  arrow::FieldVector fields = {arrow::field("text", arrow::utf8())};
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h"}) fields.push_back(arrow::field(name, arrow::int64()));
  return arrow::schema(std::move(fields));
}

/// A stream of one batch, compressed.
std::shared_ptr<arrow::Buffer> ArrowStream(const std::shared_ptr<arrow::RecordBatch>& batch) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.codec = arrow::util::Codec::Create(arrow::Compression::ZSTD).ValueOrDie();
  const auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto writer = arrow::ipc::MakeStreamWriter(sink, batch->schema(), options).ValueOrDie();
  EXPECT_TRUE(writer->WriteRecordBatch(*batch).ok() && writer->Close().ok());
  return sink->Finish().ValueOrDie();
}

std::shared_ptr<arrow::RecordBatch> OneColumn(const std::string& name, const std::shared_ptr<arrow::Array>& values) {
  return arrow::RecordBatch::Make(arrow::schema({arrow::field(name, values->type())}), values->length(), {values});
}

/// Refused for good, with no more memory than allowed.
void ExpectTooLarge(Format format, const std::shared_ptr<arrow::Buffer>& document) {
  EXPECT_LT(document->size(), 100'000) << "else it is no bomb";
  TrackingPool pool("rows", kBytesMax, &NamedPool("ingest"));
  const auto read = ReadRows(format, document, Table(), &pool);
  EXPECT_EQ(KindOf(read.status()), ErrorKind::kTooLarge) << read.status().ToString();
  EXPECT_LE(pool.max_memory(), kBytesMax);
}

TEST(RowReader, ACompressedArrowStreamIsInflatedWithinTheLimit) {
  const auto zeros = arrow::MakeArrayFromScalar(arrow::Int64Scalar(0), 8 << 20).ValueOrDie();
  ExpectTooLarge(Format::kArrow, ArrowStream(OneColumn("a", zeros)));
}

TEST(RowReader, RowsWithoutBytesDoNotBecomeColumnsOfNulls) {
  ExpectTooLarge(Format::kArrow, ArrowStream(OneColumn("a", std::make_shared<arrow::NullArray>(9'000'000))));
  ExpectTooLarge(Format::kArrow, ArrowStream(OneColumn("a", std::make_shared<arrow::NullArray>(2'000'000'000))));
}

TEST(RowReader, ATextThatManyRowsShareInParquetIsNotCopiedBeyondTheLimit) {
  arrow::StringBuilder builder;
  const std::string text(10'000, 'x');
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(builder.Append(text).ok());
  const auto table = arrow::Table::FromRecordBatches({OneColumn("text", builder.Finish().ValueOrDie())}).ValueOrDie();
  const auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, 1 << 20).ok());
  ExpectTooLarge(Format::kParquet, sink->Finish().ValueOrDie());
}

TEST(RowReader, TextsThatAreNotUtf8AreRefused) {
  TrackingPool pool("rows", kBytesMax, &NamedPool("ingest"));
  for (const Format format : {Format::kNdjson, Format::kCsv}) {
    const std::string document = format == Format::kCsv ? "text\n\xe5\n" : "{\"text\": \"\xe5\"}\n";
    const auto read = ReadRows(format, arrow::Buffer::FromString(document), Table(), &pool);
    EXPECT_EQ(KindOf(read.status()), ErrorKind::kInvalid) << read.status().ToString();
  }
}

TEST(RowReader, AColumnThatComesTwiceIsRefused) {
  TrackingPool pool("rows", kBytesMax, &NamedPool("ingest"));
  const auto numbers = arrow::MakeArrayFromScalar(arrow::Int64Scalar(7), 10).ValueOrDie();
  const auto twice = arrow::RecordBatch::Make(arrow::schema({arrow::field("a", arrow::int64()), arrow::field("a", arrow::int64())}), 10,
                                              {numbers, numbers});
  const auto read = ReadRows(Format::kArrow, ArrowStream(twice), Table(), &pool);
  EXPECT_EQ(KindOf(read.status()), ErrorKind::kInvalid);
  EXPECT_NE(read.status().message().find("several columns 'a'"), std::string::npos) << read.status().message();
}

TEST(RowReader, DigitsThatNoDecimalHoldsAreRefused) {
  TrackingPool pool("rows", kBytesMax, &NamedPool("ingest"));
  const auto table = arrow::schema({arrow::field("d", arrow::decimal128(38, 0))});
  const std::string digits(39, '9');  // Modulo 2^128 a number of 38 digits.
  arrow::StringBuilder builder;
  ASSERT_TRUE(builder.Append(digits).ok());
  const auto texts = arrow::RecordBatch::Make(arrow::schema({arrow::field("d", arrow::utf8())}), 1, {builder.Finish().ValueOrDie()});
  EXPECT_EQ(KindOf(ReadRows(Format::kArrow, ArrowStream(texts), table, &pool).status()), ErrorKind::kInvalid);
  for (const auto& [format, document] : {std::pair(Format::kCsv, "d\n" + digits + "\n"),
       std::pair(Format::kNdjson, "{\"d\": \"" + digits + "\"}")}) {
    EXPECT_EQ(KindOf(ReadRows(format, arrow::Buffer::FromString(document), table, &pool).status()), ErrorKind::kInvalid);
  }
}

TEST(RowReader, ACsvDocumentThatWasCutOffInsideOfQuotesIsRefused) {
  TrackingPool pool("rows", kBytesMax, &NamedPool("ingest"));
  const auto read = ReadRows(Format::kCsv, arrow::Buffer::FromString("text\n\"one\"\n\"two\nthr"), Table(), &pool);
  EXPECT_EQ(KindOf(read.status()), ErrorKind::kInvalid);
  EXPECT_NE(read.status().message().find("line 3: a quote is opened"), std::string::npos) << read.status().message();
}

TEST(RowReader, RowsOfNdjsonAreObjects) {
  TrackingPool pool("rows", kBytesMax, &NamedPool("ingest"));
  for (const char* document : {"null", " null], {\"text\": 1}", "{\"a\": 1} null\n", "{\"a\": 1}\n7\n", "\"x\"", "[{\"a\": 1}]",
                               "{\"a\": 1},\n"}) {
    const auto read = ReadRows(Format::kNdjson, arrow::Buffer::FromString(document), Table(), &pool);
    EXPECT_EQ(KindOf(read.status()), ErrorKind::kInvalid) << document << ": " << read.status().ToString();
  }
  const auto two = arrow::Buffer::FromString("\n{\"a\": 1, \"text\": \"}\\\"]{\"} {\"a\": 2}\n");
  const auto read = ReadRows(Format::kNdjson, two, Table(), &pool);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->front()->num_rows(), 2);
}

TEST(RowReader, WhatIsWithinTheLimitIsRead) {
  TrackingPool pool("rows", kBytesMax, &NamedPool("ingest"));
  const auto numbers = arrow::MakeArrayFromScalar(arrow::Int64Scalar(7), 1000).ValueOrDie();
  const auto first = ReadRows(Format::kArrow, ArrowStream(OneColumn("b", numbers)), Table(), &pool).ValueOrDie().front();
  const auto second = ReadRows(Format::kArrow, ArrowStream(OneColumn("b", numbers)), Table(), &pool).ValueOrDie().front();
  EXPECT_TRUE(first->Equals(*second));
  EXPECT_TRUE(first->ValidateFull().ok());
  EXPECT_EQ(first->num_rows(), 1000);
}

}  // namespace
}  // namespace sheaf::query
