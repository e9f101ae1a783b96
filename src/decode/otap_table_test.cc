#include "decode/otap_table.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/json/from_string.h>
#include <arrow/util/compression.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "decode/otap_rows.h"

namespace sheaf::decode {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using wire::OtapPayload;

std::shared_ptr<arrow::RecordBatch> Rows(const arrow::FieldVector& fields, const std::string& json) {
  const auto rows = arrow::json::ArrayFromJSONString(arrow::struct_(fields), json).ValueOrDie();
  return arrow::RecordBatch::FromStructArray(rows).ValueOrDie();
}

/// A column of a dictionary of these values.
std::shared_ptr<arrow::Array> Encoded(const std::string& indexes, std::shared_ptr<arrow::Array> values) {
  return arrow::DictionaryArray::FromArrays(arrow::json::ArrayFromJSONString(arrow::uint8(), indexes).ValueOrDie(), values)
      .ValueOrDie();
}

/// The payloads of one IPC stream: each a record batch and what stands before it.
std::vector<std::string> Payloads(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, bool compressed = false) {
  auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  if (compressed) options.codec = arrow::util::Codec::Create(arrow::Compression::ZSTD).ValueOrDie();
  const auto writer = arrow::ipc::MakeStreamWriter(sink, batches.at(0)->schema(), options).ValueOrDie();
  std::vector<size_t> ends = {0};
  for (const auto& batch : batches) {
    EXPECT_TRUE(writer->WriteRecordBatch(*batch).ok());
    ends.push_back(static_cast<size_t>(sink->Tell().ValueOrDie()));
  }
  const std::string all = sink->Finish().ValueOrDie()->ToString();
  std::vector<std::string> payloads;
  for (size_t i = 1; i < ends.size(); ++i) payloads.push_back(all.substr(ends[i - 1], ends[i] - ends[i - 1]));
  return payloads;
}

/// A reader and what it reads into.
class OtapReaderTest : public testing::Test {
 protected:
  OtapReaderTest() { scratch_.Start(&memory_); }
  Status Read(const std::string& payload) { return reader_.Read(payload, 1'000'000, &scratch_, &table_); }
  Status ReadFirst(const std::shared_ptr<arrow::RecordBatch>& rows) {
    payload_ = Payloads({rows}).at(0);
    return Read(payload_);
  }

