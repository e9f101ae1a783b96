/// Writes blocks to the end of the log: one thread, no queue. log.cc puts the queue and the threads
/// around it; recovery and tests use it as it is.

#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"
#include "wal/format.h"
#include "wal/segments.h"

namespace sheaf::wal {

/// Not thread-safe. Until the first Roll() there is no segment to write to.
///
/// Errors come in two kinds. Unavailable: the disk is full; nothing was written, the same call may
/// succeed later. Unknown: what was being written may or may not be on disk; where poisoned() is an
/// error as well, every later call fails and only a new recovery helps.
class SegmentWriter {
 public:
  /// Continues behind the entry before `next`, after which the chain is `chain`.
  SegmentWriter(io::FileSystem* files, io::Clock* clock, const LogOptions& options, Lsn next, uint32_t chain)
      : files_(files), clock_(clock), options_(options), next_(next), chain_(chain) {}

  /// Starts a segment: header written and synced, then renamed to its name, then the folder synced; only
  /// then does it count. Uses `spare` where it is given. Replaces a segment that begins at the same LSN.
  /// `first_block`, if not empty, is in the file before it gets its name: recovery moves its last block so,
  /// which must never be missing from both places.
  Result<Segment> Roll(std::optional<SpareSegment> spare, int64_t segment_bytes, std::span<const PendingEntry* const> first_block = {});

  /// Whether a block of `bytes` fits the current segment.
  int64_t bytes_left() const { return file_ ? segment_bytes_ - offset_ : 0; }

  /// Writes one block and syncs it. The LSNs of `entries` must follow next_lsn(). OK: durable.
  Status Commit(std::span<const PendingEntry* const> entries, Lsn durable);

  /// Cuts off what was preallocated and not used, durably. The log can then only go on with Roll().
  Status Finish();

  Lsn next_lsn() const { return next_; }
  uint32_t chain() const { return chain_; }
  int64_t offset() const { return offset_; }
  const Status& poisoned() const { return poisoned_; }

 private:
  Status Publish(SpareSegment* spare, const SegmentHeader& header, const std::string& path,
                 std::span<const PendingEntry* const> first_block);
  Status Write(io::File* file, int64_t offset, std::span<const std::span<const std::byte>> pieces);
  void GoDirect(io::File* file);
  int64_t AddZeros();
  Status Poison(const Status& error, const char* what);

  io::FileSystem* const files_;  // Borrowed.
  io::Clock* const clock_;       // Borrowed.
  const LogOptions options_;
  Lsn next_;
  uint32_t chain_;

  std::unique_ptr<io::File> file_;  // Of the current segment.
  uint64_t salt_ = 0;
  int64_t offset_ = 0;
  int64_t segment_bytes_ = 0;
  int64_t written_through_ = 0;     // Of the file; behind are blocks that were only preallocated.
  EncodedBlock block_;  // Kept for its memory.
  bool refusal_logged_ = false;
  bool direct_ = false;                       // Of the file that is written to, or being made.
  std::shared_ptr<arrow::Buffer> aligned_;    // What is written directly is gathered here.
  Status poisoned_;
};

}  // namespace sheaf::wal
