/// Random bytes and digests of secrets, by OpenSSL.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/status.h"

namespace sheaf::access {

/// From the system's source of randomness. Error: Internal.
Result<std::string> RandomBytes(size_t count);

/// 32 bytes.
std::string Sha256(std::string_view bytes);
/// HMAC-SHA-256; 32 bytes.
std::string KeyedHash(std::string_view key, std::string_view bytes);

/// Overwrites what is no longer needed, so that it does not stay in memory.
void Wipe(std::string* secret);

}  // namespace sheaf::access
