#include "wire/arrow_ipc.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/json/from_string.h>
#include <arrow/util/compression.h>
#include <arrow/util/key_value_metadata.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::wire {
namespace {

using testing::HasSubstr;

/// A stream of one batch with these fields, all NULL.
std::string StreamOf(const arrow::FieldVector& fields, int64_t rows = 2) {
  const auto schema = arrow::schema(fields);
  const auto batch = arrow::RecordBatch::MakeEmpty(schema).ValueOrDie();
  arrow::ArrayVector columns;
  for (const auto& field : fields) columns.push_back(arrow::MakeArrayOfNull(field->type(), rows).ValueOrDie());
  auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  auto writer = arrow::ipc::MakeStreamWriter(sink, schema).ValueOrDie();
  EXPECT_TRUE(writer->WriteRecordBatch(*arrow::RecordBatch::Make(schema, rows, columns)).ok());
  EXPECT_TRUE(writer->Close().ok());
  return sink->Finish().ValueOrDie()->ToString();
}

arrow::FieldVector EveryField() {
  return {arrow::field("id", arrow::uint16(), true, arrow::key_value_metadata({"other", "encoding"}, {"x", "delta"})),
          arrow::field("name", arrow::dictionary(arrow::uint8(), arrow::utf8())),
          arrow::field("resource",
                       arrow::struct_({arrow::field("schema_url", arrow::utf8()), arrow::field("flag", arrow::boolean())})),
          arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO, "UTC")),
          arrow::field("day", arrow::date32()),
          arrow::field("counts", arrow::list(arrow::uint64())),
          arrow::field("trace_id", arrow::fixed_size_binary(16)),
          arrow::field("sum", arrow::float64())};
}

TEST(ArrowIpc, SchemasAndBatchesOfArrowsWriterAreRead) {
  const std::string stream = StreamOf(EveryField());
  IpcReader reader(stream);
  ASSERT_TRUE(*reader.Next());
  ASSERT_EQ(reader.kind(), IpcKind::kSchema);
  std::vector<IpcField> fields;
  ASSERT_TRUE(reader.ReadSchema(&fields).ok());
  ASSERT_EQ(fields.size(), 11u);  // Children follow their parents.
  EXPECT_EQ(fields[0].encoding, "delta");
  EXPECT_EQ(fields[0].width, 2);
  EXPECT_EQ(fields[1].index_width, 1);
  EXPECT_EQ(fields[1].dictionary_id, 0);
  EXPECT_EQ(fields[3].path, "resource.schema_url");
  EXPECT_EQ(fields[5].type, IpcType::kTimestampNs);
  EXPECT_EQ(fields[6].type, IpcType::kOtherFixed);
  EXPECT_EQ(fields[6].width, 4);
  EXPECT_EQ(fields[8].path, "counts.item");
  EXPECT_EQ(fields[9].width, 16);
  ASSERT_TRUE(*reader.Next());
  EXPECT_EQ(reader.kind(), IpcKind::kDictionary);
  EXPECT_FALSE(reader.is_delta());
  ASSERT_TRUE(*reader.Next());
  EXPECT_EQ(reader.kind(), IpcKind::kBatch);
  const IpcBatch batch = reader.ReadBatch().ValueOrDie();
  EXPECT_EQ(batch.rows, 2);
  EXPECT_EQ(batch.nodes.size, fields.size());
  EXPECT_FALSE(*reader.Next()) << "the mark of the end";
}

TEST(ArrowIpc, EveryCutAndEveryFlippedByteIsAnErrorOrReadsAsSomething) {
  const std::string stream = StreamOf(EveryField());
  const auto read_all = [](const std::string& bytes) {
    IpcReader reader(bytes);
    std::vector<IpcField> fields;
    for (Result<bool> more = reader.Next(); more.ok() && *more; more = reader.Next()) {
      const Status status = reader.kind() == IpcKind::kSchema ? reader.ReadSchema(&fields) : reader.ReadBatch().status();
      if (!status.ok()) return status;
    }
    return Status::OK();
  };
  for (size_t i = 0; i < stream.size(); ++i) {
    for (const std::string& bytes : {stream.substr(0, i), std::string(stream).replace(i, 1, 1, static_cast<char>(~stream[i]))}) {
      const Status status = read_all(bytes);
      if (status.ok()) continue;
      const ErrorKind kind = KindOf(status);
      EXPECT_TRUE(kind == ErrorKind::kInvalid || kind == ErrorKind::kUnsupported || kind == ErrorKind::kTooLarge)
          << status.ToString();
    }
  }
}

Status SchemaStatus(const arrow::FieldVector& fields) {
  const std::string stream = StreamOf(fields, 0);
  IpcReader reader(stream);
  EXPECT_TRUE(*reader.Next());
  std::vector<IpcField> read;
  return reader.ReadSchema(&read);
}

TEST(ArrowIpc, SchemasAreLimited) {
  EXPECT_TRUE(SchemaStatus(arrow::FieldVector(kIpcFieldsMax, arrow::field("f", arrow::int32()))).ok());
  EXPECT_EQ(KindOf(SchemaStatus(arrow::FieldVector(kIpcFieldsMax + 1, arrow::field("f", arrow::int32())))), ErrorKind::kTooLarge);
  auto deep = arrow::int32();
  for (int i = 0; i < kIpcDepthMax; ++i) deep = arrow::list(deep);
  EXPECT_EQ(KindOf(SchemaStatus({arrow::field("deep", deep)})), ErrorKind::kTooLarge);
  EXPECT_EQ(KindOf(SchemaStatus({arrow::field("view", arrow::utf8_view())})), ErrorKind::kUnsupported);
}

