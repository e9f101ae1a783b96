/// The statements that run and the last ones that ran, with what they took and did: table sheaf.queries.

#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "query/engine.h"
#include "query/statement_state.h"

namespace sheaf::query {

struct LoggedQuery {
  uint64_t id = 0;
  std::string sql;              // Cut to kLoggedSqlBytesMax.
  int64_t started_ns = 0;       // Wall clock, UTC.
  double seconds = 0;           // So far, where it runs. With the time in which its answer was taken away.
  std::string state;            // "queued", "running", "done", or the error's kind
  std::string error;            // Its message; empty: none.
  StatementKind kind = StatementKind::kOther;
  QueryStats stats;
  uint32_t indexes = 0;         // Bits of IndexUse.

  /// What the server needed for it, waiting for its turn included; not the time in which its answer was taken away.
  double worked_seconds() const { return stats.queue_seconds + stats.parse_seconds + stats.plan_seconds + stats.execute_seconds; }
};

/// "select", "lookup", "write", "definition", "other".
const char* NameOf(StatementKind kind);
/// The names of what is in `indexes`: "key, filter, tokens, top-n"; empty where nothing is.
std::string NamesOfIndexes(uint32_t indexes);
/// At most `bytes_max` of `text`, whole characters.
std::string Shortened(const std::string& text, size_t bytes_max);

/// What the statement has done so far.
QueryStats StatsOf(const StatementRecord& record);

/// Thread-safe.
class QueryLog {
 public:
  static constexpr size_t kKeptMax = 200;
  static constexpr size_t kLoggedSqlBytesMax = 2000, kLoggedErrorBytesMax = 500;

  uint64_t Started(const std::string& sql, std::shared_ptr<const StatementRecord> record) SHEAF_EXCLUDES(mutex_);
  /// Returns what is kept of it, for figures and the log.
  std::shared_ptr<const LoggedQuery> Ended(uint64_t id, const Status& outcome) SHEAF_EXCLUDES(mutex_);
  /// Of one that was planned to tell its shape, and did not run: nothing of it is kept.
  void Forget(uint64_t id) SHEAF_EXCLUDES(mutex_);
  /// The newest first.
  std::vector<LoggedQuery> All() const SHEAF_EXCLUDES(mutex_);

 private:
  struct Running {
    LoggedQuery query;
    std::chrono::steady_clock::time_point started;
    std::shared_ptr<const StatementRecord> record;
  };
  /// Brings `query`, which is that of `running`, to what it is now.
  static void Update(const Running& running, LoggedQuery* query);

  mutable Mutex mutex_;
  uint64_t next_id_ SHEAF_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Running> running_ SHEAF_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<const LoggedQuery>> ended_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::query
