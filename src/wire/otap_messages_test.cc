#include "wire/otap_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/protobuf_writer.h"

namespace sheaf::wire {
namespace {

using testing::HasSubstr;

std::string Batch(int64_t id, size_t payloads) {
  std::string message;
  ProtobufWriter writer(&message);
  writer.Varint(1, static_cast<uint64_t>(id));
  for (size_t i = 0; i < payloads; ++i) {
    const size_t payload = writer.Open(2);
    writer.Bytes(1, "schema " + std::to_string(i));
    writer.Varint(2, 40);
    writer.Bytes(3, "record");
    writer.Close(payload);
  }
  writer.Bytes(3, "headers, which nobody reads");
  return message;
}

TEST(OtapMessages, BatchesAreReadInPlace) {
  const std::string message = Batch(-7, 2);
  BatchArrowRecords batch;
  ASSERT_TRUE(ReadBatchArrowRecords(message, &batch).ok());
  EXPECT_EQ(batch.batch_id, -7);
  ASSERT_EQ(batch.payloads.size(), 2u);
  EXPECT_EQ(batch.payloads[1].schema_id, "schema 1");
  EXPECT_EQ(batch.payloads[1].type, OtapPayload::kSpans);
  EXPECT_EQ(batch.payloads[1].record, "record");
}

TEST(OtapMessages, EveryCutIsAnErrorOrAShorterMessageAndNeverACrash) {
  const std::string message = Batch(3, 2);
  BatchArrowRecords batch;
  for (size_t size = 0; size < message.size(); ++size) {
    const Status status = ReadBatchArrowRecords(std::string(message, 0, size), &batch);
    if (!status.ok()) {
      EXPECT_EQ(KindOf(status), ErrorKind::kInvalid);
    }
  }
  const Status status = ReadBatchArrowRecords(message.substr(0, message.size() - 1), &batch);
  EXPECT_THAT(status.message(), HasSubstr("malformed BatchArrowRecords"));
  EXPECT_EQ(batch.batch_id, 3) << "the error can be sent to its batch";
}

TEST(OtapMessages, PayloadsAreLimited) {
  BatchArrowRecords batch;
  EXPECT_TRUE(ReadBatchArrowRecords(Batch(1, kOtapPayloadsMax), &batch).ok());
  EXPECT_EQ(KindOf(ReadBatchArrowRecords(Batch(1, kOtapPayloadsMax + 1), &batch)), ErrorKind::kTooLarge);
}

TEST(OtapMessages, StatusesLeaveOutDefaults) {
  EXPECT_EQ(EncodeBatchStatus(0, 0, ""), "");
  EXPECT_EQ(EncodeBatchStatus(5, 3, "no"), std::string("\x08\x05\x10\x03\x1a\x02no"));
}

TEST(OtapMessages, WhatIsWrittenIsRead) {
  std::string message;
  BatchArrowRecordsWriter writer(300, &message);
  const std::string record(100'000, 'r');
  writer.Add({"a", OtapPayload::kSpans, record});
  writer.Add({"", OtapPayload::kSpanAttrs, ""});
  BatchArrowRecords batch;
  ASSERT_TRUE(ReadBatchArrowRecords(message, &batch).ok());
  EXPECT_EQ(batch.batch_id, 300);
  ASSERT_EQ(batch.payloads.size(), 2u);
  EXPECT_EQ(batch.payloads[0].schema_id, "a");
  EXPECT_EQ(batch.payloads[0].type, OtapPayload::kSpans);
  EXPECT_EQ(batch.payloads[0].record, record);
  EXPECT_EQ(batch.payloads[1].type, OtapPayload::kSpanAttrs);
  EXPECT_EQ(batch.payloads[1].record, "");
}

TEST(OtapMessages, StatusesAreReadInPlace) {
  BatchStatus status{.batch_id = 9, .status_code = 9, .message = "left over"};
  ASSERT_TRUE(ReadBatchStatus("", &status).ok());
  EXPECT_EQ(status.batch_id, 0);
  EXPECT_EQ(status.status_code, 0);
  EXPECT_EQ(status.message, "");
  const std::string bytes = EncodeBatchStatus(-1, 14, "try later") + " ";  // And a field that nobody knows.
  ASSERT_TRUE(ReadBatchStatus(bytes, &status).ok());
  EXPECT_EQ(status.batch_id, -1);
  EXPECT_EQ(status.status_code, 14);
  EXPECT_EQ(status.message, "try later");
  const Status cut = ReadBatchStatus(bytes.substr(0, bytes.size() - 4), &status);
  EXPECT_EQ(KindOf(cut), ErrorKind::kInvalid);
  EXPECT_THAT(cut.message(), HasSubstr("malformed BatchStatus at byte"));
}

TEST(OtapMessages, PayloadTypesHaveNames) {
  EXPECT_EQ(OtapPayloadName(OtapPayload::kExponentialHistogramExemplarAttrs), "EXP_HISTOGRAM_DP_EXEMPLAR_ATTRS");
  EXPECT_EQ(OtapPayloadName(static_cast<OtapPayload>(99)), "payload type 99");
}

}  // namespace
}  // namespace sheaf::wire
