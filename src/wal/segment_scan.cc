#include "wal/segment_scan.h"

#include <utility>

#include "core/check.h"

namespace sheaf::wal {
namespace {

constexpr int64_t kAheadBytesMax = int64_t{32} << 20;
/// A log that is no larger is read before the first block is handed out: a thread would cost more than it gives.
constexpr int64_t kAtOnceBytesMax = int64_t{1} << 20;
/// Blocks change hands in lots of this size, so that small ones do not cost a lock each.
constexpr int64_t kLotBytes = int64_t{256} << 10;

}  // namespace

SegmentScan::SegmentScan(io::FileSystem* files, std::vector<SegmentFile> segments) : files_(files), segments_(std::move(segments)) {
  int64_t bytes = 0;
  for (const SegmentFile& segment : segments_) bytes += segment.bytes;
  if (bytes <= kAtOnceBytesMax) {
    Produce();
  } else {
    thread_ = std::thread([this] { Produce(); });
  }
}

SegmentScan::~SegmentScan() {
  {
    const MutexLock lock(&mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void SegmentScan::Produce() {
  for (size_t i = 0; i < segments_.size() && ScanSegment(i); ++i) {
  }
  Flush();
}

/// Puts all of a segment. False: the scan is over.
bool SegmentScan::ScanSegment(size_t i) {
  Result<std::unique_ptr<SegmentReader>> opened = SegmentReader::Open(files_, segments_[i].path);
  if (!opened.ok()) return Put({opened.status(), {}, {}, nullptr}, 0), false;
  std::unique_ptr<SegmentReader> reader = *std::move(opened);
  const Result<SegmentHeader> header = reader->ReadHeader();
  if (!header.ok()) return Put({header.status(), {}, {}, std::move(reader)}, 0), false;
  if (!Put({Status::OK(), *header, {}, nullptr}, 0)) return false;
  const bool last = i + 1 == segments_.size();
  reader->Seek({segments_[i].first, kPageBytes, header->chain}, header->salt);
  while (last || reader->mark().next < segments_[i + 1].first) {
    const Mark before = reader->mark();
    Result<std::optional<Block>> block = reader->Next();
    if (!block.ok()) return Put({block.status(), {}, {}, nullptr}, 0), false;
    if (!block->has_value()) break;
    const int64_t bytes = (*block)->header.block_bytes;
    if (!Put({Status::OK(), {}, Found{before, reader->mark(), **std::move(block)}, nullptr}, bytes)) return false;
  }
  return Put({Status::OK(), {}, {}, std::move(reader)}, 0);
}

bool SegmentScan::Put(Item item, int64_t bytes) {
  ready_.push_back(std::move(item));
  ready_bytes_ += bytes;
  return ready_bytes_ < kLotBytes || Flush();
}

/// Hands over what is ready once there is room. False: nobody wants it.
bool SegmentScan::Flush() {
  const MutexLock lock(&mutex_);
  while (!stop_ && !queue_.empty() && queued_bytes_ + ready_bytes_ > kAheadBytesMax) changed_.Wait(&mutex_);
  if (stop_) return false;
  queued_bytes_ += ready_bytes_;
  queue_.emplace_back(std::exchange(ready_, {}), std::exchange(ready_bytes_, 0));
  changed_.NotifyAll();
  return true;
}

SegmentScan::Item SegmentScan::Take() {
  if (next_taken_ == taken_.size()) {
    taken_.clear();
    next_taken_ = 0;
    const MutexLock lock(&mutex_);
    while (queue_.empty()) changed_.Wait(&mutex_);
    queued_bytes_ -= queue_.front().second;
    taken_ = std::move(queue_.front().first);
    queue_.pop_front();
    changed_.NotifyAll();
  }
  return std::move(taken_[next_taken_++]);
}

Result<SegmentHeader> SegmentScan::NextSegment() {
  Item item = Take();
  reader_ = std::move(item.reader);
  SHEAF_RETURN_NOT_OK(item.status);
  SHEAF_CHECK(item.header.has_value());
  return *item.header;
}

Result<std::optional<SegmentScan::Found>> SegmentScan::NextBlock() {
  Item item = Take();
  SHEAF_RETURN_NOT_OK(item.status);
  reader_ = std::move(item.reader);
  SHEAF_CHECK(item.found.has_value() != (reader_ != nullptr));
  return std::move(item.found);
}

}  // namespace sheaf::wal
