/// check_argument(condition, message): how the macros of models/ refuse arguments. True, or an error with the message where the
/// condition is false or NULL.
///
/// It says so while a statement is planned wherever the arguments are constants or parameters, so that an error does not depend on
/// there being rows to look at, and the check is gone from the plan: next to it, time ranges are pushed into scans as ever. (DuckDB's
/// error() is never evaluated early, and not at all for no rows.) Arguments that are known later, like sub-selects, are checked by row.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

void RegisterArgumentCheck(duckdb::ExtensionLoader* loader);

}  // namespace sheaf::query
