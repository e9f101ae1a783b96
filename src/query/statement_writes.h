/// What one statement writes to one table: gathered, then appended as one atomic entry of the log, or, where it is a
/// load too large for one entry, in pieces.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>

#include "core/mutex.h"
#include "core/status.h"
#include "store/database.h"

namespace sheaf::query {

/// Bytes of rows that become one entry of the log at most; up to here every statement is atomic.
inline constexpr int64_t kAtomicBytesMax = int64_t{32} << 20;

enum class WriteKind : uint8_t {
  kPut,         // INSERT: adds; on a keyed table replaces what is there. May be committed in pieces.
  kPutMissing,  // INSERT OR IGNORE: leaves out rows whose key is there. May be committed in pieces.
  kInsert,      // Of MERGE: nobody may have inserted the key since the snapshot, else Conflict.
  kChange,      // UPDATE: new versions of rows which nobody may have changed since the snapshot, else Conflict.
  kDelete,      // Keys alone; Conflict as above. May be committed in pieces: a repeated statement deletes the rest.
};

/// Thread-safe. Destroyed without Commit(), it leaves nothing but pieces that are committed already; a table it made is dropped.
class StatementWrites {
 public:
  /// Borrows `database`. `stopped` says whether the statement was interrupted, and is asked while the store is throttled.
  StatementWrites(store::Database* database, std::function<bool()> stopped) : database_(database), stopped_(std::move(stopped)) {}
  ~StatementWrites();
  StatementWrites(const StatementWrites&) = delete;
  StatementWrites& operator=(const StatementWrites&) = delete;

  /// Names the table, before any Add(). `snapshot`: what kChange and kDelete were decided on.
  void Begin(std::shared_ptr<const store::TableInfo> table, Lsn snapshot) SHEAF_EXCLUDES(mutex_);
  /// A table that is made with the first rows' commit, so that a statement that fails before leaves the catalog as it was.
  void BeginNew(store::NewTable table) SHEAF_EXCLUDES(mutex_);
  /// Whether rows written are to be kept for RETURNING.
  void ReturnRows() SHEAF_EXCLUDES(mutex_) { MutexLock lock(&mutex_); returns_ = true; }

  /// Adds rows with the table's schema; for kDelete `batch` has the key columns and `old_rows`, only where they are returned, all columns.
  /// Appends what is there when kAtomicBytesMax is reached. Blocks on that, also while the store is full.
  /// Errors: TooLarge (a kind that must be atomic); the store's.
  Status Add(WriteKind kind, std::shared_ptr<arrow::RecordBatch> batch, std::shared_ptr<arrow::RecordBatch> old_rows = nullptr)
      SHEAF_EXCLUDES(mutex_);
  /// Appends what is left and waits for it. Errors: Conflict (run the statement again on a new snapshot); the store's.
  Status Commit() SHEAF_EXCLUDES(mutex_);

  /// After Commit(): rows written or deleted, the LSN of the last entry (0: nothing was written), rows to return.
  int64_t rows() const SHEAF_EXCLUDES(mutex_);
  Lsn lsn() const SHEAF_EXCLUDES(mutex_);
  arrow::RecordBatchVector TakeReturned() SHEAF_EXCLUDES(mutex_);

 private:
  struct Staged {
    WriteKind kind;
    std::shared_ptr<arrow::RecordBatch> batch, old_rows;
  };

  Status Append(std::vector<Staged> staged) SHEAF_EXCLUDES(mutex_);
  Status AppendMissing(const store::TableInfo& table, std::shared_ptr<arrow::RecordBatch> batch) SHEAF_EXCLUDES(mutex_);
  struct Inserted;
  static Status CheckDistinct(const store::TableInfo& table, const arrow::RecordBatch& batch, Inserted* inserted);
  Result<std::shared_ptr<const store::TableInfo>> Target() SHEAF_EXCLUDES(mutex_);
  /// Waits while the store is throttled.
  Result<Lsn> AppendToStore(const std::vector<store::TableRows>& rows) SHEAF_EXCLUDES(mutex_);
  void CountWritten(Lsn lsn, const Staged& what) SHEAF_EXCLUDES(mutex_);

  store::Database* const database_;
  const std::function<bool()> stopped_;
  mutable Mutex mutex_;
  std::shared_ptr<const store::TableInfo> table_ SHEAF_GUARDED_BY(mutex_);  // Null: not made yet.
  std::optional<store::NewTable> new_table_ SHEAF_GUARDED_BY(mutex_);
  Lsn snapshot_ SHEAF_GUARDED_BY(mutex_);
  bool returns_ SHEAF_GUARDED_BY(mutex_) = false, committed_ SHEAF_GUARDED_BY(mutex_) = false;
  bool making_ SHEAF_GUARDED_BY(mutex_) = false;
  CondVar made_;
  std::vector<Staged> staged_ SHEAF_GUARDED_BY(mutex_);
  int64_t staged_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  int64_t rows_ SHEAF_GUARDED_BY(mutex_) = 0;
  Lsn lsn_ SHEAF_GUARDED_BY(mutex_);
  arrow::RecordBatchVector returned_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::query
