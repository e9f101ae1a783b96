#include "serve/flight_batches.h"

#include <cstring>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/ipc/writer.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/memory.h"
#include "serve/flight_parameters.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;

std::shared_ptr<arrow::RecordBatch> MakeBatch() {
  arrow::Int64Builder numbers;
  arrow::StringBuilder texts;
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(numbers.Append(i).ok());
    EXPECT_TRUE(i % 7 == 0 ? texts.AppendNull().ok() : texts.Append(std::string(static_cast<size_t>(i), 'x')).ok());
  }
  const auto schema = arrow::schema({arrow::field("n", arrow::int64()), arrow::field("t", arrow::utf8())});
  return arrow::RecordBatch::Make(schema, 100, {numbers.Finish().ValueOrDie(), texts.Finish().ValueOrDie()});
}

class FlightBatchesTest : public testing::Test {
 protected:
  Result<std::shared_ptr<arrow::RecordBatch>> Take(const std::string& message) {
    SHEAF_ASSIGN_OR_RETURN(const wire::FlightData data, wire::ReadFlightData(message));
    return reader_.Take(data);
  }

  TrackingPool pool_{"test", 1 << 20};
  FlightBatchReader reader_{&pool_};
  const std::shared_ptr<arrow::RecordBatch> batch_ = MakeBatch();
  const std::string schema_ = EncodeSchemaData(*batch_->schema()).ValueOrDie(), data_ = EncodeBatchData(*batch_).ValueOrDie();
};

TEST_F(FlightBatchesTest, WhatIsWrittenIsRead) {
  EXPECT_EQ(reader_.schema(), nullptr);
  EXPECT_EQ(Take(schema_).ValueOrDie(), nullptr);
  EXPECT_TRUE(reader_.schema()->Equals(*batch_->schema()));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Take(data_).ValueOrDie()->Equals(*batch_));
  EXPECT_EQ(Take("").ValueOrDie(), nullptr) << "messages that only carry a descriptor";
  const auto slice = batch_->Slice(13, 21);
  EXPECT_TRUE(Take(EncodeBatchData(*slice).ValueOrDie()).ValueOrDie()->Equals(*slice));
}

TEST_F(FlightBatchesTest, ABatchNeedsItsSchemaFirst) { EXPECT_EQ(KindOf(Take(data_).status()), ErrorKind::kInvalid); }

TEST_F(FlightBatchesTest, ABodyThatIsCutOffIsRefused) {
  ASSERT_TRUE(Take(schema_).ok());
  wire::FlightData data = wire::ReadFlightData(data_).ValueOrDie();
  data.body.remove_suffix(8);
  EXPECT_THAT(reader_.Take(data).status().message(), HasSubstr("not as long"));
}

TEST_F(FlightBatchesTest, DamagedMessagesAreErrors) {
  const wire::FlightData data = wire::ReadFlightData(data_).ValueOrDie();
  int refused = 0;
  for (size_t at = 0; at < data.header.size(); ++at) {
    FlightBatchReader reader(&pool_);
    ASSERT_TRUE(reader.Take(wire::ReadFlightData(schema_).ValueOrDie()).ok());
    std::string header(data.header);
    header[at] = static_cast<char>(header[at] ^ 0x55);
    wire::FlightData damaged = data;
    damaged.header = header;
    refused += reader.Take(damaged).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 50) << "and none of the others read beyond its bytes, which the sanitizers would tell";
}

TEST_F(FlightBatchesTest, LimitsHold) {
  wire::FlightData data;
  const std::string header(kFlightHeaderBytesMax + 1, 'x');
  data.header = header;
  EXPECT_EQ(KindOf(reader_.Take(data).status()), ErrorKind::kTooLarge);
  ASSERT_TRUE(Take(schema_).ok());
  pool_.SetLimit(1000);
  EXPECT_EQ(KindOf(Take(data_).status()), ErrorKind::kOutOfMemory);
}

/// The message of a batch with another number of rows in its header.
std::string WithRows(const std::string& message, int64_t rows, int64_t claimed) {
  const wire::FlightData data = wire::ReadFlightData(message).ValueOrDie();
  std::string header(data.header);
  for (size_t at = 0; at + sizeof rows <= header.size(); at += sizeof(int32_t)) {
    if (std::memcmp(header.data() + at, &rows, sizeof rows) == 0) std::memcpy(header.data() + at, &claimed, sizeof claimed);
  }
  std::string changed;
  wire::BeginFlightData(header, {}, data.body.size(), &changed);
  return changed.append(data.body);
}

