/// Many record batches seen as one long table, from which rows are gathered in any order: how parts are
/// sealed and merged.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "columns/column_union.h"
#include "core/status.h"

namespace sheaf::columns {

/// Immutable and thread-safe. Keeps the batches alive.
class RowUnion {
 public:
  /// Errors: Invalid (a batch has other column types), TooLarge (2^32 rows), Unsupported (dictionaries of lists or structs),
  /// Corruption (an index outside its dictionary).
  static Result<std::unique_ptr<RowUnion>> Make(std::shared_ptr<arrow::Schema> schema,
                                                std::vector<std::shared_ptr<arrow::RecordBatch>> batches,
                                                arrow::MemoryPool* pool = arrow::default_memory_pool());

  /// Returns the rows with these numbers, in this order, as batches of `granule_rows` rows; the last may have
  /// fewer. Rows are numbered batch by batch from 0. All is in memory at once: see bytes(). Works on up to `threads` threads.
  /// Error: TooLarge (a granule has over 2^31 bytes of text or list elements in one column).
  Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> Gather(std::span<const uint32_t> rows, int64_t granule_rows,
                                                                  int threads = 1) const;

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  int64_t rows() const { return rows_; }
  int num_batches() const { return static_cast<int>(batches_.size()); }
  /// Number of the first row of a batch.
  int64_t first_row(int batch) const { return first_row_[static_cast<size_t>(batch)]; }
  /// The batch in which a row lies.
  int batch_of(uint32_t row) const { return static_cast<int>(batch_of_row_[row]); }
  const ColumnUnion& column(int i) const { return *columns_[static_cast<size_t>(i)]; }
  /// About what all rows take once gathered.
  int64_t bytes() const;

 private:
  RowUnion() = default;
  RowRuns RunsOf(std::span<const uint32_t> rows) const;

  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  arrow::MemoryPool* pool_ = nullptr;
  int64_t rows_ = 0;
  std::vector<int64_t> first_row_;       // One more than batches.
  std::vector<uint32_t> batch_of_row_;
  std::vector<std::unique_ptr<ColumnUnion>> columns_;
};

}  // namespace sheaf::columns
