#include "columns/column_analysis.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <arrow/array/array_dict.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/data.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/encodings.h"
#include "columns/leaves.h"
#include "columns/random_testing.h"

namespace sheaf::columns {
namespace {

using testing::ElementsAre;

std::vector<std::string> TextsOf(const std::shared_ptr<arrow::Array>& array) {
  const auto schema = arrow::schema({arrow::field("value", array->type())});
  return RowTexts({arrow::RecordBatch::Make(schema, array->length(), {array})});
}

/// What is counted of values, one after the other.
struct Counted {
  int64_t values = 0, nulls = 0, runs = 0, longest = 0;
  std::set<std::string> distinct;
};

Counted CountPlainly(const std::vector<std::string>& texts) {
  Counted out;
  int64_t run = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    ++out.values;
    if (texts[i] == "NULL|")
      ++out.nulls;
    else
      out.distinct.insert(texts[i]);
    run = i > 0 && texts[i] == texts[i - 1] ? run + 1 : 1;
    if (run == 1) ++out.runs;
    out.longest = std::max(out.longest, run);
  }
  return out;
}

void ExpectCounted(const ColumnAnalysis& analysis, const std::vector<std::string>& texts) {
  const Counted want = CountPlainly(texts);
  EXPECT_EQ(analysis.values, want.values);
  EXPECT_EQ(analysis.nulls, want.nulls);
  EXPECT_EQ(analysis.runs, want.runs);
  EXPECT_EQ(analysis.longest_run, want.longest);
  EXPECT_EQ(analysis.cardinality, static_cast<int64_t>(want.distinct.size()));
  EXPECT_TRUE(analysis.cardinality_is_exact);
  EXPECT_EQ(analysis.looked_at, want.values);
}

/// Repeats each value of `array` some times, so that there are runs of all lengths.
std::shared_ptr<arrow::Array> WithRuns(const std::shared_ptr<arrow::Array>& array, Random* random) {
  arrow::ArrayVector pieces;
  for (int64_t i = 0; i < array->length(); ++i) {
    const uint64_t times = (*random)() % 4 == 0 ? (*random)() % 150 : 1 + (*random)() % 2;
    for (uint64_t t = 0; t < times; ++t) pieces.push_back(array->Slice(i, 1));
  }
  if (pieces.empty()) return array;
  return arrow::Concatenate(pieces).ValueOrDie();
}

TEST(ColumnAnalyzer, CountsAsOneByOneWhateverTheTypeSlicesAndNulls) {
  Random random(TestSeed());
  for (const std::shared_ptr<arrow::Field>& field : std::vector(EveryType()->fields())) {
    const auto id = field->type()->storage_id();
    if (arrow::is_nested(id) || id == arrow::Type::DICTIONARY) continue;  // Below.
    SCOPED_TRACE(field->ToString());
    for (int round = 0; round < 8; ++round) {
      ColumnAnalyzer analyzer(LeavesOf(*arrow::schema({field}))[0].type);
      std::vector<std::string> texts;
      for (int batch = 0; batch < 3; ++batch) {
        auto array = RandomArray(field->type(), static_cast<int64_t>(random() % 90), field->nullable(), &random);
        if (round % 2 == 1 && id != arrow::Type::NA) array = WithRuns(array, &random);
        const int64_t from = static_cast<int64_t>(random() % static_cast<uint64_t>(array->length() + 1));
        array = array->Slice(from);
        ASSERT_TRUE(analyzer.Add(*array->data()).ok());
        for (std::string& text : TextsOf(array)) texts.push_back(std::move(text));
      }
      if (texts.empty()) continue;
      ExpectCounted(analyzer.Analysis(), texts);
    }
  }
}

/// Distinct words, in a dictionary of their own order.
std::shared_ptr<arrow::Array> Words(const std::vector<int>& numbers, int words, int first, bool with_nulls) {
  arrow::StringBuilder dictionary;
  for (int i = 0; i < words; ++i) EXPECT_TRUE(dictionary.Append("word " + std::to_string((first + i) % words)).ok());
  arrow::Int32Builder indexes;
  for (const int number : numbers) {
    EXPECT_TRUE(
        (with_nulls && number == 0 ? indexes.AppendNull() : indexes.Append((number - first % words + words) % words)).ok());
  }
  return arrow::DictionaryArray::FromArrays(indexes.Finish().ValueOrDie(), dictionary.Finish().ValueOrDie()).ValueOrDie();
}

TEST(ColumnAnalyzer, SeesThroughDictionariesThatAreOthersEachTime) {
  Random random(TestSeed());
  for (const bool same : {true, false}) {
    ColumnAnalyzer analyzer(arrow::dictionary(arrow::int32(), arrow::utf8()));
    std::vector<std::string> texts;
    std::shared_ptr<arrow::Array> dictionary;
    int64_t bytes = 0;
    for (int batch = 0; batch < 4; ++batch) {
      std::vector<int> numbers;
      for (int i = 0; i < 200; ++i)
        numbers.push_back(random() % 3 == 0 || numbers.empty() ? static_cast<int>(random() % 12) : numbers.back());
      auto array = Words(numbers, 12, same ? 0 : batch, true);
      if (dictionary && same) {
        const auto& indexes = static_cast<const arrow::DictionaryArray&>(*array).indices();
        array = arrow::DictionaryArray::FromArrays(array->type(), indexes, dictionary).ValueOrDie();
      }
      dictionary = static_cast<const arrow::DictionaryArray&>(*array).dictionary();
      ASSERT_TRUE(analyzer.Add(*array->data()).ok());
      for (std::string& text : TextsOf(array)) {
        bytes += text == "NULL|" ? 0 : static_cast<int64_t>(text.size() - 1) / 2 + 4;
        texts.push_back(std::move(text));
      }
    }
    ExpectCounted(analyzer.Analysis(), texts);
    EXPECT_EQ(analyzer.Analysis().plain_bytes, bytes);
  }
}

TEST(ColumnAnalyzer, AnIndexOutsideItsDictionaryIsCorruption) {
  for (const int32_t wrong : {3, -1}) {
    auto data = Words({1, 2, 1}, 3, 0, false)->data()->Copy();
    const int32_t indexes[3] = {1, wrong, 1};
    data->buffers[1] = arrow::Buffer::FromString(std::string(reinterpret_cast<const char*>(indexes), sizeof indexes));
    ColumnAnalyzer analyzer(data->type);
    EXPECT_EQ(KindOf(analyzer.Add(*data)), ErrorKind::kCorruption);
  }
}

template <typename Value>
std::shared_ptr<arrow::Array> Integers(int64_t rows, const Value& value) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(builder.Append(value(i)).ok());
  return builder.Finish().ValueOrDie();
}

