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

/// The same; a ready table for telemetry gets the program's own schema object and layout. Errors besides: Unsupported (another
/// version of this program has it with other columns).
Result<std::shared_ptr<const TableInfo>> TableOf(const parts::TableRecord& record);

}  // namespace sheaf::store
