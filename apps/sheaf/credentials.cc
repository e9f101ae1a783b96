#include "credentials.h"

#include <algorithm>
#include <cstdlib>

#include "access/secret.h"
#include "io/posix.h"
#include "wire/base64.h"

namespace sheaf::cli {
namespace {

constexpr int64_t kSecretFileBytesMax = 4096;

/// The variable, or the first line of the file that the variable with _FILE names; empty where neither is set.
Result<std::string> Secret(const char* name) {
  if (const char* value = std::getenv(name)) return std::string(value);
  const char* const file = std::getenv((std::string(name) + "_FILE").c_str());
  if (file == nullptr) return std::string();
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(io::PosixFileSystem(), file, kSecretFileBytesMax));
  std::string text = bytes->ToString();
  text.resize(std::min(text.size(), text.find_first_of("\r\n")));
  return text;
}

}  // namespace

Result<std::string> Authorization(const std::string& user) {
  SHEAF_ASSIGN_OR_RETURN(const std::string token, Secret("SHEAF_TOKEN"));
  if (!token.empty()) {
    if (!user.empty())
      return MakeError(ErrorKind::kInvalid, "SHEAF_TOKEN is set, which says who comes: leave --user away, or unset it");
    return "Bearer " + token;
  }
  const char* const named = std::getenv("SHEAF_USER");
  const std::string name = user.empty() && named != nullptr ? named : user;
  if (name.empty()) return std::string();
  SHEAF_ASSIGN_OR_RETURN(std::string password, Secret("SHEAF_PASSWORD"));
  if (password.empty()) {
    return MakeError(ErrorKind::kInvalid,
                     "user {} has no password here: set SHEAF_PASSWORD, or SHEAF_PASSWORD_FILE to a file that holds it", name);
  }
  std::string header = "Basic ";
  wire::AppendBase64(name + ":" + password, &header);
  access::Wipe(&password);
  return header;
}

}  // namespace sheaf::cli
