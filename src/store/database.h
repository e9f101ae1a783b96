/// The engine's face: open, append durably, read a consistent snapshot, find rows by key, seal, expire, close.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/granules.h"
#include "columns/key_codec.h"
#include "core/ids.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"
#include "parts/part.h"
#include "store/keyed_rows.h"
#include "store/snapshots.h"
#include "store/table.h"

namespace sheaf::columns {
class DeadRows;
}  // namespace sheaf::columns

namespace sheaf::store {

/// Each with its unit in the name; docs/settings.md says why one would change it.
struct Options {
  std::string directory;
  int64_t memtable_bytes = int64_t{128} << 20;        // Seal a table's memtable at this size…
  int64_t seal_age_ms = 60'000;                       // …or when its oldest row is this old.
  int64_t ingest_memory_bytes_max = int64_t{512} << 20;  // Active and sealing memtables; beyond, appends are throttled.
  int64_t granule_cache_bytes_max = int64_t{256} << 20;  // Decoded granules of cold parts, for look-ups by key.
  int64_t cold_after_ms = 3'600'000;                  // Hot parts older than this become Parquet.
  int64_t log_segment_bytes = int64_t{64} << 20;
  int64_t log_queue_bytes_max = int64_t{64} << 20;
  int64_t buffered_sync_ms = 100;                     // `buffered` appends are on disk this much later.
  double compaction_cpu_share = 0.10;                 // Of all cores; more only where writers would have to wait otherwise.
  int64_t snapshot_interval_ms = 1'800'000;           // A snapshot on disk is made this often, if something was written; 0: never.
  int64_t snapshots_kept = 4;                         // Automatic ones; the oldest go.
  bool archive_log = false;                           // Keep the log behind the oldest snapshot, to restore to any LSN or time.
  bool log_direct_io = false;                         // Write the log past the page cache, where the file system allows it.
  int log_cpu = -1;                                   // Processor that the log's thread is bound to; -1: none.
  double free_space_min_fraction = 0.05;              // Below this share of free disk, appends are refused (kUnavailable).
  int64_t scrub_interval_ms = 604'800'000;            // Each part is read and its checksums are checked this often; 0: never…
  int64_t scrub_bytes_per_second = int64_t{16} << 20; // …at this rate.
  bool read_only = false;                             // For `sheaf sql --data` beside nobody: still takes the lock.
};

/// What rows of an append do. kInsert and kDelete are for keyed tables only.
enum class RowOp : uint8_t {
  kPut,     // Adds the row; where the key is there, replaces it.
  kInsert,  // Adds the row; AlreadyExists where the key is there, and nothing of the append is done.
  kDelete,  // The batch has the key columns only, in key order. Keys that are not there are no error.
};

/// Rows for one table inside an append.
struct TableRows {
  TableId table;
  std::shared_ptr<arrow::RecordBatch> batch;          // Of the table's schema, metadata aside.
  RowOp op = RowOp::kPut;
  std::optional<Lsn> expected = std::nullopt;         // Keyed tables: every key's newest version must be of this LSN (0: no row), else
                                                      // Conflict, and nothing of the append is done.
  std::optional<Lsn> unchanged_since = std::nullopt;  // Keyed tables: every key must have a row, of a version at or below this LSN
                                                      // (a snapshot's), else Conflict, and nothing of the append is done.
};

struct WriteOptions {
  std::string batch_id = {};                          // A retry with the same id answers with the first LSN and adds nothing.
  Durability durability = Durability::kTable;         // For several tables kTable is the strictest of theirs.
  RowOp op = RowOp::kPut;                             // Of PutRowAsync() only.
  std::optional<Lsn> expected = std::nullopt;         // Of PutRowAsync() and DeleteRowAsync() only.
  bool caller_waits = false;                          // It does nothing until `done`, so its own thread may write and sync.
};

/// One source of a table, and which of its rows the snapshot must not see.
struct SourceView {
  std::shared_ptr<const columns::GranuleSource> source;
  std::shared_ptr<const columns::DeadRows> dead;      // Null: none.
  bool operator==(const SourceView&) const = default;
};

/// A table at one instant.
struct TableSnapshot {
  std::shared_ptr<const TableInfo> info;
  std::vector<SourceView> sources;                    // Columns by position as in `info`; there may be hidden ones behind them.
  int64_t rows = 0;                                   // Alive.
};

/// The whole database at one LSN: immutable, cheap, keeps what it names alive. Readers never block writers. Thread-safe.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  virtual Lsn lsn() const = 0;
  /// Whether Get() and MultiGet() answer for the table; false: its rows are found by scanning only (see WithRows()).
  virtual bool FindsByKey(TableId) const { return true; }
  /// Tables in order of schema and name.
  virtual const std::vector<std::shared_ptr<const TableInfo>>& tables() const = 0;
  /// For a keyed table this finds out which rows were replaced by writes since the last such call, in time that
  /// grows with their number. Errors: NotFound (names the nearest known tables), Corruption, Io.
  virtual Result<TableSnapshot> Table(TableId id) const = 0;

