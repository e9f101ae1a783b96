/// The engine's face: open, append durably, read a consistent snapshot, seal, expire, close.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/granules.h"
#include "core/ids.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"
#include "parts/part.h"
#include "wal/log.h"

namespace sheaf::store {

/// Each with its unit in the name; docs/settings.md says why one would change it.
struct Options {
  std::string directory;
  int64_t memtable_bytes = int64_t{128} << 20;        // Seal a table's memtable at this size…
  int64_t seal_age_ms = 60'000;                       // …or when its oldest row is this old.
  int64_t ingest_memory_bytes_max = int64_t{512} << 20;  // Active and sealing memtables; beyond, appends are throttled.
  int64_t cold_after_ms = 3'600'000;                  // Hot parts older than this become Parquet.
  int64_t log_segment_bytes = int64_t{64} << 20;
  int64_t log_queue_bytes_max = int64_t{64} << 20;
  double free_space_min_fraction = 0.05;              // Below this share of free disk, appends are refused (kUnavailable).
  bool read_only = false;                             // For `sheaf sql --data` beside nobody: still takes the lock.
};

enum class TableKind { kAppend, kKeyed };

/// A table's definition. Immutable; a change makes a new one.
struct TableInfo {
  TableId id;
  std::string schema_name, name;                      // "otel", "traces"
  TableKind kind = TableKind::kAppend;
  uint32_t schema_version = 1;
  std::shared_ptr<arrow::Schema> schema;              // Physical.
  parts::Layout layout;
  std::optional<int64_t> retention_ms;                // By the time column; none: kept for ever.
};

/// Rows for one table inside an append.
struct TableRows {
  TableId table;
  std::shared_ptr<arrow::RecordBatch> batch;
};

/// A table at one instant.
struct TableSnapshot {
  std::shared_ptr<const TableInfo> info;
  std::vector<std::shared_ptr<const columns::GranuleSource>> sources;
  int64_t rows = 0;
};

/// The whole database at one LSN: immutable, cheap, keeps what it names alive. Readers never block writers.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  virtual Lsn lsn() const = 0;
  /// Tables in order of schema and name.
  virtual const std::vector<std::shared_ptr<const TableInfo>>& tables() const = 0;
  /// NotFound names the nearest known tables.
  virtual Result<TableSnapshot> Table(TableId id) const = 0;
};

/// One part, for `sheaf.parts` and `sheaf inspect`.
struct PartStatus {
  std::shared_ptr<const TableInfo> table;
  parts::PartInfo info;
};

/// Numbers about the database, for /metrics, `sheaf.*` tables and readiness.
struct Stats {
  Lsn durable, covered;
  int64_t memtable_bytes = 0, memtable_rows = 0, log_bytes = 0, parts = 0, part_bytes = 0;
  int64_t seals = 0, cold_conversions = 0, parts_expired = 0;
  bool writable = true;
  std::string not_writable_reason;
};

/// Thread-safe.
class Database {
 public:
  using Done = std::function<void(Result<Lsn>)>;

  /// Opens or creates, takes the directory's lock, recovers, starts the background work. Ready tables
  /// (otel.*) are made when missing. Errors: Unavailable (held by another process), Corruption (says what,
  /// where and which command helps), Unsupported (newer format), Io.
  static Result<std::unique_ptr<Database>> Open(io::FileSystem* files, io::Clock* clock, const Options& options);
  virtual ~Database() = default;

  /// Appends rows to one or more tables as one atomic entry; `done` is run on another thread once the
  /// entry is durable and visible, with its LSN. `batch_id`: a retry with the same id answers with the
  /// first LSN and adds nothing. Serialises the batches before it returns: their buffers are free to be
  /// reused then. Errors (`done` is not called): Throttled, TooLarge, Unavailable, Invalid, NotFound.
  virtual Status AppendAsync(const std::vector<TableRows>& rows, const std::string& batch_id, Done done) = 0;
  /// The same, waiting.
  Result<Lsn> Append(const std::vector<TableRows>& rows, const std::string& batch_id = {});

  virtual std::shared_ptr<const Snapshot> GetSnapshot() const = 0;
  virtual Result<std::shared_ptr<const TableInfo>> FindTable(const std::string& schema_name, const std::string& name) const = 0;
  /// Changes when tables are created, altered or dropped.
  virtual uint64_t catalog_version() const = 0;

  /// Seals every memtable into parts and waits. Afterwards a manifest covers all that was durable before.
  virtual Status Flush() = 0;
  /// Turns hot parts into cold ones now (those of `table`, or all), and waits.
  virtual Status MakeCold(std::optional<TableId> table = {}) = 0;
  virtual Status SetRetention(TableId table, std::optional<int64_t> retention_ms) = 0;

  virtual std::vector<PartStatus> Parts() const = 0;
  virtual Stats GetStats() const = 0;
  virtual const Options& options() const = 0;

  /// Stops background work, flushes, closes the log and the lock. Appends fail with kUnavailable from here on.
  virtual Status Close() = 0;
};

}  // namespace sheaf::store
