/// Where a database keeps what, under its directory.

#pragma once

#include <string>
#include <vector>

#include "core/status.h"
#include "io/file_system.h"

namespace sheaf::store {

/// MANIFEST-<n> and CURRENT lie in `root` itself.
struct DirectoryLayout {
  explicit DirectoryLayout(const std::string& directory)
      : root(directory),
        lock(io::Join(directory, "LOCK")),
        log(io::Join(directory, "log")),
        parts(io::Join(directory, "parts")),
        batch_ids(io::Join(directory, "batch-ids")),
        snapshots(io::Join(directory, "snapshots")),
        archive(io::Join(directory, "archive")) {}
  std::string root, lock, log, parts, batch_ids;
  std::string snapshots;  // A folder each, laid out like a database; see snapshots.h.
  std::string archive;    // Segments of the log that it no longer needs, for restoring to a point in time.
};

/// What is in a folder; nothing where it is not there.
Result<std::vector<io::FileInfo>> ListIfThere(io::FileSystem* files, const std::string& path);

/// 16 random bytes: who a database is. Its files carry them, so that foreign ones are told.
std::string NewDatabaseUuid();

}  // namespace sheaf::store
