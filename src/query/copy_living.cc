#include "query/copy_living.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sheaf::query {

namespace {

/// Up to this many of a word's 64 rows are copied one by one: that takes less than looking at all of them.
constexpr int kFew = 8;

template <typename T>
T* CopyFew(const T* from, uint64_t alive, T* to) {
  for (; alive != 0; alive &= alive - 1) *to++ = from[std::countr_zero(alive)];
  return to;
}

/// The processor that every build runs on: one value after the other.
struct OneByOne {
  static constexpr int kLanes = 1;
  template <typename T>
  static T* CopyWord(const T* from, uint64_t alive, T* to) {
    return CopyFew(from, alive, to);
  }
};

template <typename Processor, typename T>
inline __attribute__((always_inline)) void CopyAll(const T* from, const uint64_t* dead, int64_t rows, T* to, int64_t room) {
  const T* const end = to + room;
  int64_t row = 0;
  for (; row + 64 <= rows; row += 64, ++dead) {
    const uint64_t alive = ~*dead;
    const int living = std::popcount(alive);
    if (living == 64) {
      std::memcpy(to, from + row, 64 * sizeof(T));
      to += 64;
    } else if (living <= kFew || end - to < living + Processor::kLanes) {
      to = CopyFew(from + row, alive, to);
    } else {
      to = Processor::CopyWord(from + row, alive, to);
    }
  }
  if (row < rows) CopyFew(from + row, ~*dead & ((uint64_t{1} << (rows - row)) - 1), to);
}

#if defined(__x86_64__)

/// For each combination of living lanes: where the lanes of the result come from, the living ones first.
template <size_t kLanes, size_t kPieces, typename Index>
constexpr auto MakePermutations() {
  std::array<std::array<Index, kLanes * kPieces>, size_t{1} << kLanes> table{};
  for (size_t bits = 0; bits < table.size(); ++bits) {
    size_t lane = 0;
    for (size_t from = 0; from < kLanes; ++from) {
      if ((bits >> from & 1) == 0) continue;
      for (size_t piece = 0; piece < kPieces; ++piece) table[bits][lane * kPieces + piece] = static_cast<Index>(from * kPieces + piece);
      ++lane;
    }
  }
  return table;
}
alignas(32) constexpr auto kPermutations64 = MakePermutations<4, 2, uint32_t>();
alignas(32) constexpr auto kPermutations32 = MakePermutations<8, 1, uint8_t>();

/// Asks for memory this far ahead of what is copied: while DuckDB computes with one chunk, the beginning of the next one arrives.
constexpr size_t kAheadBytes = 8192;

/// Once a cache line. What lies behind the end of the column is not touched by asking for it.
template <typename T>
inline void AskAhead(const T* from, int lane) {
  constexpr int kCacheLine = 64 / sizeof(T);
  if (lane % kCacheLine == 0) __builtin_prefetch(reinterpret_cast<const char*>(from + lane) + kAheadBytes);
}

/// Eight or four values at a step, without a branch: the living ones are moved to the front and all are stored; the next step
/// overwrites the rest.
struct Avx2 {
  static constexpr int kLanes = 8;

  __attribute__((target("avx2,bmi,popcnt"))) static uint32_t* CopyWord(const uint32_t* from, uint64_t alive, uint32_t* to) {
    for (int lane = 0; lane < 64; lane += 8, alive >>= 8) {
      AskAhead(from, lane);
      const auto* places = reinterpret_cast<const __m128i*>(kPermutations32[alive & 255].data());
      const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + lane));
      const __m256i moved = _mm256_permutevar8x32_epi32(values, _mm256_cvtepu8_epi32(_mm_loadl_epi64(places)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), moved);
      to += std::popcount(alive & 255);
    }
    return to;
  }
  __attribute__((target("avx2,bmi,popcnt"))) static uint64_t* CopyWord(const uint64_t* from, uint64_t alive, uint64_t* to) {
    for (int lane = 0; lane < 64; lane += 4, alive >>= 4) {
      AskAhead(from, lane);
      const auto* places = reinterpret_cast<const __m256i*>(kPermutations64[alive & 15].data());
      const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + lane));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permutevar8x32_epi32(values, _mm256_load_si256(places)));
      to += std::popcount(alive & 15);
    }
    return to;
  }
};

template <typename T>
__attribute__((target("avx2,bmi,popcnt"))) void CopyAllAvx2(const T* from, const uint64_t* dead, int64_t rows, T* to, int64_t room) {
  CopyAll<Avx2>(from, dead, rows, to, room);
}

const bool kHasAvx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");

template <typename T>
void CopyOnThisProcessor(const T* from, const uint64_t* dead, int64_t rows, T* to, int64_t room) {
  if (kHasAvx2) return CopyAllAvx2(from, dead, rows, to, room);
  CopyAll<OneByOne>(from, dead, rows, to, room);
}

#else

template <typename T>
void CopyOnThisProcessor(const T* from, const uint64_t* dead, int64_t rows, T* to, int64_t room) {
  CopyAll<OneByOne>(from, dead, rows, to, room);
}

#endif

}  // namespace

void CopyLiving(const uint32_t* from, const uint64_t* dead, int64_t rows, uint32_t* to, int64_t room) {
  CopyOnThisProcessor(from, dead, rows, to, room);
}

void CopyLiving(const uint64_t* from, const uint64_t* dead, int64_t rows, uint64_t* to, int64_t room) {
  CopyOnThisProcessor(from, dead, rows, to, room);
}

void CopyLivingOneByOne(const uint32_t* from, const uint64_t* dead, int64_t rows, uint32_t* to, int64_t room) {
  CopyAll<OneByOne>(from, dead, rows, to, room);
}

void CopyLivingOneByOne(const uint64_t* from, const uint64_t* dead, int64_t rows, uint64_t* to, int64_t room) {
  CopyAll<OneByOne>(from, dead, rows, to, room);
}

}  // namespace sheaf::query
