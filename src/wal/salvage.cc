#include "wal/salvage.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "wal/segment_reader.h"
#include "wal/segments.h"

namespace sheaf::wal {
namespace {

class SoundReading {
 public:
  SoundReading(Lsn after, const Log::Replay& visit, const std::function<void(const LostEntries&)>& lost)
      : next_(after.Next()), visit_(visit), lost_(lost) {}

  /// `end`: the first LSN of the segment behind this one.
  Status Read(io::FileSystem* files, const SegmentFile& file, std::optional<Lsn> end) {
    SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<SegmentReader> reader, SegmentReader::Open(files, file.path));
    const Result<SegmentHeader> header = reader->ReadHeader();
    if (!header.ok() && !IsDamage(header.status())) return header.status();
    std::optional<uint64_t> salt;
    Lsn at = file.first;  // Of the block that should come.
    int64_t from = kPageBytes;
    why_ = {.first = {}, .last = {}, .path = file.path, .offset = 0, .reason = header.ok() ? "" : header.status().message()};
    if (header.ok()) {
      salt = header->salt;
      reader->Seek({Lsn(header->first_lsn), kPageBytes, header->chain}, header->salt);
      SHEAF_RETURN_NOT_OK(ReadRun(reader.get(), end, &at, &from));
    }
    while (!end || at < *end) {
      SHEAF_ASSIGN_OR_RETURN(const std::optional<SegmentReader::Later> later, reader->FindLater(from, salt, at));
      if (!later || (end && later->mark.next >= *end)) break;
      salt = later->salt;  // Without a header, that of the first block found.
      at = later->mark.next;
      from = later->mark.offset + kPageBytes;  // Where the block is damaged after all, the next search begins behind its head.
      reader->Seek(later->mark, later->salt);
      SHEAF_RETURN_NOT_OK(ReadRun(reader.get(), end, &at, &from));
    }
    return Status::OK();
  }

  /// Everything has been read: says what is missing at the end, where something stands that may have been entries.
  void Finish() {
    if (why_.reason.empty()) return;
    why_.first = next_;
    lost_(why_);
  }

 private:
  /// Blocks from the reader's place on, as long as they are sound. `at` becomes the LSN behind them, `from` where they end.
  Status ReadRun(SegmentReader* reader, std::optional<Lsn> end, Lsn* at, int64_t* from) {
    while (true) {
      Result<std::optional<Block>> block = reader->Next();
      if (!block.ok() && !IsDamage(block.status())) return block.status();
      if (!block.ok() || !block->has_value()) {
        const bool blank = block.ok() && reader->tail().state == TailState::kBlank;
        why_.offset = block.ok() ? reader->tail().offset : reader->mark().offset;
        why_.reason = blank ? "" : block.ok() ? reader->tail().reason : block.status().message();
        // A block that is sound, but does not go on where the one before ended, is found again by its own header.
        *from = std::max(*from, block.ok() ? why_.offset + kPageBytes : why_.offset);
        return Status::OK();
      }
      for (const LoggedEntry& entry : (*block)->entries) {
        if (entry.lsn < next_ || (end && entry.lsn >= *end)) continue;
        if (entry.lsn > next_) Lose(Lsn(entry.lsn.value - 1));
        SHEAF_RETURN_NOT_OK(visit_(entry));
        next_ = entry.lsn.Next();
      }
      *at = reader->mark().next;
      *from = reader->mark().offset;
    }
  }

  void Lose(Lsn last) {
    LostEntries lost = why_;
    lost.first = next_;
    lost.last = last;
    if (lost.reason.empty()) lost.reason = "a segment is missing, or was cut off";
    lost_(lost);
    next_ = last.Next();
  }

  Lsn next_;  // To be visited.
  const Log::Replay& visit_;
  const std::function<void(const LostEntries&)>& lost_;
  LostEntries why_;  // What stopped the last run.
};

}  // namespace

Status ReadSound(io::FileSystem* files, const std::string& directory, Lsn after, const Log::Replay& visit,
                 const std::function<void(const LostEntries&)>& lost) {
  SHEAF_ASSIGN_OR_RETURN(const std::vector<SegmentFile> segments, ListSegments(files, directory));
  SoundReading reading(after, visit, lost);
  for (size_t i = 0; i < segments.size(); ++i) {
    const std::optional<Lsn> end = i + 1 < segments.size() ? std::optional(segments[i + 1].first) : std::nullopt;
    if (end && *end <= after.Next()) continue;
    SHEAF_RETURN_NOT_OK(reading.Read(files, segments[i], end));
  }
  reading.Finish();
  return Status::OK();
}

}  // namespace sheaf::wal
