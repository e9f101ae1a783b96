/// SQL at a server, over HTTP. Results travel as an Arrow stream and are formatted here.

#pragma once

#include "query_source.h"

namespace sheaf::cli {

Result<std::unique_ptr<QuerySource>> OpenRemoteSource(const SourceOptions& options);

}  // namespace sheaf::cli
