#include "columns/id_search.h"

#include <algorithm>
#include <set>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include "columns/random_testing.h"

namespace sheaf::columns {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string RandomId(size_t width, Random* random) {
  std::string out(width, '\0');
  for (char& c : out) c = static_cast<char>((*random)());
  return out;
}

std::shared_ptr<arrow::Array> Column(const std::shared_ptr<arrow::DataType>& type,
                                     const std::vector<std::optional<std::string>>& ids) {
  if (type->id() == arrow::Type::FIXED_SIZE_BINARY) {
    arrow::FixedSizeBinaryBuilder builder(type);
    for (const auto& id : ids) EXPECT_TRUE((id ? builder.Append(*id) : builder.AppendNull()).ok());
    return builder.Finish().ValueOrDie();
  }
  arrow::Int64Builder builder;
  for (const auto& id : ids) {
    int64_t number = 0;
    if (id) std::memcpy(&number, id->data(), sizeof number);
    EXPECT_TRUE((id ? builder.Append(number) : builder.AppendNull()).ok());
  }
  return arrow::MakeArray(builder.Finish().ValueOrDie()->data()->Copy())->View(type).ValueOrDie();
}

const std::vector<std::shared_ptr<arrow::DataType>>& Types() {
  static const std::vector<std::shared_ptr<arrow::DataType>> types = {arrow::fixed_size_binary(16), arrow::fixed_size_binary(8),
                                                                      arrow::int64(), arrow::uint64()};
  return types;
}

std::vector<int64_t> Find(const IdSearch& search, const arrow::Array& column, int64_t first, int64_t count) {
  std::vector<int64_t> rows;
  EXPECT_TRUE(search.Find(*column.data(), first, count, &rows).ok());
  return rows;
}

/// Runs `check` with each instruction set that this processor has.
template <typename Check>
void WithEveryInstructionSet(const Check& check) {
  const std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  EXPECT_FALSE(targets.empty());
  for (const int64_t target : targets) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

/// Rows of random ids, some wanted, some NULL, some that differ from a wanted one in a single byte.
struct Case {
  std::vector<std::optional<std::string>> ids;
  std::vector<std::string> wanted;
};
Case RandomCase(size_t width, size_t rows, size_t wanted, Random* random) {
  Case out;
  for (size_t i = 0; i < wanted; ++i) out.wanted.push_back(RandomId(width, random));
  const uint64_t rare = 1 + (*random)() % 300;
  for (size_t i = 0; i < rows; ++i) {
    std::string id = (*random)() % rare == 0 ? out.wanted[(*random)() % wanted] : RandomId(width, random);
    if ((*random)() % 16 == 0) {
      id = out.wanted[(*random)() % wanted];
      id[(*random)() % width] ^= static_cast<char>(1 << (*random)() % 8);
    }
    out.ids.push_back((*random)() % 20 == 0 ? std::nullopt : std::make_optional(std::move(id)));
  }
  return out;
}

TEST(IdSearch, FindsWhatALoopFindsWithEveryInstructionSet) {
  Random random(TestSeed());
  for (const auto& type : Types()) {
    const auto width = static_cast<size_t>(type->byte_width());
    for (const size_t wanted : {1u, 2u, 3u, 4u, 5u, 8u, 9u, 100u, 3'000u}) {
      const Case one = RandomCase(width, random() % 700, wanted, &random);
      const auto column = Column(type, one.ids);
      const IdSearch search = IdSearch::Make(*type, one.wanted).ValueOrDie();
      const std::set<std::string> set(one.wanted.begin(), one.wanted.end());
      WithEveryInstructionSet([&] {
        for (int slice = 0; slice < 4; ++slice) {
          const auto rows = static_cast<int64_t>(one.ids.size());
          const int64_t offset = slice == 0 ? 0 : static_cast<int64_t>(random()) % 70 & 63;
          const auto sliced = column->Slice(std::min(offset, rows));
          const int64_t first = slice < 2 ? 0 : std::min<int64_t>(static_cast<int64_t>(random() % 130), sliced->length());
          const int64_t count = slice < 3 ? sliced->length() - first : std::min<int64_t>(sliced->length() - first, 64);
          std::vector<int64_t> want;
          for (int64_t row = first; row < first + count; ++row) {
            const auto& id = one.ids[static_cast<size_t>(sliced->offset() + row)];
            if (id && set.contains(*id)) want.push_back(row);
          }
          EXPECT_EQ(Find(search, *sliced, first, count), want) << type->ToString() << ", " << wanted << " ids";
        }
      });
    }
  }
}

TEST(IdSearch, TheKernelFindsTheFirstBlockWithAWordOnEveryLane) {
  for (const IdLayout layout : {IdLayout::kBytes16, IdLayout::kBytes8, IdLayout::kNumbers}) {
    const size_t width = layout == IdLayout::kBytes16 ? 16 : 8, word_at = layout == IdLayout::kNumbers ? 0 : width - 4;
    constexpr size_t kRows = 4 * kIdBlockRows;
    for (const size_t count : {size_t{1}, size_t{4}, kIdWordsMax}) {
      std::vector<uint32_t> words(count);
      for (size_t i = 0; i < count; ++i) words[i] = 0x01020304u * static_cast<uint32_t>(i + 1);
      WithEveryInstructionSet([&] {
        for (size_t row = 0; row < kRows; ++row) {
          // Everywhere but in the word that counts, the bytes are those of a wanted one.
          std::vector<uint8_t> ids(kRows * width);
          for (size_t at = 0; at < ids.size(); at += 4) std::memcpy(&ids[at], &words[at % count], 4);
          for (size_t r = 0; r < kRows; ++r) std::memset(&ids[r * width + word_at], 0xEE, 4);
          EXPECT_EQ(FindIdBlock(layout, ids.data(), kRows, words.data(), count), kRows);
          std::memcpy(&ids[row * width + word_at], &words[row % count], 4);
          EXPECT_EQ(FindIdBlock(layout, ids.data(), kRows, words.data(), count), row / kIdBlockRows * kIdBlockRows);
        }
      });
    }
  }
}

TEST(IdSearch, SetsOfEqualAndOfNoIds) {
  const auto type = arrow::fixed_size_binary(8);
  const auto column = Column(type, {"aaaaaaaa", std::nullopt, "bbbbbbbb", "aaaaaaaa"});
  const std::vector<std::string> equal(40, "aaaaaaaa");
  const IdSearch search = IdSearch::Make(*type, equal).ValueOrDie();
  EXPECT_EQ(search.size(), 1u);
  EXPECT_TRUE(search.Contains("aaaaaaaa"));
  EXPECT_FALSE(search.Contains("aaaaaaab"));
  EXPECT_FALSE(search.Contains("aaaaaaaaaaaaaaaa"));
  EXPECT_THAT(Find(search, *column, 0, 4), ElementsAre(0, 3));
  const IdSearch none = IdSearch::Make(*type, {}).ValueOrDie();
  EXPECT_THAT(Find(none, *column, 0, 4), IsEmpty());
  EXPECT_FALSE(none.Contains("aaaaaaaa"));
  std::vector<int64_t> rows = {7};
  ASSERT_TRUE(search.Find(*column->data(), 3, 1, &rows).ok());
  EXPECT_THAT(rows, ElementsAre(7, 3)) << "what was there stays";
}

TEST(IdSearch, ANullIsNoIdWhateverBytesItHas) {
  const std::vector<std::string> zero = {std::string(16, '\0')};
  const auto column = Column(arrow::fixed_size_binary(16), {std::nullopt, zero[0], std::nullopt});
  EXPECT_THAT(Find(IdSearch::Make(*column->type(), zero).ValueOrDie(), *column, 0, 3), ElementsAre(1));
}

TEST(IdSearch, RefusesWhatItCannotSearch) {
  const std::vector<std::string> ids = {"12345678"};
  EXPECT_EQ(KindOf(IdSearch::Make(*arrow::int32(), ids).status()), ErrorKind::kUnsupported);
  EXPECT_EQ(KindOf(IdSearch::Make(*arrow::fixed_size_binary(12), ids).status()), ErrorKind::kUnsupported);
  EXPECT_EQ(IdSearch::Make(*arrow::fixed_size_binary(16), ids).status().message(), "an id of 8 bytes, where they have 16");
  const std::vector<std::string> many(IdSearch::kIdsMax + 1, "12345678");
  EXPECT_EQ(KindOf(IdSearch::Make(*arrow::int64(), many).status()), ErrorKind::kTooLarge);
  const IdSearch search = IdSearch::Make(*arrow::int64(), ids).ValueOrDie();
  std::vector<int64_t> rows;
  EXPECT_EQ(KindOf(search.Find(*Column(arrow::fixed_size_binary(8), {"12345678"})->data(), 0, 1, &rows)), ErrorKind::kInvalid);
}

}  // namespace
}  // namespace sheaf::columns
