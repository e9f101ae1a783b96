/// Table sheaf.attributes: which keys the attributes of each table have.

#pragma once

#include "query/system_tables.h"
#include "store/database.h"

namespace sheaf::query {

/// Of rows in parts: rows that are still in memory are not counted. Borrows `database`.
SystemTable AttributesTable(const store::Database* database);

}  // namespace sheaf::query
