/// Bytes that blocks of numbers take once they are packed: as differences, laid out as Parquet's DELTA_BINARY_PACKED, and by a
/// frame of reference.

#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

namespace sheaf::columns {

inline constexpr size_t kPackedMiniblocks = 4;  // Of a block, whose size the writer chooses; here as Arrow's does.
inline constexpr int64_t kPackedBlock = 128, kPackedBlockOf64Bits = 256;

inline int64_t VarintBytes(uint64_t value) { return std::max<int64_t>((std::bit_width(value) + 6) / 7, 1); }

/// Of at most `block` differences of neighbours: the least one, a width each quarter of a block, and what they are above the
/// least. Requires: two values or more. Numbers wrap around, as the format's do.
inline int64_t DeltaBlockBytes(std::span<const int64_t> values, int64_t block) {
  const auto difference = [&](size_t i) {
    return static_cast<int64_t>(static_cast<uint64_t>(values[i + 1]) - static_cast<uint64_t>(values[i]));
  };
  const size_t count = values.size() - 1;
  int64_t least = difference(0);
  for (size_t i = 1; i < count; ++i) least = std::min(least, difference(i));
  const auto zigzag = (static_cast<uint64_t>(least) << 1) ^ static_cast<uint64_t>(least >> 63);
  const size_t miniblock = static_cast<size_t>(block) / kPackedMiniblocks;
  int64_t bytes = VarintBytes(zigzag) + static_cast<int64_t>(kPackedMiniblocks);
  for (size_t at = 0; at < count; at += miniblock) {
    uint64_t bits = 0;
    const size_t end = std::min(count, at + miniblock);
    for (size_t i = at; i < end; ++i) bits |= static_cast<uint64_t>(difference(i)) - static_cast<uint64_t>(least);
    bytes += static_cast<int64_t>(miniblock) * std::bit_width(bits) / 8;
  }
  return bytes;
}

/// Of the lowest value, 8 bytes, a width and what the values are above the lowest. Requires: a value or more.
inline int64_t FrameBlockBytes(std::span<const int64_t> values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const int width = std::bit_width(static_cast<uint64_t>(*high) - static_cast<uint64_t>(*low));
  return 9 + (static_cast<int64_t>(values.size()) * width + 7) / 8;
}

}  // namespace sheaf::columns
