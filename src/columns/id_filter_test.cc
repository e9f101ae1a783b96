#include "columns/id_filter.h"

#include <algorithm>
#include <map>
#include <set>

#include <arrow/array/builder_binary.h>
#include <gtest/gtest.h>

#include "columns/byte_values.h"
#include "columns/random_testing.h"

namespace sheaf::columns {
namespace {

const BeforeRead kNoCheck = [](size_t, size_t) { return Status::OK(); };

std::span<const uint8_t> Bytes(const std::string& filter) { return {reinterpret_cast<const uint8_t*>(filter.data()), filter.size()}; }

std::shared_ptr<arrow::Array> Ids(const std::vector<std::string>& values, int width) {
  arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(width));
  for (const std::string& v : values) EXPECT_TRUE(builder.Append(v).ok());
  return builder.Finish().ValueOrDie();
}

std::string RandomId(size_t width, Random* random) {
  std::string out(width, '\0');
  for (char& c : out) c = static_cast<char>((*random)());
  return out;
}

TEST(IdFilter, NeverLosesAValueAndRarelyInventsOne) {
  Random random(TestSeed());
  for (const int granules : {1, 2, 37, 1500}) {
    IdFilterBuilder builder;
    std::map<std::string, std::set<int>> want;
    for (int g = 0; g < granules; ++g) {
      std::vector<std::string> values;
      for (int i = 0; i < 40; ++i) values.push_back(i % 4 == 0 && g > 0 ? want.begin()->first : RandomId(8, &random));
      for (const std::string& v : values) want[v].insert(g);
      ASSERT_TRUE(builder.Add(*Ids(values, 8)->data(), static_cast<uint32_t>(g)).ok());
    }
    const std::string filter = builder.Finish();
    size_t extra = 0;
    for (const auto& [value, in] : want) {
      std::vector<int> got;
      ASSERT_TRUE(FindInFilter(Bytes(filter), value, kNoCheck, &got).ok());
      EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
      EXPECT_TRUE(std::includes(got.begin(), got.end(), in.begin(), in.end())) << "with " << granules << " granules";
      extra += got.size() - in.size();
    }
    size_t invented = 0;
    for (int i = 0; i < 20'000; ++i) {
      std::vector<int> got;
      ASSERT_TRUE(FindInFilter(Bytes(filter), RandomId(8, &random), kNoCheck, &got).ok());
      invented += got.size();
    }
    EXPECT_LE(invented, 40u) << "one in a thousand look-ups at most, doubled for chance";
    EXPECT_LE(extra, want.size() / 500 + 5);
  }
}

TEST(IdFilter, TakesTextAndDictionariesAndSkipsNulls) {
  Random random(TestSeed());
  for (const char* name : {"text", "large_bytes", "word", "blob_word", "small_word", "id16", "id8"}) {
    const auto field = EveryType()->GetFieldByName(name);
    ASSERT_TRUE(CanFilter(*field->type()));
    IdFilterBuilder builder;
    std::vector<std::shared_ptr<arrow::Array>> granules;
    for (uint32_t g = 0; g < 8; ++g) {
      granules.push_back(RandomArray(field->type(), 50, field->nullable(), &random));
      ASSERT_TRUE(builder.Add(*granules.back()->data(), g).ok());
    }
    const std::string filter = builder.Finish();
    for (int g = 0; g < 8; ++g) {
      const auto schema = arrow::schema({field});
      for (int64_t i = 0; i < 50; ++i) {
        if (granules[static_cast<size_t>(g)]->IsNull(i)) continue;
        const auto batch = arrow::RecordBatch::Make(schema, 50, {granules[static_cast<size_t>(g)]});
        std::string hex = RowText(*batch, i);
        hex.pop_back();
        std::string value;
        for (size_t at = 0; at + 1 < hex.size(); at += 2) value.push_back(static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16)));
        std::vector<int> got;
        ASSERT_TRUE(FindInFilter(Bytes(filter), value, kNoCheck, &got).ok());
        EXPECT_TRUE(std::find(got.begin(), got.end(), g) != got.end()) << name;
      }
    }
  }
}

TEST(IdFilter, FindsAnEmptyTextAfterNulls) {
  arrow::StringBuilder text;
  ASSERT_TRUE(text.AppendNull().ok() && text.AppendNull().ok() && text.Append("").ok() && text.Append("x").ok());
  IdFilterBuilder builder;
  ASSERT_TRUE(builder.Add(*text.Finish().ValueOrDie()->data(), 0).ok());
  std::vector<int> got;
  ASSERT_TRUE(FindInFilter(Bytes(builder.Finish()), "", kNoCheck, &got).ok());
  EXPECT_EQ(got, std::vector<int>{0});
}

TEST(IdFilter, AnEmptyFilterFindsNothing) {
  IdFilterBuilder builder;
  ASSERT_TRUE(builder.Add(*Ids({}, 8)->data(), 0).ok());
  const std::string filter = builder.Finish();
  std::vector<int> got;
  ASSERT_TRUE(FindInFilter(Bytes(filter), "12345678", kNoCheck, &got).ok());
  EXPECT_TRUE(got.empty());
}

TEST(IdFilter, RefusesListsAndNumbers) {
  EXPECT_FALSE(CanFilter(*arrow::int64()));
  EXPECT_FALSE(CanFilter(*arrow::list(arrow::utf8())));
  Random random(1);
  IdFilterBuilder builder;
  EXPECT_EQ(KindOf(builder.Add(*RandomArray(arrow::int64(), 3, false, &random)->data(), 0)), ErrorKind::kUnsupported);
}

TEST(IdFilter, DamagedBytesAreRefusedOrAnswerWithinBounds) {
  Random random(TestSeed());
  IdFilterBuilder builder;
  std::vector<std::string> values;
  for (int i = 0; i < 300; ++i) values.push_back(RandomId(8, &random));
  ASSERT_TRUE(builder.Add(*Ids(values, 8)->data(), 0).ok());
  const std::string filter = builder.Finish();
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = filter.substr(0, random() % 3 == 0 ? random() % filter.size() : filter.size());
    if (!damaged.empty()) damaged[random() % std::min<size_t>(damaged.size(), 64)] ^= static_cast<char>(1 << random() % 8);
    std::vector<int> got;
    const Status status = FindInFilter(Bytes(damaged), values[0], kNoCheck, &got);
    EXPECT_TRUE(status.ok() || KindOf(status) == ErrorKind::kCorruption);
  }
}

}  // namespace
}  // namespace sheaf::columns
