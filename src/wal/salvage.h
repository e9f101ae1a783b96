/// Reads what can still be read of a damaged log: for `sheaf salvage`, when opening has refused.
///
/// Recovery stops at damage that is no torn tail, since what follows may depend on what is lost. Here the stretches that are lost
/// are named, and everything else is handed on: who asks for it has decided to go on without them.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"
#include "wal/log.h"

namespace sheaf::wal {

/// Entries that the log had and that cannot be read.
struct LostEntries {
  Lsn first;                  // Of those that are lost…
  std::optional<Lsn> last;    // …through this one; none: nobody knows, nothing sound follows. It may be a torn tail: never acknowledged.
  std::string path;           // Where they stood, as far as that is known.
  int64_t offset = 0;
  std::string reason;
};

/// Calls `visit` for each entry with LSN above `after` that is in a block without damage, in order, and `lost` for what is missing
/// between them, in order with them. A block counts wherever its header says that it belongs there, even where the segment's own header
/// or the blocks before it are damaged. Nothing is changed on disk. Errors: Io, OutOfMemory, or what `visit` returned.
Status ReadSound(io::FileSystem* files, const std::string& directory, Lsn after, const Log::Replay& visit,
                 const std::function<void(const LostEntries&)>& lost);

}  // namespace sheaf::wal
