/// Headers that users add to the requests of a client, such as credentials.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/status.h"

namespace sheaf::client {

using RequestHeaders = std::vector<std::pair<std::string, std::string>>;  // Names in lower case.

/// Reads "NAME:VALUE", with the name in lower case and spaces around the value left out. Error: Invalid; values are not told, since
/// they may be secrets.
Result<std::pair<std::string, std::string>> ParseRequestHeader(std::string_view text);

/// Checks that headers are fit to be sent as they are: names are tokens of HTTP and none that the client sets itself, values are
/// printable ASCII, and all together are at most 16 KiB. Error: Invalid (names the header, and not its value).
Status CheckRequestHeaders(const RequestHeaders& headers);

}  // namespace sheaf::client
