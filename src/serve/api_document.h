/// The HTTP API's description of itself, OpenAPI 3.1: openapi.json of this folder, embedded at build time.

#pragma once

#include <string>
#include <string_view>

#include "serve/transport.h"

namespace sheaf::serve {

/// JSON, with the program's version.
std::string_view ApiDocument();

/// Serves it at GET /v1/openapi.json.
void RegisterApiDocument(Transport* transport, const std::string& listener);

}  // namespace sheaf::serve
