/// The statements that run and the last ones that ran: table sheaf.queries.

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
  double seconds = 0;           // So far, where it runs.
  std::string state;            // "running", "done", or the error's kind
  int64_t rows = 0, rows_scanned = 0, bytes_read = 0;
};

/// Thread-safe.
class QueryLog {
 public:
  static constexpr size_t kKeptMax = 200;
  static constexpr size_t kLoggedSqlBytesMax = 2000;

  uint64_t Started(const std::string& sql, std::shared_ptr<const StatementRecord> record) SHEAF_EXCLUDES(mutex_);
  void Ended(uint64_t id, const std::string& state, int64_t rows) SHEAF_EXCLUDES(mutex_);
  /// The newest first.
  std::vector<LoggedQuery> All() const SHEAF_EXCLUDES(mutex_);

 private:
  struct Running {
    LoggedQuery query;
    std::chrono::steady_clock::time_point started;
    std::shared_ptr<const StatementRecord> record;
  };
  static LoggedQuery Now(const Running& running);

  mutable Mutex mutex_;
  uint64_t next_id_ SHEAF_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Running> running_ SHEAF_GUARDED_BY(mutex_);
  std::deque<LoggedQuery> ended_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::query
