/// What a statement gives and takes, found out by planning it; and values for its parameters.

#pragma once

#include <string>

#include "core/status.h"
#include "query/duckdb_headers.h"
#include "query/engine.h"
#include "query/instance.h"
#include "query/kept_sql.h"

namespace sheaf::query {

/// As DuckDB takes a parameter. Throws what DuckDB throws. Error: Unsupported (a type that SQL does not have).
Result<duckdb::Value> ToValue(const Parameter& parameter);

/// See Engine::Describe(). Nothing of the statement runs. Throws what DuckDB throws.
Result<StatementShape> DescribeStatement(Session* session, const QueryRequest& request, const KeptSet& kept);

}  // namespace sheaf::query
