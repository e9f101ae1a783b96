#include "columns/group_rows.h"

#include <map>
#include <string>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <gtest/gtest.h>

#include "columns/byte_values.h"
#include "columns/random_testing.h"
#include "columns/row_union.h"

namespace sheaf::columns {
namespace {

/// Group numbers of a column by a map, in order of first sight.
RowGroups GroupsByMap(const arrow::RecordBatchVector& batches, int column) {
  RowGroups out;
  std::map<std::string, uint32_t> numbers;
  for (const auto& batch : batches) {
    const auto array = batch->column(column);
    const auto values = ByteValues::Of(*array->data());
    for (int64_t i = 0; i < array->length(); ++i) {
      if (array->IsNull(i)) {
        out.of_row.push_back(0);
        continue;
      }
      const auto [at, is_new] = numbers.emplace(std::string((*values)[i]), static_cast<uint32_t>(numbers.size() + 1));
      out.of_row.push_back(at->second);
    }
  }
  out.groups = static_cast<uint32_t>(numbers.size());
  return out;
}

TEST(GroupRows, NumbersValuesOfEveryWidthInOrderOfFirstSight) {
  Random random(TestSeed());
  const auto schema = EveryType();
  for (const char* name : {"time", "i8", "u64", "i32", "f64", "id16", "id8", "text", "large_bytes", "day", "price"}) {
    for (int round = 0; round < 5; ++round) {
      arrow::RecordBatchVector batches;
      for (int b = 0; b < 4; ++b) batches.push_back(RandomBatch(schema, static_cast<int64_t>(random() % 90), &random));
      const int column = schema->GetFieldIndex(name);
      ASSERT_GE(column, 0) << name;
      const auto rows = RowUnion::Make(schema, batches).ValueOrDie();
      const auto got = GroupRows(rows->column(column), rows->rows()).ValueOrDie();
      const RowGroups want = GroupsByMap(batches, column);
      EXPECT_EQ(got.groups, want.groups) << name;
      EXPECT_EQ(got.of_row, want.of_row) << name;
    }
  }
}

TEST(GroupRows, GrowsWithTheGroupsAndKeepsTheirNumbers) {
  Random random(TestSeed());
  arrow::Int64Builder builder;
  std::map<int64_t, uint32_t> numbers;
  UninitializedVector<uint32_t> want;
  for (int i = 0; i < 100'000; ++i) {
    const auto value = static_cast<int64_t>(random() % 40'000) << (random() % 2 * 20);
    ASSERT_TRUE(builder.Append(value).ok());
    want.push_back(numbers.emplace(value, static_cast<uint32_t>(numbers.size() + 1)).first->second);
  }
  const auto schema = arrow::schema({arrow::field("k", arrow::int64())});
  const auto batch = arrow::RecordBatch::Make(schema, 100'000, {builder.Finish().ValueOrDie()});
  const auto rows = RowUnion::Make(schema, {batch->Slice(0, 33'333), batch->Slice(33'333)}).ValueOrDie();
  const auto got = GroupRows(rows->column(0), rows->rows()).ValueOrDie();
  EXPECT_EQ(got.of_row, want);
  EXPECT_EQ(got.groups, numbers.size());
}

TEST(GroupRows, RefusesLists) {
  Random random(1);
  const auto schema = EveryType();
  const auto rows = RowUnion::Make(schema, {RandomBatch(schema, 3, &random)}).ValueOrDie();
  EXPECT_EQ(KindOf(GroupRows(rows->column(schema->GetFieldIndex("numbers")), 3).status()), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace sheaf::columns
