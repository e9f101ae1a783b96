/// Checks every checksum of a database, for `sheaf verify`. Changes nothing.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/status.h"

namespace sheaf::cli {

struct Problem {
  std::string file, error;
};

struct DirectoryCheck {
  int64_t files = 0, bytes = 0;
  std::vector<Problem> problems;
};

/// Reads all files that the database consists of; what is damaged is a problem, not an error. `progress`
/// gets each path before it is read. Errors: NotFound (no such folder, no database in it), Unavailable (held by
/// a server), Io.
Result<DirectoryCheck> CheckDirectory(const std::string& directory, const std::function<void(const std::string& path)>& progress);

}  // namespace sheaf::cli
