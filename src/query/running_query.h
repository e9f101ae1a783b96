/// A statement that runs on a borrowed connection, and the machinery that ends it in time.

#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/mutex.h"
#include "query/deadlines.h"
#include "query/engine.h"
#include "query/instance.h"
#include "query/result_cache.h"
#include "query/statement_state.h"
#include "query/write_turn.h"

namespace sheaf::query {

/// Interrupts a connection, but only while its statement is the one that runs there: a connection goes
/// back to the pool, and a late interrupt would hit somebody else's statement. Thread-safe.
class Interrupter {
 public:
  enum class Reason { kNone, kCancelled, kTimeout };

  explicit Interrupter(duckdb::Connection* connection) : connection_(connection) {}

  void Interrupt(Reason reason) SHEAF_EXCLUDES(mutex_);
  /// From here on Interrupt() does nothing.
  void Detach() SHEAF_EXCLUDES(mutex_);
  Reason reason() const SHEAF_EXCLUDES(mutex_);
  /// Pauses for `time`, less where the statement is interrupted.
  void Pause(std::chrono::nanoseconds time) const SHEAF_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  mutable CondVar interrupted_;
  duckdb::Connection* connection_ SHEAF_GUARDED_BY(mutex_);  // Null once detached.
  Reason reason_ SHEAF_GUARDED_BY(mutex_) = Reason::kNone;
};

/// What a statement may use, as its errors name it.
struct StatementLimits {
  int64_t timeout_ms = 0;
  int64_t memory_bytes_max = 0, temp_bytes_max = 0;
};

/// Looks at what DuckDB holds while one statement runs. DuckDB counts memory and temporary files of all statements together: what
/// is noted is by how much they grew, at most, since the statement began. Exact where it runs alone. Not thread-safe.
class MemoryWatch {
 public:
  /// Borrows both. `costs` gets the figures.
  MemoryWatch(const duckdb::BufferManager* buffers, StatementCosts* costs);
  /// Takes some tens of nanoseconds while little is held.
  void Look();

 private:
  const duckdb::BufferManager* const buffers_;
  StatementCosts* const costs_;
  const int64_t memory_before_, spilled_before_;
};

/// What a RunningQuery gives back when it ends. Called once.
using Release = std::function<void(std::unique_ptr<Session> session, const Status& outcome)>;

/// Plans the statement once more, on a new snapshot.
using Restart = std::function<Result<duckdb::unique_ptr<duckdb::PendingQueryResult>>()>;

/// Runs `pending` to its result. Where others changed what the statement had read (kConflict), it is planned again by `restart` and run
/// again, from the second time on in turn with others that lost such a race, until it wins or is interrupted.
Result<duckdb::unique_ptr<duckdb::QueryResult>> RunToResult(duckdb::unique_ptr<duckdb::PendingQueryResult> pending,
                                                            const Restart& restart, WriteTurn* turn, const Interrupter& interrupter,
                                                            StatementRecord* record, MemoryWatch* memory);

class RunningQuery : public Query {
 public:
  struct Parts {
    std::unique_ptr<Session> session;
    std::shared_ptr<StatementRecord> record;
    std::shared_ptr<Interrupter> interrupter;
    std::optional<Deadlines::Ticket> deadline;
    Deadlines* deadlines = nullptr;  // Borrowed from the engine.
    StatementLimits limits;
    Release release;
    Restart restart;                 // Empty: the statement only reads.
    WriteTurn* turn = nullptr;       // Borrowed from the engine.
    std::optional<AnswerDraft> draft;  // Where the answer is to be kept…
    int64_t keep_ns_min = 0;         // …if it took this much work.
    MemoryWatch memory;              // Of the session that is borrowed.
  };

  RunningQuery(Parts parts, duckdb::unique_ptr<duckdb::PendingQueryResult> pending);
  ~RunningQuery() override;

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  Result<std::shared_ptr<arrow::RecordBatch>> Next() override;
  void Cancel() override;
  QueryStats stats() const override;

 private:
  Result<std::shared_ptr<arrow::RecordBatch>> Fetch();
  void Finish(const Status& outcome);
  void KeepAnswer();

  Parts parts_;
  duckdb::unique_ptr<duckdb::PendingQueryResult> pending_;  // Until the first Next().
  duckdb::unique_ptr<duckdb::QueryResult> result_;
  std::shared_ptr<arrow::Schema> schema_;
  Status outcome_;           // Of the first Next() that failed.
  bool drained_ = false, ended_ = false;
};

/// A statement whose answer was there already.
class KeptQuery : public Query {
 public:
  /// `ended` is called once.
  KeptQuery(std::shared_ptr<const KeptAnswer> answer, std::shared_ptr<StatementRecord> record, std::function<void(const Status&)> ended)
      : answer_(std::move(answer)), record_(std::move(record)), ended_(std::move(ended)) {}
  ~KeptQuery() override { End(MakeError(ErrorKind::kCancelled, "the statement was dropped before its end")); }

  const std::shared_ptr<arrow::Schema>& schema() const override { return answer_->schema; }
  Result<std::shared_ptr<arrow::RecordBatch>> Next() override;
  void Cancel() override { cancelled_ = true; }
  QueryStats stats() const override;

 private:
  void End(const Status& outcome) {
    if (ended_) std::exchange(ended_, nullptr)(outcome);
  }

  const std::shared_ptr<const KeptAnswer> answer_;
  const std::shared_ptr<StatementRecord> record_;
  std::function<void(const Status&)> ended_;
  std::atomic<bool> cancelled_{false};
  size_t next_ = 0;
};

/// The error to give for a statement that failed: what stopped it counts more than what DuckDB says of it.
Status ExplainFailure(const Status& error, const Interrupter& interrupter, const StatementRecord& record,
                      const StatementLimits& limits);

}  // namespace sheaf::query
