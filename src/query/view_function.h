/// The table function that readers of materialised views come to.

#pragma once

#include <chrono>

#include "query/duckdb_headers.h"
#include "query/views.h"

namespace sheaf::query {

/// Registers kViewFunction. A statement waits up to `wait` for a view to have what its snapshot has. Borrows `views`.
void RegisterViewFunction(duckdb::ExtensionLoader* loader, Views* views, std::chrono::milliseconds wait);

}  // namespace sheaf::query
