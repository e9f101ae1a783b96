/// Checksums of a file's 64 KiB blocks: made while writing, checked when a block is first read. They are
/// kept outside the blocks' own file, so that a swapped or stale file is found as surely as a flipped bit.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include "core/status.h"
#include "io/file_system.h"

namespace sheaf::parts {

inline constexpr int64_t kBlockBytes = 64 << 10;

/// XXH3-64 of every block of `bytes`; the last may be short.
std::vector<uint64_t> BlockSums(std::string_view bytes);
/// XXH3-128 over the sums in little-endian order: 16 bytes.
std::string DigestOf(const std::vector<uint64_t>& sums);

/// A stream from offset 0 of a file that sums its blocks as they pass. Gathers small writes. Borrows the
/// file; neither syncs nor closes it. Not thread-safe.
class SummingStream : public arrow::io::OutputStream {
 public:
  explicit SummingStream(io::File* file);

  arrow::Status Write(const void* data, int64_t bytes) override;
  using arrow::io::OutputStream::Write;
  arrow::Result<int64_t> Tell() const override { return flushed_ + static_cast<int64_t>(gathered_.size()); }
  arrow::Status Flush() override { return arrow::Status::OK(); }  // Blocks go to the file when whole, the rest at Close().
  arrow::Status Close() override;
  bool closed() const override { return closed_; }

  /// Requires: closed.
  const std::vector<uint64_t>& sums() const { return sums_; }

 private:
  arrow::Status Drain(size_t bytes);

  io::File* const file_;
  std::string gathered_;
  int64_t flushed_ = 0;
  bool closed_ = false;
  std::vector<uint64_t> sums_;
};

/// Bytes whose blocks are checked before they are first used. Thread-safe. A failed check is not
/// remembered: the medium may answer better the next time.
class CheckedBytes {
 public:
  /// `sums[i]` is of the block at i * kBlockBytes of `bytes`. `name` and `base` (of bytes in their file) are for errors.
  CheckedBytes(std::shared_ptr<arrow::Buffer> bytes, std::vector<uint64_t> sums, std::string name, int64_t base = 0);

  /// Checks the blocks of [offset, offset + bytes) that were not yet. Error: Corruption (names file and block).
  Status Check(int64_t offset, int64_t bytes) const;
  Status CheckAll() const { return Check(0, bytes_->size()); }
  /// [offset, offset + bytes) will be read soon; advice only.
  void ReadAhead(int64_t offset, int64_t bytes) const;

  const std::shared_ptr<arrow::Buffer>& buffer() const { return bytes_; }
  const uint8_t* data() const { return bytes_->data(); }
  int64_t size() const { return bytes_->size(); }
  const std::vector<uint64_t>& sums() const { return sums_; }

 private:
  Status CheckBlock(size_t block) const;

  const std::shared_ptr<arrow::Buffer> bytes_;
  const std::vector<uint64_t> sums_;
  const std::string name_;
  const int64_t base_;
  mutable std::vector<std::atomic<uint64_t>> checked_;  // One bit a block.
};

}  // namespace sheaf::parts
