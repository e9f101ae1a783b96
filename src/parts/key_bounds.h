/// Short stand-ins for encoded keys: bounds of a part, separators of its granules.

#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace sheaf::parts {

/// Bytes of a part's key bounds that are kept.
inline constexpr size_t kKeyBoundBytesMax = 64;

/// At most `key`, at most kKeyBoundBytesMax bytes.
inline std::string LowerKeyBound(std::string_view key) { return std::string(key.substr(0, kKeyBoundBytesMax)); }

/// At least `key`: cut and rounded up where it is longer than kKeyBoundBytesMax, whole where that cannot be (bytes of FF only).
inline std::string UpperKeyBound(std::string_view key) {
  if (key.size() <= kKeyBoundBytesMax) return std::string(key);
  std::string out(key.substr(0, kKeyBoundBytesMax));
  while (!out.empty() && static_cast<unsigned char>(out.back()) == 0xFF) out.pop_back();
  if (out.empty()) return std::string(key);
  out.back() = static_cast<char>(static_cast<unsigned char>(out.back()) + 1);
  return out;
}

/// The shortest s with before < s <= key, a beginning of `key`. Requires: before < key.
inline std::string_view KeySeparator(std::string_view before, std::string_view key) {
  const size_t limit = std::min(before.size(), key.size());
  size_t same = 0;
  while (same < limit && before[same] == key[same]) ++same;
  return key.substr(0, same + 1);
}

}  // namespace sheaf::parts
