/// The little that answers need of JSON and media types.

#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace sheaf::serve {

/// `value` as text; strings that are not UTF-8 are repaired, so this never fails.
std::string DumpJson(const nlohmann::json& value);

/// The media type of a Content-Type value, lower case, without parameters.
std::string MediaTypeOf(std::string_view content_type);

}  // namespace sheaf::serve
