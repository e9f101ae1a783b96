/// What a part tells of its columns: how their values are distributed, how they are stored and why so.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "columns/column_analysis.h"
#include "columns/encodings.h"
#include "core/status.h"

namespace sheaf::columns {

/// Of one leaf (leaves.h); of a whole column, where its part was written before leaves were told.
struct ColumnReport {
  int column = -1;  // Position among the columns as stored.
  std::string path;
  ColumnAnalysis analysis;
  EncodingChoice stored;
  int64_t stored_bytes = -1;  // In the data file, compressed where that is; of a dictionary once. -1: not known.
};

/// What a GranuleSource may be besides. Thread-safe as that is.
class ColumnReportSource {
 public:
  virtual ~ColumnReportSource() = default;

  /// In the order of the columns. What is not known is left at what a ColumnReport has by itself. Error: Corruption.
  virtual Result<std::vector<ColumnReport>> ReportColumns() const = 0;
  /// About how many values of a column (position in schema()) differ, NULL not counted; -1: not known, as of lists, or where reports
  /// cannot be read. Kept once it was read, for those who plan statements.
  virtual int64_t DistinctValues(int column) const = 0;
};

}  // namespace sheaf::columns
