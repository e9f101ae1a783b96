/// Our files in readable form, for `sheaf inspect`.

#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/status.h"

namespace sheaf::cli {

/// Reads and checks the file, and tells what is in it. Errors: NotFound, Invalid (not ours), Corruption.
Result<nlohmann::ordered_json> DescribeFile(const std::string& path);

/// The same as indented text.
std::string AsText(const nlohmann::ordered_json& description);

}  // namespace sheaf::cli
