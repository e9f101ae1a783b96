/// What stands in the place of a part that is damaged: everything that is known of it without its files, and an error for
/// whoever wants to read it. So a table with a damaged part can still be written to, and read where the part does not matter.
///
/// Once a part of a keyed table is set aside, later writes are not looked up in it any more: which of its rows they replaced is
/// not known. The manifest says so (docs/formats/manifest.md, "damaged"), and it stays set aside even if its files come back.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/status.h"
#include "parts/part.h"
#include "store/table.h"

namespace sheaf::store {

struct Part;

/// `damage`: why it cannot be read; names file and place.
std::shared_ptr<const Part> DamagedPart(const TableInfo& table, parts::PartInfo info, std::string damage);

/// Corruption, where a look-up of `key` would have to ask the damaged part.
Status CheckNotNeeded(const Part& damaged, std::string_view key);

/// True for errors that mean damage of a file: what it holds, or that it is not there.
bool IsDamage(const Status& status);

}  // namespace sheaf::store
