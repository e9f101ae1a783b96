/// Table sheaf.columns: what the values of each column are like in each part, how they are stored and why so.

#pragma once

#include "query/system_tables.h"
#include "store/database.h"

namespace sheaf::query {

/// Of rows in parts: rows that are still in memory are not counted. Borrows `database`.
SystemTable ColumnsTable(const store::Database* database);

}  // namespace sheaf::query
