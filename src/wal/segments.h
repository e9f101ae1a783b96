/// The segment files of a log: their names, what is known about each, and how a new one comes to be.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"
#include "wal/format.h"
#include "wal/segment_reader.h"

namespace sheaf::wal {

/// "wal-000000000000002a.log" for LSN 42.
std::string SegmentName(Lsn first);
std::optional<Lsn> ParseSegmentName(std::string_view name);

/// Files under these names were never part of the log; a crash left them behind.
bool IsLeftover(std::string_view name);

struct SegmentFile {
  Lsn first;
  std::string path;
  int64_t bytes = 0;
};

/// In order of LSN. Nothing where the folder does not exist.
Result<std::vector<SegmentFile>> ListSegments(io::FileSystem* files, const std::string& directory);

/// A segment whose header has been read or written. It holds the LSNs from `file.first` up to the next
/// segment's first; what may lie behind them in the file (a torn tail that recovery left) is not log.
struct Segment {
  SegmentFile file;
  uint64_t salt = 0;
  int64_t end_offset = kPageBytes;  // Behind the last block.
  std::vector<Mark> marks;          // Where readers may start; the first is the first block. Never empty.

  /// Remembers that a block begins at `mark`, if the last mark is far enough behind.
  void AddMark(const Mark& mark);
  /// Returns the last mark at or before `lsn`.
  const Mark& MarkBefore(Lsn lsn) const;
};

/// A file with its blocks on disk, not yet part of the log.
struct SpareSegment {
  std::unique_ptr<io::File> file;
  std::string path;
  int64_t bytes = 0;
};

/// Makes a spare of `bytes`, durable in size, so that writing into it later changes no metadata. `name`
/// tells spares apart that exist at once.
/// Unavailable when the disk is full; nothing is left behind then.
Result<SpareSegment> MakeSpare(io::FileSystem* files, const std::string& directory, std::string_view name, int64_t bytes);

}  // namespace sheaf::wal
