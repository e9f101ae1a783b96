/// Ids to lower-case hex text and back. Upper-case hex is read, lower case is written.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sheaf {

/// Returns two lower-case hex digits for each byte.
std::string ToHex(std::string_view bytes);
/// Writes 2 * bytes.size() digits at `out`.
void ToHex(std::string_view bytes, char* out);
/// Returns the bytes, or nothing where `text` has an odd length or anything but hex digits.
std::optional<std::string> FromHex(std::string_view text);

}  // namespace sheaf
