/// Parts of an older version of a table's columns, read as if they were of the newest.

#pragma once

#include <cstdint>
#include <memory>

#include <arrow/type.h>

#include "columns/granules.h"
#include "core/status.h"
#include "store/table.h"

namespace sheaf::store {

/// The columns that version `version` of the table has or had. Error: Corruption (there is no such version).
Result<std::shared_ptr<arrow::Schema>> SchemaOf(const TableInfo& table, uint32_t version);

/// `file`, whose rows are of version `version`, with the columns that the table has now: those that came later have their fill,
/// those that went are left out, widened ones are widened when read. Errors: Corruption, Unsupported.
Result<std::shared_ptr<const columns::GranuleSource>> ReadAs(std::shared_ptr<const columns::GranuleSource> file, uint32_t version,
                                                             const TableInfo& table);

}  // namespace sheaf::store
