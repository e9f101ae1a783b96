/// The statements of a request, parsed and looked at.

#pragma once

#include <string>

#include "core/status.h"
#include "query/duckdb_headers.h"
#include "query/kept_sql.h"

namespace sheaf::query {

/// At least one. Not trusted: one, as CheckStatement() allows it with the views and macros of `kept`. DuckDB's parser makes three
/// statements and a transaction of `ALTER TABLE … ADD COLUMN … DEFAULT` where the default is more than a plain literal, and `true` and
/// `DATE '2026-01-01'` are more: here it is the one that was asked for. Throws what the parser throws. Errors: Invalid (no statement),
/// Denied.
Result<duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>>> ParseStatements(duckdb::Connection* connection, const std::string& sql,
                                                                                 bool trusted, const KeptSet& kept);

}  // namespace sheaf::query
