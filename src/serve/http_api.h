/// The HTTP API of port 8080: POST /v1/sql, /metrics, and a page that says what is here. docs/http.md describes it.

#pragma once

#include <atomic>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "core/metrics.h"
#include "query/engine.h"
#include "serve/sql_request.h"
#include "serve/transport.h"
#include "store/database.h"

namespace sheaf::serve {

struct HttpApiOptions {
  SqlRequestLimits sql;
  int64_t statements_max = 32;        // In work or waiting for their turn; more get 429.
  int64_t retry_after_ms = 1000;
};

/// Thread-safe. Must outlive the transport it is registered with. Borrows engine and database.
class HttpApi {
 public:
  HttpApi(query::Engine* engine, store::Database* database, const HttpApiOptions& options);

  /// Registers its paths on `listener`; reads the transport's gauges for /metrics.
  void Register(Transport* transport, const std::string& listener);

  /// Runs one statement and answers; what the handler of POST /v1/sql does.
  void Sql(std::shared_ptr<HttpExchange> exchange);

  /// Prometheus text of all metrics of the process and of the database's state.
  std::string MetricsText();

 private:
  struct Statement;
  Status Run(Statement* statement);
  void Fail(Statement* statement, const Status& error);

  query::Engine* const engine_;        // Borrowed.
  store::Database* const database_;    // Borrowed.
  const HttpApiOptions options_;
  const Transport* transport_ = nullptr;
  std::atomic<int64_t> statements_{0};
  Histogram& seconds_;
};

/// {"code", "message", "position"}. `position`: byte of the statement that the error points at, negative where it does not.
nlohmann::json JsonOfError(const Status& error, int64_t position = -1);

/// {"error": {"code", "message", "position"}} with the code of the table, and Retry-After where it says so.
void RespondJsonError(HttpExchange* exchange, const Status& error, int64_t position, int64_t retry_after_ms, Headers headers = {});
/// The same with `body`, of JsonOfError() and what else is known.
void RespondJsonError(HttpExchange* exchange, const Status& error, const nlohmann::json& body, int64_t retry_after_ms,
                      Headers headers = {});

}  // namespace sheaf::serve
