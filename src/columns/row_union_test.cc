#include "columns/row_union.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "columns/dictionaries.h"
#include "columns/random_testing.h"

namespace sheaf::columns {
namespace {

std::vector<std::shared_ptr<arrow::RecordBatch>> RandomBatches(const std::shared_ptr<arrow::Schema>& schema, Random* random) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> out;
  for (int i = 0; i < 6; ++i) out.push_back(RandomBatch(schema, i == 3 ? 0 : static_cast<int64_t>(1 + (*random)() % 90), random));
  return out;
}

TEST(RowUnion, GathersEveryTypeInAnyOrder) {
  Random random(TestSeed());
  for (int round = 0; round < 20; ++round) {
    const auto batches = RandomBatches(EveryType(), &random);
    const std::vector<std::string> want = RowTexts(batches);
    const auto rows = RowUnion::Make(EveryType(), batches).ValueOrDie();
    ASSERT_EQ(rows->rows(), static_cast<int64_t>(want.size()));
    std::vector<uint32_t> order(want.size());
    std::iota(order.begin(), order.end(), 0u);
    if (round % 2 == 0) std::shuffle(order.begin(), order.end(), random);
    order.resize(order.size() / 2 + 1);

    const int64_t granule_rows = round % 3 == 0 ? 1000 : 1 + static_cast<int64_t>(random() % 100);
    size_t row = 0;
    for (const auto& got : rows->Gather(order, granule_rows, /*threads=*/1 + round % 3).ValueOrDie()) {
      ASSERT_TRUE(got->ValidateFull().ok()) << got->ValidateFull().ToString();
      ASSERT_EQ(got->num_rows(), std::min(granule_rows, static_cast<int64_t>(order.size() - row)));
      for (int64_t i = 0; i < got->num_rows(); ++i, ++row) ASSERT_EQ(RowText(*got, i), want[order[row]]) << "row " << row;
    }
    ASSERT_EQ(row, order.size());
  }
}

TEST(RowUnion, GathersShareOneDictionary) {
  Random random(TestSeed());
  const auto batches = RandomBatches(EveryType(), &random);
  const auto rows = RowUnion::Make(EveryType(), batches).ValueOrDie();
  const std::vector<uint32_t> first = {0}, last = {static_cast<uint32_t>(rows->rows() - 1)};
  const int column = EveryType()->GetFieldIndex("word");
  EXPECT_EQ(rows->Gather(first, 10).ValueOrDie()[0]->column_data(column)->dictionary,
            rows->Gather(last, 10).ValueOrDie()[0]->column_data(column)->dictionary);
}

/// Columns with one value in all rows take another way through the code: also when only some batches are so.
TEST(RowUnion, GathersColumnsThatHoldOneValueOnly) {
  Random random(TestSeed());
  for (int round = 0; round < 20; ++round) {
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    const auto one = RandomBatch(EveryType(), 1, &random);
    const auto source = RowUnion::Make(EveryType(), {one}).ValueOrDie();
    for (int b = 0; b < 4; ++b) {
      const std::vector<uint32_t> again(1 + random() % 200, 0);
      batches.push_back(source->Gather(again, 1000).ValueOrDie()[0]);
    }
    if (round % 2 == 1) batches.push_back(RandomBatch(EveryType(), 1 + static_cast<int64_t>(random() % 5), &random));
    const std::vector<std::string> want = RowTexts(batches);
    ASSERT_EQ(want[0], RowTexts({one})[0]);
    const auto rows = RowUnion::Make(EveryType(), batches).ValueOrDie();
    std::vector<uint32_t> order(want.size());
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random);
    size_t row = 0;
    for (const auto& got : rows->Gather(order, 50).ValueOrDie()) {
      ASSERT_TRUE(got->ValidateFull().ok()) << got->ValidateFull().ToString();
      for (int64_t i = 0; i < got->num_rows(); ++i, ++row) ASSERT_EQ(RowText(*got, i), want[order[row]]) << "row " << row;
    }
    ASSERT_EQ(row, order.size());
  }
}

