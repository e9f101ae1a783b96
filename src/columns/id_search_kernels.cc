#include "columns/id_search_kernels.h"

#include "core/check.h"

// What the program needs anyway is x86-64-v2, which has no AES; the kernels use none. SSSE3 and the newer variants of AVX-512
// would only add code.
#define HWY_DISABLE_PCLMUL_AES 1
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "columns/id_search_kernels.cc"
#include <hwy/foreach_target.h>  // Reads this file once for each instruction set.

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sheaf::columns::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Words = hn::ScalableTag<uint32_t>;
using WordVector = hn::Vec<Words>;

/// The high or low halves of the 64-bit numbers at `at`, as many as there are words in a vector, in any order.
template <bool kHigh>
HWY_INLINE WordVector HalvesOf(Words d, const uint8_t* at) {
  const hn::Repartition<uint64_t, Words> d64;
  const hn::Repartition<uint8_t, Words> d8;
  const auto first = hn::BitCast(d64, hn::LoadU(d8, at)), second = hn::BitCast(d64, hn::LoadU(d8, at + hn::Lanes(d8)));
  if (kHigh) return hn::OddEven(hn::BitCast(d, first), hn::BitCast(d, hn::ShiftRight<32>(second)));
  return hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(second)), hn::BitCast(d, first));
}

/// The words of as many ids at `at` as there are words in a vector, in any order.
template <IdLayout kLayout>
HWY_INLINE WordVector WordsOf(Words d, const uint8_t* at) {
  if constexpr (kLayout == IdLayout::kBytes16) {
    const hn::Repartition<uint64_t, Words> d64;
    const size_t bytes = hn::Lanes(hn::Repartition<uint8_t, Words>());
    const auto first = HalvesOf<true>(d, at), second = HalvesOf<true>(d, at + 2 * bytes);
    return hn::BitCast(d, hn::InterleaveUpper(d64, hn::BitCast(d64, first), hn::BitCast(d64, second)));
  } else {
    return HalvesOf < kLayout == IdLayout::kBytes8 > (d, at);
  }
}

template <size_t kCount>
HWY_INLINE hn::Mask<Words> EqualsAny(Words d, WordVector v, const uint32_t* words) {
  const auto equal = hn::Eq(v, hn::Set(d, words[kCount - 1]));
  if constexpr (kCount == 1) {
    return equal;
  } else {
    return hn::Or(EqualsAny<kCount - 1>(d, v, words), equal);
  }
}

template <IdLayout kLayout, size_t kCount>
HWY_INLINE size_t FindBlock(const uint8_t* ids, size_t rows, const uint32_t* words) {
  constexpr size_t kWidth = kLayout == IdLayout::kBytes16 ? 16 : 8;
  const Words d;
  const size_t lanes = hn::Lanes(d);
  for (size_t block = 0; block < rows; block += kIdBlockRows) {
    auto found = hn::MaskFromVec(hn::Zero(d));
    for (size_t row = block; row < block + kIdBlockRows; row += lanes) {
      found = hn::Or(found, EqualsAny<kCount>(d, WordsOf<kLayout>(d, ids + row * kWidth), words));
    }
    if (!hn::AllFalse(d, found)) return block;
  }
  return rows;
}

template <IdLayout kLayout>
HWY_INLINE size_t FindBlockOf(const uint8_t* ids, size_t rows, const uint32_t* words, size_t word_count) {
  switch (word_count) {
    case 1: return FindBlock<kLayout, 1>(ids, rows, words);
    case 4: return FindBlock<kLayout, 4>(ids, rows, words);
    default: return FindBlock<kLayout, kIdWordsMax>(ids, rows, words);
  }
}

size_t FindBlockOfAny(IdLayout layout, const uint8_t* ids, size_t rows, const uint32_t* words, size_t word_count) {
  switch (layout) {
    case IdLayout::kBytes16: return FindBlockOf<IdLayout::kBytes16>(ids, rows, words, word_count);
    case IdLayout::kBytes8: return FindBlockOf<IdLayout::kBytes8>(ids, rows, words, word_count);
    default: return FindBlockOf<IdLayout::kNumbers>(ids, rows, words, word_count);
  }
}

