#include "wal/segment_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "core/test_hooks.h"

namespace sheaf::wal {
namespace {

constexpr int64_t kAlignedBytesMin = 256 << 10;

/// A block up to this size that is the first to come to its place takes zeros along for those behind it. What fallocate() made is
/// noted as unwritten, and a sync that changes this note commits the file system's journal besides: 200 µs instead of 130 for a
/// block of one page on ext4. Larger blocks are paid for by their bytes, which the zeros would double.
constexpr int64_t kFilledBlockBytesMax = 64 << 10, kFilledAheadBytes = 1 << 20;

constexpr std::array<std::byte, 64 << 10> kZeros{};

/// Different for every segment: time and LSN, well mixed (the finaliser of SplitMix64).
uint64_t MakeSalt(io::Clock* clock, Lsn first) {
  uint64_t x = static_cast<uint64_t>(clock->NowNs()) ^ (static_cast<uint64_t>(clock->MonotonicNs()) << 20) ^
               (first.value * 0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

Status SegmentWriter::Poison(const Status& error, const char* what) {
  poisoned_ = MakeError(ErrorKind::kUnavailable, "the log stopped after {}: {}; restart to recover", what, error.message());
  file_.reset();
  LogError("wal.poisoned", {{"directory", options_.directory}, {"after", what}, {"reason", error.message()}});
  return MakeError(ErrorKind::kUnknown, "{}: {}; whether the data is stored is not known: retry with the same batch id", what,
                   error.message());
}

/// Where the file system refuses, the page cache is used as without the option.
void SegmentWriter::GoDirect(io::File* file) {
  direct_ = false;
  if (!options_.direct_io) return;
  const Status direct = file->BypassCache();
  direct_ = direct.ok();
  if (!direct_ && !std::exchange(refusal_logged_, true)) {
    LogWarn("wal.direct_io_refused", {{"path", file->path()}, {"reason", direct.message()}});
  }
}

/// Direct writes need aligned memory, so their pieces are gathered first: at most a block, in one buffer.
Status SegmentWriter::Write(io::File* file, int64_t offset, std::span<const std::span<const std::byte>> pieces) {
  if (!direct_) return file->WriteAt(offset, pieces);
  int64_t bytes = 0;
  for (const auto& piece : pieces) bytes += static_cast<int64_t>(piece.size());
  if (!aligned_ || aligned_->size() < bytes) {
    aligned_.reset();
    SHEAF_ASSIGN_OR_RETURN(aligned_, arrow::AllocateBuffer(std::max(bytes, kAlignedBytesMin), io::kDirectAlignment));
  }
  uint8_t* at = aligned_->mutable_data();
  for (const auto& piece : pieces) {
    std::memcpy(at, piece.data(), piece.size());
    at += piece.size();
  }
  return file->WriteAt(offset, std::span(reinterpret_cast<const std::byte*>(aligned_->data()), static_cast<size_t>(bytes)));
}

Status SegmentWriter::Publish(SpareSegment* spare, const SegmentHeader& header, const std::string& path,
                              std::span<const PendingEntry* const> first_block) {
  GoDirect(spare->file.get());
  const auto page = EncodeSegmentHeader(header);
  const std::array<std::span<const std::byte>, 1> header_pieces = {page};
  Status written = Write(spare->file.get(), 0, header_pieces);
  if (written.ok() && !first_block.empty()) {
    EncodeBlock({options_.epoch, Lsn(next_.value - 1), chain_, header.salt, kPageBytes}, first_block, &block_);
    written = Write(spare->file.get(), kPageBytes, block_.pieces);
  }
  if (!written.ok()) return KindOf(written) == ErrorKind::kUnavailable ? written : Poison(written, "writing a segment header");
  Failpoint("wal.segment_written");
  // Once a sync has failed, nothing that this process reads back can be trusted, whatever the reason.
  const Status synced = spare->file->SyncData();
  if (!synced.ok()) return Poison(synced, "syncing a segment header");
  Failpoint("wal.segment_synced");
  const Status renamed = files_->Rename(spare->path, path);
  if (!renamed.ok()) return KindOf(renamed) == ErrorKind::kUnavailable ? renamed : Poison(renamed, "naming a segment");
  Failpoint("wal.segment_renamed");
  const Status named = files_->SyncDirectory(options_.directory);
  if (!named.ok()) return Poison(named, "syncing the log's folder");
  return Status::OK();
}

Result<Segment> SegmentWriter::Roll(std::optional<SpareSegment> spare, int64_t segment_bytes,
                                    std::span<const PendingEntry* const> first_block) {
  SHEAF_RETURN_NOT_OK(poisoned_);
  if (!spare) {
    Result<SpareSegment> made = MakeSpare(files_, options_.directory, "now", segment_bytes);
    if (!made.ok()) return KindOf(made.status()) == ErrorKind::kUnavailable ? made.status() : Poison(made.status(), "making a segment");
    spare = *std::move(made);
  }
  SegmentHeader header{};
  header.database_id = options_.database_id;
  header.node_id = options_.node_id;
  header.first_lsn = next_.value;
  header.epoch = options_.epoch.value;
  header.salt = MakeSalt(clock_, next_);
  header.chain = chain_;
  header.created_ns = clock_->NowNs();
  const std::string path = io::Join(options_.directory, SegmentName(next_));
  const Status published = Publish(&*spare, header, path, first_block);
  if (!published.ok()) {
    if (poisoned_.ok()) {  // Nothing happened: the next attempt starts afresh.
      const Status removed = files_->Remove(spare->path);
      if (!removed.ok()) LogWarn("wal.spare_left", {{"path", spare->path}, {"reason", removed.message()}});
    }
    return published;
  }
  file_ = std::move(spare->file);
  salt_ = header.salt;
  offset_ = written_through_ = kPageBytes;
  segment_bytes_ = spare->bytes;
  Segment segment{{next_, path, segment_bytes_}, salt_, offset_, {Mark{next_, offset_, chain_}}};
  if (!first_block.empty()) {
    offset_ += block_.bytes;
    next_ = Lsn(next_.value + first_block.size());
    chain_ = block_.chain;
    segment.end_offset = offset_;
  }
  return segment;
}

Status SegmentWriter::Commit(std::span<const PendingEntry* const> entries, Lsn durable) {
  SHEAF_RETURN_NOT_OK(poisoned_);
  SHEAF_CHECK(file_ != nullptr && entries.front()->logged.lsn == next_);
  EncodeBlock({options_.epoch, durable, chain_, salt_, offset_}, entries, &block_);
  SHEAF_CHECK(block_.bytes <= bytes_left());
  const int64_t filled = AddZeros();
  const Status written = Write(file_.get(), offset_, block_.pieces);
  if (!written.ok()) {
    if (KindOf(written) != ErrorKind::kUnavailable) return Poison(written, "writing to the log");
    // Only where the file system cannot preallocate. The next block goes over what was written of this one.
    return MakeError(ErrorKind::kUnknown, "writing to the log: {}; retry with the same batch id", written.message());
  }
  Failpoint("wal.block_written");
  const Status synced = Mutant("no_sync_before_answer") ? Status::OK() : file_->SyncData();
  if (!synced.ok()) return Poison(synced, "syncing the log");
  Failpoint("wal.block_synced");
  offset_ += block_.bytes;
  written_through_ = std::max(written_through_, offset_ + filled);
  next_ = Lsn(next_.value + entries.size());
  chain_ = block_.chain;
  return Status::OK();
}

/// Adds zeros behind the block that is about to be written, where it is worth it; returns how many.
int64_t SegmentWriter::AddZeros() {
  const int64_t end = offset_ + block_.bytes;
  if (end <= written_through_ || block_.bytes > kFilledBlockBytesMax) return 0;
  const int64_t bytes = std::min(kFilledAheadBytes, segment_bytes_ - end);
  for (int64_t left = bytes; left > 0; left -= static_cast<int64_t>(kZeros.size())) {
    block_.pieces.push_back(std::span(kZeros).first(static_cast<size_t>(std::min(left, static_cast<int64_t>(kZeros.size())))));
  }
  return bytes;
}

Status SegmentWriter::Finish() {
  SHEAF_RETURN_NOT_OK(poisoned_);
  if (!file_) return Status::OK();
  const std::unique_ptr<io::File> file = std::exchange(file_, nullptr);
  SHEAF_RETURN_NOT_OK(file->Truncate(offset_));
  Failpoint("wal.last_segment_cut");
  const Status synced = file->Sync();
  if (!synced.ok()) return Poison(synced, "syncing the last segment");
  return file->Close();
}

}  // namespace sheaf::wal
