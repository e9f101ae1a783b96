#include "columns/token_filter.h"

#include <algorithm>

#include <arrow/array/array_dict.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "columns/tokens.h"

namespace sheaf::columns {
namespace {

using testing::ElementsAre;

const BeforeRead kNoCheck = [](size_t, size_t) { return Status::OK(); };

using Texts = std::vector<std::string>;

std::shared_ptr<arrow::Array> Column(const Texts& texts, bool with_null = false) {
  arrow::StringBuilder builder;
  for (const std::string& text : texts) EXPECT_TRUE(builder.Append(text).ok());
  if (with_null) {
    EXPECT_TRUE(builder.AppendNull().ok());
  }
  return builder.Finish().ValueOrDie();
}

std::string FilterOf(const std::vector<Texts>& granules) {
  TokenFilterBuilder builder;
  for (const Texts& texts : granules) EXPECT_TRUE(builder.Add(*Column(texts, true)->data()).ok());
  return builder.Finish();
}

std::span<const uint8_t> Bytes(const std::string& filter) { return {reinterpret_cast<const uint8_t*>(filter.data()), filter.size()}; }

std::vector<int> Find(const std::string& filter, const TextNeeds& needs) {
  std::vector<int> found;
  EXPECT_TRUE(FindInTokenFilter(Bytes(filter), needs, kNoCheck, &found).ok());
  return found;
}

std::vector<int> FindToken(const std::string& filter, std::string_view token) {
  TextNeeds needs;
  AddNeedsOfToken(token, &needs);
  return Find(filter, needs);
}

std::vector<int> FindLike(const std::string& filter, std::string_view pattern) {
  TextNeeds needs;
  AddNeedsOfLike(pattern, 0, false, &needs);
  return Find(filter, needs);
}

TEST(TokenFilter, FindsGranulesByTokenAndByPartsOfWords) {
  const std::string filter = FilterOf({{"connection timeout to cart-7", "ok"}, {"no timeouts"}, {""}, {"OOM killed 17"}});
  EXPECT_THAT(FindToken(filter, "timeout"), ElementsAre(0));
  EXPECT_THAT(FindToken(filter, "TIMEOUTS"), ElementsAre(1));
  EXPECT_THAT(FindLike(filter, "%timeout%"), ElementsAre(0, 1));
  EXPECT_THAT(FindLike(filter, "%oom%"), ElementsAre(3));
  EXPECT_THAT(FindLike(filter, "% 17"), ElementsAre(3));
  EXPECT_THAT(FindLike(filter, "%absent%"), ElementsAre());
  EXPECT_THAT(Find(filter, {}), ElementsAre(0, 1, 2, 3));
}

TEST(TokenFilter, FindsUsedValuesOfADictionary) {
  arrow::Int32Builder indexes;
  for (const int i : {1, 1, 0}) ASSERT_TRUE(indexes.Append(i).ok());
  const auto words = arrow::DictionaryArray::FromArrays(arrow::dictionary(arrow::int32(), arrow::utf8()), indexes.Finish().ValueOrDie(),
                                                        Column({"payment failed", "cart full", "unused words"})).ValueOrDie();
  TokenFilterBuilder builder;
  ASSERT_TRUE(builder.Add(*words->data()).ok());
  ASSERT_TRUE(builder.Add(*words->Slice(0, 2)->data()).ok());
  const std::string filter = builder.Finish();
  EXPECT_THAT(FindToken(filter, "cart"), ElementsAre(0, 1));
  EXPECT_THAT(FindToken(filter, "failed"), ElementsAre(0));
  EXPECT_THAT(FindToken(filter, "unused"), ElementsAre());
}

std::string RandomText(Random* random) {
  static const Texts pieces = {"a", "b", "K", "time", "OUT", "7", "42",         " ",
                               "-", "%", "_", "é",    "İ",   "超", "\xE2\x84\xAA"};
  std::string out;
  for (size_t n = (*random)() % 12; n > 0; --n) out += pieces[(*random)() % pieces.size()];
  return out;
}

TEST(TokenFilter, NeverLosesATextWithTheTokenOrThePieceOfIt) {
  Random random(TestSeed());
  for (const int granules : {1, 3, 64, 65, 200}) {
    std::vector<Texts> all(static_cast<size_t>(granules));
    for (Texts& texts : all) {
      for (int i = 0; i < 5; ++i) texts.push_back(RandomText(&random));
    }
    const std::string filter = FilterOf(all);
    for (size_t g = 0; g < all.size(); ++g) {
      for (const std::string& text : all[g]) {
        const size_t begin = random() % (text.size() + 1), bytes = random() % (text.size() + 1 - begin);
        std::string_view piece = std::string_view(text).substr(begin, bytes);
        // Pieces of SQL are whole characters.
        while (!piece.empty() && (piece.front() & 0xC0) == 0x80) piece.remove_prefix(1);
        if (begin + bytes < text.size() && (text[begin + bytes] & 0xC0) == 0x80) continue;
        TextNeeds needs;
        AddNeedsOfFragment(piece, begin == 0, begin + bytes == text.size(), &needs);
        EXPECT_THAT(Find(filter, needs), testing::Contains(static_cast<int>(g))) << "'" << piece << "' in '" << text << "'";
        for (size_t from = 0, to = 0; from < text.size(); from = to + 1) {
          to = from;
          while (to < text.size() && kTokenBytes[static_cast<uint8_t>(text[to])] != 0) ++to;
          if (to == from) continue;
          const std::string token = text.substr(from, to - from);
          ASSERT_TRUE(ContainsToken(text, ParseToken(token).ValueOrDie()));
          EXPECT_THAT(FindToken(filter, token), testing::Contains(static_cast<int>(g))) << token;
        }
      }
    }
  }
}

TEST(TokenFilter, RarelyInventsATokenAndStaysSmall) {
  Random random(TestSeed());
  constexpr int kGranules = 70, kRows = 1000;
  std::vector<Texts> all(kGranules);
  size_t bytes = 0;
  for (Texts& texts : all) {
    for (int i = 0; i < kRows; ++i) {
      texts.push_back(fmt::format("request {} of user {} served by worker, nothing unusual to report", random() % 1'000'000'000,
                                  random() % 100'000));
      bytes += texts.back().size();
    }
  }
  const std::string filter = FilterOf(all);
  EXPECT_LT(filter.size(), bytes / 4);
  size_t invented = 0;
  constexpr int kLookUps = 2000;
  for (int i = 0; i < kLookUps; ++i) invented += FindToken(filter, std::to_string(1'000'000'000 + random() % 1'000'000'000)).size();
  EXPECT_LT(static_cast<double>(invented), 0.02 * kLookUps * kGranules);
  const TokenFilterShape shape = ShapeOfTokenFilter(Bytes(filter)).ValueOrDie();
  EXPECT_EQ(shape.granules, static_cast<uint32_t>(kGranules));
  EXPECT_EQ(shape.blocks.size(), 2u);
  EXPECT_GT(FillOfTokenFilter(Bytes(filter), shape), 0.2);
  EXPECT_LT(FillOfTokenFilter(Bytes(filter), shape), 0.6);
}

TEST(TokenFilter, BytesThatAreNoneAreRefused) {
  const std::string filter = FilterOf({{"a text"}, {"another"}});
  for (size_t size = 0; size < filter.size(); ++size) {
    std::vector<int> found;
    const auto cut = FindInTokenFilter(Bytes(filter).first(size), TextNeeds{1}, kNoCheck, &found);
    EXPECT_EQ(KindOf(cut.status()), ErrorKind::kCorruption) << size;
  }
  for (size_t at = 0; at < 12; ++at) {
    std::string other = filter;
    other[at] = static_cast<char>(other[at] + 64);
    EXPECT_EQ(KindOf(ShapeOfTokenFilter(Bytes(other)).status()), ErrorKind::kCorruption) << at;
  }
}

TEST(TokenFilter, AFailedCheckIsTheLookUpsError) {
  const std::string filter = FilterOf({{"a text"}});
  std::vector<int> found;
  const auto refuse = [](size_t offset, size_t) { return offset == 0 ? Status::OK() : MakeError(ErrorKind::kCorruption, "damaged"); };
  EXPECT_EQ(KindOf(FindInTokenFilter(Bytes(filter), TextNeeds{1}, refuse, &found).status()), ErrorKind::kCorruption);
}

TEST(TokenFilter, OtherColumnsTakeNone) {
  EXPECT_FALSE(CanFilterTokens(*arrow::binary()));
  EXPECT_FALSE(CanFilterTokens(*arrow::int64()));
  EXPECT_TRUE(CanFilterTokens(*arrow::large_utf8()));
  TokenFilterBuilder builder;
  arrow::Int64Builder numbers;
  EXPECT_EQ(KindOf(builder.Add(*numbers.Finish().ValueOrDie()->data())), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace sheaf::columns
