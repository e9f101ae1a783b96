/// One column over many batches, from which rows are gathered in any order: the part of RowUnion that
/// knows types. Dictionaries are made one over all batches; everything else stays where it is until
/// Gather() copies it, run by run, nested columns too.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::columns {

/// Neighbouring rows of one batch.
struct RowRun {
  uint32_t batch = 0;
  uint32_t length = 0;
  int64_t start = 0;
};

/// What becomes one array: runs, one after the other.
struct RowRuns {
  std::vector<RowRun> runs;
  int64_t rows = 0;  // Of all runs.

  /// Lengthens the last run where the rows follow it.
  void Append(uint32_t batch, int64_t start, int64_t length);
};

/// One column, or a column inside one, over all batches. Immutable and thread-safe once made.
class ColumnUnion {
 public:
  using ArrayDataPtr = std::shared_ptr<arrow::ArrayData>;
  enum class Kind : uint8_t { kNull, kBits, kFixed, kBinary, kLargeBinary, kList, kLargeList, kFixedList, kStruct, kDictionary, kOther };

  /// What one batch holds. Pointers already include the array's offset, but for bits.
  struct Piece {
    const uint8_t* validity = nullptr;  // Null: no NULLs. Bit `offset + i` is row i's.
    int64_t offset = 0;
    int64_t length = 0;                 // Rows.
    const uint8_t* values = nullptr;    // Values, bits, offsets or indexes.
    const uint8_t* bytes = nullptr;     // Of binary and text.
    const uint8_t* end = nullptr;       // Of `values` where they are of fixed width, of `bytes` where there are any.
    const int32_t* numbers = nullptr;   // Dictionary: batch's index to the common one; -1 for NULL. Unused where they are the same.
    bool IsNull(int64_t row) const;
  };

  /// Errors: Unsupported (dictionaries of lists or structs), TooLarge (more distinct values than indexes can
  /// tell apart), Corruption (an index outside its dictionary).
  static Result<std::unique_ptr<ColumnUnion>> Make(const std::shared_ptr<arrow::DataType>& type, std::vector<ArrayDataPtr> pieces,
                                                   arrow::MemoryPool* pool);

  /// Makes an array of each of `granules`. Several at once are cheaper than one by one: a column's values
  /// stay in the cache from one granule to the next.
  /// Error: TooLarge (over 2^31 bytes or elements with 32-bit offsets).
  Result<std::vector<ArrayDataPtr>> Gather(std::span<const RowRuns> granules, arrow::MemoryPool* pool) const;

  Kind kind() const { return kind_; }
  const std::shared_ptr<arrow::DataType>& type() const { return type_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  /// The arrays, as given to Make().
  const std::vector<ArrayDataPtr>& arrays() const { return arrays_; }
  bool may_have_nulls() const { return nulls_; }
  /// The common dictionary; null for other kinds.
  const ArrayDataPtr& dictionary() const { return dictionary_; }
  /// Index of a dictionary column's row in the common dictionary; -1 for NULL.
  int32_t DictionaryNumber(const Piece& piece, int64_t row) const;
  /// About what all rows take once gathered, in bytes; dictionaries are not counted.
  int64_t bytes() const;

 private:
  ColumnUnion() = default;
  Status Add(ArrayDataPtr data);
  Status UnifyDictionaries(arrow::MemoryPool* pool);
  Status CheckIndexes() const;
  Status MakeChildren(arrow::MemoryPool* pool);
  void FindConstant();
  template <typename Same>
  void SetConstantIf(const Same& same);

  Result<ArrayDataPtr> GatherOther(const RowRuns& granule, arrow::MemoryPool* pool) const;
  /// All but the children; `inner` is set to the rows of the children, for kinds where they differ.
  Status GatherOwn(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out, RowRuns* inner) const;
  Status GatherConstant(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  Status GatherValidity(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  Status GatherFixed(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  Status GatherBits(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  template <typename Offset>
  Status GatherBinary(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  template <typename Offset>
  Status GatherList(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out, RowRuns* inner) const;
  template <typename Index>
  Status GatherIndexes(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const;
  Status GatherDictionary(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const;

  Kind kind_ = Kind::kOther;
  std::shared_ptr<arrow::DataType> type_;
  int64_t width_ = 0;      // Bytes of a fixed value or index; elements of a fixed-size list.
  bool nulls_ = false;     // There are some.
  bool all_null_ = false;  // There is nothing else.
  bool shifted_ = false;   // Some array has an offset.
  bool constant_ = false;  // All rows have one value: `constant_value_`, or nothing in it (text and lists).
  bool same_numbers_ = true;   // Dictionary: indexes are right for the common dictionary as they stand.
  std::array<uint8_t, 16> constant_value_{};
  std::vector<Piece> pieces_;
  std::vector<ArrayDataPtr> arrays_;
  std::vector<std::shared_ptr<const std::vector<int32_t>>> numbers_;  // Keeps what pieces point to.
  std::vector<std::unique_ptr<ColumnUnion>> children_;
  ArrayDataPtr dictionary_;
};

}  // namespace sheaf::columns
