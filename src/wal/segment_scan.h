/// Reads a run of segments in order, with all checks, on a thread of its own: while recovery replays one
/// stretch of the log, the next is read and its checksums are computed on another core. (A log of up to 1 MiB needs no
/// thread.)

#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "core/mutex.h"
#include "core/status.h"
#include "io/file_system.h"
#include "wal/segment_reader.h"
#include "wal/segments.h"

namespace sheaf::wal {

/// For one caller's thread. It decides nothing: what a bad header or block means is recovery's affair.
class SegmentScan {
 public:
  /// A block and where it stood.
  struct Found {
    Mark before, after;
    Block block;
  };

  /// Begins to read `segments`, of which each but the last is read up to where the next one begins. At most about
  /// 32 MiB are read ahead.
  SegmentScan(io::FileSystem* files, std::vector<SegmentFile> segments);
  ~SegmentScan();

  /// Goes to the next segment. Errors: as SegmentReader::ReadHeader(), or Io where it cannot be opened (reader()
  /// is null then). After an error nothing more comes.
  Result<SegmentHeader> NextSegment();

  /// The next block of this segment, chained to the header of this segment. Nothing at its end, or where there is
  /// no valid block: then reader() says where and why. Errors as SegmentReader::Next().
  Result<std::optional<Found>> NextBlock();

  /// The reader of this segment, once it is at its end or its header was bad.
  SegmentReader* reader() const { return reader_.get(); }

 private:
  struct Item {
    Status status;                              // Of the header or block that should be here.
    std::optional<SegmentHeader> header;
    std::optional<Found> found;
    std::unique_ptr<SegmentReader> reader;      // With the end of a segment, or a bad header.
  };
  using Items = std::vector<Item>;

  void Produce();
  bool ScanSegment(size_t i);
  bool Put(Item item, int64_t bytes) SHEAF_EXCLUDES(mutex_);
  bool Flush() SHEAF_EXCLUDES(mutex_);
  Item Take() SHEAF_EXCLUDES(mutex_);

  io::FileSystem* const files_;  // Borrowed.
  const std::vector<SegmentFile> segments_;

  // Only the scanning thread.
  Items ready_;
  int64_t ready_bytes_ = 0;

  // Only the caller.
  Items taken_;
  size_t next_taken_ = 0;
  std::unique_ptr<SegmentReader> reader_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::pair<Items, int64_t>> queue_ SHEAF_GUARDED_BY(mutex_);  // With the bytes of its blocks.
  int64_t queued_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  bool stop_ SHEAF_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sheaf::wal
