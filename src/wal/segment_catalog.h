/// The segments of an open log, shared by the thread that writes them and those that read or remove them.

#pragma once

#include <string>
#include <vector>

#include "core/ids.h"
#include "core/mutex.h"
#include "core/status.h"
#include "io/file_system.h"
#include "wal/log.h"
#include "wal/segments.h"

namespace sheaf::wal {

/// Thread-safe. No lock is held during I/O.
class SegmentCatalog {
 public:
  /// `archive_directory`: where segments go that are no longer needed; empty: they are removed.
  SegmentCatalog(io::FileSystem* files, std::string directory, std::string archive_directory, std::vector<Segment> segments);

  /// Adds the newest segment, or puts it in the place of one that begins at the same LSN.
  void Add(Segment segment) SHEAF_EXCLUDES(mutex_);
  /// Notes that the newest segment got a block at `mark` and ends at `end_offset` now.
  void Extend(const Mark& mark, int64_t end_offset) SHEAF_EXCLUDES(mutex_);

  /// Removes or archives segments that hold nothing above `lsn`, oldest first and each durably, so that the log
  /// never has a hole. The newest stays.
  Status TruncateThrough(Lsn lsn) SHEAF_EXCLUDES(mutex_);

  /// As Log::Read(); `through` must be durable.
  Status Read(Lsn after, Lsn through, const Log::Replay& visit) const SHEAF_EXCLUDES(mutex_);

  int64_t disk_bytes() const SHEAF_EXCLUDES(mutex_);

 private:
  /// What a reader needs of one segment.
  struct Slice {
    std::string path;
    Mark mark;
    bool from_start;  // `mark` is the first block: its chain is in the segment's header.
    Lsn end;          // First LSN that is not its own.
  };
  std::vector<Slice> SlicesOf(Lsn after, Lsn through) const SHEAF_REQUIRES(mutex_);
  Status Drop(const SegmentFile& segment) const;
  void Publish() const SHEAF_REQUIRES(mutex_);

  io::FileSystem* const files_;  // Borrowed.
  const std::string directory_, archive_directory_;
  mutable Mutex mutex_;
  std::vector<Segment> segments_ SHEAF_GUARDED_BY(mutex_);
};

/// Removes what a crash left of segments that never became part of the log.
Status RemoveLeftovers(io::FileSystem* files, const std::string& directory);

}  // namespace sheaf::wal
