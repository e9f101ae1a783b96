/// Turns an errno into an error that names the call, the path, the reason and what can be done.

#pragma once

#include <string>

#include "core/status.h"

namespace sheaf::io {

/// ENOENT is kNotFound, EEXIST kAlreadyExists; a full disk or quota and a lack of descriptors are
/// kUnavailable; everything else is kIo. `call` says what was tried, such as "open".
Status PosixError(int error, const char* call, const std::string& path);

}  // namespace sheaf::io
