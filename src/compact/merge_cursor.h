/// Walks the rows of one sorted source that a merge keeps, in key order.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/key_codec.h"
#include "compact/merge.h"
#include "compact/shared_dictionaries.h"
#include "core/status.h"

namespace sheaf::compact {

/// Not thread-safe. Reads one granule at a time.
class MergeCursor {
 public:
  /// Borrows all but the source.
  MergeCursor(MergeSource source, const MergeOptions* options, SharedDictionaries* dictionaries, MergeProgress* progress);

  /// Goes to the first row. Errors: Corruption, Io.
  Status Start();
  bool done() const { return done_; }
  const std::string& name() const { return source_.source->name(); }

  /// The row it stands on. Requires: !done().
  std::string_view key() const { return keys_[row_]; }
  uint64_t lsn() const;
  const std::shared_ptr<arrow::RecordBatch>& batch() const { return batch_; }

  /// From the row it stands on, the next rows of this granule that are kept, lie side by side and have keys below `bound` (empty
  /// optional: all). The cursor then stands behind them, perhaps at the end of the granule: call Settle().
  /// Requires: the row it stands on is below the bound.
  struct Run {
    int64_t start = 0, length = 0;
  };
  Run Take(const std::optional<std::string_view>& bound);
  /// Goes on to the next row that is kept, here or in a later granule; batch() and key() may change. Errors as of Start().
  Status Settle();
  /// Leaves the row it stands on out. Follow with Settle().
  void Skip() { ++row_; }

 private:
  Status Load();
  Status CheckOrder(std::string_view before);
  /// Marks rows that expired; sets how many.
  Status Expire(const arrow::RecordBatch& batch);
  bool GranuleExpired() const;
  bool Skips(int64_t row) const { return !skip_.empty() && (skip_[static_cast<size_t>(row >> 6)] >> (row & 63) & 1) != 0; }
  int64_t NextKept(int64_t row) const;
  int64_t NextSkipped(int64_t row, int64_t end) const;
  int64_t LowerBound(std::string_view bound) const;

  const MergeSource source_;
  const MergeOptions& options_;
  SharedDictionaries* const dictionaries_;
  MergeProgress* const progress_;
  std::vector<int> all_columns_;
  std::optional<int64_t> expire_before_;  // In the time column's unit.

  int granule_ = -1;
  bool done_ = false;
  std::shared_ptr<arrow::RecordBatch> batch_;
  columns::KeyColumn keys_;
  std::vector<uint64_t> skip_;  // A bit a row, 1: dead or expired. Empty: none.
  int64_t row_ = 0, rows_ = 0;
  std::string last_key_;  // Of the granule before.
};

}  // namespace sheaf::compact
