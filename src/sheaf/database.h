/// Sheaf inside a C++ program: a database in a directory, with rows in Arrow and SQL over them.
///
///     auto database = sheaf::Database::Open("data").ValueOrDie();
///     database->Execute("CREATE TABLE orders (id BIGINT PRIMARY KEY, price BIGINT)");
///     database->Ingest("orders", batch);
///     auto one = database->Get("orders", {arrow::MakeScalar(int64_t{7})});
///     auto rows = database->Sql("SELECT * FROM orders WHERE price > ?", {int64_t{100}}).ValueOrDie()->ToTable();
///
/// Only Arrow and the standard library are needed to compile against this header. No exception leaves it.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/result.h>
#include <arrow/scalar.h>
#include <arrow/status.h>

#include "sheaf/functions.h"

#if defined(__GNUC__)
#define SHEAF_API __attribute__((visibility("default")))
#else
#define SHEAF_API
#endif

namespace sheaf {

/// See functions.h.
using query::AggregateFunction;
using query::Functions;
using query::FunctionSignature;
using query::ScalarFunction;

struct OpenOptions {
  bool read_only = false;
  int64_t memtable_bytes = int64_t{128} << 20;      // A table's rows in memory before they become a part on disk.
  int64_t query_memory_bytes = int64_t{1} << 30;    // Beyond, statements spill to disk.
  int query_threads = 0;                            // 0: one a core.
  int read_ahead_granules = 0;                      // Of a scan, fetched from disk while earlier ones are read; 0: as the system does.
  bool log_direct_io = false;                       // Write the log past the page cache.
  int log_cpu = -1;                                 // Processor that the log's thread is bound to; -1: none.
  std::shared_ptr<const Functions> functions = {};  // Of C++, for SQL. A clash of names or a type that SQL lacks fails Open().
};

/// When an ingest is answered.
enum class Ingested {
  kAsTableSays,
  kVisible,     // Once SQL can see it; on disk a tenth of a second later. A crash may take it.
  kDurable,     // Once it is on disk.
};

struct IngestOptions {
  std::string batch_id = {};                        // A retry with the same id adds nothing and gives the first answer again.
  Ingested when = Ingested::kAsTableSays;
  bool insert_only = false;                         // Keyed tables: fails where a key is there, instead of replacing the row.
  std::optional<uint64_t> expected = std::nullopt;  // Keyed tables: the LSN that every key's row must have now (0: no row).
};

/// A row, and the LSN of the entry that wrote it: its version, for IngestOptions::expected.
struct FoundRow {
  std::shared_ptr<arrow::RecordBatch> row;          // One row with the table's columns; null where there is none.
  uint64_t lsn = 0;
};

/// Which rows of a keyed table a scan brings. A bound has one scalar a key column, or fewer: then it is before all rows whose first
/// key columns have these values.
struct KeyScan {
  std::vector<std::shared_ptr<arrow::Scalar>> from = {};  // Empty: from the first key.
  std::vector<std::shared_ptr<arrow::Scalar>> to = {};    // The first that is left out; empty: through the last key.
  std::vector<std::string> columns = {};                  // Empty: all.
  int64_t limit = INT64_MAX;                              // Rows.
};

/// NULL, boolean, integer, double or text.
using SqlParameter = std::variant<std::monostate, bool, int64_t, double, std::string>;

/// Thread-safe. A directory has one open database at a time, in all processes together. Tables are named `name` (in the schema
/// `main`) or `schema.name`. What an error is, in one word such as "not_found" or "throttled": ErrorCode().
class SHEAF_API Database {
 public:
  /// Opens or creates, and recovers what a crash left. Errors: unavailable (another process has it), corruption, unsupported, io.
  static arrow::Result<std::shared_ptr<Database>> Open(const std::string& directory, const OpenOptions& options = {});
  /// Closes. Results that are still being read keep the database open until they are gone.
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// Starts a statement; its rows are read as they are made, from the snapshot of now. Errors: invalid, timeout, out_of_memory…
  arrow::Result<std::shared_ptr<arrow::RecordBatchReader>> Sql(const std::string& sql, const std::vector<SqlParameter>& parameters = {});
  /// Runs a statement to its end; for those whose rows do not matter.
  arrow::Status Execute(const std::string& sql, const std::vector<SqlParameter>& parameters = {});

  /// Adds rows (keyed tables: replaces those of the same key) as one atomic unit, and returns its LSN. Columns are found by name
  /// and cast without loss; those that are absent are NULL. Waits while too much waits for disk or compaction.
  /// Errors: not_found, invalid, already_exists, conflict, unavailable, unknown (then the same batch id may be sent again).
  arrow::Result<uint64_t> Ingest(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                                 const IngestOptions& options = {});

  /// The same without waiting: `done` is told the LSN, or an error, once the rows are as durable as asked for; on a thread of the
  /// database, or on this one before the call returns. It must not wait for the database. The batch is free to be reused when this
  /// returns. Errors without `done`: as above, and throttled (too much waits for disk or compaction: try again a little later).
  using IngestDone = std::function<void(arrow::Result<uint64_t>)>;
  arrow::Status IngestAsync(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows, const IngestOptions& options,
                            IngestDone done);

  /// Deletes rows of a keyed table as one atomic unit, and returns its LSN. `keys` has the key's columns; keys that are not there
  /// are no error. Errors as Ingest().
  arrow::Result<uint64_t> Delete(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& keys,
                                 const IngestOptions& options = {});

  /// The row of a primary key, one scalar a key column. Errors: not_found (no such table), invalid (no or another key).
  arrow::Result<FoundRow> Get(const std::string& table, const std::vector<std::shared_ptr<arrow::Scalar>>& key) const;

  /// The rows of many keys, as of one instant; `keys` has the key's columns. One answer a key, in their order. Errors as Get().
  arrow::Result<std::vector<FoundRow>> MultiGet(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& keys) const;

  /// Rows in the order of their keys, as of this instant. Errors as Get(); of the reader: corruption, io.
  arrow::Result<std::shared_ptr<arrow::RecordBatchReader>> Scan(const std::string& table, const KeyScan& range = {}) const;

  /// Makes a snapshot on disk, and returns its id. It costs names, not bytes; `sheaf restore` makes a database of it.
  arrow::Result<std::string> CreateSnapshot(const std::string& id = {});

  /// Writes everything in memory into parts, and waits.
  arrow::Status Flush();

 private:
  class Opened;
  explicit Database(std::shared_ptr<Opened> opened);

  const std::shared_ptr<Opened> opened_;
};

/// The kind of an error, in one word. Requires: !error.ok().
SHEAF_API std::string_view ErrorCode(const arrow::Status& error);

}  // namespace sheaf
