/// Dictionaries of many batches made one, and one made small again.

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::columns {

/// Numbers distinct values in order of first sight. Values are binary, text or of fixed width.
/// Not thread-safe. Borrows the bytes of every array added: keep those alive.
class DictionaryUnion {
 public:
  explicit DictionaryUnion(std::shared_ptr<arrow::DataType> value_type);

  /// Sets numbers[i] to the number of values[i], or to -1 for a NULL.
  /// Errors: Unsupported (a type without bytes), TooLarge (2^31 distinct values).
  Status Add(const arrow::ArrayData& values, std::vector<int32_t>* numbers);

  /// The value's number. For up to 2^31 distinct values.
  int32_t NumberOf(std::string_view value);

  int32_t size() const { return static_cast<int32_t>(values_.size()); }
  const std::vector<std::string_view>& values() const { return values_; }
  /// The distinct values as an array, by number. Error: TooLarge (over 2 GiB of text with 32-bit offsets).
  Result<std::shared_ptr<arrow::ArrayData>> ToArray(arrow::MemoryPool* pool) const;

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t number = -1;
  };
  void Grow();

  const std::shared_ptr<arrow::DataType> value_type_;
  std::vector<std::string_view> values_;
  std::vector<Slot> slots_;  // Open addressing; a power of two, at most half full.
};

/// The numbers that occur in a dictionary array, ascending, NULLs left out.
/// Error: Corruption (an index outside the dictionary).
Result<std::vector<int64_t>> UsedIndexes(const arrow::ArrayData& dictionary_array);

/// Returns the array (of any type, nested too) with every dictionary cut down to the values in use, in
/// their order. For Parquet, which stores a dictionary with every row group.
Result<std::shared_ptr<arrow::ArrayData>> CompactDictionaries(const std::shared_ptr<arrow::ArrayData>& data, arrow::MemoryPool* pool);

}  // namespace sheaf::columns
