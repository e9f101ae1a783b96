/// The COMMIT file: two slots, written in turn, that say how far the log is known to be durable. It is
/// a witness against damage at the end of the log, never needed to read it.

#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"
#include "wal/format.h"

namespace sheaf::wal {

/// What the COMMIT file says.
struct CommitState {
  Lsn durable;
  bool closed = false;  // By a clean close, after `durable`.
  uint64_t sequence = 0;
};

/// Reads the better slot; a damaged one is passed over. Returns nothing where there is no file.
/// Corruption where the file is there but neither slot is valid: no crash does that.
Result<std::optional<CommitState>> ReadCommitFile(io::FileSystem* files, const std::string& path,
                                                  const std::array<uint8_t, 16>& database_id);

/// Not thread-safe.
class CommitFile {
 public:
  /// Puts a new file in the place of what is there, with both slots saying `durable`: then one can always
  /// be lost, and no file is synced again whose sync may have failed before. `sequence` is that of the old file.
  static Result<std::unique_ptr<CommitFile>> Create(io::FileSystem* files, const std::string& path,
                                                    const std::array<uint8_t, 16>& database_id, Lsn durable, uint64_t sequence);
  /// Writes the other slot and syncs. After a failure every later call fails the same way, untried.
  Status Write(Lsn durable, bool closed);

 private:
  CommitFile(std::unique_ptr<io::File> file, const std::array<uint8_t, 16>& database_id, uint64_t sequence)
      : file_(std::move(file)), database_id_(database_id), sequence_(sequence) {}

  const std::unique_ptr<io::File> file_;
  const std::array<uint8_t, 16> database_id_;
  uint64_t sequence_;
  Status failed_;
};

}  // namespace sheaf::wal
