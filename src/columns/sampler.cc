#include "columns/sampler.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

#define HWY_DISABLE_PCLMUL_AES 1  // See id_search_kernels.cc.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "columns/sampler.cc"
#include <hwy/foreach_target.h>  // Reads this file once for each instruction set.

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sheaf::columns::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Numbers = hn::ScalableTag<int64_t>;  // Signed, since those are compared everywhere; 2^56 is far from the sign.

/// The random bits of as many ids at `ids` as there are numbers in a vector, in their order.
template <TraceIdOrder kOrder>
HWY_INLINE hn::Vec<Numbers> RandomBits(Numbers d, const uint8_t* ids) {
  const hn::Repartition<uint8_t, Numbers> bytes;
  const auto first = hn::BitCast(d, hn::LoadU(bytes, ids)), second = hn::BitCast(d, hn::LoadU(bytes, ids + hn::Lanes(bytes)));
  if constexpr (kOrder == TraceIdOrder::kNumbers) {
    return hn::And(hn::ConcatEven(d, second, first), hn::Set(d, static_cast<int64_t>(kSamplingRange - 1)));
  } else {
    constexpr uint8_t kZero = 0x80;  // An index that gives zero: in place of the byte that is not random.
    alignas(16) static constexpr uint8_t kReversed[16] = {7, 6, 5, 4, 3, 2, 1, kZero, 15, 14, 13, 12, 11, 10, 9, kZero};
    const auto low_halves = hn::BitCast(bytes, hn::ConcatOdd(d, second, first));
    return hn::BitCast(d, hn::TableLookupBytesOr0(low_halves, hn::LoadDup128(bytes, kReversed)));
  }
}

/// Of `rows` ids, a multiple of 64. `Thresholds` gives a vector of thresholds for a row and those behind it.
template <TraceIdOrder kOrder, typename Thresholds>
HWY_INLINE void Sample(const uint8_t* ids, size_t rows, const Thresholds& thresholds, uint64_t* kept) {
  const Numbers d;
  const size_t lanes = hn::Lanes(d);
  for (size_t block = 0; block < rows; block += 64) {
    uint64_t bits = 0;
    for (size_t i = 0; i < 64; i += lanes) {
      const auto rejected = hn::Lt(RandomBits<kOrder>(d, ids + (block + i) * 16), thresholds(d, block + i));
      uint8_t some[8] = {};
      hn::StoreMaskBits(d, rejected, some);
      bits |= uint64_t{some[0]} << i;
    }
    kept[block / 64] = ~bits;
  }
}

struct OneThreshold {
  int64_t threshold;
  HWY_INLINE hn::Vec<Numbers> operator()(Numbers d, size_t) const { return hn::Set(d, threshold); }
};

struct EachThreshold {
  const int64_t* thresholds;
  HWY_INLINE hn::Vec<Numbers> operator()(Numbers d, size_t row) const { return hn::LoadU(d, thresholds + row); }
};

void SampleByOne(TraceIdOrder order, const uint8_t* ids, size_t rows, int64_t threshold, uint64_t* kept) {
  const OneThreshold one{threshold};
  if (order == TraceIdOrder::kBytes) return Sample<TraceIdOrder::kBytes>(ids, rows, one, kept);
  Sample<TraceIdOrder::kNumbers>(ids, rows, one, kept);
}

void SampleByEach(TraceIdOrder order, const uint8_t* ids, size_t rows, const int64_t* thresholds, uint64_t* kept) {
  const EachThreshold each{thresholds};
  if (order == TraceIdOrder::kBytes) return Sample<TraceIdOrder::kBytes>(ids, rows, each, kept);
  Sample<TraceIdOrder::kNumbers>(ids, rows, each, kept);
}

}  // namespace sheaf::columns::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sheaf::columns {
namespace {

HWY_EXPORT(SampleByOne);
HWY_EXPORT(SampleByEach);

static_assert(HWY_MAX_BYTES <= 64 * 8, "a vector's bits are taken from one byte, and 64 rows hold whole vectors");

/// The rows behind the last 64.
template <typename ThresholdOf>
void SampleRest(TraceIdOrder order, const uint8_t* ids, int64_t first, int64_t rows, const ThresholdOf& threshold_of,
                uint64_t* kept) {
  if (first == rows) return;
  uint64_t bits = 0;
  for (int64_t row = first; row < rows; ++row) {
    const uint8_t* const id = ids + row * 16;
    uint64_t random = 0;
    if (order == TraceIdOrder::kBytes) {
      random = TraceRandomness(id);
    } else {
      for (int i = 6; i >= 0; --i) random = random << 8 | id[i];
    }
    bits |= uint64_t{random >= threshold_of(row)} << (row - first);
  }
  kept[first / 64] = bits;
}

}  // namespace

uint64_t SamplingThreshold(double probability, int digits) {
  SHEAF_CHECK(probability >= 0 && probability <= 1 && digits >= 1 && digits <= kSamplingDigitsMax);
  if (probability == 1) return 0;
  // A leading hex digit 0 or f for every four binary places that the probability, or its complement, is small.
  int small = 0, complement_small = 0;
  std::frexp(probability, &small);
  std::frexp(1 - probability, &complement_small);
  const int kept_digits = std::min(kSamplingDigitsMax, digits + std::max(small / -4, complement_small / -4));
  // The probability is scaled, and not its complement: near 0, where it matters, a double has more digits.
  uint64_t threshold = kSamplingRange - static_cast<uint64_t>(std::llround(probability * static_cast<double>(kSamplingRange)));
  const int rest_bits = 4 * (kSamplingDigitsMax - kept_digits);
  if (rest_bits > 0) threshold = (threshold + (uint64_t{1} << (rest_bits - 1))) >> rest_bits << rest_bits;
  return threshold;
}

double AdjustedCount(uint64_t threshold) {
  if (threshold >= kSamplingRange) return 0;
  return 1.0 / (static_cast<double>(kSamplingRange - threshold) / static_cast<double>(kSamplingRange));
}

void SampleTraces(TraceIdOrder order, const uint8_t* ids, int64_t rows, uint64_t threshold, uint64_t* kept) {
  SHEAF_CHECK(rows >= 0 && threshold <= kSamplingRange);
  const int64_t whole = rows / 64 * 64;
  HWY_DYNAMIC_DISPATCH(SampleByOne)(order, ids, static_cast<size_t>(whole), static_cast<int64_t>(threshold), kept);
  SampleRest(order, ids, whole, rows, [&](int64_t) { return threshold; }, kept);
}

void SampleTraces(TraceIdOrder order, const uint8_t* ids, int64_t rows, const uint64_t* thresholds, uint64_t* kept) {
  SHEAF_CHECK(rows >= 0);
  const int64_t whole = rows / 64 * 64;
  const auto* numbers = reinterpret_cast<const int64_t*>(thresholds);
  HWY_DYNAMIC_DISPATCH(SampleByEach)(order, ids, static_cast<size_t>(whole), numbers, kept);
  SampleRest(order, ids, whole, rows, [&](int64_t row) { return thresholds[row]; }, kept);
}

}  // namespace sheaf::columns
#endif  // HWY_ONCE
