/// Rows found by key, and where to look for them.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "core/ids.h"
#include "core/status.h"

namespace sheaf::store {

/// A row of a keyed table, or that there is none. Cheap to copy; keeps alive what it points at.
struct KeyedRow {
  Lsn lsn;                                     // Of the entry that wrote it: its version, for conditional writes. 0: no row.
  std::shared_ptr<arrow::RecordBatch> batch;   // The row is row `row` of it, and no other may be read. Null: no row.
  int64_t row = 0;

  explicit operator bool() const { return batch != nullptr; }
  /// The row alone, with the table's columns. Requires: there is one.
  std::shared_ptr<arrow::RecordBatch> Slice() const { return batch->Slice(row, 1); }
};

/// Keys as columns::KeyCodec encodes them, from `from` to before `to`. For a range that includes the key k, end at k + '\0'.
struct KeyRange {
  std::string from;                            // Empty: from the first key.
  std::optional<std::string> to;               // None: through the last.
};

struct ScanOptions {
  std::vector<int> columns;                    // Positions in the table's schema; empty: all.
  int64_t limit = INT64_MAX;                   // Rows.
  int64_t batch_rows_max = 2048;
};

/// Rows in key order, as of one snapshot, which it keeps alive. Not thread-safe.
class RowCursor {
 public:
  virtual ~RowCursor() = default;
  /// The next rows; null at the end. Errors: Corruption, Io.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Next() = 0;
};

}  // namespace sheaf::store
