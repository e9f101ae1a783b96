#include "access/credentials.h"

#include <utility>

#include "access/password.h"
#include "access/user_table.h"
#include "wire/base64.h"
#include "wire/http_text.h"

namespace sheaf::access {
namespace {

constexpr size_t kHeaderBytesMax = 64 + 4 * (kUserNameBytesMax + 1 + kPasswordBytesMax) / 3;

}  // namespace

std::optional<Credentials> ParseAuthorization(std::string_view header) {
  const size_t space = header.find(' ');
  if (space == std::string_view::npos || header.size() > kHeaderBytesMax) return std::nullopt;
  const std::string scheme = wire::LowerCase(header.substr(0, space));
  std::string_view rest = header.substr(space);
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  while (rest.ends_with(' ')) rest.remove_suffix(1);
  if (rest.empty()) return std::nullopt;
  if (scheme == "bearer") return BearerCredentials{std::string(rest)};
  if (scheme != "basic") return std::nullopt;
  const std::optional<std::string> decoded = wire::FromBase64(rest);
  if (!decoded) return std::nullopt;
  const size_t colon = decoded->find(':');
  if (colon == std::string::npos) return std::nullopt;
  return BasicCredentials{decoded->substr(0, colon), decoded->substr(colon + 1)};
}

}  // namespace sheaf::access
