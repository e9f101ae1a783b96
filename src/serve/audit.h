/// Lines of the log that say who did, or tried, what from where: events `audit.*`. Never what was sent as a password or token.

#pragma once

#include <string_view>

#include "access/identity.h"
#include "core/status.h"

namespace sheaf::serve {

/// A statement that is through, or was refused: written where it made, changed or removed a table, view or macro (`defined`), or
/// where its sender may not do it (Denied). `identity` may be null: nothing is written.
void AuditStatement(const access::Identity* identity, std::string_view sql, bool defined, const Status& outcome);

}  // namespace sheaf::serve
