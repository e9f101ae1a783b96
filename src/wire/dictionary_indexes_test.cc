#include "wire/dictionary_indexes.h"

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

namespace sheaf::wire {
namespace {

/// Indexes 1, NULL with 0x7ffffff0 below it, 0.
std::shared_ptr<arrow::Array> Garbage() {
  static const int32_t indexes[] = {1, 0x7ffffff0, 0};
  static const uint8_t valid[] = {0b101};
  const auto values = arrow::json::ArrayFromJSONString(arrow::utf8(), R"(["a", "b"])").ValueOrDie();
  return std::make_shared<arrow::DictionaryArray>(arrow::ArrayData::Make(
      arrow::dictionary(arrow::int32(), arrow::utf8()), 3, {arrow::Buffer::Wrap(valid, 1), arrow::Buffer::Wrap(indexes, 3)},
      std::vector<std::shared_ptr<arrow::ArrayData>>(), values->data(), 1));
}

std::shared_ptr<arrow::RecordBatch> BatchOf(const std::shared_ptr<arrow::Array>& column) {
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("c", column->type())}), column->length(), {column});
}

const arrow::DictionaryArray& IndexesOf(const arrow::Array& array) { return static_cast<const arrow::DictionaryArray&>(array); }

TEST(DictionaryIndexes, ThoseOfNullsBecomeZero) {
  const auto batch = BatchOf(Garbage());
  ASSERT_TRUE(batch->ValidateFull().ok()) << "else this would be nobody's business";
  const auto zeroed = ZeroNullIndexes(batch, arrow::default_memory_pool()).ValueOrDie();
  EXPECT_TRUE(zeroed->Equals(*batch));
  const auto& indexes = static_cast<const arrow::Int32Array&>(*IndexesOf(*zeroed->column(0)).indices());
  EXPECT_EQ(indexes.raw_values()[0], 1);
  EXPECT_EQ(indexes.raw_values()[1], 0);
  EXPECT_TRUE(indexes.IsNull(1));
}

TEST(DictionaryIndexes, AtEveryDepthAndOffset) {
  const auto garbage = Garbage();
  const auto nested = arrow::StructArray::Make({garbage}, std::vector<std::string>{"k"}).ValueOrDie();
  const auto batch = BatchOf(nested)->Slice(1, 2);
  const auto zeroed = ZeroNullIndexes(batch, arrow::default_memory_pool()).ValueOrDie();
  EXPECT_TRUE(zeroed->Equals(*batch));
  EXPECT_TRUE(zeroed->ValidateFull().ok());
  const auto& inner = *static_cast<const arrow::StructArray&>(*zeroed->column(0)).field(0);
  EXPECT_EQ(static_cast<const arrow::Int32Array&>(*IndexesOf(inner).indices()).raw_values()[0], 0);
  const auto sliced = ZeroNullIndexes(BatchOf(garbage->Slice(1)), arrow::default_memory_pool()).ValueOrDie();
  EXPECT_TRUE(sliced->Equals(*BatchOf(garbage->Slice(1))));
  EXPECT_EQ(static_cast<const arrow::Int32Array&>(*IndexesOf(*sliced->column(0)).indices()).raw_values()[0], 0);
}

TEST(DictionaryIndexes, WhatHasNoneIsNotCopied) {
  const auto plain = BatchOf(arrow::json::ArrayFromJSONString(arrow::int64(), "[1, null]").ValueOrDie());
  EXPECT_EQ(ZeroNullIndexes(plain, arrow::default_memory_pool()).ValueOrDie(), plain);
  const auto whole = BatchOf(Garbage()->Slice(2));
  EXPECT_EQ(ZeroNullIndexes(whole, arrow::default_memory_pool()).ValueOrDie(), whole);
}

}  // namespace
}  // namespace sheaf::wire
