/// Where a database keeps what, under its directory.

#pragma once

#include <string>

#include "io/file_system.h"

namespace sheaf::store {

/// MANIFEST-<n> and CURRENT lie in `root` itself.
struct DirectoryLayout {
  explicit DirectoryLayout(const std::string& directory)
      : root(directory),
        lock(io::Join(directory, "LOCK")),
        log(io::Join(directory, "log")),
        parts(io::Join(directory, "parts")),
        batch_ids(io::Join(directory, "batch-ids")) {}
  std::string root, lock, log, parts, batch_ids;
};

}  // namespace sheaf::store
