/// Base64 (RFC 4648), standard alphabet; reading takes the URL-safe one too.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sheaf::wire {

/// Appends the padded text of `bytes`.
void AppendBase64(std::string_view bytes, std::string* out);

/// Returns the bytes, or nothing where `text` is not base64. '=' at the end may be missing.
std::optional<std::string> FromBase64(std::string_view text);

}  // namespace sheaf::wire