ColumnAnalysis Analyse(const std::shared_ptr<arrow::Array>& array) {
  ColumnAnalyzer analyzer(array->type());
  EXPECT_TRUE(analyzer.Add(*array->data()).ok());
  return analyzer.Analysis();
}

TEST(ColumnAnalyzer, KnowsWhatEachEncodingWouldTake) {
  // Numbers that rise by 1000: differences are all the same, 2 bytes each 256, and 4 widths.
  const ColumnAnalysis rising = Analyse(Integers(12'801, [](int64_t i) { return 1'700'000'000'000 + i * 1000; }));
  EXPECT_EQ(rising.plain_bytes, 12'801 * 8);
  EXPECT_NEAR(static_cast<double>(rising.delta_bytes), 50 * 6, 30);
  EXPECT_NEAR(static_cast<double>(rising.frame_bytes), 50 * (9 + 256 * 18 / 8), 1500) << "255,000 needs 18 bits";
  EXPECT_NEAR(static_cast<double>(rising.run_end_bytes), 12'801 * 12, 1);
  EXPECT_GT(rising.dictionary_bytes, rising.plain_bytes);

  // Runs of 100 of 4 values.
  const ColumnAnalysis runs = Analyse(Integers(10'000, [](int64_t i) { return i / 100 % 4; }));
  EXPECT_EQ(runs.runs, 100);
  EXPECT_EQ(runs.longest_run, 100);
  EXPECT_EQ(runs.mean_run(), 100);
  EXPECT_EQ(runs.run_end_bytes, 100 * 12);
  EXPECT_EQ(runs.dictionary_bytes, 4 * 8 + 100 * 3);

  // Random numbers below 16 of 64 bits.
  Random random(1);
  const ColumnAnalysis small = Analyse(Integers(10'000, [&](int64_t) { return static_cast<int64_t>(random() % 16); }));
  EXPECT_NEAR(static_cast<double>(small.dictionary_bytes), 16 * 8 + 10'000 / 2, 100);
  EXPECT_NEAR(static_cast<double>(small.delta_bytes), 10'000 * 5.0 / 8 + 79 * 5, 400);
}

TEST(ColumnAnalyzer, ALongArrayIsSampledAndScaledUp) {
  const int64_t rows = 400'000;
  const ColumnAnalysis one = Analyse(Integers(rows, [](int64_t) { return 7; }));
  EXPECT_EQ(one.looked_at, ColumnAnalyzer::kPieces * ColumnAnalyzer::kPieceValues);
  EXPECT_EQ(one.runs, 1);
  EXPECT_EQ(one.longest_run, rows);
  EXPECT_EQ(one.cardinality, 1);
  EXPECT_FALSE(one.cardinality_is_exact);
  const ColumnAnalysis runs = Analyse(Integers(rows, [](int64_t i) { return i / 10; }));
  EXPECT_NEAR(static_cast<double>(runs.runs), 40'000, 40'000 * 0.02);
  EXPECT_EQ(runs.plain_bytes, rows * 8) << "what costs nothing is exact";
  Random random(TestSeed());
  // The sketch is off by 1.6 % (one standard deviation). The nearer the values looked at are to all different, the more that is of the
  // stock they were drawn from; five deviations are allowed.
  const struct {
    int64_t distinct;
    double least, most;  // Of what is right.
  } stocks[] = {{10, 1, 1}, {1'000, 0.98, 1.02}, {20'000, 0.58, 1.42}, {1'000'000'000, 0.12, 1}};
  for (const auto& [distinct, least, most] : stocks) {
    const ColumnAnalysis some =
        Analyse(Integers(rows, [&random, n = static_cast<uint64_t>(distinct)](int64_t) { return static_cast<int64_t>(random() % n); }));
    const auto right = static_cast<double>(std::min(distinct, rows));
    EXPECT_GE(static_cast<double>(some.cardinality), right * least) << distinct;
    EXPECT_LE(static_cast<double>(some.cardinality), right * most) << distinct;
  }
}

TEST(DistinctSketch, IsExactForFewAndNearForMany) {
  Random random(TestSeed());
  for (const int64_t count : {0, 1, 63, 64, 65, 1000, 1024, 1025, 5000, 20'000, 300'000}) {
    DistinctSketch sketch;
    const uint64_t salt = random();
    for (int twice = 0; twice < 2; ++twice) {
      for (int64_t i = 0; i < count; ++i) sketch.Add(MixBits(static_cast<uint64_t>(i) ^ salt));
    }
    EXPECT_EQ(sketch.is_exact(), count <= DistinctSketch::kExactMax);
    if (sketch.is_exact())
      EXPECT_EQ(sketch.Count(), count);
    else
      EXPECT_NEAR(static_cast<double>(sketch.Count()), static_cast<double>(count), static_cast<double>(count) * 0.016 * 5);
  }
}

TEST(Leaves, AreThoseOfListsStructsAndMaps) {
  const auto item = arrow::struct_(
      {arrow::field("key", arrow::dictionary(arrow::int32(), arrow::utf8())), arrow::field("num", arrow::int64())});
  const auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("attributes", arrow::list(item)),
                                     arrow::field("tags", arrow::large_list(arrow::utf8())),
                                     arrow::field("vector", arrow::fixed_size_list(arrow::float32(), 3)),
                                     arrow::field("labels", arrow::map(arrow::utf8(), arrow::int32()))});
  std::vector<std::string> paths;
  for (const Leaf& leaf : LeavesOf(*schema)) paths.push_back(std::to_string(leaf.column) + " " + leaf.path);
  EXPECT_THAT(
      paths, ElementsAre("0 id", "1 attributes.key", "1 attributes.num", "2 tags", "3 vector", "4 labels.key", "4 labels.value"));
}

TEST(Leaves, HaveTheItemsThatTheRowsOfASliceUse) {
  Random random(TestSeed());
  const auto type = arrow::list(arrow::field("item", arrow::struct_({arrow::field("number", arrow::int64(), false)}), false));
  const auto lists = RandomArray(type, 100, false, &random);
  const auto slice = lists->Slice(13, 50);
  std::string want;
  for (const std::string& text : TextsOf(slice)) {
    for (const char c : text) {
      if (std::isxdigit(static_cast<unsigned char>(c)) != 0) want += c;
    }
  }
  std::string found;
  ASSERT_TRUE(EachLeaf(slice->data(), [&](const arrow::ArrayData& leaf) {
                for (const std::string& text : TextsOf(arrow::MakeArray(leaf.Copy()))) found += text.substr(0, text.size() - 1);
                return Status::OK();
              }).ok());
  EXPECT_EQ(found, want);
}

TEST(Leaves, OffsetsOutsideOfTheItemsAreCorruption) {
  Random random(TestSeed());
  auto data = RandomArray(arrow::list(arrow::int64()), 20, false, &random)->data()->Copy();
  data->child_data[0] = data->child_data[0]->Slice(0, 1);
  EXPECT_EQ(KindOf(EachLeaf(data, [](const arrow::ArrayData&) { return Status::OK(); })), ErrorKind::kCorruption);
}

EncodingChoice Choose(const std::shared_ptr<arrow::Array>& array) { return ChooseEncoding(*array->type(), Analyse(array), {}); }

template <typename Value>
std::shared_ptr<arrow::Array> Texts(int64_t rows, const Value& value) {
  arrow::StringBuilder builder;
  for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(builder.Append(value(i)).ok());
  return builder.Finish().ValueOrDie();
}

TEST(Encodings, AreChosenByWhatTheValuesAreLike) {
  Random random(1);
  const auto is = [](Encoding encoding, EncodingReason reason) {
    return testing::AllOf(testing::Field(&EncodingChoice::encoding, encoding), testing::Field(&EncodingChoice::reason, reason));
  };
  const auto any = [&](int64_t) { return static_cast<int64_t>(random()); };
  EXPECT_THAT(Choose(Integers(5000, [](int64_t i) { return i * 1000; })),
              is(Encoding::kDelta, EncodingReason::kSmallDifferences));
  EXPECT_THAT(Choose(Integers(5000, [](int64_t i) { return i % 3 * 1'000'000'007; })),
              is(Encoding::kDictionary, EncodingReason::kFewDistinct));
  EXPECT_THAT(Choose(Integers(5000, any)), is(Encoding::kPlain, EncodingReason::kMostlyDistinct));
  EXPECT_THAT(Choose(Texts(5000, [](int64_t i) { return "T" + std::to_string(1'000'000 + i); })),
              is(Encoding::kDelta, EncodingReason::kMostlyDistinct));
  EXPECT_THAT(Choose(Texts(5000, [](int64_t i) { return i % 7 == 0 ? "SELL" : "BUY"; })),
              is(Encoding::kDictionary, EncodingReason::kFewDistinct));
  EXPECT_THAT(Choose(Words({1, 2, 3}, 4, 0, false)), is(Encoding::kDictionary, EncodingReason::kTableType));
  EXPECT_THAT(Choose(RandomArray(arrow::boolean(), 100, true, &random)), is(Encoding::kPlain, EncodingReason::kNested));
  const auto large =
      Texts(400, [](int64_t i) { return std::string(10'000, static_cast<char>('a' + i % 190)) + std::to_string(i % 190); });
  EXPECT_NE(Choose(large).encoding, Encoding::kDictionary) << "190 texts of 10,000 bytes are more than a dictionary page";
}

}  // namespace
}  // namespace sheaf::columns