TEST(RowUnion, LongRunsOfBitsAreCopiedWhole) {
  Random random(TestSeed());
  const auto schema = arrow::schema({arrow::field("flag", arrow::boolean()), arrow::field("number", arrow::int32())});
  for (int round = 0; round < 20; ++round) {
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    for (int b = 0; b < 3; ++b) batches.push_back(RandomBatch(schema, static_cast<int64_t>(random() % 1500), &random));
    const std::vector<std::string> want = RowTexts(batches);
    const auto rows = RowUnion::Make(schema, batches).ValueOrDie();
    std::vector<uint32_t> order(want.size());
    std::iota(order.begin(), order.end(), 0u);
    if (order.size() > 10) std::swap(order[3], order[9]);
    for (const auto& got : rows->Gather(order, 10'000).ValueOrDie()) {
      ASSERT_TRUE(got->ValidateFull().ok()) << got->ValidateFull().ToString();
      for (int64_t i = 0; i < got->num_rows(); ++i) ASSERT_EQ(RowText(*got, i), want[order[static_cast<size_t>(i)]]) << "row " << i;
    }
  }
}

TEST(RowUnion, ADictionaryThatAllBatchesShareIsTakenAsItIs) {
  Random random(TestSeed());
  const auto batch = RandomBatch(EveryType(), 60, &random);
  const auto rows = RowUnion::Make(EveryType(), {batch->Slice(0, 20), batch->Slice(20)}).ValueOrDie();
  const int column = EveryType()->GetFieldIndex("word");
  std::vector<uint32_t> order(60);
  std::iota(order.rbegin(), order.rend(), 0u);
  const auto got = rows->Gather(order, 60).ValueOrDie()[0];
  EXPECT_EQ(got->column_data(column)->dictionary, batch->column_data(column)->dictionary);
  for (int64_t i = 0; i < 60; ++i) ASSERT_EQ(RowText(*got, i), RowText(*batch, 59 - i));
}

TEST(RowUnion, RefusesABatchOfAnotherSchema) {
  Random random(1);
  const auto schema = arrow::schema({arrow::field("a", arrow::int32())});
  const auto other = arrow::schema({arrow::field("a", arrow::int64())});
  EXPECT_EQ(KindOf(RowUnion::Make(schema, {RandomBatch(other, 3, &random)}).status()), ErrorKind::kInvalid);
}

TEST(RowUnion, NamesTheColumnWithAnIndexOutsideItsDictionary) {
  const auto type = arrow::dictionary(arrow::int32(), arrow::utf8());
  auto data = std::make_shared<arrow::ArrayData>(type, 1, 0);
  const int32_t index = 7;
  data->buffers = {nullptr, arrow::Buffer::FromString(std::string(reinterpret_cast<const char*>(&index), 4))};
  Random random(1);
  data->dictionary = RandomArray(arrow::utf8(), 2, false, &random)->data();
  const auto schema = arrow::schema({arrow::field("word", type)});
  const Status error = RowUnion::Make(schema, {arrow::RecordBatch::Make(schema, 1, std::vector{data})}).status();
  EXPECT_EQ(KindOf(error), ErrorKind::kCorruption);
  EXPECT_NE(error.message().find("word"), std::string::npos);
}

TEST(Dictionaries, CompactingKeepsValuesAndDropsTheUnused) {
  Random random(TestSeed());
  for (int round = 0; round < 30; ++round) {
    const auto batch = RandomBatch(EveryType(), 5, &random);
    std::vector<std::shared_ptr<arrow::ArrayData>> columns;
    for (int c = 0; c < batch->num_columns(); ++c) {
      columns.push_back(CompactDictionaries(batch->column_data(c), arrow::default_memory_pool()).ValueOrDie());
    }
    const auto compact = arrow::RecordBatch::Make(batch->schema(), batch->num_rows(), columns);
    ASSERT_TRUE(compact->ValidateFull().ok());
    EXPECT_EQ(RowTexts({compact}), RowTexts({batch}));
    const auto& word = *compact->column_data(batch->schema()->GetFieldIndex("word"));
    EXPECT_EQ(static_cast<int64_t>(UsedIndexes(word).ValueOrDie().size()), word.dictionary->length);
  }
}

}  // namespace
}  // namespace sheaf::columns
