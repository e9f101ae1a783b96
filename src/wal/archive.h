/// The archive of a log: a folder to which segments move that the log no longer needs, so that a backup can be
/// brought forward to any LSN or time after it. It is a folder of segments like the log itself (no COMMIT), so
/// everything here works on a copy of the log's folder too.
///
/// Segments come by SegmentCatalog::TruncateThrough() where LogOptions::archive_directory is set. Nothing here
/// needs an open log; readers and one pruner may work while a log adds to the folder.

#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>

#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"
#include "wal/log.h"
#include "wal/segments.h"

namespace sheaf::wal {

/// "As far as the folder goes."
inline constexpr Lsn kLsnMax{std::numeric_limits<uint64_t>::max() - 1};

/// Calls `visit` for each entry with LSN in (after, through], in order and with all checks of a recovery:
/// checksums, LSNs and the chain across segments. Returns the last LSN of that range that is there; with
/// kLsnMax that is the end of the folder, where an incomplete last block is passed over.
/// Errors: NotFound (a gap: says which LSNs are missing; nothing from behind the gap was visited), Corruption (says
/// which were there and cannot be read; entries of another database), Io, or what `visit` returned.
Result<Lsn> ReadArchived(io::FileSystem* files, const std::string& directory, Lsn after, Lsn through, const Log::Replay& visit);

/// Returns the LSN to which to restore for the state at `time_ns`: the last one behind `after` before the first
/// entry that was accepted later; `after` where there is none. (Wall clocks may jump: later entries that claim an
/// earlier time do not count.) Errors as ReadArchived().
Result<Lsn> FindArchived(io::FileSystem* files, const std::string& directory, Lsn after, int64_t time_ns);

/// Removes, oldest first and durably, segments whose entries all have an LSN below `before`. The newest stays.
/// Returns the bytes that came free.
Result<int64_t> PruneArchive(io::FileSystem* files, const std::string& directory, Lsn before);

/// Moves `segment` to the folder, which must be on the same file system: linked there and the folder synced before
/// the name in the log's folder goes. May be called again after a crash in between.
/// AlreadyExists where the archive has another segment of that name (of another life of this database): nothing
/// was changed then.
Status MoveToArchive(io::FileSystem* files, const SegmentFile& segment, const std::string& log_directory,
                     const std::string& archive_directory);

}  // namespace sheaf::wal
