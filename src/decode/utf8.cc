#include "decode/utf8.h"

#include <simdjson.h>

namespace sheaf::decode {
namespace {

/// Returns the length of the valid character at `p`, or 0.
size_t CharacterLength(const uint8_t* p, size_t left) {
  const auto follows = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) { return i < left && p[i] >= low && p[i] <= high; };
  if (p[0] < 0x80) return 1;
  if (p[0] >= 0xc2 && p[0] <= 0xdf) return follows(1) ? 2 : 0;
  if (p[0] >= 0xe0 && p[0] <= 0xef) {
    const uint8_t low = p[0] == 0xe0 ? 0xa0 : 0x80;   // No overlong forms.
    const uint8_t high = p[0] == 0xed ? 0x9f : 0xbf;  // No surrogates.
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (p[0] >= 0xf0 && p[0] <= 0xf4) {
    const uint8_t low = p[0] == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = p[0] == 0xf4 ? 0x8f : 0xbf;  // Nothing above U+10FFFF.
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool IsUtf8(std::string_view text) { return IsAscii(text) || simdjson::validate_utf8(text.data(), text.size()); }

void RepairUtf8(std::string_view text, std::string* out) {
  out->clear();
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    const size_t length = CharacterLength(p + i, text.size() - i);
    if (length == 0) {
      *out += "\xef\xbf\xbd";
      ++i;
    } else {
      out->append(text.substr(i, length));
      i += length;
    }
  }
}

}  // namespace sheaf::decode
