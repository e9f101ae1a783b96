/// Attributes that many rows have, as columns of their own: with them attributes['http.route'] is read, and pruned by zones and filters,
/// as a column of the table is. The lists stay as they are; what is kept beside them can be made anew from them at any time.

#pragma once

#include <memory>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "columns/attribute_keys.h"
#include "core/status.h"

namespace sheaf::parts {

/// Of each list, at most so many keys get a column, the most frequent ones…
inline constexpr size_t kAttributeColumnsMax = 32;
/// …where at least one row of so many has it…
inline constexpr int64_t kAttributeRowsPerValueMax = 20;
/// …and its values are no longer than this on average, in bytes: they are stored twice.
inline constexpr int64_t kAttributeBytesMax = 128;
/// Of each list, so many keys are counted; the others are not told.
inline constexpr size_t kAttributeKeysMax = 1000;

struct BatchesWithAttributes {
  std::shared_ptr<arrow::Schema> schema;  // That given, with columns behind it.
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  columns::AttributeKeys keys;
};

/// Counts the keys of all lists of attributes in `batches`, which have `schema`, and adds columns of the frequent ones to them.
/// Errors: Corruption (a key's index outside its dictionary), OutOfMemory.
Result<BatchesWithAttributes> AddAttributeColumns(const std::shared_ptr<arrow::Schema>& schema,
                                                  const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, arrow::MemoryPool* pool);

}  // namespace sheaf::parts
