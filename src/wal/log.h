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
  bool buffered = false;                   // Visible and answered before it is on disk; see Log. Not stored.
  std::string batch_id;                    // Empty, or the sender's id for deduplication.
  std::shared_ptr<arrow::Buffer> payload;  // Kept alive until written; not copied.
  bool sender_waits = false;               // Append() may take as long as a sync; see there. Not stored.
};

/// An entry read back. The payload may point into a mapping of the segment.
struct LoggedEntry {
  Lsn lsn;
  int64_t time_ns = 0;                     // Wall clock when it was accepted; for restore to a time.
  Entry entry;
};

struct LogOptions {
  std::string directory;
  std::string archive_directory;                 // On the same file system; see archive.h. Empty: no archive.
  int64_t segment_bytes = int64_t{64} << 20;     // Preallocated; an entry larger than this has its own segment.
  int64_t queue_bytes_max = int64_t{64} << 20;   // Waiting payloads; beyond, Append() answers kThrottled.
  int64_t queue_entries_max = 65'536;
  int64_t buffered_sync_ms = 100;                // Buffered entries are written at most this long after they came.
  int64_t commit_delay_ms = 100;                 // Idle time before COMMIT is brought up to date; 0: only at Close().
  bool direct_io = false;                        // Write past the page cache where the file system allows it.
  int cpu = -1;                                  // Processor that the log's own thread is bound to; -1: none.
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

/// Thread-safe. One thread at a time writes and syncs, mostly the log's own: all entries that wait share one sync.
///
/// **What is visible when.** Each entry gets its LSN in Append(), and entries become visible strictly in LSN
/// order: `on_visible` is called once an entry, in order, one call at a time. A durable entry (the default) is
/// visible when its sync is done. A buffered entry is visible as soon as every entry before it is: on a log
/// where no durable entry waits, that is on the sender's thread, inside Append(). It is written within
/// LogOptions::buffered_sync_ms, or sooner with the next durable entry, when a quarter of the queue is full, by
/// SyncThrough() or by Close().
///
/// **What a crash takes.** Of the buffered entries, those that were not written yet: always the youngest, never
/// one from the middle; once a durable entry is acknowledged, all before it are durable too. Their LSNs are given
/// out anew after the restart. When a sync fails, buffered entries that were answered and not synced are lost
/// in the same way (`sheaf_wal_buffered_bytes` says how much is at risk, `sheaf_wal_buffered_lost_bytes_total`
/// how much was lost). While the disk is full, those that were answered are kept and tried again, and new
/// buffered entries are treated as durable ones.
class Log {
 public:
  /// Called in LSN order, when entries become visible and before their `done`: on the log's thread, or inside
  /// Append() on a sender's. store makes the entries visible here. It runs under a lock that holds up
  /// every other buffered append, so it must be short, and it must not call into the log.
  using VisibleCallback = std::function<void(const LoggedEntry& entry)>;
  using Done = std::function<void(Result<Lsn>)>;
  using Replay = std::function<Status(const LoggedEntry& entry)>;

  /// Opens or creates the log, replays every entry with an LSN above `applied` in order, and starts.
  /// `durable_floor` is the highest LSN that anyone else (manifest) knows to be durable.
  /// Errors: Corruption (damage that is no torn tail: names file, offset and the LSNs that are lost),
  /// Io, or what `replay` returned. On error nothing was changed on disk.
  static Result<std::unique_ptr<Log>> Open(io::FileSystem* files, io::Clock* clock, const LogOptions& options, Lsn applied,
                                           Lsn durable_floor, const Replay& replay, VisibleCallback on_visible,
                                           RecoveryReport* report);
  virtual ~Log() = default;

  /// Puts `entry` into the log; waits for the disk only where Entry::sender_waits allows it. `done` gets the LSN once
  /// the entry is visible (and, unless it is buffered, durable), or kUnknown when the sync failed (then the log is poisoned: every later
  /// call fails with kUnavailable and the process must recover), or kUnavailable when the disk is full. It runs
  /// on the log's thread, in order; for a buffered entry that is visible at once on the caller's, before
  /// Append() returns. `done` may append, but not with sender_waits.
  /// A sender that does nothing until it has its answer says so with sender_waits: where nobody else is writing, its own
  /// thread writes and syncs, and runs `done` (and that of others whose entries shared the sync) before Append() returns.
  /// That saves two changes of thread, which take about as long as a sync of a fast disk.
  /// Errors (then `done` is not called): Throttled (queue full), TooLarge, Unavailable (closed, poisoned).
  virtual Status Append(Entry entry, Done done) = 0;

  /// Waits until everything up to `lsn` (of what was appended) is on disk, without waiting for the clock. Whoever
  /// writes down elsewhere that the log covers an LSN calls this first: a buffered entry may be visible, and in
  /// a part, before the log has it, and a log that ends before what a manifest covers is refused as damaged.
  /// Not from `done` or `on_visible`. Errors: Unavailable (poisoned; the disk is full: may be tried again).
  virtual Status SyncThrough(Lsn lsn) = 0;

  /// The last durable LSN: what is on disk. Monotonic.
  virtual Lsn durable_lsn() const = 0;

  /// The last visible LSN: at least durable_lsn() when nothing is being answered. Monotonic.
  virtual Lsn visible_lsn() const = 0;

  /// Removes segments that hold nothing above `lsn`, or moves them to the archive. store calls it when two
  /// manifests cover `lsn`. After an error it may be called again; the segments in question are still there.
  virtual Status TruncateThrough(Lsn lsn) = 0;

  /// Calls `visit` for durable entries with LSN in (after, through], from the files. For followers,
  /// subscribers and backup. Errors: NotFound (already truncated), Corruption, or what visit returned.
  virtual Status Read(Lsn after, Lsn through, const Replay& visit) = 0;

  /// Bytes of segments on disk.
  virtual int64_t disk_bytes() const = 0;

  /// Writes what waits, syncs, marks the log as cleanly closed. Append() fails afterwards. Fails where the log
  /// is poisoned or buffered entries that were answered could not be written.
  virtual Status Close() = 0;
};

}  // namespace sheaf::wal
