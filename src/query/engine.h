/// SQL over a database: DuckDB executes, our catalog and scan feed it.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include "access/identity.h"
#include "core/status.h"
#include "query/functions.h"
#include "store/database.h"

namespace sheaf::query {

struct EngineOptions {
  int threads = 0;                                    // 0: one a core.
  int64_t memory_bytes_max = int64_t{1} << 30;        // Beyond, operators spill to temp_directory.
  std::string temp_directory;                         // Empty: <data>/tmp.
  int64_t temp_bytes_max = int64_t{16} << 30;
  int64_t timeout_ms = 60'000;                        // Default per statement; 0: none.
  int concurrent_queries_max = 16;                    // Beyond, statements wait (up to their time-out), then kThrottled. Look-ups by id
                                                      // or key have a quarter as many places besides.
  int waiting_queries_max = 0;                        // Beyond, statements that are no look-ups get kThrottled at once; 0: all wait.
  int64_t sql_bytes_max = int64_t{1} << 20;
  int64_t view_wait_ms = 10;                          // A statement waits this long for a view to have what its snapshot has.
  int read_ahead_granules = 0;                        // Of a scan, fetched from disk while others are read; 0: as the system does.
  int64_t result_cache_bytes_max = 0;                 // Answers of clients' statements that are kept; 0: none. See result_cache.h.
  int64_t result_cache_work_min_us = 2000;            // Those that took less work are not.
  std::shared_ptr<const Functions> functions;         // Of C++, for SQL; null: none.
  int64_t slow_ms = 1000;                             // Statements that take this long are written to the log; 0: none.
};

/// A parameter of a statement: NULL, boolean, integer, double, text, or any value of a type that SQL has (answers of statements with
/// such parameters are not kept).
using Parameter = std::variant<std::monostate, bool, int64_t, double, std::string, std::shared_ptr<arrow::Scalar>>;

struct QueryRequest {
  std::string sql;
  std::vector<Parameter> parameters;
  bool trusted = false;          // The owner of the directory: files, COPY, several statements. Otherwise one on our tables.
  int64_t timeout_ms = -1;       // -1: the engine's default.
  std::shared_ptr<const access::Identity> identity;  // Who asks, where that limits what the statement may do; null: it does not.
};

/// What a finished query did; for EXPLAIN, logs and metrics.
struct QueryStats {
  int64_t rows = 0, rows_scanned = 0, bytes_read = 0;
  int64_t parts = 0, parts_pruned = 0, granules = 0, granules_pruned = 0;
  Lsn lsn;                       // Of what the statement wrote; 0: nothing. Known once its first batch or its end was read.
  double queue_seconds = 0, parse_seconds = 0, plan_seconds = 0, execute_seconds = 0;  // Queue: waiting for its turn.
  int64_t peak_memory_bytes = 0, spilled_bytes = 0;  // By how much DuckDB's memory and temporary files grew meanwhile, at most.
  bool cache_hit = false;        // The answer was there already.
  bool definition = false;       // It makes, changes or removes a table, view or macro.
};

/// What is known of a statement before it runs.
struct StatementShape {
  enum class Answer : uint8_t { kRows, kChangedRows, kNothing };  // Rows; one with the number of rows that were changed; none.
  Answer answer = Answer::kNothing;
  std::shared_ptr<arrow::Schema> result;      // Query::schema() of its answer.
  bool result_open = false;                   // Its types are known only with the parameters; `result` has no fields.
  std::shared_ptr<arrow::Schema> parameters;  // By position, from $1 on; null() where any type does.
  bool reads_only = false;                    // It changes nothing.
};

/// A running statement; one consumer. Destroying it cancels it.
class Query {
 public:
  virtual ~Query() = default;
  /// The result's columns. Ids are fixed_size_binary(16) and (8) with field metadata "sheaf.type" =
  /// "trace_id" or "span_id"; attribute maps are map<utf8, utf8>.
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  /// The next rows, or null at the end. Streams: nothing is gathered before it is asked for.
  /// Errors: Timeout, Cancelled, OutOfMemory, Invalid (with position where DuckDB gives one), Corruption…
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Next() = 0;
  /// Stops the statement; safe from any thread. Next() then fails with kCancelled.
  virtual void Cancel() = 0;
  virtual QueryStats stats() const = 0;
};

/// Thread-safe. Every Query must be gone before its engine.
class Engine {
 public:
  /// Borrows `database`, which must outlive the engine. Checks that the DuckDB library is the pinned one.
  /// Errors: Unsupported (another DuckDB; a function's type), Invalid (a function's name), Io, and the store's.
  static Result<std::unique_ptr<Engine>> Open(store::Database* database, const EngineOptions& options);
  virtual ~Engine() = default;

  /// Plans and starts a statement over a snapshot taken now. What it writes is committed, atomically and as durable as the table asks for,
  /// before its first batch comes: the number of rows, or those of RETURNING. The error of a wrong statement is kInvalid;
  /// its message is DuckDB's with the nearest known names, and ErrorPosition() finds the place in the text. What `request.identity` may
  /// not do is kDenied before anything is done.
  virtual Result<std::unique_ptr<Query>> Start(const QueryRequest& request) = 0;

  /// Plans a client's statement without running it; of the request, text and sender count. Errors as of Start().
  virtual Result<StatementShape> Describe(const QueryRequest& request) = 0;
};

/// Byte position in the SQL text that an error from Start() points at, or -1.
int64_t ErrorPosition(const Status& error);

}  // namespace sheaf::query
