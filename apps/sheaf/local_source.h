/// SQL in this process, as the trusted owner of the directory.

#pragma once

#include "query_source.h"

namespace sheaf::cli {

Result<std::unique_ptr<QuerySource>> OpenLocalSource(const SourceOptions& options);

}  // namespace sheaf::cli
