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

    const auto got = rows->Gather(order).ValueOrDie();
    ASSERT_TRUE(got->ValidateFull().ok()) << got->ValidateFull().ToString();
    for (size_t i = 0; i < order.size(); ++i) ASSERT_EQ(RowText(*got, static_cast<int64_t>(i)), want[order[i]]) << "row " << i;
  }
}

TEST(RowUnion, GathersShareOneDictionary) {
  Random random(TestSeed());
  const auto batches = RandomBatches(EveryType(), &random);
  const auto rows = RowUnion::Make(EveryType(), batches).ValueOrDie();
  const std::vector<uint32_t> first = {0}, last = {static_cast<uint32_t>(rows->rows() - 1)};
  const int column = EveryType()->GetFieldIndex("word");
  EXPECT_EQ(rows->Gather(first).ValueOrDie()->column_data(column)->dictionary,
            rows->Gather(last).ValueOrDie()->column_data(column)->dictionary);
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
  const auto rows = RowUnion::Make(schema, {arrow::RecordBatch::Make(schema, 1, std::vector{data})}).ValueOrDie();
  const std::vector<uint32_t> order = {0};
  const Status error = rows->Gather(order).status();
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
