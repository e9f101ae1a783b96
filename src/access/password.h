/// Passwords: hashed with Argon2id (RFC 9106) and kept as PHC strings, `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/status.h"

namespace sheaf::access {

/// Longer ones are refused: the hash reads all of them.
inline constexpr size_t kPasswordBytesMax = 1024;
/// Shorter ones are not given to users.
inline constexpr size_t kPasswordBytesMin = 8;

/// Hashes with a new random salt: 19 MiB of memory, some tens of milliseconds. Errors: Invalid (too short, too long, a line
/// break), OutOfMemory, Internal. Thread-safe.
Result<std::string> HashPassword(std::string_view password);

/// A hash that is nobody's, as costly to check as those of HashPassword(): for names that there are not.
std::string StandInHash();

/// Whether `hash` is a PHC string that VerifyPassword() takes: Argon2id, of parameters that cost no more than 1 GiB and 64
/// passes. Error: Invalid.
Status CheckPasswordHash(std::string_view hash);

/// Whether `hash` is that of `password`. Takes as much time and memory as the hash says; compares in constant time. Errors:
/// Invalid (not a PHC string), OutOfMemory. Thread-safe.
Result<bool> VerifyPassword(const std::string& hash, std::string_view password);

}  // namespace sheaf::access