TEST_F(FlightBatchesTest, ABatchWithoutBytesClaimsNoNumberOfRowsItLikes) {
  const auto nulls =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("n", arrow::null())}), 77, {std::make_shared<arrow::NullArray>(77)});
  const std::string message = EncodeBatchData(*nulls).ValueOrDie();
  ASSERT_TRUE(Take(EncodeSchemaData(*nulls->schema()).ValueOrDie()).ok());
  EXPECT_EQ(Take(message).ValueOrDie()->num_rows(), 77);
  EXPECT_EQ(KindOf(Take(WithRows(message, 77, int64_t{1} << 40)).status()), ErrorKind::kTooLarge);
  EXPECT_EQ(KindOf(Take(WithRows(message, 77, -5)).status()), ErrorKind::kInvalid);
  const auto none = arrow::RecordBatch::Make(arrow::schema({}), 77, arrow::ArrayVector());
  FlightBatchReader empty(&pool_);
  ASSERT_TRUE(empty.Take(wire::ReadFlightData(EncodeSchemaData(*none->schema()).ValueOrDie()).ValueOrDie()).ok());
  const std::string claim = WithRows(EncodeBatchData(*none).ValueOrDie(), 77, int64_t{1} << 40);
  EXPECT_EQ(KindOf(empty.Take(wire::ReadFlightData(claim).ValueOrDie()).status()), ErrorKind::kTooLarge);
}

TEST_F(FlightBatchesTest, ASchemaOfTooManyFieldsIsRefusedBeforeArrowReadsIt) {
  const arrow::FieldVector fields(2001, arrow::field("n", arrow::null()));
  EXPECT_EQ(KindOf(Take(EncodeSchemaData(*arrow::schema(fields)).ValueOrDie()).status()), ErrorKind::kTooLarge);
  const auto wide =
      arrow::RecordBatch::Make(arrow::schema(fields), 0, arrow::ArrayVector(2001, std::make_shared<arrow::NullArray>(0)));
  EXPECT_EQ(KindOf(BatchesFromIpc(BatchesToIpc({wide}).ValueOrDie(), &pool_).status()), ErrorKind::kTooLarge);
}

TEST_F(FlightBatchesTest, MessagesThatBringNothingEndAtSomePoint) {
  ASSERT_TRUE(Take(schema_).ok());
  const std::string empty = EncodeBatchData(*batch_->Slice(0, 0)).ValueOrDie();
  Status status;
  int taken = 0;
  for (; status.ok() && taken <= kFlightIdleMessagesMax; ++taken) status = Take(empty).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kTooLarge);
  EXPECT_GT(taken, 1000);
}

TEST_F(FlightBatchesTest, ACopyKeepsNothingOfItsMessage) {
  TrackingPool copies("copies", 1 << 20);
  std::shared_ptr<arrow::RecordBatch> copy;
  {
    FlightBatchReader reader(&pool_);
    ASSERT_TRUE(reader.Take(wire::ReadFlightData(schema_).ValueOrDie()).ok());
    const auto read = reader.Take(wire::ReadFlightData(data_).ValueOrDie()).ValueOrDie();
    copy = CopyOfBatch(*read, &copies).ValueOrDie();
    EXPECT_TRUE(copy->Equals(*read));
  }
  EXPECT_EQ(pool_.bytes_allocated(), 0);
  EXPECT_GT(copies.bytes_allocated(), 0);
  EXPECT_TRUE(copy->Equals(*batch_));
}

TEST_F(FlightBatchesTest, ParametersTravelInTickets) {
  const std::string bytes = BatchesToIpc({batch_, batch_}).ValueOrDie();
  const auto read = BatchesFromIpc(bytes, &pool_).ValueOrDie();
  ASSERT_EQ(read.size(), 2U);
  EXPECT_TRUE(read[1]->Equals(*batch_));
  EXPECT_EQ(KindOf(BatchesFromIpc(bytes.substr(0, bytes.size() / 2), &pool_).status()), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(BatchesFromIpc("nothing of Arrow", &pool_).status()), ErrorKind::kInvalid);
}

TEST_F(FlightBatchesTest, ParametersTakeTheTypesOfSql) {
  const auto expected =
      arrow::schema({arrow::field("1", arrow::int64()), arrow::field("2", arrow::timestamp(arrow::TimeUnit::NANO))});
  arrow::StringBuilder texts;
  ASSERT_TRUE(texts.Append("2026-11-30 01:02:03").ok());
  arrow::LargeStringBuilder larges;
  ASSERT_TRUE(larges.Append("17").ok());
  const auto given =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("a", arrow::large_utf8()), arrow::field("b", arrow::utf8())}), 1,
                               {larges.Finish().ValueOrDie(), texts.Finish().ValueOrDie()});
  const auto prepared = PrepareParameters(*given, *expected, &pool_).ValueOrDie();
  EXPECT_EQ(prepared->column(0)->type_id(), arrow::Type::INT64);
  EXPECT_EQ(prepared->column(1)->type_id(), arrow::Type::TIMESTAMP);
  const auto values = ParametersOfRow(*prepared, 0).ValueOrDie();
  EXPECT_EQ(std::get<int64_t>(values[0]), 17);
  EXPECT_THAT(PrepareParameters(*batch_, *arrow::schema({}), &pool_).status().message(), HasSubstr("0 parameters and 2"));
}

}  // namespace
}  // namespace sheaf::serve
