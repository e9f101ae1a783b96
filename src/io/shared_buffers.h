/// Named buffers in memory that several processes view at once: written once, never changed, one copy for all.
///
/// Each is a file in a folder of a file system in memory (tmpfs), mapped read-only by whoever holds it. Who holds one is known
/// by open file description locks, a byte each, which the system drops when a process dies: a count that no crash makes wrong.
/// With its last holder a buffer goes; what was left behind by a crash goes at the next RemoveUnused(), Open() or Create().
/// A name can be given to newer bytes meanwhile: holders keep what they hold.
///
///     auto buffers = SharedBuffers::Open({}).ValueOrDie();
///     auto fresh = buffers->Create().ValueOrDie();
///     fresh->stream()->Write(bytes);
///     auto mine = buffers->Publish(std::move(fresh), "prices", NameTaken::kReplace).ValueOrDie();
///     auto theirs = buffers->Get("prices").ValueOrDie();    // Here or in another process: the same memory.
///
/// Processes of one user trust each other: the folder is closed to others (mode 0700), but a process of the same user could
/// cut a file short under those that have it mapped.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::io {

struct SharedBuffersOptions {
  std::string folder = {};  // Empty: one of this user's own in /dev/shm. Made where it is not there, with its parents not.
  int64_t bytes_max = 0;    // Of all buffers in the folder together; 0: as much as the file system has.
};

struct SharedBufferInfo {
  std::string name;
  int64_t bytes = 0;
  int64_t holders = 0;  // Buffers that view it, in all processes.
};

/// What Publish() does where the name is in use.
enum class NameTaken { kRefuse, kReplace };

/// A buffer that is being written and has no name yet; it vanishes with its writer. Not thread-safe.
class NewSharedBuffer {
 public:
  virtual ~NewSharedBuffer() = default;
  /// Appends. Errors of Write(), Flush(): too_large (bytes_max), unavailable (memory of the file system is out).
  virtual arrow::io::OutputStream* stream() = 0;
};

/// Thread-safe.
class SharedBuffers {
 public:
  static constexpr int64_t kHoldersMax = 1024;  // Views of one buffer, in all processes.
  static constexpr size_t kNameBytesMax = 200;

  /// Makes the folder if need be. Denied: the folder is another user's, or open to others. Unsupported: its file system has no
  /// unnamed files.
  static Result<std::shared_ptr<SharedBuffers>> Open(const SharedBuffersOptions& options);

  Result<std::unique_ptr<NewSharedBuffer>> Create();

  /// Gives what was written a name, at once and for all processes, and returns a view of it, which holds it. `name`: letters,
  /// digits, '_', '-' and '.', not the first. Errors: invalid, already_exists, and what the stream still had to say.
  Result<std::shared_ptr<arrow::Buffer>> Publish(std::unique_ptr<NewSharedBuffer> written, const std::string& name, NameTaken taken);

  /// A view of the buffer that has this name now, which holds it until it is destroyed. Views of one process are one.
  /// Errors: not_found, throttled (kHoldersMax).
  Result<std::shared_ptr<arrow::Buffer>> Get(const std::string& name);

  /// Takes the name away; holders keep the buffer. Errors: not_found.
  Status Remove(const std::string& name);

  /// All that have a name, in its order.
  Result<std::vector<SharedBufferInfo>> List();

  /// Removes buffers that nobody holds, and returns how many: those of processes that were killed.
  Result<int64_t> RemoveUnused();

  const std::string& folder() const { return folder_; }

 private:
  SharedBuffers(std::string folder, int64_t bytes_max) : folder_(std::move(folder)), bytes_max_(bytes_max) {}

  /// The view that this process has of `path` already, or a new one; owns `descriptor`. Requires: the folder's gate is held.
  Result<std::shared_ptr<arrow::Buffer>> ViewOf(const std::string& path, int descriptor);

  const std::string folder_;
  const int64_t bytes_max_;
  Mutex mutex_;
  std::unordered_map<uint64_t, std::weak_ptr<arrow::Buffer>> views_ SHEAF_GUARDED_BY(mutex_);  // By the file's number.
};

}  // namespace sheaf::io
