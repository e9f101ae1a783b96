/// The part of URLs that the client needs: scheme, host, port, path.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/status.h"

namespace sheaf::client {

/// Where a server is. `path` has no slash at its end and is empty for the root.
struct Url {
  bool tls = false;
  std::string host;  // Without the brackets of an IPv6 address.
  uint16_t port = 0;
  std::string path;

  /// "host:port", with brackets around an IPv6 address; what goes into the Host header.
  std::string authority() const;
};

/// Reads "http://host[:port][/path]" or "https://…". The port defaults to `default_port`, or where
/// that is 0 to the scheme's own. Error: Invalid (names what is wrong, and the forms that work).
Result<Url> ParseUrl(std::string_view text, uint16_t default_port = 0);

}  // namespace sheaf::client
