/// What the HTTP API makes of a request's head, whatever its path: an id for the request, and which web pages may use the server.

#pragma once

#include <set>
#include <string>
#include <string_view>

#include "core/status.h"
#include "serve/transport.h"

namespace sheaf::serve {

/// Origins of web pages, "https://tool.example" or "http://localhost:3000", in lower case.
using Origins = std::set<std::string, std::less<>>;

/// Reads origins separated by commas or spaces. Error: Invalid (names what is no origin; '*' is refused, as it would let every
/// page that a browser on this machine opens use the server).
Result<Origins> ParseOrigins(std::string_view text);

/// The client's own id where it is printable and of at most 128 characters, else a random one.
std::string RequestId(std::string_view given);

/// Gives each request an id, in its X-Request-Id and in that of its answer. Answers what browsers ask before they let a page of
/// another origin send something (CORS), for `origins`; refuses what pages of others send, since browsers send some of it
/// unasked. Only browsers name an origin, so programs are not concerned.
HeadChecker MakeHeadChecker(Origins origins);

}  // namespace sheaf::serve
