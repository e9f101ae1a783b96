/// Reads the blocks of one segment file in order, and says where and why it stops.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"
#include "wal/format.h"

namespace sheaf::wal {

/// A place in a segment from which blocks can be read.
struct Mark {
  Lsn next;             // First LSN of the block there.
  int64_t offset = kPageBytes;
  uint32_t chain = 0;   // Of all entries before `next`.
};

/// What stands where a block should.
enum class TailState {
  kBlank,    // Nothing: end of file, zeros, or what a recycled file held before.
  kDamaged,  // Bytes of this segment, or garbage, that make no valid block.
};

/// Why reading stopped.
struct Tail {
  TailState state = TailState::kBlank;
  int64_t offset = 0;
  int64_t bytes = 0;    // Of the damaged block, as far as that can be told; 0 when blank.
  std::string reason;
};

/// Not thread-safe. Uses plain reads of up to 1 MiB ahead, no mapping: an unreadable sector is an error (kIo),
/// never a signal.
class SegmentReader {
 public:
  /// Opens `path`. The caller has decoded the header already, or knows the salt.
  static Result<std::unique_ptr<SegmentReader>> Open(io::FileSystem* files, const std::string& path);

  /// Reads and checks the header. Corruption, Unsupported or Io.
  Result<SegmentHeader> ReadHeader();

  /// Continues at `mark` of the segment with `salt`.
  void Seek(const Mark& mark, uint64_t salt) { mark_ = mark, salt_ = salt; }

  /// Returns the next block, or nothing where there is no valid one; tail() then says why. A block that
  /// is undamaged but does not continue the LSNs or the chain is Corruption. Errors: Corruption, Io.
  Result<std::optional<Block>> Next();

  const Mark& mark() const { return mark_; }
  const Tail& tail() const { return tail_; }

  /// A block that was found by its header; the rest of it may be damaged.
  struct Later {
    Mark mark;
    uint64_t salt = 0;
  };
  /// Looks for the header of a block at or above `expected` from the page at offset `from` on. Without a salt (the segment's own header
  /// is damaged) that of any segment counts.
  Result<std::optional<Later>> FindLater(int64_t from, std::optional<uint64_t> salt, Lsn expected);
  /// The same, behind the tail: proof that everything before it had been synced. Returns its first LSN.
  Result<std::optional<Lsn>> FindLaterBlock(int64_t from, std::optional<uint64_t> salt, Lsn expected);

  int64_t file_bytes() const { return file_bytes_; }
  const std::string& path() const { return path_; }

 private:
  SegmentReader(std::unique_ptr<io::File> file, std::string path, int64_t file_bytes)
      : file_(std::move(file)), path_(std::move(path)), file_bytes_(file_bytes) {}
  static constexpr int64_t kAheadBytesMin = 16 << 10, kAheadBytesMax = 1 << 20;

  Result<std::span<const std::byte>> Load(int64_t offset, int64_t bytes);
  Result<int64_t> Fill(int64_t bytes);
  Result<std::optional<Block>> Stop(TailState state, int64_t bytes, std::string reason);

  const std::unique_ptr<io::File> file_;
  const std::string path_;
  const int64_t file_bytes_;
  std::shared_ptr<arrow::Buffer> window_;  // What was read of the file; blocks are slices of it.
  int64_t window_begin_ = 0, window_bytes_ = 0;
  int64_t ahead_bytes_ = kAheadBytesMin;
  Mark mark_;
  uint64_t salt_ = 0;
  Tail tail_;
};

}  // namespace sheaf::wal