  /// The row with an encoded key (TableInfo::keys), as of this snapshot; an empty KeyedRow where there is none.
  /// Errors: NotFound (no such table), Invalid (an append table), Corruption, Io.
  virtual Result<KeyedRow> Get(TableId table, std::string_view key) const;
  /// One answer a key, in their order. Errors as above.
  virtual Result<std::vector<KeyedRow>> MultiGet(TableId table, const columns::KeyColumn& keys) const;
  /// Rows in the order of their keys; deleted and replaced ones left out. Errors as above.
  virtual Result<std::unique_ptr<RowCursor>> Scan(TableId table, const KeyRange& range, const ScanOptions& options) const;
};

/// What an entry of the log did with one table.
struct LoggedRows {
  Lsn lsn;
  TableId table;
  std::shared_ptr<arrow::RecordBatch> batch;          // Append tables: the rows that were added.
  columns::KeyColumn keys;                            // Keyed ones: which rows were put or deleted.
  int64_t bytes = 0;                                  // In the log.
};

/// `base`, but with `rows` in the place of what the table holds.
std::shared_ptr<const Snapshot> WithRows(std::shared_ptr<const Snapshot> base, TableId table,
                                         const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows);

/// One part, for `sheaf.parts` and `sheaf inspect`.
struct PartStatus {
  std::shared_ptr<const TableInfo> table;
  parts::PartInfo info;
  std::string damage;                                 // Why it is set aside: statements that need it fail. Empty: it is sound.
};

/// Numbers about the database, for /metrics, `sheaf.*` tables and readiness.
struct Stats {
  Lsn durable, covered;
  int64_t memtable_bytes = 0, memtable_rows = 0, log_bytes = 0, parts = 0, part_bytes = 0;
  int64_t seals = 0, cold_conversions = 0, compactions = 0, parts_expired = 0;
  int64_t damaged_parts = 0, scrubbed_parts = 0, scrubbed_bytes = 0;
  bool writable = true;
  std::string not_writable_reason;
};

/// Thread-safe. Where memory is out, calls that read throw std::bad_alloc or answer OutOfMemory and have changed nothing; those that
/// change something end the process, as a crash does (core/out_of_memory.h). Open() answers OutOfMemory.
class Database {
 public:
  using Done = std::function<void(Result<Lsn>)>;

  /// Opens or creates, takes the directory's lock, recovers, starts the background work. Ready tables
  /// (otel.*, trading.*, memory.*) are made when missing. Errors: Unavailable (held by another process), Corruption (says
  /// what, where and which command helps), Unsupported (newer format), Io.
  static Result<std::unique_ptr<Database>> Open(io::FileSystem* files, io::Clock* clock, const Options& options);
  virtual ~Database() = default;

  /// Appends rows to one or more tables as one atomic entry. `done` is run once the entry is visible and as durable as
  /// asked for, with its LSN; for `buffered` appends and those with `caller_waits` perhaps before this returns, on the
  /// caller's thread, else on another. Serialises the batches before it returns: their buffers are free to be reused then.
  /// Errors without `done`: Throttled, TooLarge, Unavailable, Invalid (also a NULL in a key or where the column has none,
  /// or a batch of another schema), NotFound, AlreadyExists. Through `done`: AlreadyExists, Conflict, Unavailable
  /// (disk full; nothing was written), Unknown (the outcome is open until a restart; the same batch id gives one copy).
  virtual Status AppendAsync(const std::vector<TableRows>& rows, const WriteOptions& options, Done done) noexcept = 0;
  Status AppendAsync(const std::vector<TableRows>& rows, const std::string& batch_id, Done done) noexcept {
    return AppendAsync(rows, WriteOptions{.batch_id = batch_id}, std::move(done));
  }
  /// The same, waiting.
  Result<Lsn> Append(const std::vector<TableRows>& rows, const WriteOptions& options) noexcept;
  Result<Lsn> Append(const std::vector<TableRows>& rows, const std::string& batch_id = {}) noexcept {
    return Append(rows, WriteOptions{.batch_id = batch_id});
  }

