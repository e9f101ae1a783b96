#include "query/store_transaction.h"

#include "query/statement_state.h"

namespace sheaf::query {

namespace {

class StoreTransactions : public duckdb::TransactionManager {
 public:
  StoreTransactions(duckdb::AttachedDatabase& attached, store::Database* database)
      : duckdb::TransactionManager(attached), database_(database) {}

  duckdb::Transaction& StartTransaction(duckdb::ClientContext& context) override {
    auto transaction = std::make_unique<StoreTransaction>(*this, context, database_);
    duckdb::Transaction& started = *transaction;
    MutexLock lock(&mutex_);
    open_.emplace(&started, std::move(transaction));
    return started;
  }
  /// Nothing is left to do: a statement's writes were committed before its first result row.
  duckdb::ErrorData CommitTransaction(duckdb::ClientContext&, duckdb::Transaction& transaction) override {
    End(transaction);
    return duckdb::ErrorData();
  }
  void RollbackTransaction(duckdb::Transaction& transaction) override { End(transaction); }
  void Checkpoint(duckdb::ClientContext&, bool) override {}

 private:
  void End(duckdb::Transaction& transaction) {
    std::unique_ptr<duckdb::Transaction> ended;  // Lets go of the snapshot outside the lock.
    MutexLock lock(&mutex_);
    auto node = open_.extract(&transaction);
    if (!node.empty()) ended = std::move(node.mapped());
  }

  store::Database* const database_;  // Borrowed.
  Mutex mutex_;
  std::map<duckdb::Transaction*, std::unique_ptr<duckdb::Transaction>> open_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<const store::Snapshot> StoreTransaction::SnapshotFor(duckdb::ClientContext& context, const store::Database& database) {
  const auto state = context.registered_state->Get<SessionState>(SessionState::kKey);
  return state && state->snapshot() ? state->snapshot() : database.GetSnapshot();
}

Result<store::TableSnapshot> StoreTransaction::Table(TableId id) {
  {
    MutexLock lock(&mutex_);
    const auto found = tables_.find(id);
    if (found != tables_.end()) return found->second;
  }
  SHEAF_ASSIGN_OR_RETURN(auto table, snapshot_->Table(id));
  MutexLock lock(&mutex_);
  return tables_.emplace(id, std::move(table)).first->second;
}

int64_t StoreTransaction::KeepFoundRow(store::KeyedRow row) {
  MutexLock lock(&mutex_);
  found_.push_back(std::move(row));
  return kFoundRowBase + static_cast<int64_t>(found_.size()) - 1;
}

store::KeyedRow StoreTransaction::FoundRow(int64_t row_number) const {
  MutexLock lock(&mutex_);
  return found_.at(static_cast<size_t>(row_number - kFoundRowBase));
}

duckdb::unique_ptr<duckdb::TransactionManager> MakeStoreTransactions(duckdb::AttachedDatabase& attached, store::Database* database) {
  return duckdb::make_uniq<StoreTransactions>(attached, database);
}

}  // namespace sheaf::query
