#include "access/password.h"

#include <charconv>
#include <cstdint>
#include <optional>

#include <argon2.h>

#include "access/secret.h"

namespace sheaf::access {
namespace {

// The second of OWASP's equivalent choices: little memory, for servers that check several at once.
constexpr uint32_t kMemoryKib = 19'456, kPasses = 2, kLanes = 1;
constexpr size_t kSaltBytes = 16, kHashBytes = 32;

// Of hashes that others made: what checking one may cost.
constexpr uint32_t kMemoryKibMax = 1 << 20, kPassesMax = 64, kLanesMax = 16;
constexpr size_t kPhcBytesMax = 512, kEncodedBytesMin = 11, kEncodedBytesMax = 172;  // 8 to 128 bytes in base64.

Status Malformed(const char* what) {
  return MakeError(ErrorKind::kInvalid, "not a password hash of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash: {}", what);
}

/// Takes `text` off the front of `rest`.
bool Skip(std::string_view text, std::string_view* rest) {
  if (!rest->starts_with(text)) return false;
  rest->remove_prefix(text.size());
  return true;
}

/// Takes a number of 1 to `max` off the front.
std::optional<uint32_t> ReadNumber(uint32_t max, std::string_view* rest) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(rest->data(), rest->data() + rest->size(), value);
  if (error != std::errc() || value == 0 || value > max || rest->front() == '0') return std::nullopt;
  rest->remove_prefix(static_cast<size_t>(end - rest->data()));
  return value;
}

bool IsBase64(std::string_view text) {
  if (text.size() < kEncodedBytesMin || text.size() > kEncodedBytesMax) return false;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '+' && c != '/') return false;
  }
  return true;
}

}  // namespace

Result<std::string> HashPassword(std::string_view password) {
  if (password.size() < kPasswordBytesMin || password.size() > kPasswordBytesMax) {
    return MakeError(ErrorKind::kInvalid, "a password has {} to {} bytes", kPasswordBytesMin, kPasswordBytesMax);
  }
  if (password.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    return MakeError(ErrorKind::kInvalid, "a password holds no line break");
  }
  SHEAF_ASSIGN_OR_RETURN(const std::string salt, RandomBytes(kSaltBytes));
  std::string encoded(argon2_encodedlen(kPasses, kMemoryKib, kLanes, kSaltBytes, kHashBytes, Argon2_id), '\0');
  const int error = argon2id_hash_encoded(kPasses, kMemoryKib, kLanes, password.data(), password.size(), salt.data(), salt.size(),
                                          kHashBytes, encoded.data(), encoded.size());
  if (error == ARGON2_MEMORY_ALLOCATION_ERROR) return MakeError(ErrorKind::kOutOfMemory, "no memory to hash a password");
  if (error != ARGON2_OK) return MakeError(ErrorKind::kInternal, "hashing a password failed: {}", argon2_error_message(error));
  encoded.resize(encoded.find('\0'));
  return encoded;
}

std::string StandInHash() {
  const auto zeros = [](size_t bytes) { return std::string((bytes * 8 + 5) / 6, 'A'); };  // In base64.
  return fmt::format("$argon2id$v=19$m={},t={},p={}${}${}", kMemoryKib, kPasses, kLanes, zeros(kSaltBytes), zeros(kHashBytes));
}

Status CheckPasswordHash(std::string_view hash) {
  if (hash.size() > kPhcBytesMax) return Malformed("too long");
  if (!Skip("$argon2id$v=19$m=", &hash)) return Malformed("another function or version");
  if (hash.empty() || !ReadNumber(kMemoryKibMax, &hash)) return Malformed("the memory");
  if (!Skip(",t=", &hash) || hash.empty() || !ReadNumber(kPassesMax, &hash)) return Malformed("the passes");
  if (!Skip(",p=", &hash) || hash.empty() || !ReadNumber(kLanesMax, &hash)) return Malformed("the lanes");
  if (!Skip("$", &hash)) return Malformed("no salt");
  const size_t end = hash.find('$');
  if (end == std::string_view::npos || !IsBase64(hash.substr(0, end))) return Malformed("the salt");
  return IsBase64(hash.substr(end + 1)) ? Status::OK() : Malformed("the hash");
}

Result<bool> VerifyPassword(const std::string& hash, std::string_view password) {
  SHEAF_RETURN_NOT_OK(CheckPasswordHash(hash));
  if (password.size() > kPasswordBytesMax) return false;
  const int error = argon2id_verify(hash.c_str(), password.data(), password.size());
  if (error == ARGON2_OK) return true;
  if (error == ARGON2_VERIFY_MISMATCH) return false;
  if (error == ARGON2_MEMORY_ALLOCATION_ERROR) return MakeError(ErrorKind::kOutOfMemory, "no memory to check a password");
  return Malformed(argon2_error_message(error));
}

}  // namespace sheaf::access
