/// What scans and hooks inside DuckDB share with the statement they run for.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "access/identity.h"
#include "core/ids.h"
#include "core/mutex.h"
#include "core/status.h"
#include "query/duckdb_headers.h"
#include "query/result_cache.h"
#include "store/database.h"

namespace sheaf::query {

/// Counts of one statement, written by its scans. Thread-safe.
struct StatementCounters {
  std::atomic<int64_t> rows_scanned{0}, bytes_read{0};
  std::atomic<int64_t> parts{0}, parts_pruned{0}, granules{0}, granules_pruned{0};
  std::atomic<int64_t> scans{0}, look_ups{0};  // Scans of tables, and those of them that found few rows by id or key.
  std::atomic<uint32_t> indexes{0};            // What helped them: bits of IndexUse.
};

/// What may help a scan, as bits.
enum IndexUse : uint32_t {
  kByKey = 1,     // Rows were looked up by their primary key.
  kByFilter = 2,  // An index over a column named the granules.
  kByTopN = 4,    // Granules were read in the order of ORDER BY … LIMIT, so that its bound rules out the others.
  kByTokens = 8,  // The token index of a text column named the granules.
};

/// What a statement took besides. Written by the thread that runs it, read by any.
struct StatementCosts {
  std::atomic<int64_t> queue_ns{0}, parse_ns{0}, plan_ns{0}, execute_ns{0};
  std::atomic<bool> queued{false};                              // It waits for its turn now.
  std::atomic<bool> cache_hit{false};
  std::atomic<int64_t> rows{0};                                 // Of its answer, so far.
  std::atomic<int64_t> peak_memory_bytes{0}, spilled_bytes{0};  // See MemoryWatch.
};

/// What kind of work a statement is, for figures.
enum class StatementKind : uint8_t { kSelect, kLookUp, kWrite, kDefinition, kOther };

/// One statement's counters and the first error of its scans, which DuckDB's own error would lose the kind of.
class StatementRecord {
 public:
  StatementCounters counters;
  StatementCosts costs;

  /// kSelect stands for kLookUp as well: see kind_now().
  void SetKind(StatementKind kind) { kind_.store(kind, std::memory_order_relaxed); }
  /// A SELECT is a look-up where all its scans were.
  StatementKind kind_now() const {
    const StatementKind kind = kind_.load(std::memory_order_relaxed);
    const bool looked_up = counters.scans > 0 && counters.look_ups == counters.scans;
    return kind == StatementKind::kSelect && looked_up ? StatementKind::kLookUp : kind;
  }

  void SetError(const Status& error) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    if (error_.ok()) error_ = error;
  }
  /// Before the statement is run once more.
  void ClearError() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    error_ = Status::OK();
  }
  /// What the statement wrote last.
  void SetLsn(Lsn lsn) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    lsn_ = lsn;
  }
  Lsn lsn() const SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return lsn_;
  }
  Status error() const SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return error_;
  }

 private:
  std::atomic<StatementKind> kind_{StatementKind::kOther};
  mutable Mutex mutex_;
  Status error_ SHEAF_GUARDED_BY(mutex_);
  Lsn lsn_ SHEAF_GUARDED_BY(mutex_);
};

/// Registered in each connection's context; holds the record of the statement that runs there.
class SessionState : public duckdb::ClientContextState {
 public:
  static constexpr const char* kKey = "sheaf";

  explicit SessionState(bool trusted, int read_ahead_granules = 0) : trusted_(trusted), read_ahead_granules_(read_ahead_granules) {}
  bool trusted() const { return trusted_; }
  int read_ahead_granules() const { return read_ahead_granules_; }
  /// Who asks; null: somebody who may do everything. Set before a statement is planned, as what follows, on the thread that plans it.
  void SetIdentity(std::shared_ptr<const access::Identity> identity) { identity_ = std::move(identity); }
  const access::Identity* identity() const { return identity_.get(); }
  void Begin(std::shared_ptr<StatementRecord> record) {
    record_ = std::move(record);
    SetKeeping(false);
  }
  /// Whether the answer of the statement that is planned next may be kept, so that what it reads is noted.
  void SetKeeping(bool keeping) {
    keeping_ = keeping;
    reads_.reset();
  }
  bool keeping() const { return keeping_; }
  void SetReads(std::optional<std::vector<TableState>> reads) { reads_ = std::move(reads); }
  /// The tables that the answer depends on, and nothing else; nothing where it is not so.
  std::optional<std::vector<TableState>> TakeReads() { return std::exchange(reads_, std::nullopt); }
  /// `admit` waits for the turn of the statement that is planned next, once its plan shows whether it is a look-up; empty: it has its
  /// turn already.
  void SetAdmission(std::function<Status(bool look_up)> admit) { admit_ = std::move(admit); }
  bool waits_for_turn() const { return admit_ != nullptr; }
  Status Admit(bool look_up) { return std::exchange(admit_, nullptr)(look_up); }
  /// What the statement that is planned next is: whether it changes rows, and whether its INSERT leaves out keys that are there.
  void SetWriting(bool writes, bool insert_missing) { writes_ = writes, insert_missing_ = insert_missing; }
  bool writes() const { return writes_; }
  bool insert_missing() const { return insert_missing_; }
  /// What the statements that are planned next see, instead of what is visible then; null: that.
  void SetSnapshot(std::shared_ptr<const store::Snapshot> snapshot) { snapshot_ = std::move(snapshot); }
  const std::shared_ptr<const store::Snapshot>& snapshot() const { return snapshot_; }
  /// Never null while a statement runs.
  const std::shared_ptr<StatementRecord>& record() const { return record_; }

  static SessionState& Of(duckdb::ClientContext& context) {
    return *context.registered_state->Get<SessionState>(kKey);
  }

 private:
  const bool trusted_;
  const int read_ahead_granules_;
  std::shared_ptr<const access::Identity> identity_;
  bool writes_ = false, insert_missing_ = false;
  std::shared_ptr<const store::Snapshot> snapshot_;
  std::function<Status(bool)> admit_;
  bool keeping_ = false;
  std::optional<std::vector<TableState>> reads_;
  std::shared_ptr<StatementRecord> record_ = std::make_shared<StatementRecord>();
};

/// Leaves DuckDB with an error of the store, whose kind the statement's record keeps.
[[noreturn]] inline void ThrowStatus(duckdb::ClientContext& context, const Status& error) {
  SessionState::Of(context).record()->SetError(error);
  throw duckdb::IOException("%s", error.message());
}

}  // namespace sheaf::query
