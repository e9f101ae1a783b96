/// Functions of C++ (functions.h) as functions of DuckDB.

#pragma once

#include "core/status.h"
#include "query/duckdb_headers.h"
#include "query/functions.h"

namespace sheaf::query {

/// Registers all with an instance whose catalog is attached. `context`: of a connection to it, in no transaction. Errors: Invalid (a
/// name that is built in, given twice or no name, or nothing to call), Unsupported (a type that results of SQL do not have).
Status RegisterFunctions(duckdb::ClientContext& context, duckdb::ExtensionLoader* loader, const Functions& functions);

}  // namespace sheaf::query
