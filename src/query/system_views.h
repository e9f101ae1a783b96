/// What the tables of schema `sheaf` hold: parts, settings, queries.

#pragma once

#include "query/engine.h"
#include "query/query_log.h"
#include "query/system_tables.h"
#include "store/database.h"

namespace sheaf::query {

/// Borrows all three; the tables' rows are read from them when a statement asks.
SystemTables MakeSystemTables(store::Database* database, const EngineOptions* options, const QueryLog* log);

}  // namespace sheaf::query
