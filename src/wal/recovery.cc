#include "wal/recovery.h"

#include <algorithm>
#include <utility>

#include "core/test_hooks.h"
#include "wal/segment_reader.h"
#include "wal/segment_scan.h"

namespace sheaf::wal {
namespace {

/// One pass over the segments that matter.
class Recovery {
 public:
  Recovery(io::FileSystem* files, const LogOptions& options, Lsn applied, Lsn known, const Log::Replay& replay)
      : files_(files), options_(options), applied_(applied), known_(known), replay_(replay) {}

  Status Run(const std::vector<SegmentFile>& segments, Recovered* found) {
    size_t start = 0;  // The last segment that begins at or below applied + 1.
    while (start + 1 < segments.size() && segments[start + 1].first <= applied_.Next()) ++start;
    if (segments[start].first > applied_.Next()) {
      return Lost("the log begins too late", segments[start].path, 0, applied_.Next(), Lsn(segments[start].first.value - 1));
    }
    for (size_t i = 0; i < start; ++i) {
      found->segments.push_back({segments[i], 0, segments[i].bytes, {Mark{segments[i].first, kPageBytes, 0}}});
    }
    next_ = segments[start].first;
    SegmentScan scan(files_, {segments.begin() + static_cast<int64_t>(start), segments.end()});
    for (size_t i = start; i < segments.size(); ++i) {
      const bool last = i + 1 == segments.size();
      const std::optional<Lsn> end = last ? std::nullopt : std::optional(segments[i + 1].first);
      SHEAF_RETURN_NOT_OK(ReadSegment(&scan, segments[i], i == start, end, found));
    }
    found->last = Lsn(next_.value - 1);
    found->chain = chain_;
    return Status::OK();
  }

 private:
  static Status Lost(const std::string& what, const std::string& path, int64_t offset, Lsn from, Lsn to) {
    return MakeError(ErrorKind::kCorruption,
                     "{} at offset {}: {}; the entries with LSN {} to {} were stored and cannot be read. Restore a copy of the "
                     "database; `sheaf verify` lists all damage",
                     path, offset, what, from, to);
  }

  /// `end`: first LSN of the segment after this one, if there is one.
  Status ReadSegment(SegmentScan* scan, const SegmentFile& file, bool first, std::optional<Lsn> end, Recovered* found) {
    known_ = std::max(known_, Lsn(file.first.value - 1));  // A segment is made only after all before it was synced.
    const Result<SegmentHeader> header = scan->NextSegment();
    if (!header.ok()) {
      if (KindOf(header.status()) != ErrorKind::kCorruption) return header.status();
      if (end) return Lost(header.status().message(), file.path, 0, next_, Lsn(end->value - 1));
      return DecideTail(scan->reader(), {TailState::kDamaged, 0, file.bytes, header.status().message()}, std::nullopt, found);
    }
    SHEAF_RETURN_NOT_OK(CheckHeader(*header, file, first));
    if (first) chain_ = header->chain;
    Segment segment{file, header->salt, kPageBytes, {Mark{next_, kPageBytes, chain_}}};
    while (true) {
      SHEAF_ASSIGN_OR_RETURN(std::optional<SegmentScan::Found> block, scan->NextBlock());
      if (!block) break;
      if (end && block->after.next > *end) {
        return Lost("a block reaches into the next segment", file.path, block->before.offset, next_, Lsn(block->after.next.value - 1));
      }
      segment.AddMark(block->before);
      SHEAF_RETURN_NOT_OK(TakeBlock(block->before, std::move(block->block), block->after, found));
    }
    SegmentReader* const reader = scan->reader();
    segment.end_offset = reader->mark().offset;
    found->segments.push_back(std::move(segment));
    if (!end) return DecideTail(reader, reader->tail(), header->salt, found);
    if (next_ < *end) return Lost(reader->tail().reason, file.path, reader->tail().offset, next_, Lsn(end->value - 1));
    return Status::OK();
  }

