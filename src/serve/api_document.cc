#include "serve/api_document.h"

#include <memory>

#include "serve/answer_stream.h"

namespace sheaf::serve {

void RegisterApiDocument(Transport* transport, const std::string& listener) {
  transport->HandleHttp(listener, "GET", "/v1/openapi.json", [](const std::shared_ptr<HttpExchange>& exchange) {
    RespondWhole(exchange, {{"content-type", "application/json"}}, std::string(ApiDocument()));
  });
}

}  // namespace sheaf::serve
