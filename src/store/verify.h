/// Checks every checksum of a database that nobody holds, for `sheaf verify` and tests. Changes nothing.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/status.h"
#include "io/file_system.h"

namespace sheaf::store {

struct DirectoryProblem {
  std::string file, error;
};

struct DirectoryCheck {
  int64_t files = 0, bytes = 0;
  std::vector<DirectoryProblem> problems;
};

/// Reads all files that the database consists of; what is damaged is a problem, not an error. `progress`
/// gets each path before it is read. Errors: NotFound (no such folder, no database in it), Unavailable (held by
/// a server), Io.
/// `snapshots`: those in the directory too, and the archived log. They share most files with the database, which are then read again.
Result<DirectoryCheck> VerifyDirectory(io::FileSystem* files, const std::string& directory,
                                       const std::function<void(const std::string& path)>& progress = nullptr, bool snapshots = true);

}  // namespace sheaf::store
