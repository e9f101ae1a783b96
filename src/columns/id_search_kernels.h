/// The first, wide step of id_search.h: passes over rows whose id is certainly not wanted.
///
/// It looks at 32 bits of each id, so that a vector has as many rows as it has lanes of 32 bits. Every instruction set finds the
/// same rows. Pure functions, thread-safe.

#pragma once

#include <cstddef>
#include <cstdint>

namespace sheaf::columns {

/// How ids lie, and which of their words are looked at: of numbers the low one, of bytes the last one. What has been widened with
/// zeros in front (trace ids of 64 bits) and what begins with a time differs there.
enum class IdLayout : uint8_t { kBytes16, kBytes8, kNumbers };

inline constexpr size_t kIdBlockRows = 64;
inline constexpr size_t kIdWordsMax = 8;

/// How many words FindIdBlock() takes for `words` of them, at most kIdWordsMax: the caller repeats one to fill up.
constexpr size_t PaddedIdWords(size_t words) { return words <= 1 ? 1 : words <= 4 ? 4 : kIdWordsMax; }

/// Returns the first row of the first block with a row whose word is one of `words`, or `rows` where there is none.
/// Requires: `rows` is a multiple of kIdBlockRows; `word_count` is what PaddedIdWords() returns.
size_t FindIdBlock(IdLayout layout, const uint8_t* ids, size_t rows, const uint32_t* words, size_t word_count);

/// A set of words: a bit for each of the highest bits of their hashes.
struct IdBitmap {
  const uint32_t* bits;  // 2^(32 - shift) of them, 32 in a number.
  int shift;             // From 0 to 27.

  static uint32_t HashOf(uint32_t word) { return word * 0x9E3779B1u; }
  bool Has(uint32_t word) const {
    const uint32_t bit = HashOf(word) >> shift;
    return (bits[bit / 32] >> (bit % 32) & 1) != 0;
  }
};

inline constexpr size_t kIdLanesMax = 64;  // Numbers of 32 bits in the widest vector.

/// Puts the rows whose word is in `bitmap` into `passed`, ascending, and returns how many they are. What stands in `passed`
/// behind them, up to `rows` + kIdLanesMax numbers, may be overwritten. Requires: `rows` is a multiple of kIdBlockRows.
size_t FilterIds(IdLayout layout, const uint8_t* ids, size_t rows, const IdBitmap& bitmap, uint32_t* passed);

}  // namespace sheaf::columns
