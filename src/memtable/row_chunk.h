/// Columns that are filled row by row while others read them: where single-row writes go, so that SQL needs no conversion.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "columns/row_codec.h"
#include "core/ids.h"

namespace sheaf::memtable {

/// How the rows of a table lie in chunks. Immutable.
class RowPlan {
 public:
  RowPlan(std::shared_ptr<arrow::Schema> schema, std::shared_ptr<const columns::RowCodec> codec);

  struct Column {
    bool boolean = false, variable = false, large = false, nullable = false;
    uint32_t width = 0;   // Of a value, or of an end of text.
    uint32_t offset = 0;  // In the compact row.
  };
  const std::vector<Column>& columns() const { return columns_; }
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  const columns::RowCodec& codec() const { return *codec_; }
  /// Bytes of row `row` that go into the text of each variable column, in their order.
  void TextBytes(std::string_view row, std::vector<uint32_t>* bytes) const;
  size_t texts() const { return texts_; }

 private:
  const std::shared_ptr<arrow::Schema> schema_;
  const std::shared_ptr<const columns::RowCodec> codec_;
  std::vector<Column> columns_;
  size_t texts_ = 0;
};

/// Rows in columns of fixed room. One thread appends; any other reads rows that it knows of.
///
/// Bits of neighbouring rows would share bytes, so that a writer's bit and a reader's glance at the next one would be a race.
/// Each bitmap (validity, booleans) is therefore kept eightfold: bitmap i has the bits of the rows whose number is i modulo 8, so
/// that every byte belongs to one row. A reader of one row takes the view that shows its bitmaps; a scan's view merges them,
/// eight rows a step.
class RowChunk {
 public:
  /// Room for `rows_max` rows (a multiple of 64) and for `text_max` bytes a variable column. Beyond the pool's limit it takes
  /// Arrow's default pool: the row is in the log already and has to go somewhere. Borrows `plan` and `pool`.
  RowChunk(const RowPlan* plan, uint32_t rows_max, const std::vector<uint64_t>& text_max, arrow::MemoryPool* pool);
  ~RowChunk();

  // The writer:
  bool Fits(uint64_t lsn, std::string_view row) const;
  /// Requires: Fits(). LSNs do not fall. Returns the row's number; it counts from then on.
  uint32_t Append(uint64_t lsn, std::string_view row);
  /// Nothing more will come.
  void Close() { closed_.store(true, std::memory_order_release); }
  uint64_t text_used(size_t text) const { return text_used_[text]; }

  // Readers:
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  int64_t rows() const { return rows_.load(std::memory_order_acquire); }
  /// Rows with an LSN of at most `through`.
  int64_t RowsThrough(uint64_t through) const;
  uint64_t lsn(int64_t row) const { return first_lsn_ + lsn_steps_[row]; }
  /// A batch in which this row may be read, and no other. Without a lock; makes nothing but the first time in a chunk.
  const std::shared_ptr<arrow::RecordBatch>& BatchOf(int64_t row) const;
  /// The first `rows` rows as a batch of their own bitmaps; all else is shared.
  std::shared_ptr<arrow::RecordBatch> Prefix(int64_t rows) const;
  /// All rows. Requires: closed(). The same batch every time.
  const std::shared_ptr<arrow::RecordBatch>& Whole() const;

  int64_t bytes() const { return slab_->size(); }

 private:
  struct Column {
    uint8_t* values = nullptr;  // Or ends of text; booleans: eight bitmaps.
    uint8_t* valid = nullptr;   // Eight bitmaps.
    uint8_t* text = nullptr;
    uint64_t text_max = 0;
  };
  using EightBatches = std::array<std::shared_ptr<arrow::RecordBatch>, 8>;

  void Lay(const std::vector<uint64_t>& text_max, arrow::MemoryPool* pool);
  void TouchAhead(uint32_t row);
  std::shared_ptr<arrow::Buffer> Part(const uint8_t* begin, int64_t bytes) const;
  std::shared_ptr<arrow::Buffer> MergeBits(const uint8_t* eight, int64_t rows) const;
  std::shared_ptr<arrow::ArrayData> ColumnData(size_t column, int64_t rows) const;
  const EightBatches* MakeEight() const;

  const RowPlan* const plan_;
  const uint32_t rows_max_, bitmap_bytes_;
  arrow::MemoryPool* const pool_;
  std::shared_ptr<arrow::Buffer> slab_;
  std::vector<Column> columns_;
  std::vector<uint64_t> text_used_;  // The writer's.
  uint32_t* lsn_steps_ = nullptr;    // From first_lsn_.
  uint64_t first_lsn_ = 0;
  std::atomic<uint32_t> rows_{0};
  std::atomic<bool> closed_{false};
  mutable std::atomic<const EightBatches*> eight_{nullptr};
  mutable std::atomic<const std::shared_ptr<arrow::RecordBatch>*> whole_{nullptr};
};

}  // namespace sheaf::memtable
