/// The only door to files. Everything that Sheaf stores goes through a FileSystem: the real one
/// (posix.h) in the product, a simulated one (sim.h) in tests, which can lose, tear, delay and damage
/// what was not synced, and which checks the order of operations. A test under strace shows that
/// nothing else in the program touches the data directory.
///
/// Paths are plain text; the root of a database is passed down, never kept in a global.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <arrow/buffer.h>

#include "core/status.h"

namespace sheaf::io {

enum class OpenMode {
  kRead,          // Must exist.
  kCreate,        // Must not exist; opened for reading and writing.
  kReadWrite,     // Must exist; opened for reading and writing.
};

/// What File::BypassCache() asks of offsets, lengths and memory.
inline constexpr int64_t kDirectAlignment = 4096;

/// How pages of a mapping or reads of a file will be used; advice only.
enum class Access { kNormal, kSequential, kRandom };

/// An open file. Reads, writes and Sync() may be called from several threads; the order of
/// overlapping writes is then unspecified. A write is on stable storage only after SyncData() or
/// Sync() returned OK. A failed sync is final: the same file must not be synced again (the kernel
/// may have dropped the dirty pages), and the simulated file system checks that nobody does.
class File {
 public:
  virtual ~File() = default;

  /// Reads up to out.size() bytes at `offset`; returns how many, less only at the end of the file.
  virtual Result<int64_t> ReadAt(int64_t offset, std::span<std::byte> out) = 0;
  /// Writes all of `parts`, one after the other, at `offset`. On error the range holds anything.
  virtual Status WriteAt(int64_t offset, std::span<const std::span<const std::byte>> parts) = 0;
  Status WriteAt(int64_t offset, std::span<const std::byte> bytes) {
    return WriteAt(offset, std::span<const std::span<const std::byte>>(&bytes, 1));
  }
  /// Makes the file `length` bytes long at least, with blocks on disk that read as zeros (fallocate).
  virtual Status Allocate(int64_t length) = 0;
  virtual Status Truncate(int64_t length) = 0;
  /// Forces the bytes, and the size if it changed, to stable storage (fdatasync).
  virtual Status SyncData() = 0;
  /// Forces bytes and all metadata to stable storage (fsync).
  virtual Status Sync() = 0;
  virtual Result<int64_t> Size() = 0;
  /// Maps the first `length` bytes read-only. The buffer keeps the mapping alive after the file is
  /// closed or removed. Bytes past the end of the file must never be asked for.
  virtual Result<std::shared_ptr<arrow::Buffer>> Map(int64_t length, Access access = Access::kNormal) = 0;
  /// Lets reads and writes go past the page cache from now on (O_DIRECT): offset, length and memory of each must then
  /// be multiples of kDirectAlignment. Unsupported where the file system refuses; the file then works as before.
  /// Not while others read or write.
  virtual Status BypassCache() = 0;
  /// Closes and reports a late error. The destructor closes too, but cannot report.
  virtual Status Close() = 0;
  virtual const std::string& path() const = 0;
};

/// Holds an exclusive lock on a path until destroyed; dropped by the system when the process dies.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

struct FileInfo {
  std::string name;  // Last component only.
  int64_t bytes = 0;
  bool is_directory = false;
};

/// Thread-safe. Errors carry the path and the system's reason; kNotFound, kAlreadyExists and
/// kUnavailable (disk full, with the free bytes) are told apart from other kIo errors.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  /// Replaces `to` atomically. Durable only after SyncDirectory() of the folder.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status Link(const std::string& from, const std::string& to) = 0;
  /// Removes a file or an empty folder.
  virtual Status Remove(const std::string& path) = 0;
  /// Makes the folder and its parents, durably; fine if it exists.
  virtual Status MakeDirectories(const std::string& path) = 0;
  /// Makes creations, renames and removals in `path` durable.
  virtual Status SyncDirectory(const std::string& path) = 0;
  /// What lies directly in the folder, in order of name.
  virtual Result<std::vector<FileInfo>> List(const std::string& path) = 0;
  virtual Result<FileInfo> Stat(const std::string& path) = 0;
  /// Fails with kUnavailable, naming the holder's process where known, if someone else holds it.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  /// Bytes that may still be written on the file system of `path`.
  virtual Result<int64_t> FreeBytes(const std::string& path) = 0;
  /// Size of the file system of `path`. Unsupported where there is no such thing.
  virtual Result<int64_t> TotalBytes(const std::string& path);
};

/// Returns `folder`/`name`.
inline std::string Join(const std::string& folder, const std::string& name) { return folder + "/" + name; }

/// Reads a whole file; refuses (kTooLarge) one of more than `bytes_max`.
Result<std::shared_ptr<arrow::Buffer>> ReadFile(FileSystem* files, const std::string& path, int64_t bytes_max);
/// Writes `path` so that after a crash it holds the old bytes or the new, whole: temporary file, sync,
/// rename, sync of the folder.
Status WriteFileAtomically(FileSystem* files, const std::string& path, std::span<const std::byte> bytes);

}  // namespace sheaf::io
