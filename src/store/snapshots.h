/// Snapshots on disk, backups and restore: what can be done with them while no database is open.
///
/// A snapshot is a directory `snapshots/<id>` inside a database, laid out like one: the parts of one LSN, as links to the
/// database's own immutable files, with a manifest. So it costs its names, not its bytes, and shares all files that the
/// database still has. A backup is a folder of snapshots copied elsewhere, file by file, those that are there already left
/// out. Restoring makes a new database from a snapshot and the log behind it. Layout: docs/formats/snapshot.md.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"

namespace sheaf::store {

struct SnapshotInfo {
  std::string id;
  Lsn lsn;                    // Every entry through this one is inside, and nothing later.
  int64_t created_ns = 0;     // Wall clock, since 1970.
  int64_t parts = 0, bytes = 0;
};

/// Snapshots in a database's directory, or in a backup, oldest first. One that was being made when the power went has no
/// mark yet and is left out. Errors: Io; Corruption (a mark that cannot be read: names it).
Result<std::vector<SnapshotInfo>> ListSnapshots(io::FileSystem* files, const std::string& directory);

/// Checks every checksum of a snapshot: its mark, manifest, parts, delete vectors, batch ids.
/// Errors: NotFound (names those there are), Corruption (names file and block), Io.
Status VerifySnapshot(io::FileSystem* files, const std::string& directory, const std::string& id);

/// Removes a snapshot: its mark first, so that half of one never counts. Errors: NotFound, Io.
Status RemoveSnapshot(io::FileSystem* files, const std::string& directory, const std::string& id);

struct BackupReport {
  int64_t files = 0, files_copied = 0, bytes_copied = 0;
};
/// Called now and then with the files and bytes that are done.
using BackupProgress = std::function<void(const BackupReport&)>;

/// Copies a snapshot, and the archived log behind it, to `target`, another folder of this or another file system. Files
/// that a snapshot there has already are linked, not copied; a copy that was interrupted goes on with the file it was at.
/// Durable when it returns. Errors: NotFound, AlreadyExists (another database's backup lies there), Corruption, Io, Unavailable.
Result<BackupReport> Backup(io::FileSystem* files, const std::string& directory, const std::string& id, const std::string& target,
                            const BackupProgress& progress = nullptr);

/// Where a restore is to stop: at an LSN, or before the first entry that was accepted after a time. Neither: at the snapshot.
struct RestoreTarget {
  std::optional<Lsn> lsn;
  std::optional<int64_t> time_ns;
};
struct RestoreReport {
  std::string snapshot;
  Lsn lsn;                    // Of the database that was made.
  int64_t entries = 0;        // Of the log that were done again on top of the snapshot.
};
/// Makes a database in `to`, which must not be there or be empty, from snapshot `id` (empty: the newest that is not behind
/// the target) of `directory` (a database that nobody holds, or a backup), and the log from there to the target. Opens it
/// once, which checks it. Where it fails, `to` is left as far as it got, and must be removed.
/// Errors: NotFound (no such snapshot; the log does not reach the target: says from where to where), AlreadyExists (`to` is
/// not empty), Invalid (two targets, or one before every snapshot), Unavailable (held by another process), Unsupported (a table
/// was changed after the snapshot by a program too old to log that), Corruption, Io.
Result<RestoreReport> Restore(io::FileSystem* files, io::Clock* clock, const std::string& directory, const std::string& id,
                              const std::string& to, const RestoreTarget& target);

/// Used by the database while it makes one: writes the mark, which makes the snapshot count. Durable when it returns.
Status MarkSnapshot(io::FileSystem* files, const std::string& directory, const SnapshotInfo& info);
/// Removes a folder with all that is in it. NotFound is no error.
Status RemoveTree(io::FileSystem* files, const std::string& path);
/// Gives a file that never changes another name, or copies it where the file system cannot. Errors: NotFound, AlreadyExists, Io.
Status PlaceFile(io::FileSystem* files, const std::string& from, const std::string& to);
/// Errors: Invalid, for an id that could not be a folder's name.
Status CheckSnapshotId(const std::string& id);

}  // namespace sheaf::store
