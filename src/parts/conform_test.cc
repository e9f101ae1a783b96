/// What Parquet gives against what was written, type by type. Whole parts of every type: part_test.cc.

#include "parts/conform.h"

#include <string>
#include <vector>

#include <arrow/array/array_nested.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/extension/uuid.h>
#include <arrow/extension_type.h>
#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "core/memory.h"

namespace sheaf::parts {
namespace {

using arrow::ArrayVector;
using arrow::TimeUnit;
using Type = std::shared_ptr<arrow::DataType>;
using testing::HasSubstr;

/// 0, 1000, NULL, 3000, 4000 … as a type of the same width, the first of them cut away.
std::shared_ptr<arrow::Array> Thousands(const Type& type) {
  const auto fill = [](auto builder) {
    for (int i = 0; i < 6; ++i) EXPECT_TRUE((i == 2 ? builder.AppendNull() : builder.Append(i * 1000)).ok());
    return builder.Finish().ValueOrDie();
  };
  const auto numbers = type->byte_width() == 4 ? fill(arrow::Int32Builder()) : fill(arrow::Int64Builder());
  auto data = numbers->data()->Copy();
  data->type = type;
  return arrow::MakeArray(data)->Slice(1);
}

std::shared_ptr<arrow::Array> Words(const std::vector<std::string>& words) {
  arrow::StringBuilder builder;
  EXPECT_TRUE(builder.AppendValues(words).ok());
  return builder.Finish().ValueOrDie();
}

/// A dictionary array: words "b", "a", NULL, "b".
std::shared_ptr<arrow::Array> Dictionary(const Type& index) {
  auto indexes = [&](auto builder) {
    EXPECT_TRUE(builder.Append(1).ok() && builder.Append(0).ok() && builder.AppendNull().ok() && builder.Append(1).ok());
    return builder.Finish().ValueOrDie();
  };
  const auto at = index->id() == arrow::Type::INT32 ? indexes(arrow::Int32Builder()) : indexes(arrow::Int64Builder());
  return arrow::DictionaryArray::FromArrays(arrow::dictionary(index, arrow::utf8()), at, Words({"a", "b"})).ValueOrDie();
}

std::vector<std::string> Texts(const std::shared_ptr<arrow::Array>& array) {
  return columns::RowTexts({arrow::RecordBatch::Make(arrow::schema({arrow::field("c", array->type())}), array->length(), {array})});
}

Result<std::shared_ptr<arrow::Array>> Conformed(const ArrayVector& chunks, const Type& got, const Type& wanted,
                                                arrow::MemoryPool* pool = arrow::default_memory_pool()) {
  SHEAF_ASSIGN_OR_RETURN(const auto chunked, arrow::ChunkedArray::Make(chunks, got));
  SHEAF_ASSIGN_OR_RETURN(const auto data, Conform(*chunked, wanted, pool));
  return arrow::MakeArray(data);
}

/// The array as `wanted`: whole and valid.
std::shared_ptr<arrow::Array> As(const std::shared_ptr<arrow::Array>& array, const Type& wanted) {
  const auto out = Conformed({array}, array->type(), wanted);
  EXPECT_TRUE(out.ok()) << out.status().ToString();
  if (!out.ok()) return nullptr;
  EXPECT_TRUE((*out)->type()->Equals(*wanted));
  EXPECT_TRUE((*out)->ValidateFull().ok()) << (*out)->ValidateFull().ToString();
  return *out;
}

TEST(ConformTypes, TimesComeBackInTheirUnit) {
  const auto seconds = As(Thousands(arrow::timestamp(TimeUnit::MILLI)), arrow::timestamp(TimeUnit::SECOND));
  EXPECT_THAT(Texts(seconds), testing::ElementsAreArray(Texts(As(Thousands(arrow::timestamp(TimeUnit::MILLI, "UTC")),
                                                                arrow::timestamp(TimeUnit::SECOND)))));
  EXPECT_EQ(seconds->data()->GetValues<int64_t>(1)[3], 4);
  EXPECT_EQ(As(Thousands(arrow::time32(TimeUnit::MILLI)), arrow::time32(TimeUnit::SECOND))->data()->GetValues<int32_t>(1)[0], 1);
  EXPECT_EQ(As(Thousands(arrow::date32()), arrow::date64())->data()->GetValues<int64_t>(1)[0], int64_t{1000} * 86'400'000);
  EXPECT_TRUE(seconds->IsNull(1));
}

TEST(ConformTypes, DictionariesComeBackWithTheirIndexes) {
  const auto small = arrow::dictionary(arrow::int16(), arrow::utf8());
  EXPECT_EQ(Texts(As(Dictionary(arrow::int32()), small)), Texts(Dictionary(arrow::int32())));
  EXPECT_EQ(Texts(As(Words({"x", "y", "x"}), small)), Texts(Words({"x", "y", "x"})));
  EXPECT_EQ(As(Dictionary(arrow::int32())->Slice(4), small)->length(), 0);
}

TEST(ConformTypes, NestedOnesAndExtensionsByWhatIsInside) {
  const auto inner = Thousands(arrow::timestamp(TimeUnit::MILLI));
  const auto record = arrow::StructArray::Make({inner}, {arrow::field("at", inner->type())}).ValueOrDie();
  const auto wanted = arrow::struct_({arrow::field("at", arrow::timestamp(TimeUnit::SECOND))});
  EXPECT_EQ(As(record, wanted)->data()->child_data[0]->GetValues<int64_t>(1)[0], 1);
  EXPECT_EQ(As(record, record->type())->length(), 5) << "what is right already";

  arrow::FixedSizeBinaryBuilder bytes(arrow::fixed_size_binary(16));
  ASSERT_TRUE(bytes.Append("0123456789abcdef").ok());
  const auto stored = bytes.Finish().ValueOrDie();
  const auto uuid = As(stored, arrow::extension::uuid());
  EXPECT_TRUE(static_cast<const arrow::ExtensionArray&>(*uuid).storage()->Equals(*stored));
  EXPECT_TRUE(As(uuid, arrow::extension::uuid())->Equals(*uuid));
}

TEST(ConformTypes, WhatWasNeverWrittenSoIsCorruption) {
  const auto ms = arrow::timestamp(TimeUnit::MILLI), us = arrow::timestamp(TimeUnit::MICRO), s = arrow::timestamp(TimeUnit::SECOND);
  const auto words = arrow::dictionary(arrow::int16(), arrow::utf8());
  const auto one = Thousands(ms);
  const auto record = arrow::StructArray::Make({one}, {arrow::field("at", ms)}).ValueOrDie();
  const auto two = arrow::StructArray::Make({one, one}, {arrow::field("a", ms), arrow::field("b", ms)}).ValueOrDie();
  const std::vector<std::pair<std::shared_ptr<arrow::Array>, Type>> rows = {
      {Thousands(us), s},                                                    // Another unit than seconds are written in.
      {Thousands(ms), us},
      {Thousands(ms), arrow::time32(TimeUnit::SECOND)},
      {Thousands(arrow::int64()), s},
      {Thousands(arrow::int64()), arrow::date64()},
      {Thousands(arrow::int64()), words},                                    // Neither values nor indexes.
      {Dictionary(arrow::int64()), words},                                   // Indexes that Parquet never gives.
      {Dictionary(arrow::int32()), arrow::dictionary(arrow::int32(), arrow::binary())},
      {record, arrow::struct_({arrow::field("at", arrow::utf8())})},         // Wrong inside.
      {record, two->type()},
      {two, record->type()},
      {record, arrow::list(ms)},
      {record, ms},
      {one, record->type()},
      {Words({"x"}), arrow::extension::uuid()},
  };
  for (const auto& [array, wanted] : rows) {
    const Status refused = Conformed({array}, array->type(), wanted).status();
    ASSERT_FALSE(refused.ok()) << array->type()->ToString() << " as " << wanted->ToString();
    EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption);
    EXPECT_THAT(refused.message(), HasSubstr("were written"));
  }
}

TEST(ConformTypes, ChunksAreJoined) {
  const auto type = arrow::timestamp(TimeUnit::MILLI), wanted = arrow::timestamp(TimeUnit::SECOND);
  const auto all = Thousands(type);
  const auto joined = Conformed({all->Slice(0, 2), all->Slice(2, 0), all->Slice(2)}, type, wanted).ValueOrDie();
  EXPECT_EQ(Texts(joined), Texts(As(all, wanted)));
  EXPECT_EQ(Conformed({}, type, wanted).ValueOrDie()->length(), 0);
}

TEST(ConformTypes, MemoryThatRunsOutIsAnErrorAndNothingIsKept) {
  TrackingPool& pool = NamedPool("conform_test");
  const auto ms = arrow::timestamp(TimeUnit::MILLI), s = arrow::timestamp(TimeUnit::SECOND);
  const auto words = arrow::dictionary(arrow::int16(), arrow::utf8());
  const auto all = Thousands(ms), text = Words({"x", "y", std::string(500, 'z')});
  const std::vector<std::pair<ArrayVector, Type>> rows = {
      {{all}, s},
      {{Thousands(arrow::time32(TimeUnit::MILLI))}, arrow::time32(TimeUnit::SECOND)},
      {{Thousands(arrow::date32())}, arrow::date64()},
      {{Dictionary(arrow::int32())}, words},
      {{text}, words},
      {{all, all}, s},
      {{arrow::StructArray::Make({all}, {arrow::field("at", ms)}).ValueOrDie()}, arrow::struct_({arrow::field("at", s)})},
  };
  for (const auto& [chunks, wanted] : rows) {
    int refused = 0;
    for (int64_t limit = 1;; limit += 8) {
      pool.SetLimit(limit);
      const Status status = Conformed(chunks, chunks[0]->type(), wanted, &pool).status();
      pool.SetLimit(0);
      EXPECT_EQ(pool.bytes_allocated(), 0);
      if (status.ok()) break;
      ++refused;
      ASSERT_EQ(KindOf(status), ErrorKind::kOutOfMemory) << status.ToString();
    }
    EXPECT_GT(refused, 0) << wanted->ToString();
  }
}

}  // namespace
}  // namespace sheaf::parts
