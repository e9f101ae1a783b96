/// A new database of all that can still be read of a damaged one: for when opening refuses.
///
/// What is whole is taken as it is. Of a part with damaged blocks the other granules are written anew; of a log with damage the
/// entries of sound blocks are done again with the LSNs that they had, so that conditions and versions mean what they meant. What is
/// lost is said, by table, rows and LSNs. The damaged directory is only read.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"

namespace sheaf::store {

struct SalvageReport {
  int64_t parts_whole = 0, parts_rewritten = 0, parts_lost = 0;
  int64_t rows_lost = 0;             // In parts: of granules and parts that cannot be read, dead rows counted too.
  int64_t entries = 0;               // Of the log, done again.
  int64_t entries_lost = 0;          // As far as anyone knows.
  std::vector<std::string> losses;   // A line each: what, where, why. Empty: nothing was lost.
};
/// Called with a line about what is done next, and each loss as it is found.
using SalvageProgress = std::function<void(const std::string& line)>;

/// Makes a database in `to`, which must not be there or be empty. `directory`: a database that nobody holds.
/// Errors: NotFound (there is no manifest at all: nothing says what the files are), Corruption (no manifest can be read),
/// AlreadyExists (`to` is not empty), Unavailable (held by another process), Io (reading or writing fails for good; what is in `to`
/// must be removed then).
Result<SalvageReport> Salvage(io::FileSystem* files, io::Clock* clock, const std::string& directory, const std::string& to,
                              const SalvageProgress& progress = nullptr);

}  // namespace sheaf::store
