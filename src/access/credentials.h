/// The Authorization header of HTTP, also as metadata of gRPC: Basic (RFC 7617) and Bearer (RFC 6750).

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace sheaf::access {

struct BasicCredentials {
  std::string user, password;
};
struct BearerCredentials {
  std::string token;
};
using Credentials = std::variant<BasicCredentials, BearerCredentials>;

/// What the header says; nothing where it is malformed, of another scheme or longer than anybody's credentials. The scheme's case
/// does not matter. Thread-safe.
std::optional<Credentials> ParseAuthorization(std::string_view header);

}  // namespace sheaf::access