// One text of a flatbuffer may be referred to by every field: what each copies of it has a limit.
TEST(ArrowIpc, NamesAndMetadataOfFieldsAreLimited) {
  EXPECT_TRUE(SchemaStatus({arrow::field(std::string(kIpcNameBytesMax, 'n'), arrow::int32())}).ok());
  EXPECT_EQ(KindOf(SchemaStatus({arrow::field(std::string(kIpcNameBytesMax + 1, 'n'), arrow::int32())})), ErrorKind::kTooLarge);
  const auto nested = arrow::struct_({arrow::field(std::string(kIpcNameBytesMax + 1, 'n'), arrow::int32())});
  EXPECT_EQ(KindOf(SchemaStatus({arrow::field("s", nested)})), ErrorKind::kTooLarge);
  const auto with_metadata = [](size_t entries) {
    const auto metadata = std::make_shared<arrow::KeyValueMetadata>();
    for (size_t i = 0; i < entries; ++i) metadata->Append(fmt::format("key {}", i), "value");
    return arrow::field("f", arrow::int32(), true, metadata);
  };
  EXPECT_TRUE(SchemaStatus({with_metadata(kIpcMetadataMax)}).ok());
  EXPECT_EQ(KindOf(SchemaStatus({with_metadata(kIpcMetadataMax + 1)})), ErrorKind::kTooLarge);
}

TEST(ArrowIpc, OfALongEncodingOnlyTheBeginningIsCopied) {
  const auto metadata = arrow::key_value_metadata({"encoding", "encoding"}, {std::string(1 << 20, 'e'), "plain"});
  const std::string stream = StreamOf({arrow::field("f", arrow::int32(), true, metadata)});
  IpcReader reader(stream);
  ASSERT_TRUE(*reader.Next());
  std::vector<IpcField> fields;
  ASSERT_TRUE(reader.ReadSchema(&fields).ok());
  EXPECT_EQ(fields.at(0).encoding, std::string(kIpcEncodingBytesMax, 'e'));
}

TEST(ArrowIpc, FieldsKnowWhatHoldsThemWhateverTheirNames) {
  const auto list = arrow::list(arrow::field("a.b", arrow::struct_({arrow::field("", arrow::int32())})));
  const std::string stream = StreamOf({arrow::field("", list), arrow::field("a.b", arrow::int32())}, 0);
  IpcReader reader(stream);
  ASSERT_TRUE(*reader.Next());
  std::vector<IpcField> fields;
  ASSERT_TRUE(reader.ReadSchema(&fields).ok());
  ASSERT_EQ(fields.size(), 4u);
  constexpr int32_t kParents[] = {-1, 0, 1, -1};
  constexpr std::string_view kNames[] = {"", "a.b", "", "a.b"}, kPaths[] = {"", ".a.b", ".a.b.", "a.b"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(fields[i].parent, kParents[i]);
    EXPECT_EQ(fields[i].name(), kNames[i]);
    EXPECT_EQ(fields[i].path, kPaths[i]);
  }
}

TEST(ArrowIpc, BuffersInflateToWhatTheyClaimOrNotAtAll) {
  const std::string text(1000, 'x');
  IpcInflater inflater;
  const std::pair<IpcCodec, arrow::Compression::type> kCodecs[] = {{IpcCodec::kZstd, arrow::Compression::ZSTD},
                                                                   {IpcCodec::kLz4, arrow::Compression::LZ4_FRAME}};
  for (const auto& [codec, type] : kCodecs) {
    const auto compressor = arrow::util::Codec::Create(type).ValueOrDie();
    std::string buffer(8 + static_cast<size_t>(compressor->MaxCompressedLen(1000, nullptr)), '\0');
    const int64_t n = compressor
                          ->Compress(1000, reinterpret_cast<const uint8_t*>(text.data()), static_cast<int64_t>(buffer.size() - 8),
                                     reinterpret_cast<uint8_t*>(buffer.data() + 8))
                          .ValueOrDie();
    buffer.resize(8 + static_cast<size_t>(n));
    buffer[0] = static_cast<char>(1000 & 255);
    buffer[1] = static_cast<char>(1000 >> 8);
    ASSERT_EQ(IpcInflater::ClaimedBytes(buffer).ValueOrDie(), 1000);
    std::string out(1001, '\0');
    ASSERT_TRUE(inflater.Inflate(codec, buffer, reinterpret_cast<uint8_t*>(out.data()), 1000).ok());
    EXPECT_EQ(out.substr(0, 1000), text);
    EXPECT_FALSE(inflater.Inflate(codec, buffer, reinterpret_cast<uint8_t*>(out.data()), 1001).ok()) << "shorter than it claims";
    EXPECT_FALSE(inflater.Inflate(codec, buffer, reinterpret_cast<uint8_t*>(out.data()), 999).ok()) << "longer than it claims";
  }
  EXPECT_FALSE(IpcInflater::ClaimedBytes("short").ok());
  EXPECT_FALSE(IpcInflater::ClaimedBytes(std::string(8, '\x7f')).ok());
  EXPECT_EQ(IpcInflater::ClaimedBytes(std::string(8, '\xff')).ValueOrDie(), -1);
}

}  // namespace
}  // namespace sheaf::wire
