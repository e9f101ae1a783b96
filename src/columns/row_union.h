/// Many record batches seen as one long table, from which rows are gathered in any order: how parts are
/// sealed and merged. Dictionaries are made one over all batches; everything else stays where it is until
/// Gather() copies it, run by run, nested columns too.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::columns {

/// Neighbouring rows of one batch.
struct RowRun {
  uint32_t batch = 0;
  uint32_t length = 0;
  int64_t start = 0;
};

/// One column, or a column inside one, over all batches. Immutable and thread-safe once made.
class ColumnUnion {
 public:
  enum class Kind : uint8_t { kNull, kBits, kFixed, kBinary, kLargeBinary, kList, kLargeList, kFixedList, kStruct, kDictionary, kOther };

  /// What one batch holds. Pointers already include the array's offset, but for bits.
  struct Piece {
    std::shared_ptr<arrow::ArrayData> data;
    const uint8_t* validity = nullptr;  // Null: no NULLs. Bit `offset + i` is row i's.
    int64_t offset = 0;
    const uint8_t* values = nullptr;    // Values, bits, offsets or indexes.
    const uint8_t* bytes = nullptr;     // Of binary and text.
    std::shared_ptr<const std::vector<int32_t>> numbers;  // Dictionary: batch's index to the common one; -1 for NULL.
    bool IsNull(int64_t row) const;
  };

  static Result<std::unique_ptr<ColumnUnion>> Make(const std::shared_ptr<arrow::DataType>& type,
                                                   std::vector<std::shared_ptr<arrow::ArrayData>> pieces, arrow::MemoryPool* pool);

  /// Copies the rows of `runs`, `rows` in all, one after the other.
  /// Errors: TooLarge (over 2^31 bytes or elements with 32-bit offsets), Corruption (an index outside its dictionary).
  Result<std::shared_ptr<arrow::ArrayData>> Gather(std::span<const RowRun> runs, int64_t rows, arrow::MemoryPool* pool) const;

  Kind kind() const { return kind_; }
  const std::shared_ptr<arrow::DataType>& type() const { return type_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  /// The common dictionary; null for other kinds.
  const std::shared_ptr<arrow::ArrayData>& dictionary() const { return dictionary_; }
  /// Index of a dictionary column's row in the common dictionary; -1 for NULL.
  /// Error: Corruption (an index outside the batch's dictionary).
  Result<int32_t> DictionaryNumber(const Piece& piece, int64_t row) const;

 private:
  ColumnUnion() = default;
  Status UnifyDictionaries(arrow::MemoryPool* pool);
  Status MakeChildren(arrow::MemoryPool* pool);

  Result<std::shared_ptr<arrow::Buffer>> GatherValidity(std::span<const RowRun> runs, int64_t rows, arrow::MemoryPool* pool,
                                                        int64_t* null_count) const;
  Result<std::shared_ptr<arrow::Buffer>> GatherFixed(std::span<const RowRun> runs, int64_t rows, arrow::MemoryPool* pool) const;
  Result<std::shared_ptr<arrow::Buffer>> GatherBits(std::span<const RowRun> runs, int64_t rows, arrow::MemoryPool* pool) const;
  template <typename Offset>
  Status GatherBinary(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  template <typename Offset>
  Status GatherList(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  Status GatherFixedList(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  Status GatherStruct(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  template <typename Index>
  Status GatherIndexes(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  Status GatherDictionary(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const;

  Kind kind_ = Kind::kOther;
  std::shared_ptr<arrow::DataType> type_;
  int64_t width_ = 0;  // Bytes of a fixed value or index; elements of a fixed-size list.
  bool nulls_ = false;
  std::vector<Piece> pieces_;
  std::vector<std::unique_ptr<ColumnUnion>> children_;
  std::shared_ptr<arrow::ArrayData> dictionary_;
};

/// Immutable and thread-safe. Keeps the batches alive.
class RowUnion {
 public:
  /// Errors: Invalid (a batch has other column types), TooLarge (2^32 rows), Unsupported (dictionaries of lists or structs).
  static Result<std::unique_ptr<RowUnion>> Make(std::shared_ptr<arrow::Schema> schema,
                                                std::vector<std::shared_ptr<arrow::RecordBatch>> batches,
                                                arrow::MemoryPool* pool = arrow::default_memory_pool());

  /// Returns the rows with these numbers, in this order. Rows are numbered batch by batch from 0.
  Result<std::shared_ptr<arrow::RecordBatch>> Gather(std::span<const uint32_t> rows) const;

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  int64_t rows() const { return rows_; }
  int num_batches() const { return static_cast<int>(batches_.size()); }
  /// Number of the first row of a batch.
  int64_t first_row(int batch) const { return first_row_[static_cast<size_t>(batch)]; }
  const ColumnUnion& column(int i) const { return *columns_[static_cast<size_t>(i)]; }

 private:
  RowUnion() = default;

  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  arrow::MemoryPool* pool_ = nullptr;
  int64_t rows_ = 0;
  std::vector<int64_t> first_row_;       // One more than batches.
  std::vector<uint32_t> batch_of_row_;
  std::vector<std::unique_ptr<ColumnUnion>> columns_;
};

}  // namespace sheaf::columns
