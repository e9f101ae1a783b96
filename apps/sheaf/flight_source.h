/// SQL at a server, over Arrow Flight SQL.

#pragma once

#include "query_source.h"

namespace sheaf::cli {

Result<std::unique_ptr<QuerySource>> OpenFlightSource(const SourceOptions& options);

}  // namespace sheaf::cli
