#include "wal/archive.h"

#include <optional>
#include <utility>
#include <vector>

#include "core/test_hooks.h"
#include "wal/segment_scan.h"

namespace sheaf::wal {
namespace {

Status Missing(const std::string& directory, Lsn from, Lsn to) {
  return MakeError(ErrorKind::kNotFound, "{}: the entries with LSN {} to {} are missing", directory, from, to);
}

/// One pass over the segments that matter.
class ArchiveReading {
 public:
  ArchiveReading(const std::string& directory, Lsn after, Lsn through, const Log::Replay& visit)
      : directory_(directory), after_(after), through_(through), visit_(visit), next_(after.Next()) {}

  Status Run(io::FileSystem* files, const std::vector<SegmentFile>& segments) {
    SegmentScan scan(files, segments);
    for (size_t i = 0; i < segments.size() && next_ <= through_; ++i) {
      const std::optional<Lsn> end = i + 1 < segments.size() ? std::optional(segments[i + 1].first) : std::nullopt;
      SHEAF_RETURN_NOT_OK(ReadSegment(&scan, segments[i], i == 0, end));
    }
    if (next_ <= through_ && through_ != kLsnMax) return Missing(directory_, next_, through_);
    return Status::OK();
  }

  Lsn last() const { return Lsn(next_.value - 1); }

 private:
  Status ReadSegment(SegmentScan* scan, const SegmentFile& file, bool first, std::optional<Lsn> end) {
    const Result<SegmentHeader> header = scan->NextSegment();
    if (!header.ok()) return header.status();
    if (header->first_lsn != file.first.value) {
      return MakeError(ErrorKind::kCorruption, "{} says that it begins with LSN {}: it was renamed or copied", file.path,
                       header->first_lsn);
    }
    if (!first) {
      if (!SameDatabase(header->database_id, database_id_)) {
        return MakeError(ErrorKind::kCorruption, "{} belongs to another database than the segment before it", file.path);
      }
      if (header->chain != chain_) {
        return MakeError(ErrorKind::kCorruption,
                         "{} begins with chain {:08x}, but the segment before it ends with {:08x}: it belongs to another life of this "
                         "database",
                         file.path, header->chain, chain_);
      }
    }
    database_id_ = header->database_id;
    Lsn at = file.first;
    while (at <= through_) {
      SHEAF_ASSIGN_OR_RETURN(const std::optional<SegmentScan::Found> found, scan->NextBlock());
      if (!found) return CheckEnd(scan->reader(), header->salt, at, end);
      if (end && found->after.next > *end) {
        return MakeError(ErrorKind::kCorruption, "{} at offset {}: a block reaches into the next segment", file.path, found->before.offset);
      }
      for (const LoggedEntry& entry : found->block.entries) {
        if (entry.lsn <= after_ || entry.lsn > through_) continue;
        SHEAF_RETURN_NOT_OK(visit_(entry));
        next_ = entry.lsn.Next();
      }
      at = found->after.next;
      chain_ = found->after.chain;
    }
    return Status::OK();
  }

  /// Where a segment ends before the next begins, either a segment is missing or a block is damaged. At the end
  /// of the folder a bad block that none follows is a torn tail, unless more was asked for.
  Status CheckEnd(SegmentReader* reader, uint64_t salt, Lsn at, std::optional<Lsn> end) const {
    if (end && at >= *end) return Status::OK();
    const Tail& tail = reader->tail();
    SHEAF_ASSIGN_OR_RETURN(const std::optional<Lsn> later, reader->FindLaterBlock(tail.offset + kPageBytes, salt, at));
    if (later || (tail.state == TailState::kDamaged && (end || through_ != kLsnMax))) {
      return MakeError(ErrorKind::kCorruption, "{} at offset {}: {}; the entries from LSN {} on were stored and cannot be read",
                       reader->path(), tail.offset, tail.reason, at);
    }
    return end ? Missing(directory_, at, Lsn(end->value - 1)) : Status::OK();
  }

