/// A statement's view of the store, and what it is about to write there.

#pragma once

#include <map>
#include <memory>
#include <vector>

#include "core/mutex.h"
#include "query/duckdb_headers.h"
#include "query/statement_writes.h"
#include "store/database.h"

namespace sheaf::query {

/// Row numbers of rows that were found by key, not by scanning: above those of every source.
inline constexpr int64_t kFoundRowBase = int64_t{1} << 62;

/// One snapshot and one set of writes, for one statement. The reading side is thread-safe.
class StoreTransaction : public duckdb::Transaction {
 public:
  StoreTransaction(duckdb::TransactionManager& manager, duckdb::ClientContext& context, store::Database* database)
      : duckdb::Transaction(manager, context), snapshot_(SnapshotFor(context, *database)),
        writes_(database, [&context] { return context.interrupted.load(); }) {}

  /// That of `context` for our catalog.
  static StoreTransaction& Get(duckdb::ClientContext& context, duckdb::Catalog& catalog) {
    return duckdb::Transaction::Get(context, catalog).Cast<StoreTransaction>();
  }

  const store::Snapshot& snapshot() const { return *snapshot_; }
  const std::shared_ptr<const store::Snapshot>& shared_snapshot() const { return snapshot_; }
  StatementWrites& writes() { return writes_; }

  /// The table at the snapshot; always the same sources in the same order, so that row numbers hold for the whole statement.
  Result<store::TableSnapshot> Table(TableId id) SHEAF_EXCLUDES(mutex_);

  /// Keeps a row that was found by key; returns its row number.
  int64_t KeepFoundRow(store::KeyedRow row) SHEAF_EXCLUDES(mutex_);
  store::KeyedRow FoundRow(int64_t row_number) const SHEAF_EXCLUDES(mutex_);

 private:
  static std::shared_ptr<const store::Snapshot> SnapshotFor(duckdb::ClientContext& context, const store::Database& database);

  const std::shared_ptr<const store::Snapshot> snapshot_;
  StatementWrites writes_;
  mutable Mutex mutex_;
  std::map<TableId, store::TableSnapshot> tables_ SHEAF_GUARDED_BY(mutex_);
  std::vector<store::KeyedRow> found_ SHEAF_GUARDED_BY(mutex_);
};

duckdb::unique_ptr<duckdb::TransactionManager> MakeStoreTransactions(duckdb::AttachedDatabase& attached, store::Database* database);

}  // namespace sheaf::query