  StreamMemory stream_{.bytes_max = 1 << 20};
  RequestMemory memory_{arrow::default_memory_pool()};
  OtapScratch scratch_;
  std::string payload_;
  OtapTable table_;
  OtapReader reader_{OtapPayload::kSummaryPoints, "id", &stream_};
};

const auto kTraceIdType = arrow::fixed_size_binary(16);

// What is inside a list has rows of its own number, so it is no column of the table, whatever the names add up to.
TEST_F(OtapReaderTest, ColumnsInsideOfListsAreNotTakenForColumnsOfTheTable) {
  const auto field = arrow::field("trace_id", kTraceIdType);
  ASSERT_TRUE(ReadFirst(Rows({arrow::field("", arrow::list(field))}, "[[[]], [[]]]")).ok());
  EXPECT_EQ(table_.rows, 2);
  EXPECT_EQ(table_.Find(OtapField::kTraceId), nullptr);
}

TEST_F(OtapReaderTest, AColumnWithDotsInItsNameIsNotTakenForANestedOne) {
  ASSERT_TRUE(ReadFirst(Rows({arrow::field("quantile", arrow::list(arrow::null())),
                              arrow::field("quantile.item.quantile", arrow::float64()),
                              arrow::field("resource", arrow::struct_({arrow::field("x.id", arrow::uint16())})),
                              arrow::field("resource.id", arrow::uint16())},
                             "[[[null, null], 0.5, [1], 1]]"))
                  .ok());
  EXPECT_NE(table_.Find(OtapField::kQuantiles), nullptr);
  EXPECT_EQ(table_.Find(OtapField::kQuantile), nullptr);
  EXPECT_EQ(table_.Find(OtapField::kResourceId), nullptr);
}

TEST_F(OtapReaderTest, ListsInsideOfListsHoldNoColumnsOfTheTable) {
  const auto inner = arrow::list(arrow::field("quantile", arrow::float64()));
  ASSERT_TRUE(ReadFirst(Rows({arrow::field("quantile", arrow::list(arrow::field("a", inner)))}, "[[[[], [], []]]]")).ok());
  EXPECT_EQ(table_.Find(OtapField::kQuantile), nullptr);
}

TEST_F(OtapReaderTest, ItemsOfListsAreFoundWhateverTheItemIsCalled) {
  const auto item = arrow::struct_({arrow::field("quantile", arrow::float64()), arrow::field("value", arrow::float64())});
  ASSERT_TRUE(ReadFirst(Rows({arrow::field("quantile", arrow::list(arrow::field("any.thing", item)))}, "[[[[0.5, 7]]]]")).ok());
  ASSERT_NE(table_.Find(OtapField::kQuantile), nullptr);
  EXPECT_EQ(LoadAt<double>(table_.Find(OtapField::kQuantileValue)->values, 0), 7);
}

TEST_F(OtapReaderTest, NamesAreCountedAsMemoryOfTheStream) {
  arrow::FieldVector fields;
  for (char c = 'a'; c <= 'z'; ++c) fields.push_back(arrow::field(std::string(200, c), arrow::null()));
  ASSERT_TRUE(ReadFirst(arrow::RecordBatch::MakeEmpty(arrow::schema(fields)).ValueOrDie()).ok());
  EXPECT_GE(stream_.held, 26 * 200);
}

TEST_F(OtapReaderTest, ASchemaThatIsRefusedIsNotKept) {
  arrow::FieldVector fields = {arrow::field("trace_id", arrow::int32())};
  for (char c = 'a'; c <= 'z'; ++c) fields.push_back(arrow::field(std::string(200, c), arrow::null()));
  ASSERT_TRUE(ReadFirst(Rows({arrow::field("id", arrow::uint16())}, "[[1]]")).ok());
  OtapReader other(OtapPayload::kSpans, "id", &stream_);
  const int64_t before = stream_.held;
  const std::string payload = Payloads({arrow::RecordBatch::MakeEmpty(arrow::schema(fields)).ValueOrDie()}).at(0);
  EXPECT_EQ(KindOf(other.Read(payload, 1, &scratch_, &table_)), ErrorKind::kInvalid);
  EXPECT_LE(stream_.held, before + static_cast<int64_t>(sizeof(OtapReader)));
}

TEST_F(OtapReaderTest, EncodingsOfUnknownColumnsArePassedOver) {
  const auto zigzag = arrow::key_value_metadata({"encoding"}, {"zigzag"});
  const Status status = ReadFirst(Rows({arrow::field("other", arrow::uint16(), true, zigzag)}, "[[1]]"));
  EXPECT_TRUE(status.ok()) << status.ToString();
  const auto delta = arrow::key_value_metadata({"encoding"}, {"delta"});
  OtapReader other(OtapPayload::kSpans, "id", &stream_);
  const std::string payload = Payloads({Rows({arrow::field("id", arrow::uint16(), true, delta)}, "[[1]]")}).at(0);
  ASSERT_TRUE(other.Read(payload, 1, &scratch_, &table_).ok());
  EXPECT_EQ(table_.Find(OtapField::kId)->encoding, IdEncoding::kDelta);
}

// The sender's batches are good: it must not be told to drop them.
TEST_F(OtapReaderTest, WithoutMemoryForAPayloadLaterOnesAreRefusedForNowUntilASchemaComes) {
  const auto rows = Rows({arrow::field("name", arrow::utf8())}, R"([["a name"]])");
  const auto payloads = Payloads({rows, rows, rows}, /*compressed=*/true);
  ASSERT_TRUE(Read(payloads[0]).ok());
  memory_.set_bytes_max(memory_.held());
  OtapScratch empty;
  empty.Start(&memory_);
  EXPECT_THROW(static_cast<void>(reader_.Read(payloads[1], 10, &empty, &table_)), OverBudget);
  EXPECT_TRUE(reader_.lost());
  EXPECT_EQ(stream_.held, 0);
  memory_.set_bytes_max(1 << 20);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(KindOf(Read(payloads[2])), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(Read("no Arrow at all")), ErrorKind::kInvalid);
  EXPECT_TRUE(reader_.lost());
  EXPECT_TRUE(Read(payloads[0]).ok()) << "its schema begins anew";
  EXPECT_FALSE(reader_.lost());
  EXPECT_TRUE(Read(payloads[2]).ok());
}

TEST_F(OtapReaderTest, AStreamOverItsMemoryIsLostAndABrokenOneIsNot) {
  arrow::StringBuilder values;
  ASSERT_TRUE(values.Append(std::string(2 << 20, 'x')).ok());
  const auto column = Encoded("[0]", values.Finish().ValueOrDie());
  const auto rows = arrow::RecordBatch::Make(arrow::schema({arrow::field("name", column->type())}), 1, {column});
  const auto payloads = Payloads({rows, rows});
  EXPECT_EQ(KindOf(Read(payloads[0])), ErrorKind::kTooLarge);
  EXPECT_TRUE(reader_.lost());
  EXPECT_EQ(KindOf(Read(payloads[1])), ErrorKind::kUnavailable);
  OtapReader other(OtapPayload::kSpans, "id", &stream_);
  EXPECT_EQ(KindOf(other.Read(payloads[0].substr(0, 100), 1, &scratch_, &table_)), ErrorKind::kInvalid);
  EXPECT_FALSE(other.lost());
}

TEST_F(OtapReaderTest, ADictionaryThatIsReplacedCountsOnce) {
  const auto rows = [](char c) {
    arrow::StringBuilder values;
    EXPECT_TRUE(values.Append(std::string(600'000, c)).ok());
    const auto column = Encoded("[0]", values.Finish().ValueOrDie());
    return arrow::RecordBatch::Make(arrow::schema({arrow::field("name", column->type())}), 1, {column});
  };
  const auto payloads = Payloads({rows('a'), rows('b'), rows('c')});
  for (const std::string& payload : payloads) {
    const Status status = Read(payload);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(table_.Find(OtapField::kName)->Bytes(0)[0], "abc"[&payload - payloads.data()]);
  }
}

TEST_F(OtapReaderTest, NullsOfADictionaryAreNulls) {
  const auto number = [](const std::string& json) { return arrow::json::ArrayFromJSONString(arrow::uint16(), json).ValueOrDie(); };
  // Its null's bit is set all the same.
  const uint8_t bits = 3, valid = 1;
  const auto flags = std::make_shared<arrow::BooleanArray>(2, arrow::Buffer::FromString(std::string(1, bits)),
                                                           arrow::Buffer::FromString(std::string(1, valid)), 1);
  const auto ids = Encoded("[0, 1, 0]", number("[5, null]")), bools = Encoded("[0, 1, 0]", flags);
  const auto schema = arrow::schema({arrow::field("id", ids->type()), arrow::field("parent_id", ids->type()),
                                     arrow::field("is_monotonic", bools->type())});
  const Status status = ReadFirst(arrow::RecordBatch::Make(schema, 3, {ids, ids, bools}));
  ASSERT_TRUE(status.ok()) << status.ToString();
  const RowOrder all{nullptr, 3};
  std::vector<uint8_t> present(3), values(3);
  ReadPresence(table_.Find(OtapField::kId), all, present.data());
  EXPECT_THAT(present, ElementsAre(1, 0, 1));
  ReadBools(table_.Find(OtapField::kIsMonotonic), all, values.data());
  EXPECT_THAT(values, ElementsAre(1, 0, 1));
  std::vector<uint32_t> decoded(3);
  ASSERT_TRUE(DecodeIds(table_.Find(OtapField::kId), 3, decoded.data()).ok());
  EXPECT_THAT(decoded, ElementsAre(5, kNoId, 10));
  EXPECT_THAT(ReadParentIds(table_, decoded.data()).message(), HasSubstr("row 1: parent_id is NULL"));
}

}  // namespace
}  // namespace sheaf::decode