/// Where in WordsOf() the rows stand, in their order.
template <IdLayout kLayout>
HWY_INLINE auto OrderOf(Words d) {
  constexpr size_t kNumbers = kLayout == IdLayout::kBytes16 ? 4 : 2;  // Of 32 bits, in an id.
  HWY_ALIGN uint32_t ids[kIdLanesMax * kNumbers], rows[kIdLanesMax], order[kIdLanesMax];
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < lanes * kNumbers; ++i) ids[i] = static_cast<uint32_t>(i / kNumbers);
  hn::Store(WordsOf<kLayout>(d, reinterpret_cast<const uint8_t*>(ids)), d, rows);
  for (size_t i = 0; i < lanes; ++i) order[rows[i]] = static_cast<uint32_t>(i);
  return hn::SetTableIndices(d, order);
}

template <IdLayout kLayout>
HWY_INLINE size_t Filter(const uint8_t* ids, size_t rows, const IdBitmap& bitmap, uint32_t* passed) {
  constexpr size_t kWidth = kLayout == IdLayout::kBytes16 ? 16 : 8;
  const Words d;
  const hn::Rebind<int32_t, Words> d_index;
  const size_t lanes = hn::Lanes(d);
  const auto order = OrderOf<kLayout>(d);
  const auto one = hn::Set(d, 1u), bit_mask = hn::Set(d, 31u), factor = hn::Set(d, IdBitmap::HashOf(1));
  size_t found = 0;
  for (size_t row = 0; row < rows; row += lanes) {
    const auto words = WordsOf<kLayout>(d, ids + row * kWidth);
    const auto bits = hn::ShiftRightSame(hn::Mul(words, factor), bitmap.shift);
    const auto set = hn::GatherIndex(d, bitmap.bits, hn::BitCast(d_index, hn::ShiftRight<5>(bits)));
    const auto tested = hn::And(set, hn::Shl(one, hn::And(bits, bit_mask)));
    const auto zero = hn::Zero(d);
    if (hn::AllTrue(d, hn::Eq(tested, zero))) continue;
    const auto in_order = hn::Ne(hn::TableLookupLanes(tested, order), zero);
    found += hn::CompressStore(hn::Iota(d, static_cast<uint32_t>(row)), in_order, d, passed + found);
  }
  return found;
}

size_t FilterAny(IdLayout layout, const uint8_t* ids, size_t rows, const IdBitmap& bitmap, uint32_t* passed) {
  switch (layout) {
    case IdLayout::kBytes16: return Filter<IdLayout::kBytes16>(ids, rows, bitmap, passed);
    case IdLayout::kBytes8: return Filter<IdLayout::kBytes8>(ids, rows, bitmap, passed);
    default: return Filter<IdLayout::kNumbers>(ids, rows, bitmap, passed);
  }
}

}  // namespace sheaf::columns::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sheaf::columns {

HWY_EXPORT(FindBlockOfAny);
HWY_EXPORT(FilterAny);

size_t FindIdBlock(IdLayout layout, const uint8_t* ids, size_t rows, const uint32_t* words, size_t word_count) {
  SHEAF_CHECK(rows % kIdBlockRows == 0 && word_count == PaddedIdWords(word_count));
  return HWY_DYNAMIC_DISPATCH(FindBlockOfAny)(layout, ids, rows, words, word_count);
}

size_t FilterIds(IdLayout layout, const uint8_t* ids, size_t rows, const IdBitmap& bitmap, uint32_t* passed) {
  SHEAF_CHECK(rows % kIdBlockRows == 0);
  return HWY_DYNAMIC_DISPATCH(FilterAny)(layout, ids, rows, bitmap, passed);
}

}  // namespace sheaf::columns
#endif  // HWY_ONCE
