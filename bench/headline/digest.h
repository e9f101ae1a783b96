/// One number over all values of spans, as a sum, so that objects and columns may read them in their own order.

#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sheaf::bench {

/// Which field a value stands in: what its number is multiplied with. Odd.
enum class Place : uint64_t {
  kTraceId = 0x9e3779b97f4a7c15,
  kSpanId = 0xbf58476d1ce4e5b9,
  kParent = 0x94d049bb133111eb,
  kName = 0xd6e8feb86659fd93,
  kKind = 0xa0761d6478bd642f,
  kStart = 0xe7037ed1a0b428db,
  kEnd = 0x8ebc6af09c88c6e3,
  kStatus = 0x589965cc75374cc3,
  kMessage = 0x1d8e4e27c47d124f,
  kService = 0xeb44accab455d165,
  kKey = 0x2127599bf4325c37,
  kValue = 0x880355f21e6d1965,
  kEvent = 0xff51afd7ed558ccd,
  kLink = 0xc4ceb9fe1a85ec53,
};

inline uint64_t At(Place place, uint64_t value) { return static_cast<uint64_t>(place) * value; }

/// All bytes count.
inline uint64_t TextDigest(std::string_view text) {
  uint64_t sum = text.size();
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    sum += word;
  }
  uint64_t word = 0;
  for (; i < text.size(); ++i) word = word << 8 | static_cast<uint8_t>(text[i]);
  return sum + word;
}
inline uint64_t NumberDigest(int64_t value) { return static_cast<uint64_t>(value); }
inline uint64_t NumberDigest(double value) { return std::bit_cast<uint64_t>(value); }

}  // namespace sheaf::bench
