/// Recent rows of one table, as the Arrow batches of the log entries that brought them.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/granules.h"
#include "core/ids.h"
#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::memtable {

/// An append-only run of batches. One thread adds; any number read, each seeing a prefix that never
/// changes. Reading copies nothing and takes the lock only to take the list.
class Memtable {
 public:
  Memtable(std::shared_ptr<arrow::Schema> schema, int time_column, std::vector<int> filter_columns, uint64_t ordinal);

  /// Adds the rows of one log entry; `bytes` is what they occupy. LSNs must rise.
  void Add(Lsn lsn, std::shared_ptr<arrow::RecordBatch> batch, int64_t bytes) SHEAF_EXCLUDES(mutex_);

  /// The rows with LSN <= `through`, one granule a batch, as a source for scans. Null where there are none.
  std::shared_ptr<const columns::GranuleSource> Source(Lsn through) const SHEAF_EXCLUDES(mutex_);

  /// All batches, in LSN order; for sealing.
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches() const SHEAF_EXCLUDES(mutex_);

  int64_t bytes() const SHEAF_EXCLUDES(mutex_);
  int64_t rows() const SHEAF_EXCLUDES(mutex_);
  Lsn min_lsn() const SHEAF_EXCLUDES(mutex_);
  Lsn max_lsn() const SHEAF_EXCLUDES(mutex_);
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }

 private:
  struct Chunk;
  const std::shared_ptr<arrow::Schema> schema_;
  const int time_column_;
  const std::vector<int> filter_columns_;
  const uint64_t ordinal_;

  mutable Mutex mutex_;
  // Chunks are immutable; readers share the vector they got, and Add() replaces it when they do.
  std::shared_ptr<std::vector<std::shared_ptr<const Chunk>>> chunks_ SHEAF_GUARDED_BY(mutex_);
  int64_t bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  int64_t rows_ SHEAF_GUARDED_BY(mutex_) = 0;
};

}  // namespace sheaf::memtable
