/// What a statement from a client may do: read and write our tables, and nothing else. The server's files, network,
/// settings, environment and secrets are out of reach.

#pragma once

#include <string_view>

#include "core/status.h"
#include "query/duckdb_headers.h"
#include "query/kept_sql.h"

namespace sheaf::query {

/// Checks a statement before it is parsed, which takes the square of how many ANDs, ORs and UNIONs are in it. Error: TooLarge.
Status CheckText(std::string_view sql);

/// Checks a parsed statement, sub-queries, the inside of EXPLAIN and that of the views and macros of `kept` included; WITH … AS NOT
/// MATERIALIZED becomes a mere AS. Errors: Denied (says what is refused and what is allowed), TooLarge (what no time-out could stop
/// while it is planned), Invalid (a view or macro that uses itself).
Status CheckStatement(const duckdb::SQLStatement& statement, const KeptSet& kept);

/// The same for what a view or macro stands for, whoever made it. `kept` holds it.
Status CheckKept(const KeptEntry& entry, const KeptSet& kept);

/// What not even the owner of the directory may do: BEGIN and its like, which a pool of connections could not keep. Error: Denied.
Status CheckOwnersStatement(const duckdb::SQLStatement& statement);

/// Whether a SELECT names a view or macro of `kept`, in whichever schema.
bool UsesKept(const duckdb::SelectStatement& select, const KeptSet& kept);

/// Checks a bound plan, after macros and views are expanded. Throws duckdb::PermissionException.
void CheckPlan(const duckdb::LogicalOperator& plan);

}  // namespace sheaf::query
