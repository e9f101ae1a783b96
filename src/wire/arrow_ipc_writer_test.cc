#include "wire/arrow_ipc_writer.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <gtest/gtest.h>

namespace sheaf::wire {
namespace {

std::shared_ptr<arrow::Schema> SchemaOf() {
  return arrow::schema(
      {arrow::field("id", arrow::uint16()),
       arrow::field("resource", arrow::struct_({arrow::field("url", arrow::dictionary(arrow::uint8(), arrow::utf8()))})),
       arrow::field("counts", arrow::list(arrow::uint64()))});
}

/// Three rows of SchemaOf(): the second url is absent, the lists are {1, 2}, {}, {3}.
void AppendBatch(IpcWriter* writer, const std::vector<uint8_t>& urls, std::string* out) {
  const std::vector<uint16_t> ids = {7, 8, 9};
  const std::vector<int32_t> offsets = {0, 2, 2, 3};
  const std::vector<uint64_t> counts = {1, 2, 3};
  writer->Begin(3);
  writer->Node(3, 0);
  ASSERT_TRUE(writer->Buffer({}).ok());
  ASSERT_TRUE(writer->Values(ids.data(), 3).ok());
  writer->Node(3, 0);
  ASSERT_TRUE(writer->Buffer({}).ok());
  writer->Node(3, 1);
  ASSERT_TRUE(writer->Buffer("\x05").ok());
  ASSERT_TRUE(writer->Values(urls.data(), 3).ok());
  writer->Node(3, 0);
  ASSERT_TRUE(writer->Buffer({}).ok());
  ASSERT_TRUE(writer->Values(offsets.data(), 4).ok());
  writer->Node(3, 0);
  ASSERT_TRUE(writer->Buffer({}).ok());
  ASSERT_TRUE(writer->Values(counts.data(), 3).ok());
  writer->FinishBatch(out);
}

void AppendDictionary(IpcWriter* writer, const std::vector<std::string>& values, bool is_delta, std::string* out) {
  std::vector<int32_t> offsets = {0};
  std::string heap;
  for (const std::string& value : values) {
    heap += value;
    offsets.push_back(static_cast<int32_t>(heap.size()));
  }
  writer->Begin(static_cast<int64_t>(values.size()));
  writer->Node(static_cast<int64_t>(values.size()), 0);
  ASSERT_TRUE(writer->Buffer({}).ok());
  ASSERT_TRUE(writer->Values(offsets.data(), static_cast<int64_t>(offsets.size())).ok());
  ASSERT_TRUE(writer->Buffer(heap).ok());
  writer->FinishDictionary(0, is_delta, out);
}

class ArrowIpcWriter : public testing::TestWithParam<IpcCodec> {};

TEST_P(ArrowIpcWriter, ArrowsReaderReadsDictionariesDeltasReplacementsAndBatches) {
  IpcWriter writer(GetParam());
  const std::string long_url(500, 'u');  // Long enough to be compressed.
  std::string stream;
  ASSERT_TRUE(AppendIpcSchema(*SchemaOf(), &stream).ok());
  AppendDictionary(&writer, {"a", long_url}, false, &stream);
  AppendBatch(&writer, {0, 0, 1}, &stream);
  AppendDictionary(&writer, {"", "c"}, true, &stream);
  AppendBatch(&writer, {3, 0, 2}, &stream);
  AppendDictionary(&writer, {"z"}, false, &stream);
  AppendBatch(&writer, {0, 0, 0}, &stream);

  arrow::io::BufferReader source(arrow::Buffer::FromString(stream));
  const auto reader = arrow::ipc::RecordBatchStreamReader::Open(&source).ValueOrDie();
  EXPECT_TRUE(reader->schema()->Equals(*SchemaOf()));
  const std::vector<std::vector<std::string>> want = {{"a", "", long_url}, {"c", "", ""}, {"z", "", "z"}};
  for (const auto& urls : want) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ASSERT_TRUE(reader->ReadNext(&batch).ok());
    ASSERT_NE(batch, nullptr);
    ASSERT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
    EXPECT_EQ(static_cast<const arrow::UInt16Array&>(*batch->column(0)).Value(2), 9);
    const auto url = static_cast<const arrow::StructArray&>(*batch->column(1)).field(0);
    const auto& coded = static_cast<const arrow::DictionaryArray&>(*url);
    const auto& values = static_cast<const arrow::StringArray&>(*coded.dictionary());
    EXPECT_EQ(values.GetView(coded.GetValueIndex(0)), urls[0]);
    EXPECT_TRUE(coded.IsNull(1));
    EXPECT_EQ(values.GetView(coded.GetValueIndex(2)), urls[2]);
    const auto& lists = static_cast<const arrow::ListArray&>(*batch->column(2));
    EXPECT_EQ(lists.value_length(0), 2);
    EXPECT_EQ(lists.value_length(1), 0);
    EXPECT_EQ(static_cast<const arrow::UInt64Array&>(*lists.values()).Value(lists.value_offset(2)), 3u);
  }
}

TEST_P(ArrowIpcWriter, OurReaderReadsItsMessages) {
  IpcWriter writer(GetParam(), 3);
  std::string stream;
  ASSERT_TRUE(AppendIpcSchema(*SchemaOf(), &stream).ok());
  AppendDictionary(&writer, {}, false, &stream);
  IpcReader reader(stream);
  ASSERT_TRUE(*reader.Next());
  std::vector<IpcField> fields;
  ASSERT_TRUE(reader.ReadSchema(&fields).ok());
  EXPECT_EQ(fields[2].path, "resource.url");
  EXPECT_EQ(fields[2].dictionary_id, 0);
  ASSERT_TRUE(*reader.Next());
  ASSERT_EQ(reader.kind(), IpcKind::kDictionary);
  EXPECT_EQ(reader.dictionary_id(), 0);
  EXPECT_FALSE(reader.is_delta());
  const IpcBatch batch = reader.ReadBatch().ValueOrDie();
  EXPECT_EQ(batch.codec, GetParam());
  EXPECT_EQ(batch.nodes.size, 1u);
  EXPECT_EQ(batch.buffers.size, 3u);
  EXPECT_FALSE(*reader.Next());
}

TEST(ArrowIpcWriterSizes, WhatDoesNotShrinkStaysAsItIs) {
  IpcWriter writer(IpcCodec::kZstd);
  std::string random(200, '\0');
  for (size_t i = 0; i < random.size(); ++i) random[i] = static_cast<char>(i * 7919 >> 3);
  writer.Begin(1);
  writer.Node(1, 0);
  ASSERT_TRUE(writer.Buffer(random).ok());
  ASSERT_TRUE(writer.Buffer(std::string(4096, 'x')).ok());
  std::string out;
  writer.FinishBatch(&out);
  IpcReader reader(out);
  ASSERT_TRUE(*reader.Next());
  const IpcBatch batch = reader.ReadBatch().ValueOrDie();
  EXPECT_LE(batch.buffer_bytes(0), 208);
  EXPECT_LT(batch.buffer_bytes(1), 64);
}

INSTANTIATE_TEST_SUITE_P(Codecs, ArrowIpcWriter, testing::Values(IpcCodec::kNone, IpcCodec::kLz4, IpcCodec::kZstd));

}  // namespace
}  // namespace sheaf::wire
