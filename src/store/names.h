/// Names of schemas, tables and columns: the case of ASCII letters does not count.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sheaf::store {

bool SameName(std::string_view a, std::string_view b);

/// Orders names as SameName() compares them: below 0, 0 or above 0.
int CompareNames(std::string_view a, std::string_view b);

/// The one of `known` that takes the fewest changes to become `wanted`; empty where `known` is.
std::string NearestName(const std::vector<std::string>& known, std::string_view wanted);

}  // namespace sheaf::store
