/// One row as compact bytes: what a single-row write carries through the log into the memtable's columns without
/// making Arrow objects. Batches never take this way. Layout: docs/formats/log_payload.md.
///
///   row := nulls fixed ends var
///   nulls: a bit a column, 1 is NULL, ceil(columns / 8) bytes; bits behind the last column are 0
///   fixed: values of fixed-width columns, little-endian, in column order, zeros where NULL; booleans take a byte
///   ends: u32 a text or binary column, in column order, where its bytes end in var; a NULL has none

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::columns {

/// Most bytes of one row.
inline constexpr size_t kRowBytesMax = 16u << 20;

/// The layout of one schema's rows. Immutable, thread-safe.
class RowCodec {
 public:
  /// Error: Unsupported (a column that is neither fixed-width nor text or binary; dictionaries and nested ones are not).
  static Result<std::shared_ptr<const RowCodec>> Make(std::shared_ptr<arrow::Schema> schema);

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  size_t null_bytes() const { return null_bytes_; }
  size_t min_bytes() const { return min_bytes_; }  // Of a row without text.

  /// Whether the bytes are a row: length, ends that rise, UTF-8, no NULL where the column allows none, values that their
  /// type has (booleans 0 or 1, decimals within the precision, times within the day), zeros where the layout says so.
  /// Must have passed before any of the others may be called on bytes from outside. Error: Invalid (names the column).
  Status Check(std::string_view row) const;
  bool IsNull(std::string_view row, int column) const {
    return (static_cast<uint8_t>(row[static_cast<size_t>(column) >> 3]) >> (column & 7) & 1) != 0;
  }
  /// The value's bytes: fixed-width ones little-endian, text as it is.
  std::string_view Value(std::string_view row, int column) const;

  /// One row of a batch with the schema (there may be more columns behind); appends to `*row`. Error: TooLarge.
  Status FromBatch(const arrow::RecordBatch& batch, int64_t row_number, std::string* row) const;
  /// Rows, which Check() has passed, as one batch. Errors: OutOfMemory, TooLarge (text beyond 2 GiB).
  Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(std::span<const std::string_view> rows, arrow::MemoryPool* pool) const;

  struct Column {
    bool variable = false;  // Text or binary.
    bool boolean = false;   // One byte here, one bit in Arrow.
    uint32_t width = 0;     // Bytes of a fixed-width value.
    uint32_t offset = 0;    // Of the value, or of its end, in the row.
    int variable_index = -1;
  };
  const std::vector<Column>& columns() const { return columns_; }

 private:
  explicit RowCodec(std::shared_ptr<arrow::Schema> schema) : schema_(std::move(schema)) {}

  const std::shared_ptr<arrow::Schema> schema_;
  std::vector<Column> columns_;
  std::vector<bool> checked_;  // A column: some bytes of the right length are no value of its type.
  size_t null_bytes_ = 0, ends_offset_ = 0, min_bytes_ = 0;
};

/// Writes one row, column by column. Reusable; not thread-safe.
class RowBuilder {
 public:
  /// Borrows the codec.
  explicit RowBuilder(const RowCodec* codec);
  /// Starts a row of NULLs.
  void Clear();
  /// A fixed-width value by its little-endian bytes. Requires: the column's width.
  void SetFixed(int column, const void* value, size_t bytes);
  template <typename T>
  void Set(int column, T value) {
    SetFixed(column, &value, sizeof value);
  }
  void SetText(int column, std::string_view value);
  void SetNull(int column);
  /// The row; valid until the next Finish(). Values are not looked at: Check() does that.
  std::string_view Finish();

 private:
  const RowCodec* const codec_;
  std::string head_;                // Nulls, fixed values, ends.
  std::vector<std::string> texts_;  // One a text column.
  std::string row_;
};

}  // namespace sheaf::columns
