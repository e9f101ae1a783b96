/// The durable log: the one order of events. Every accepted batch is one entry with one LSN.
///
/// Byte layout, recovery rules and what a reader does with damage: docs/formats/wal.md.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <arrow/buffer.h>

#include "core/ids.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"

namespace sheaf::wal {

/// Largest payload of one entry, in bytes.
inline constexpr int64_t kPayloadBytesMax = int64_t{256} << 20;
/// Longest batch id, in bytes.
inline constexpr int64_t kBatchIdBytesMax = 64;

/// One atomic unit of the log. What the payload means is store's affair.
struct Entry {
  uint8_t type = 0;
  std::string batch_id;                    // Empty, or the sender's id for deduplication.
  std::shared_ptr<arrow::Buffer> payload;  // Kept alive until written; not copied.
};

/// An entry read back. The payload may point into a mapping of the segment.
struct LoggedEntry {
  Lsn lsn;
  int64_t time_ns = 0;                     // Wall clock when it was accepted; for restore to a time.
  Entry entry;
};

struct LogOptions {
  std::string directory;
  int64_t segment_bytes = int64_t{64} << 20;     // Preallocated; an entry larger than this has its own segment.
  int64_t queue_bytes_max = int64_t{64} << 20;   // Waiting payloads; beyond, Append() answers kThrottled.
  int64_t queue_entries_max = 65'536;
  int64_t commit_delay_ms = 100;                 // Idle time before COMMIT is brought up to date; 0: only at Close().
  Epoch epoch = Epoch(1);                        // Reign under which entries are written.
  std::array<uint8_t, 16> database_id{};         // Checked against what the files say; zeros: not told.
  std::array<uint8_t, 16> node_id{};             // Written into segments, not checked.
};

/// What Open() found.
struct RecoveryReport {
  Lsn first, last;            // Of the entries replayed; 0 where none.
  int64_t entries = 0, bytes = 0;
  int64_t torn_bytes = 0;     // Dropped tail that cannot have been acknowledged.
};

/// Thread-safe. One thread of its own writes and syncs: all entries that wait share one sync.
class Log {
 public:
  /// Called on the log's thread, in LSN order, when entries have become durable and before their
  /// `done`. Must not block on the log. store makes the entries visible here.
  using DurableCallback = std::function<void(const LoggedEntry& entry)>;
  using Done = std::function<void(Result<Lsn>)>;
  using Replay = std::function<Status(const LoggedEntry& entry)>;

  /// Opens or creates the log, replays every entry with an LSN above `applied` in order, and starts.
  /// `durable_floor` is the highest LSN that anyone else (manifest) knows to be durable.
  /// Errors: Corruption (damage that is no torn tail: names file, offset and the LSNs that are lost),
  /// Io, or what `replay` returned. On error nothing was changed on disk.
  static Result<std::unique_ptr<Log>> Open(io::FileSystem* files, io::Clock* clock, const LogOptions& options, Lsn applied,
                                           Lsn durable_floor, const Replay& replay, DurableCallback on_durable,
                                           RecoveryReport* report);
  virtual ~Log() = default;

  /// Hands `entry` to the log's thread; never waits for the disk. `done` gets the LSN once the entry is
  /// durable and visible, or kUnknown when the sync failed (then the log is poisoned: every later call
  /// fails with kUnavailable and the process must recover). It runs on the log's thread.
  /// Errors (then `done` is not called): Throttled (queue full), TooLarge, Unavailable (closed, poisoned, disk full).
  virtual Status Append(Entry entry, Done done) = 0;

  /// The last durable LSN. Monotonic.
  virtual Lsn durable_lsn() const = 0;

  /// Removes segments that hold nothing above `lsn`. store calls it when two manifests cover `lsn`.
  virtual Status TruncateThrough(Lsn lsn) = 0;

  /// Calls `visit` for durable entries with LSN in (after, through], from the files. For followers,
  /// subscribers and backup. Errors: NotFound (already truncated), Corruption, or what visit returned.
  virtual Status Read(Lsn after, Lsn through, const Replay& visit) = 0;

  /// Bytes of segments on disk.
  virtual int64_t disk_bytes() const = 0;

  /// Writes what waits, syncs, marks the log as cleanly closed. Append() fails afterwards.
  virtual Status Close() = 0;
};

}  // namespace sheaf::wal
