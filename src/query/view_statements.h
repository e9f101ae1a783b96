/// CREATE, DROP and REFRESH MATERIALIZED VIEW, which DuckDB's parser does not know.

#pragma once

#include <optional>
#include <string>

#include "core/status.h"
#include "query/views.h"

namespace sheaf::query {

/// The statement, where `sql` is one of these; none where it is something else. Throws what DuckDB's parser throws. Errors: Invalid,
/// Denied.
Result<std::optional<ViewStatement>> ParseViewStatement(duckdb::Connection* connection, const std::string& sql);

}  // namespace sheaf::query
