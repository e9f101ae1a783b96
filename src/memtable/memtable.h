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
#include "memtable/chunk.h"

namespace sheaf::memtable {

/// An append-only run of batches. One thread adds; any number read, each seeing a prefix that never
/// changes. Reading copies nothing and takes the lock only to take the list.
class Memtable {
 public:
  Memtable(std::shared_ptr<arrow::Schema> schema, int time_column, std::vector<int> filter_columns, uint64_t ordinal);

  /// Adds the rows of one log entry; `bytes` is what they occupy. LSNs must not fall (an entry may bring
  /// several batches of one table).
  void Add(Lsn lsn, std::shared_ptr<arrow::RecordBatch> batch, int64_t bytes) SHEAF_EXCLUDES(mutex_);
  /// The same for rows that MakeChunk() prepared.
  void Add(Lsn lsn, std::shared_ptr<const Chunk> chunk) SHEAF_EXCLUDES(mutex_);
  /// Prepares rows for Add(); any thread, no lock. `batch` has schema().
  std::shared_ptr<const Chunk> MakeChunk(std::shared_ptr<arrow::RecordBatch> batch, int64_t bytes) const;

  /// The rows with LSN <= `through`, one granule a batch, as a source for scans. Null where there are none.
  std::shared_ptr<const columns::GranuleSource> Source(Lsn through) const SHEAF_EXCLUDES(mutex_);

  /// All batches, in LSN order; for sealing.
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches() const SHEAF_EXCLUDES(mutex_);

  int64_t bytes() const SHEAF_EXCLUDES(mutex_);
  int64_t rows() const SHEAF_EXCLUDES(mutex_);
  /// LSNs of the first and last entry inside; 0 where there is none.
  Lsn min_lsn() const SHEAF_EXCLUDES(mutex_);
  Lsn max_lsn() const SHEAF_EXCLUDES(mutex_);
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  uint64_t ordinal() const { return ordinal_; }

 private:
  class PrefixSource;
  /// One chunk, and totals over it and all before it, so that a prefix costs a binary search.
  struct Slot {
    Lsn lsn;
    std::shared_ptr<const Chunk> chunk;
    int64_t rows_through = 0, bytes_through = 0;
    int64_t time_min = INT64_MAX, time_max = INT64_MIN;  // min > max: no time seen yet.
    int64_t null_times = 0;
  };
  /// Slots below a count that a reader took under the lock never change, so Add() may write behind them.
  using Slots = std::vector<Slot>;

  const std::shared_ptr<arrow::Schema> schema_;
  const int time_column_;
  const std::vector<int> filter_columns_;
  const uint64_t ordinal_;

  mutable Mutex mutex_;
  std::shared_ptr<Slots> slots_ SHEAF_GUARDED_BY(mutex_);  // Replaced by one twice as long when full; readers keep theirs.
  size_t count_ SHEAF_GUARDED_BY(mutex_) = 0;
};

}  // namespace sheaf::memtable
