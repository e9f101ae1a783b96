/// Table definitions to what the manifest keeps of them, and back.

#pragma once

#include <memory>

#include "parts/manifest.h"
#include "store/database.h"

namespace sheaf::store {

/// Settings go into JSON with columns by name; all of it is in docs/formats/manifest.md.
Result<parts::TableRecord> ToRecord(const TableInfo& table);

/// Errors: Corruption (not what ToRecord() writes), Unsupported (settings of a newer program).
Result<TableInfo> FromRecord(const parts::TableRecord& record);

}  // namespace sheaf::store
