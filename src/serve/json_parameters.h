/// Parameters of a statement as JSON has them.

#pragma once

#include <cstddef>

#include <nlohmann/json.hpp>

#include "core/status.h"
#include "query/engine.h"

namespace sheaf::serve {

/// Most values of one array.
inline constexpr size_t kArrayValuesMax = 100'000;

/// `value` is null, a boolean, a number of 64 bits, a text, an array of one of these kinds (a list in SQL), or {"type":
/// "DECIMAL(18,6)", "value": …} for a value of a type that JSON does not have; docs/http.md lists them. `index`: which parameter
/// it is, for errors. Errors: Invalid (names the parameter; nothing is rounded or cut), TooLarge.
Result<query::Parameter> ReadJsonParameter(const nlohmann::json& value, size_t index);

}  // namespace sheaf::serve
