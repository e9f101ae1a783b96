/// One dictionary a column for all outputs of a merge: granules of a hot part must share theirs, and are written before the last
/// source has been read.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "columns/dictionaries.h"
#include "core/status.h"

namespace sheaf::compact {

struct MergeSource;

/// Not thread-safe.
class SharedDictionaries {
 public:
  /// Reads the dictionary columns of every granule once, where the outputs are hot and there are such columns; else does nothing.
  /// Errors: Unsupported (a dictionary inside a nested column), TooLarge, Corruption, Io.
  static Result<std::unique_ptr<SharedDictionaries>> Make(const std::shared_ptr<arrow::Schema>& schema, bool hot,
                                                          const std::vector<MergeSource>& sources, arrow::MemoryPool* pool);

  /// The batch, which is one of a source, with the shared dictionaries; the batch itself where there are none.
  /// Error: Corruption (an index outside its dictionary).
  Result<std::shared_ptr<arrow::RecordBatch>> Translate(std::shared_ptr<arrow::RecordBatch> batch);

 private:
  struct Column {
    int number = 0;
    std::shared_ptr<arrow::ArrayData> values;           // The shared dictionary.
    std::unique_ptr<columns::DictionaryUnion> numbers;  // Of its values; knows all that can come.
    std::shared_ptr<arrow::ArrayData> last;             // The dictionary that came last…
    std::vector<int32_t> last_numbers;                  // …and what its values are here.
  };

  explicit SharedDictionaries(arrow::MemoryPool* pool) : pool_(pool) {}
  Status Collect(Column* column, const arrow::DictionaryType& type, const std::vector<MergeSource>& sources);
  Result<std::shared_ptr<arrow::ArrayData>> TranslateColumn(Column* column, const arrow::ArrayData& data);

  arrow::MemoryPool* const pool_;
  std::vector<Column> columns_;
};

}  // namespace sheaf::compact
