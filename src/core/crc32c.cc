#include "core/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace sheaf {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // Castagnoli, bits reversed.

using Table = std::array<uint32_t, 256>;

/// kSlices[k][b]: effect of byte b followed by k zero bytes.
constexpr std::array<Table, 8> MakeSlices() {
  std::array<Table, 8> slices{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ kPolynomial : crc >> 1;
    slices[0][b] = crc;
  }
  for (size_t k = 1; k < slices.size(); ++k) {
    for (uint32_t b = 0; b < 256; ++b) slices[k][b] = slices[0][slices[k - 1][b] & 0xff] ^ (slices[k - 1][b] >> 8);
  }
  return slices;
}

constexpr std::array<Table, 8> kSlices = MakeSlices();

uint64_t Load64(const std::byte* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

#if defined(__x86_64__)

/// What `zeros` zero bytes do to a CRC, as four tables, one a byte of it. Three CRCs can then run side
/// by side (the instruction takes three cycles, but one can start every cycle) and be joined.
struct ZerosOperator {
  std::array<Table, 4> tables{};

  explicit constexpr ZerosOperator(size_t zeros) {
    // The operator is linear over bits, so 32 images say it all; doubling gives powers of two.
    std::array<uint32_t, 32> power{};
    for (size_t bit = 0; bit < 32; ++bit) {
      const uint32_t crc = uint32_t{1} << bit;
      power[bit] = kSlices[0][crc & 0xff] ^ (crc >> 8);  // One zero byte.
    }
    std::array<uint32_t, 32> total{};
    for (size_t bit = 0; bit < 32; ++bit) total[bit] = uint32_t{1} << bit;
    for (; zeros != 0; zeros >>= 1) {
      if ((zeros & 1) != 0) {
        for (uint32_t& image : total) image = Times(power, image);
      }
      std::array<uint32_t, 32> squared{};
      for (size_t bit = 0; bit < 32; ++bit) squared[bit] = Times(power, power[bit]);
      power = squared;
    }
    for (size_t k = 0; k < 4; ++k) {
      for (uint32_t b = 0; b < 256; ++b) tables[k][b] = Times(total, b << (8 * k));
    }
  }

  static constexpr uint32_t Times(const std::array<uint32_t, 32>& matrix, uint32_t vector) {
    uint32_t sum = 0;
    for (size_t bit = 0; bit < 32; ++bit) {
      if ((vector >> bit & 1) != 0) sum ^= matrix[bit];
    }
    return sum;
  }

  uint32_t operator()(uint32_t crc) const {
    return tables[0][crc & 0xff] ^ tables[1][crc >> 8 & 0xff] ^ tables[2][crc >> 16 & 0xff] ^ tables[3][crc >> 24];
  }
};

constexpr size_t kLongStride = 4096, kShortStride = 256;
constexpr ZerosOperator kAfterLong(kLongStride), kAfterShort(kShortStride);

/// Three neighbouring strides at once, as often as they fit.
template <size_t kStride>
[[gnu::target("sse4.2")]] uint64_t ThreeStrides(uint64_t crc, const ZerosOperator& after, std::span<const std::byte>* bytes) {
  while (bytes->size() >= 3 * kStride) {
    uint64_t second = 0, third = 0;
    const std::byte* at = bytes->data();
    for (size_t i = 0; i < kStride; i += 8) {
      crc = _mm_crc32_u64(crc, Load64(at + i));
      second = _mm_crc32_u64(second, Load64(at + kStride + i));
      third = _mm_crc32_u64(third, Load64(at + 2 * kStride + i));
    }
    crc = after(static_cast<uint32_t>(crc)) ^ second;
    crc = after(static_cast<uint32_t>(crc)) ^ third;
    *bytes = bytes->subspan(3 * kStride);
  }
  return crc;
}

[[gnu::target("sse4.2")]] uint32_t ExtendByInstruction(uint32_t start, std::span<const std::byte> bytes) {
  uint64_t crc = ~start;
  crc = ThreeStrides<kLongStride>(crc, kAfterLong, &bytes);
  crc = ThreeStrides<kShortStride>(crc, kAfterShort, &bytes);
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) crc = _mm_crc32_u64(crc, Load64(bytes.data()));
  for (const std::byte b : bytes) crc = _mm_crc32_u8(static_cast<uint32_t>(crc), static_cast<uint8_t>(b));
  return ~static_cast<uint32_t>(crc);
}

#endif

using Extend = uint32_t (*)(uint32_t, std::span<const std::byte>);

Extend Choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ExtendByInstruction;
#endif
  return ExtendCrc32cByTable;
}

}  // namespace

uint32_t ExtendCrc32cByTable(uint32_t crc, std::span<const std::byte> bytes) {
  crc = ~crc;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    const uint64_t word = Load64(bytes.data()) ^ crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kSlices[7 - k][word >> (8 * k) & 0xff];
  }
  for (const std::byte b : bytes) crc = kSlices[0][(crc ^ static_cast<uint32_t>(b)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

uint32_t ExtendCrc32c(uint32_t crc, std::span<const std::byte> bytes) {
  static const Extend extend = Choose();
  return extend(crc, bytes);
}

}  // namespace sheaf