  /// Appends one row given as compact bytes (TableInfo::rows), without making Arrow objects: a microsecond or two.
  /// Errors as above, and Unsupported: the table's columns are not flat.
  virtual Status PutRowAsync(TableId table, std::string_view row, const WriteOptions& options, Done done) noexcept;
  /// Deletes one key (encoded) of a keyed table.
  virtual Status DeleteRowAsync(TableId table, std::string_view key, const WriteOptions& options, Done done) noexcept;
  /// The same, waiting.
  Result<Lsn> PutRow(TableId table, std::string_view row, const WriteOptions& options = {}) noexcept;
  Result<Lsn> DeleteRow(TableId table, std::string_view key, const WriteOptions& options = {}) noexcept;

  virtual std::shared_ptr<const Snapshot> GetSnapshot() const = 0;
  virtual Result<std::shared_ptr<const TableInfo>> FindTable(const std::string& schema_name, const std::string& name) const = 0;
  /// Changes when tables are created, altered or dropped.
  virtual uint64_t catalog_version() const = 0;

  /// Waits until something after `lsn` is visible, or until `timeout`; returns what is visible then.
  virtual Lsn WaitForVisible(Lsn lsn, std::chrono::nanoseconds timeout) const;
  /// Reads from the log what entries with LSN in (after, through] did with rows of `tables`, in their order; `through` must be visible.
  /// Has buffered ones written to disk first. Conditional writes that were refused are told, too.
  /// Errors: NotFound (the log begins later, see KeepLogAfter()), Conflict (the columns of a table changed since), Corruption, Io, or
  /// what `visit` returned.
  virtual Status ReadLogged(Lsn after, Lsn through, const std::vector<TableId>& tables,
                            const std::function<Status(const LoggedRows&)>& visit) const;
  /// The log keeps what comes after `lsn` until this is called with a later one; none: nothing is kept for it.
  virtual void KeepLogAfter(std::optional<Lsn> lsn);

  /// As Snapshot's of the same name, of what is visible now, without making a snapshot.
  virtual Result<KeyedRow> Get(TableId table, std::string_view key) const;
  virtual Result<std::vector<KeyedRow>> MultiGet(TableId table, const columns::KeyColumn& keys) const;

  /// Definitions: each is durable when it returns, and either wholly there after a crash or not at all. Appends to the
  /// table that is changed wait meanwhile, up to a second. Errors: Invalid (says what cannot be, and why), AlreadyExists,
  /// NotFound (names the nearest), Denied (a ready table that must stay as it is), Unavailable, Io, Timeout.
  virtual Result<std::shared_ptr<const TableInfo>> CreateTable(const NewTable& table) noexcept;
  virtual Status DropTable(TableId table) noexcept;
  virtual Result<std::shared_ptr<const TableInfo>> Alter(TableId table, const AlterTable& change) noexcept;

  /// Seals every memtable into parts and waits. Afterwards a manifest covers all that was durable before.
  virtual Status Flush() noexcept = 0;
  /// Turns hot parts into cold ones now (those of `table`, or all), and waits.
  virtual Status MakeCold(std::optional<TableId> table = {}) noexcept = 0;
  virtual Status SetRetention(TableId table, std::optional<int64_t> retention_ms) noexcept = 0;

  /// Makes a snapshot on disk of everything that is visible when it is called (snapshots.h), and waits: memtables become parts
  /// first. `id` empty: named by time and LSN. Appends go on meanwhile. Errors: Invalid, AlreadyExists, Unavailable, Io.
  virtual Result<SnapshotInfo> CreateSnapshot(const std::string& id = {}) noexcept;
  /// Oldest first.
  virtual Result<std::vector<SnapshotInfo>> Snapshots() const;
  /// Errors: NotFound, Unavailable, Io.
  virtual Status DropSnapshot(const std::string& id) noexcept;

  virtual std::vector<PartStatus> Parts() const = 0;
  /// Reads every part and checks all its checksums now, at full speed; sets damaged ones aside and returns them. The same happens
  /// slowly in the background (Options::scrub_interval_ms). Errors: Unavailable, Io.
  virtual Result<std::vector<PartStatus>> Scrub() noexcept;
  virtual Stats GetStats() const = 0;
  virtual const Options& options() const = 0;

  /// Stops background work, flushes, closes the log and the lock. Appends fail with kUnavailable from here on.
  virtual Status Close() noexcept = 0;
};

}  // namespace sheaf::store
