/// How WritePart() puts sorted granules into a data file, whatever its format.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/encodings.h"
#include "core/status.h"
#include "parts/part_index.h"

namespace sheaf::parts {

struct WrittenGranule {
  GranulePlace place;
  std::vector<int64_t> column_bytes;  // As stored; dictionaries that several granules share are not counted.
};

/// How the values of a leaf (columns/leaves.h) were stored.
struct StoredLeaf {
  columns::EncodingChoice stored;
  int64_t bytes = 0;  // Of a dictionary that all granules share once.
};

/// Not thread-safe.
class PartWriter {
 public:
  virtual ~PartWriter() = default;
  /// Says how each leaf of the schema is to be encoded, from what its values in the first granule are like. Once, before Write().
  virtual Status Choose(const std::vector<columns::ColumnAnalysis>& first) = 0;
  virtual Result<WrittenGranule> Write(const std::shared_ptr<arrow::RecordBatch>& granule) = 0;
  /// Writes what belongs at the end. The stream stays open.
  virtual Status Finish() = 0;
  /// Where granules lie, if that is known only after Finish(); else empty.
  virtual std::vector<WrittenGranule> FinalGranules() { return {}; }
  /// How the leaves were stored, in the order of LeavesOf(). After Finish().
  virtual std::vector<StoredLeaf> StoredLeaves() = 0;
};

}  // namespace sheaf::parts
