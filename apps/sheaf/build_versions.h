/// What this program is made of; for `sheaf version` and `sheaf doctor`.

#pragma once

#include <string>
#include <utility>
#include <vector>

namespace sheaf::cli {

/// Name and version: the program first, then what it was linked with and really loaded.
std::vector<std::pair<std::string, std::string>> BuildVersions();

}  // namespace sheaf::cli
