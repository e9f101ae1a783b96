/// DuckDB's errors as ours: which kind each is, and where in the text it points.

#pragma once

#include <exception>
#include <string_view>

#include "core/status.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// Keeps DuckDB's message and, where it has one, the position in `sql`, the statement's text (see ErrorPosition()).
Status FromDuckDb(const duckdb::ErrorData& error, std::string_view sql = {});

/// Runs `body`, which returns a Status or Result, and turns an exception into an error of that type.
template <typename Body>
auto WithoutExceptions(Body&& body, std::string_view sql = {}) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return MakeError(ErrorKind::kOutOfMemory, "out of memory");
  } catch (const std::exception& exception) {
    return FromDuckDb(duckdb::ErrorData(exception), sql);
  }
}

}  // namespace sheaf::query