  const std::string& directory_;
  const Lsn after_, through_;
  const Log::Replay& visit_;
  Lsn next_;  // To be visited.
  uint32_t chain_ = 0;
  std::array<uint8_t, 16> database_id_{};
};

Result<std::array<std::byte, kPageBytes>> ReadPage(io::FileSystem* files, const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<io::File> file, files->Open(path, io::OpenMode::kRead));
  std::array<std::byte, kPageBytes> page{};
  SHEAF_RETURN_NOT_OK(file->ReadAt(0, page).status());
  return page;
}

}  // namespace

Result<Lsn> ReadArchived(io::FileSystem* files, const std::string& directory, Lsn after, Lsn through, const Log::Replay& visit) {
  if (after >= through) return after;
  SHEAF_ASSIGN_OR_RETURN(std::vector<SegmentFile> segments, ListSegments(files, directory));
  size_t start = 0;  // The last segment that begins at or below after + 1.
  while (start + 1 < segments.size() && segments[start + 1].first <= after.Next()) ++start;
  if (segments.empty()) {
    if (through != kLsnMax) return Missing(directory, after.Next(), through);
    SHEAF_RETURN_NOT_OK(files->Stat(directory).status());  // A folder that is not there is no empty archive.
    return after;
  }
  if (segments[start].first > after.Next()) {
    return Missing(directory, after.Next(), std::min(through, Lsn(segments[start].first.value - 1)));
  }
  segments.erase(segments.begin(), segments.begin() + static_cast<int64_t>(start));
  ArchiveReading reading(directory, after, through, visit);
  SHEAF_RETURN_NOT_OK(reading.Run(files, segments));
  return reading.last();
}

Result<Lsn> FindArchived(io::FileSystem* files, const std::string& directory, Lsn after, int64_t time_ns) {
  Lsn last = after;
  bool later = false;
  const auto visit = [&](const LoggedEntry& entry) {
    if (entry.time_ns > time_ns) {
      later = true;
      return MakeError(ErrorKind::kNotFound, "later");  // Ends the reading.
    }
    last = entry.lsn;
    return Status::OK();
  };
  const Result<Lsn> end = ReadArchived(files, directory, after, kLsnMax, visit);
  if (!end.ok() && !later) return end.status();
  return last;
}

Result<int64_t> PruneArchive(io::FileSystem* files, const std::string& directory, Lsn before) {
  SHEAF_ASSIGN_OR_RETURN(const std::vector<SegmentFile> segments, ListSegments(files, directory));
  int64_t freed = 0;
  for (size_t i = 0; i + 1 < segments.size() && segments[i + 1].first <= before; ++i) {
    SHEAF_RETURN_NOT_OK(files->Remove(segments[i].path));
    SHEAF_RETURN_NOT_OK(files->SyncDirectory(directory));  // Each: a crash must not leave a gap.
    freed += segments[i].bytes;
  }
  return freed;
}

Status MoveToArchive(io::FileSystem* files, const SegmentFile& segment, const std::string& log_directory,
                     const std::string& archive_directory) {
  const std::string to = io::Join(archive_directory, SegmentName(segment.first));
  const Status linked = files->Link(segment.path, to);
  if (!linked.ok() && KindOf(linked) == ErrorKind::kAlreadyExists) {  // Left by a crash, or something else?
    SHEAF_ASSIGN_OR_RETURN(const auto ours, ReadPage(files, segment.path));
    SHEAF_ASSIGN_OR_RETURN(const auto theirs, ReadPage(files, to));
    if (ours != theirs) {  // The page holds the segment's salt.
      return MakeError(ErrorKind::kAlreadyExists, "{} is another segment than {}; give this database an archive folder of its own", to,
                       segment.path);
    }
  } else {
    SHEAF_RETURN_NOT_OK(linked);
  }
  Failpoint("wal.segment_archived");
  SHEAF_RETURN_NOT_OK(files->SyncDirectory(archive_directory));
  SHEAF_RETURN_NOT_OK(files->Remove(segment.path));
  Failpoint("wal.archived_segment_removed");
  return files->SyncDirectory(log_directory);
}

}  // namespace sheaf::wal
