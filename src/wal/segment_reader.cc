#include "wal/segment_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sheaf::wal {
namespace {

/// A header of a block of some other segment is what a recycled file held before; zeros are what
/// preallocation gives.
TailState StateOf(std::span<const std::byte> page, int64_t position) {
  if (std::all_of(page.begin(), page.end(), [](std::byte b) { return b == std::byte{0}; })) return TailState::kBlank;
  return DecodeBlockHeader(page, position, std::nullopt) ? TailState::kBlank : TailState::kDamaged;
}

}  // namespace

Result<std::unique_ptr<SegmentReader>> SegmentReader::Open(io::FileSystem* files, const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(std::unique_ptr<io::File> file, files->Open(path, io::OpenMode::kRead));
  SHEAF_ASSIGN_OR_RETURN(const int64_t bytes, file->Size());
  return std::unique_ptr<SegmentReader>(new SegmentReader(std::move(file), path, bytes));
}

Result<SegmentHeader> SegmentReader::ReadHeader() {
  std::array<std::byte, kPageBytes> page;
  SHEAF_ASSIGN_OR_RETURN(const int64_t read, file_->ReadAt(0, page));
  const Result<SegmentHeader> header = DecodeSegmentHeader(std::span(page).first(static_cast<size_t>(read)));
  if (!header.ok()) return WithContext(header.status(), path_);
  return header;
}

Result<std::optional<Block>> SegmentReader::Stop(TailState state, int64_t bytes, std::string reason) {
  tail_ = {state, mark_.offset, bytes, std::move(reason)};
  return std::optional<Block>();
}

/// Returns the bytes at `offset`, less only at the end of the file; they hold until the next call. Reads ahead,
/// the more the longer the reader goes on.
Result<std::span<const std::byte>> SegmentReader::Load(int64_t offset, int64_t bytes) {
  bytes = std::min(bytes, file_bytes_ - offset);
  if (offset < window_begin_ || offset + bytes > window_begin_ + window_bytes_) {
    const int64_t wanted = std::max(bytes, std::min(ahead_bytes_, file_bytes_ - offset));
    ahead_bytes_ = std::min(ahead_bytes_ * 2, kAheadBytesMax);
    window_begin_ = offset;
    Result<int64_t> read = Fill(wanted);
    if (!read.ok() && wanted > bytes) read = Fill(bytes);  // What could not be read may be needed by nobody.
    SHEAF_RETURN_NOT_OK(read.status());
    window_bytes_ = *read;
  }
  const int64_t there = std::min(bytes, window_begin_ + window_bytes_ - offset);
  return std::span(reinterpret_cast<const std::byte*>(window_->data()) + (offset - window_begin_), static_cast<size_t>(there));
}

/// Payloads that are still in use keep the window before this one.
Result<int64_t> SegmentReader::Fill(int64_t bytes) {
  window_bytes_ = 0;
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> window, arrow::AllocateBuffer(bytes));
  window_ = std::move(window);
  return file_->ReadAt(window_begin_, {reinterpret_cast<std::byte*>(window_->mutable_data()), static_cast<size_t>(bytes)});
}

Result<std::optional<Block>> SegmentReader::Next() {
  const int64_t left = file_bytes_ - mark_.offset;
  if (left <= 0) return Stop(TailState::kBlank, 0, "the file ends there");
  SHEAF_ASSIGN_OR_RETURN(const std::span<const std::byte> start, Load(mark_.offset, kPageBytes));
  const std::optional<BlockHeader> header = DecodeBlockHeader(start, mark_.offset, salt_);
  if (!header) {
    const TailState state = StateOf(start, mark_.offset);
    if (state == TailState::kBlank) return Stop(state, 0, "no block was written there");
    return Stop(state, static_cast<int64_t>(start.size()), "the block header is damaged");
  }
  if (header->first_lsn != mark_.next.value || header->chain != mark_.chain) {
    return MakeError(ErrorKind::kCorruption,
                     "{} at offset {}: an undamaged block begins with LSN {} and chain {:08x}, but {} and {:08x} follow", path_,
                     mark_.offset, header->first_lsn, header->chain, mark_.next, mark_.chain);
  }
  if (header->block_bytes > left) return Stop(TailState::kDamaged, left, "the file ends inside the block");
  SHEAF_ASSIGN_OR_RETURN(const std::span<const std::byte> whole, Load(mark_.offset, header->block_bytes));
  if (whole.size() != header->block_bytes) {
    return Stop(TailState::kDamaged, static_cast<int64_t>(whole.size()), "the file ends inside the block");
  }
  const auto bytes = arrow::SliceBuffer(window_, mark_.offset - window_begin_, header->block_bytes);
  Result<Block> block = DecodeBlock(*header, bytes);
  if (!block.ok()) return Stop(TailState::kDamaged, header->block_bytes, block.status().message());
  mark_ = {Lsn(header->first_lsn + header->entries), mark_.offset + header->block_bytes, block->chain};
  return std::optional<Block>(*std::move(block));
}

Result<std::optional<Lsn>> SegmentReader::FindLaterBlock(int64_t from, std::optional<uint64_t> salt, Lsn expected) {
  SHEAF_ASSIGN_OR_RETURN(const std::optional<Later> later, FindLater(from, salt, expected));
  return later ? std::optional(later->mark.next) : std::nullopt;
}

Result<std::optional<SegmentReader::Later>> SegmentReader::FindLater(int64_t from, std::optional<uint64_t> salt, Lsn expected) {
  if (from >= file_bytes_) return std::optional<Later>();
  std::vector<std::byte> chunk(static_cast<size_t>(std::min(RoundUp(file_bytes_ - from, kPageBytes), int64_t{1} << 20)));
  for (int64_t at = from; at < file_bytes_; at += static_cast<int64_t>(chunk.size())) {
    SHEAF_ASSIGN_OR_RETURN(const int64_t read, file_->ReadAt(at, chunk));
    for (int64_t page = 0; page < read; page += kPageBytes) {
      const auto bytes = std::span<const std::byte>(chunk).first(static_cast<size_t>(read)).subspan(static_cast<size_t>(page));
      const std::optional<BlockHeader> header = DecodeBlockHeader(bytes, at + page, salt);
      if (!header || header->first_lsn < expected.value) continue;
      return std::optional<Later>({.mark = {Lsn(header->first_lsn), at + page, header->chain}, .salt = header->salt});
    }
  }
  return std::optional<Later>();
}

}  // namespace sheaf::wal
