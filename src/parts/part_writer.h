/// How WritePart() puts sorted granules into a data file, whatever its format.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/record_batch.h>

#include "core/status.h"
#include "parts/part_index.h"

namespace sheaf::parts {

struct WrittenGranule {
  GranulePlace place;
  std::vector<int64_t> column_bytes;  // As stored; dictionaries that several granules share are not counted.
};

/// Not thread-safe.
class PartWriter {
 public:
  virtual ~PartWriter() = default;
  virtual Result<WrittenGranule> Write(const std::shared_ptr<arrow::RecordBatch>& granule) = 0;
  /// Writes what belongs at the end. The stream stays open.
  virtual Status Finish() = 0;
  /// Where granules lie, if that is known only after Finish(); else empty.
  virtual std::vector<WrittenGranule> FinalGranules() { return {}; }
};

}  // namespace sheaf::parts
