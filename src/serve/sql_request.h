/// POST /v1/sql: from an HTTP request to a statement and the form of its answer.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/status.h"
#include "query/engine.h"
#include "query/formats.h"
#include "serve/transport.h"

namespace sheaf::serve {

struct SqlRequest {
  query::QueryRequest query;        // Never trusted.
  query::Format format = query::Format::kJson;
};

struct SqlRequestLimits {
  int64_t sql_bytes_max = int64_t{1} << 20;
  int64_t timeout_ms_max = 0;       // 0: none.
};

/// Reads the body (JSON {"sql", "params", "timeout_ms"} where the Content-Type says so, else SQL text), the query string
/// (format, timeout_ms) and Accept. Errors: Invalid, TooLarge.
Result<SqlRequest> ParseSqlRequest(const HttpRequest& request, const SqlRequestLimits& limits);

/// The format that `accept` likes best; JSON where it is empty or takes anything. Invalid where none is known.
Result<query::Format> ChooseFormat(std::string_view accept);

/// The value of `name` in a raw query string, decoded. Invalid where it is not well-formed.
Result<std::optional<std::string>> QueryValue(std::string_view query, std::string_view name);

}  // namespace sheaf::serve
