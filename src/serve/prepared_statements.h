/// Prepared statements of Flight SQL: what is kept between the calls that make, bind, run and close one.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "core/mutex.h"
#include "core/status.h"
#include "query/engine.h"

namespace sheaf::serve {

/// Immutable; binding makes a new one.
struct PreparedStatement {
  std::string sql;
  query::StatementShape shape;
  std::vector<std::shared_ptr<arrow::RecordBatch>> parameters;  // A set a row; of PrepareParameters().
  std::string user;                                             // Whose it is: of others it is not there. Empty: there are no users.
};

struct PreparedLimits {
  int64_t count_max = 10'000;
  int64_t bytes_max = int64_t{64} << 20;          // Text, columns and parameters of all.
  std::chrono::milliseconds idle_max{3'600'000};  // One that nobody used for this long is forgotten.
};

/// Thread-safe.
class PreparedStatements {
 public:
  using Clock = std::chrono::steady_clock;

  explicit PreparedStatements(const PreparedLimits& limits) : limits_(limits) {}

  /// Keeps a statement; returns its handle, which nobody can guess. TooLarge: there are as many as may be.
  Result<std::string> Add(PreparedStatement statement, Clock::time_point now = Clock::now()) SHEAF_EXCLUDES(mutex_);
  /// NotFound: closed, forgotten, or never there.
  Result<std::shared_ptr<const PreparedStatement>> Find(const std::string& handle, const std::string& user,
                                                        Clock::time_point now = Clock::now()) SHEAF_EXCLUDES(mutex_);
  /// Replaces its parameters. NotFound, TooLarge.
  Status Bind(const std::string& handle, const std::string& user, std::vector<std::shared_ptr<arrow::RecordBatch>> parameters,
              Clock::time_point now = Clock::now()) SHEAF_EXCLUDES(mutex_);
  /// Of one that is not there: nothing to do.
  void Close(const std::string& handle, const std::string& user) SHEAF_EXCLUDES(mutex_);
  /// Forgets those that nobody used for long, if it did not look a minute ago.
  void ForgetIdle(Clock::time_point now) SHEAF_EXCLUDES(mutex_);

  int64_t count() const SHEAF_EXCLUDES(mutex_);
  const PreparedLimits& limits() const { return limits_; }

 private:
  struct Kept {
    std::shared_ptr<const PreparedStatement> statement;
    int64_t bytes = 0;
    Clock::time_point used;
  };
  using All = std::map<std::string, Kept>;
  void SweepIdle(Clock::time_point now) SHEAF_REQUIRES(mutex_);
  void Forget(All::iterator which) SHEAF_REQUIRES(mutex_);
  Result<All::iterator> FindKept(const std::string& handle, const std::string& user, Clock::time_point now) SHEAF_REQUIRES(mutex_);
  Status CheckRoom(int64_t count, int64_t bytes) const SHEAF_REQUIRES(mutex_);

  const PreparedLimits limits_;
  mutable Mutex mutex_;
  All all_ SHEAF_GUARDED_BY(mutex_);
  int64_t bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  Clock::time_point swept_ SHEAF_GUARDED_BY(mutex_);  // When the idle ones were last looked for.
};

}  // namespace sheaf::serve
