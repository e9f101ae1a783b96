/// CRC-32C (Castagnoli), the checksum of everything that Sheaf stores in small pieces: log blocks,
/// headers, manifests. It finds damage; it does not name contents (parts use a longer digest).

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sheaf {

/// Returns the CRC of the bytes that gave `crc`, followed by `bytes`. An empty beginning has CRC 0.
/// Uses the processor's instruction where there is one: about 20 bytes a nanosecond.
uint32_t ExtendCrc32c(uint32_t crc, std::span<const std::byte> bytes);

inline uint32_t Crc32c(std::span<const std::byte> bytes) { return ExtendCrc32c(0, bytes); }

/// The same by tables alone; for processors without the instruction, and to test the other.
uint32_t ExtendCrc32cByTable(uint32_t crc, std::span<const std::byte> bytes);

}  // namespace sheaf