  Status CheckHeader(const SegmentHeader& header, const SegmentFile& file, bool first) const {
    if (header.first_lsn != file.first.value) {
      return MakeError(ErrorKind::kCorruption, "{} says that it begins with LSN {}: it was renamed or copied", file.path, header.first_lsn);
    }
    if (!SameDatabase(header.database_id, options_.database_id)) {
      return MakeError(ErrorKind::kCorruption, "{} belongs to another database; was it copied here?", file.path);
    }
    if (first) return Status::OK();
    if (file.first != next_ || header.chain != chain_) {
      return MakeError(ErrorKind::kCorruption,
                       "{} begins with LSN {} and chain {:08x}, but the segment before it ends so that {} and {:08x} follow", file.path,
                       file.first, header.chain, next_, chain_);
    }
    return Status::OK();
  }

  Status TakeBlock(const Mark& before, Block block, const Mark& after, Recovered* found) {
    known_ = std::max(known_, Lsn(block.header.durable_lsn));
    for (const LoggedEntry& entry : block.entries) {
      if (entry.lsn <= applied_) continue;
      SHEAF_RETURN_NOT_OK(replay_(entry));
      if (found->report.entries == 0) found->report.first = entry.lsn;
      found->report.last = entry.lsn;
      ++found->report.entries;
      found->report.bytes += entry.entry.payload->size();
    }
    next_ = after.next;
    chain_ = after.chain;
    undecided_ = UndecidedBlock{before, std::move(block.entries)};
    return Status::OK();
  }

  /// The end of the last segment. `salt` is missing where its header is damaged.
  Status DecideTail(SegmentReader* reader, const Tail& tail, std::optional<uint64_t> salt, Recovered* found) {
    SHEAF_ASSIGN_OR_RETURN(const std::optional<Lsn> later, reader->FindLaterBlock(tail.offset + kPageBytes, salt, next_));
    const bool checked = !Mutant("tail_rule_wrong");
    if (later && checked) {
      return Lost(fmt::format("{}, and a block with LSN {} follows", tail.reason, *later), reader->path(), tail.offset, next_,
                  std::max(*later, known_));
    }
    if (known_ >= next_ && checked) return Lost(tail.reason, reader->path(), tail.offset, next_, known_);
    found->report.torn_bytes = tail.bytes;
    if (tail.state == TailState::kDamaged) {
      found->torn_path = reader->path();
      found->torn_offset = tail.offset;
      found->torn_reason = tail.reason;
    }
    // A sync covers a block as a whole: one entry known to be durable speaks for the others.
    if (undecided_ && known_ < undecided_->mark.next) found->undecided = std::move(undecided_);
    return Status::OK();
  }

  io::FileSystem* const files_;  // Borrowed.
  const LogOptions& options_;
  const Lsn applied_;
  Lsn known_;  // Highest LSN that anything proves to be durable.
  const Log::Replay& replay_;
  Lsn next_;
  uint32_t chain_ = 0;
  std::optional<UndecidedBlock> undecided_;  // The last block so far.
};

}  // namespace

Result<Recovered> Recover(io::FileSystem* files, const LogOptions& options, Lsn applied, Lsn durable_floor, const Log::Replay& replay) {
  Recovered found;
  SHEAF_ASSIGN_OR_RETURN(const std::vector<SegmentFile> segments, ListSegments(files, options.directory));
  SHEAF_ASSIGN_OR_RETURN(found.commit, ReadCommitFile(files, io::Join(options.directory, "COMMIT"), options.database_id));
  const Lsn known = std::max({applied, durable_floor, found.commit ? found.commit->durable : Lsn(0)});
  if (!segments.empty()) {
    SHEAF_RETURN_NOT_OK(Recovery(files, options, applied, known, replay).Run(segments, &found));
    return found;
  }
  if (known > applied) {
    return MakeError(ErrorKind::kCorruption,
                     "{} holds no log segment, but the entries with LSN {} to {} were stored. Restore a copy of the database",
                     options.directory, applied.Next(), known);
  }
  found.last = applied;
  return found;
}

}  // namespace sheaf::wal
