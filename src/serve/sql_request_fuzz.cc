/// Requests to POST /v1/sql, of whatever bytes: taken or refused, never a crash; what is taken is within the limits, and its
/// parameters are whole values.
///
/// The first byte says whether the body is JSON; then come a line of Accept, a line of the query string, and the body.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include <arrow/scalar.h>

#include "core/check.h"
#include "serve/service_testing.h"
#include "serve/sql_request.h"

namespace {

/// Up to the next line break, which is taken off as well.
std::string TakeLine(std::string_view* rest) {
  const size_t end = std::min(rest->find('\n'), rest->size());
  std::string line(rest->substr(0, end));
  rest->remove_prefix(std::min(end + 1, rest->size()));
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf;
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::string accept = TakeLine(&rest), query = TakeLine(&rest);
  const char* const type = data[0] % 2 == 0 ? "application/json" : "text/plain";
  const serve::FakeExchange exchange("POST", "/v1/sql", {{"content-type", type}, {"accept", accept}}, std::string(rest), query);
  constexpr serve::SqlRequestLimits kLimits{.sql_bytes_max = 1000, .timeout_ms_max = 60'000};
  const auto parsed = serve::ParseSqlRequest(exchange.request, kLimits);
  if (!parsed.ok()) {
    const ErrorKind kind = KindOf(parsed.status());
    SHEAF_CHECK(kind == ErrorKind::kInvalid || kind == ErrorKind::kTooLarge);
    return 0;
  }
  SHEAF_CHECK(static_cast<int64_t>(parsed->query.sql.size()) <= kLimits.sql_bytes_max && !parsed->query.trusted);
  SHEAF_CHECK(parsed->query.timeout_ms == -1 ||
              (parsed->query.timeout_ms >= 1 && parsed->query.timeout_ms <= kLimits.timeout_ms_max));
  for (const query::Parameter& parameter : parsed->query.parameters) {
    const auto* const scalar = std::get_if<std::shared_ptr<arrow::Scalar>>(&parameter);
    SHEAF_CHECK(scalar == nullptr || (*scalar)->ValidateFull().ok());
  }
  return 0;
}
