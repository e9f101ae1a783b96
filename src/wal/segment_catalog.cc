#include "wal/segment_catalog.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/test_hooks.h"
#include "wal/archive.h"
#include "wal/log_metrics.h"
#include "wal/segment_reader.h"

namespace sheaf::wal {

SegmentCatalog::SegmentCatalog(io::FileSystem* files, std::string directory, std::string archive_directory, std::vector<Segment> segments)
    : files_(files), directory_(std::move(directory)), archive_directory_(std::move(archive_directory)), segments_(std::move(segments)) {}

void SegmentCatalog::Add(Segment segment) {
  const MutexLock lock(&mutex_);
  if (!segments_.empty() && segments_.back().file.first == segment.file.first) segments_.pop_back();
  SHEAF_CHECK(segments_.empty() || segments_.back().file.first < segment.file.first);
  segments_.push_back(std::move(segment));
  Publish();
}

void SegmentCatalog::Extend(const Mark& mark, int64_t end_offset) {
  const MutexLock lock(&mutex_);
  segments_.back().AddMark(mark);
  segments_.back().end_offset = end_offset;
}

Status SegmentCatalog::TruncateThrough(Lsn lsn) {
  while (true) {
    SegmentFile oldest;
    {
      const MutexLock lock(&mutex_);
      if (segments_.size() < 2 || segments_[1].file.first > lsn.Next()) return Status::OK();
      oldest = segments_.front().file;
    }
    SHEAF_RETURN_NOT_OK(Drop(oldest));
    const MutexLock lock(&mutex_);
    if (!segments_.empty() && segments_.front().file.first == oldest.first) segments_.erase(segments_.begin());
    Publish();
  }
}

/// Fine where someone else did it meanwhile.
Status SegmentCatalog::Drop(const SegmentFile& segment) const {
  if (!archive_directory_.empty()) {
    const Status moved = MoveToArchive(files_, segment, directory_, archive_directory_);
    if (moved.ok()) TheLogMetrics().archived_bytes.Add(static_cast<uint64_t>(segment.bytes));
    return moved.ok() || KindOf(moved) != ErrorKind::kNotFound ? moved : files_->SyncDirectory(directory_);
  }
  const Status removed = files_->Remove(segment.path);
  if (!removed.ok() && KindOf(removed) != ErrorKind::kNotFound) return removed;
  Failpoint("wal.segment_removed");
  return files_->SyncDirectory(directory_);
}

std::vector<SegmentCatalog::Slice> SegmentCatalog::SlicesOf(Lsn after, Lsn through) const {
  std::vector<Slice> slices;
  for (size_t i = 0; i < segments_.size(); ++i) {
    const bool newest = i + 1 == segments_.size();
    const Lsn end = newest ? through.Next() : std::min(segments_[i + 1].file.first, through.Next());
    if (end <= after.Next() || segments_[i].file.first > through) continue;
    const Mark& mark = segments_[i].MarkBefore(after.Next());
    slices.push_back({segments_[i].file.path, mark, &mark == &segments_[i].marks.front(), end});
  }
  return slices;
}

Status SegmentCatalog::Read(Lsn after, Lsn through, const Log::Replay& visit) const {
  std::vector<Slice> slices;
  {
    const MutexLock lock(&mutex_);
    if (after >= through) return Status::OK();
    if (segments_.empty() || segments_.front().file.first > after.Next()) {
      return MakeError(ErrorKind::kNotFound, "the log begins with LSN {}; {} was asked for and is no longer there",
                       segments_.empty() ? through.Next() : segments_.front().file.first, after.Next());
    }
    slices = SlicesOf(after, through);
  }
  for (const Slice& slice : slices) {
    SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<SegmentReader> reader, SegmentReader::Open(files_, slice.path));
    SHEAF_ASSIGN_OR_RETURN(const SegmentHeader header, reader->ReadHeader());
    Mark mark = slice.mark;
    if (slice.from_start) mark.chain = header.chain;
    reader->Seek(mark, header.salt);
    while (reader->mark().next < slice.end) {
      const Lsn next = reader->mark().next;
      SHEAF_ASSIGN_OR_RETURN(const std::optional<Block> block, reader->Next());
      if (!block) {
        return MakeError(ErrorKind::kCorruption, "{} at offset {}: {}; the entries with LSN {} to {} were stored and cannot be read",
                         slice.path, reader->tail().offset, reader->tail().reason, next, Lsn(slice.end.value - 1));
      }
      for (const LoggedEntry& entry : block->entries) {
        if (entry.lsn > after && entry.lsn < slice.end) SHEAF_RETURN_NOT_OK(visit(entry));
      }
    }
  }
  return Status::OK();
}

int64_t SegmentCatalog::disk_bytes() const {
  const MutexLock lock(&mutex_);
  int64_t bytes = 0;
  for (const Segment& segment : segments_) bytes += segment.file.bytes;
  return bytes;
}

void SegmentCatalog::Publish() const {
  int64_t bytes = 0;
  for (const Segment& segment : segments_) bytes += segment.file.bytes;
  TheLogMetrics().disk_bytes.Set(bytes);
}

Status RemoveLeftovers(io::FileSystem* files, const std::string& directory) {
  SHEAF_ASSIGN_OR_RETURN(const std::vector<io::FileInfo> listed, files->List(directory));
  for (const io::FileInfo& info : listed) {
    if (IsLeftover(info.name)) SHEAF_RETURN_NOT_OK(files->Remove(io::Join(directory, info.name)));
  }
  return Status::OK();
}

}  // namespace sheaf::wal
