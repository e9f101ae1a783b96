/// With which name and password, or token, a command comes to a server. Never from the command line, which others can read.

#pragma once

#include <string>

#include "core/status.h"

namespace sheaf::cli {

/// The value of the Authorization header: of SHEAF_TOKEN (or the file that SHEAF_TOKEN_FILE names), or of `user` (empty:
/// SHEAF_USER) with SHEAF_PASSWORD (or SHEAF_PASSWORD_FILE). Empty where none of them is set. Errors: Invalid (a user without a
/// password, both a user and a token), those of reading a file.
Result<std::string> Authorization(const std::string& user = {});

}  // namespace sheaf::cli
