/// Looks at log files without opening the log: `sheaf inspect` and `sheaf verify`.

#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"

namespace sheaf::wal {

/// Prints the header of a segment, its blocks and, with `entries`, each entry, one a line; then why it
/// stops. Of a COMMIT file, both slots. Damage is printed, not returned. Errors: Io, OutOfMemory, NotFound, Invalid (neither).
Status InspectLogFile(io::FileSystem* files, const std::string& path, bool entries, std::ostream* out);

/// What VerifyLog() found.
struct LogVerification {
  Lsn first, last;
  int64_t segments = 0, blocks = 0, entries = 0, payload_bytes = 0;
  int64_t torn_bytes = 0;             // At the end of the newest segment; fine after a crash.
  std::vector<std::string> problems;  // Damage, each with its file and offset. Empty: all is well.
};

/// Reads every segment from its beginning, applied or not, and checks every checksum, the chain through
/// all segments and the COMMIT file. Changes nothing; the log should not be open for writing meanwhile.
/// Damage is in `problems`; errors are of what could not be read: Io, OutOfMemory.
Result<LogVerification> VerifyLog(io::FileSystem* files, const std::string& directory);

}  // namespace sheaf::wal
