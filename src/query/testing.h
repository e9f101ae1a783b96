/// Support for tests and benchmarks of what stands on `query`: a database in memory without log or
/// files, and rows of the telemetry tables to put into it.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/dead_rows.h"
#include "core/mutex.h"
#include "decode/schemas.h"
#include "query/engine.h"
#include "query/formats.h"
#include "store/database.h"

namespace sheaf::query {

/// One batch as a source of granules, with exact zones and, for the columns named, an exact index.
std::shared_ptr<const columns::GranuleSource> MakeMemorySource(std::string name, uint64_t ordinal,
                                                               std::shared_ptr<arrow::RecordBatch> batch, int64_t granule_rows,
                                                               std::vector<int> indexed_columns);

/// Holds what it is given and forgets it at the end: definitions as the store has them, keyed rows by a std::map, each append a source of
/// its own. Only what SQL needs of a Database is there; the rest answers kUnsupported. Thread-safe.
class MemoryDatabase : public store::Database {
 public:
  /// With the seven telemetry tables, empty.
  MemoryDatabase();

  /// Adds a part (or, named "memtable", a memtable chunk) to otel.<table of signal>. trace_id is indexed in parts.
  void Add(decode::Signal signal, std::shared_ptr<arrow::RecordBatch> batch, const std::string& name = {}, int64_t granule_rows = 1000)
      SHEAF_EXCLUDES(mutex_);
  /// Adds a source to the table at `table` of tables(): any schema, any behaviour.
  void AddSource(TableId table, std::shared_ptr<const columns::GranuleSource> source) SHEAF_EXCLUDES(mutex_);
  /// Adds a table of another schema.
  TableId AddTable(const std::string& schema_name, const std::string& name, std::shared_ptr<arrow::Schema> schema) SHEAF_EXCLUDES(mutex_);

  /// Adds the ready tables of `trading`, empty.
  void AddTradingTables() SHEAF_EXCLUDES(mutex_);

  /// The next append answers with this, once.
  void FailNextAppend(Status error) SHEAF_EXCLUDES(mutex_);
  /// Appends so far.
  int64_t appends() const SHEAF_EXCLUDES(mutex_);

  Status AppendAsync(const std::vector<store::TableRows>& rows, const store::WriteOptions& options, Done done) noexcept override
      SHEAF_EXCLUDES(mutex_);
  Result<std::shared_ptr<const store::TableInfo>> CreateTable(const store::NewTable& table) noexcept override SHEAF_EXCLUDES(mutex_);
  Status DropTable(TableId table) noexcept override SHEAF_EXCLUDES(mutex_);
  /// Everything but widening a column.
  Result<std::shared_ptr<const store::TableInfo>> Alter(TableId table, const store::AlterTable& change) noexcept override
      SHEAF_EXCLUDES(mutex_);
  std::shared_ptr<const store::Snapshot> GetSnapshot() const override SHEAF_EXCLUDES(mutex_);
  Result<std::shared_ptr<const store::TableInfo>> FindTable(const std::string& schema_name, const std::string& name) const override;
  uint64_t catalog_version() const override SHEAF_EXCLUDES(mutex_);
  Status Flush() noexcept override { return Status::OK(); }
  Status MakeCold(std::optional<TableId> table) noexcept override;
  Status SetRetention(TableId table, std::optional<int64_t> retention_ms) noexcept override;
  std::vector<store::PartStatus> Parts() const override;
  store::Stats GetStats() const override { return {}; }
  const store::Options& options() const override { return options_; }
  Status Close() noexcept override { return Status::OK(); }

 private:
  /// The newest row of a key, or its deletion.
  struct Version {
    Lsn lsn;
    size_t source = 0;
    columns::DeadRows::Position position;
    bool deleted = false;
  };
  using Versions = std::map<std::string, Version, std::less<>>;
  struct Table {
    std::shared_ptr<const store::TableInfo> info;
    std::vector<store::SourceView> sources;
    std::shared_ptr<const Versions> versions = std::make_shared<Versions>();
  };
  class MemorySnapshot;

  Table* Find(TableId id) SHEAF_REQUIRES(mutex_);
  Status Check(const store::TableRows& rows) SHEAF_REQUIRES(mutex_);
  Status Apply(const store::TableRows& rows, Lsn lsn) SHEAF_REQUIRES(mutex_);

  store::Options options_;
  mutable Mutex mutex_;
  std::vector<Table> tables_ SHEAF_GUARDED_BY(mutex_);
  uint64_t next_ordinal_ SHEAF_GUARDED_BY(mutex_) = 1, next_table_ SHEAF_GUARDED_BY(mutex_) = 1;
  Lsn lsn_ SHEAF_GUARDED_BY(mutex_){1};
  uint64_t catalog_version_ SHEAF_GUARDED_BY(mutex_) = 1;
  int64_t appends_ SHEAF_GUARDED_BY(mutex_) = 0;
  Status next_error_ SHEAF_GUARDED_BY(mutex_);
};

/// The rows of one telemetry table that decode makes of an OTLP/JSON export request. Aborts on what it cannot read.
std::shared_ptr<arrow::RecordBatch> BatchFromOtlpJson(decode::Signal signal, const std::string& json);

/// Spans of `traces` traces with `spans_per_trace` spans each, one second apart from `time_ns` on; ids are
/// random, names and services few, some errors.
std::shared_ptr<arrow::RecordBatch> RandomSpans(int64_t traces, int64_t spans_per_trace, int64_t time_ns, std::mt19937_64* random);

/// Runs a statement to its end; all rows as one table.
Result<std::shared_ptr<arrow::Table>> RunAll(Engine* engine, const QueryRequest& request, QueryStats* stats = nullptr);
/// The same as text of a format.
Result<std::string> RunToText(Engine* engine, const QueryRequest& request, Format format, QueryStats* stats = nullptr);

}  // namespace sheaf::query
