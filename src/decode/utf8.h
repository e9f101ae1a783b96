/// Checking and repairing UTF-8. Almost all telemetry is ASCII, which is told apart first.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace sheaf::decode {

inline bool IsAscii(std::string_view text) {
  const char* p = text.data();
  size_t n = text.size();
  uint64_t bits = 0;
  for (; n >= 32; n -= 32, p += 32) {
    uint64_t words[4];
    std::memcpy(words, p, 32);
    bits |= words[0] | words[1] | words[2] | words[3];
  }
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    bits |= word;
  }
  for (; n > 0; --n, ++p) bits |= static_cast<uint8_t>(*p);
  return (bits & 0x8080808080808080ull) == 0;
}

/// Whether `text` is valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
bool IsUtf8(std::string_view text);

/// Sets `out` to `text` with every byte that belongs to no valid character replaced by U+FFFD.
void RepairUtf8(std::string_view text, std::string* out);

}  // namespace sheaf::decode
