/// Takes the rows of a merge run by run, gathers them into granules and writes those into parts of a given size.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/column_union.h"
#include "compact/merge.h"
#include "core/status.h"
#include "io/file_system.h"
#include "parts/part_stream.h"

namespace sheaf::compact {

/// Not thread-safe. The destructor removes every file, unless Finish() was OK.
class MergeOutput {
 public:
  /// Borrows all. `part` is what every output begins with, LSNs included.
  MergeOutput(io::FileSystem* files, std::string directory, parts::PartInfo part, const MergeOptions* options,
              MergeProgress* progress);
  MergeOutput(const MergeOutput&) = delete;
  MergeOutput& operator=(const MergeOutput&) = delete;
  ~MergeOutput();

  /// Appends rows. Errors: TooLarge, Io, Unavailable, Cancelled, Corruption (a bad dictionary index).
  Status Append(const std::shared_ptr<arrow::RecordBatch>& batch, int64_t start, int64_t length);
  /// Writes what is left and closes the last part. Errors as above. Call once.
  Result<std::vector<parts::PartInfo>> Finish();

 private:
  uint32_t NumberOf(const std::shared_ptr<arrow::RecordBatch>& batch);
  Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> Gather() const;
  /// Gathers and writes what is pending: whole granules, and the last one where `all`.
  Status Flush(bool all);
  /// Gathers what is pending and keeps it instead of the batches that it came from.
  Status Condense();
  Status Write(const std::shared_ptr<arrow::RecordBatch>& granule);
  Status ClosePart();

  io::FileSystem* const files_;
  const std::string directory_;
  const parts::PartInfo part_;
  const MergeOptions& options_;
  MergeProgress* const progress_;
  const int64_t granule_rows_;
  const size_t granules_at_once_;

  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;  // Where the pending rows are.
  std::vector<columns::RowRuns> granules_;                    // Pending rows; all but the last are whole granules.
  std::unique_ptr<parts::PartStream> stream_;
  int64_t stream_bytes_ = 0;  // As if hot.
  std::vector<parts::PartInfo> done_;
  bool kept_ = false;
};

}  // namespace sheaf::compact
