/// Reads a log back after a stop of any kind, and decides whether what stands at its end is a torn tail
/// (dropped: nobody was told that it is stored) or damage (refused: somebody was). The rules, and why,
/// are in docs/formats/wal.md.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"
#include "wal/commit_file.h"
#include "wal/log.h"
#include "wal/segments.h"

namespace sheaf::wal {

/// The last block, where nothing proves that its sync had succeeded: it must be written again before
/// anyone is told of it.
struct UndecidedBlock {
  Mark mark;  // Where it begins.
  std::vector<LoggedEntry> entries;
};

/// What was found.
struct Recovered {
  RecoveryReport report;
  std::vector<Segment> segments;  // All of them, in order; those before `applied` without marks beyond the first.
  Lsn last;                       // Last entry, or `applied` where the log is empty.
  uint32_t chain = 0;             // After it.
  std::optional<CommitState> commit;
  std::optional<UndecidedBlock> undecided;
  std::string torn_path;          // Where a torn tail was dropped, and why; empty where none was.
  int64_t torn_offset = 0;
  std::string torn_reason;
};

/// Calls `replay` for each entry above `applied`, in order. Changes nothing on disk.
/// Errors: Corruption, Unsupported, Io, or what `replay` returned.
Result<Recovered> Recover(io::FileSystem* files, const LogOptions& options, Lsn applied, Lsn durable_floor, const Log::Replay& replay);

}  // namespace sheaf::wal
