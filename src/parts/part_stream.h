/// Writes a part granule by granule, when rows come in the part's order already: compaction streams through
/// this with one granule in memory; WritePart() sorts first and then does the same.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "columns/column_analysis.h"
#include "columns/id_filter.h"
#include "columns/key_codec.h"
#include "columns/leaves.h"
#include "columns/token_filter.h"
#include "core/status.h"
#include "io/file_system.h"
#include "parts/blocks.h"
#include "parts/part.h"
#include "parts/part_index.h"
#include "parts/part_writer.h"

namespace sheaf::parts {

/// Not thread-safe. Until Finish() returns OK nothing is durable, and the destructor removes the files.
class PartStream {
 public:
  /// `info` comes as for WritePart(). Errors: Invalid (the layout names other columns), Unsupported, Io, Unavailable (disk full).
  static Result<std::unique_ptr<PartStream>> Open(io::FileSystem* files, const std::string& directory, PartInfo info, const Layout& layout,
                                                  std::shared_ptr<arrow::Schema> schema);
  PartStream(const PartStream&) = delete;
  PartStream& operator=(const PartStream&) = delete;
  ~PartStream();

  /// Appends a granule whose rows follow the last one's in the layout's order. Those of a hot part must share their
  /// dictionaries. After an error the part cannot be finished any more.
  /// Errors: Invalid (another schema, no rows, keys that do not rise), Unsupported, TooLarge, Io, Unavailable.
  Status Write(const std::shared_ptr<arrow::RecordBatch>& granule);
  /// What the index tells of attributes; those with columns of their own are the last ones of the schema (attribute_columns.h).
  void SetAttributes(columns::AttributeKeys keys) { contents_.attributes = std::move(keys); }
  int64_t rows() const { return info_.rows; }
  /// Bytes of data so far.
  int64_t bytes() const;

  /// Writes the index, syncs both files and the folder. Call once, after at least one Write().
  /// Errors: Invalid (no rows, or a Write() failed), Io, Unavailable.
  Result<PartInfo> Finish();

 private:
  class NewFile;
  PartStream(io::FileSystem* files, std::string directory, PartInfo info, const Layout& layout, std::shared_ptr<arrow::Schema> schema);
  Status Start();
  /// Takes the granule into zones, filters and analyses.
  Status Measure(const arrow::RecordBatch& granule);
  Status Analyse(const arrow::RecordBatch& granule);
  std::vector<columns::ColumnAnalysis> Analyses() const;
  std::string Reports() const;
  Status MeasureKeys(const arrow::RecordBatch& granule);
  Status WriteIndex();

  io::FileSystem* const files_;  // Borrowed.
  const std::string directory_;
  PartInfo info_;
  const Layout layout_;
  const std::shared_ptr<arrow::Schema> schema_;

  // In this order, for they borrow from those above them.
  std::unique_ptr<NewFile> data_, index_;
  std::shared_ptr<SummingStream> stream_;
  std::unique_ptr<PartWriter> writer_;

  IndexContents contents_;
  std::vector<columns::Leaf> leaves_;
  std::vector<columns::ColumnAnalyzer> analyzers_;  // By leaf.
  std::vector<columns::IdFilterBuilder> filters_;
  std::vector<columns::TokenFilterBuilder> token_filters_;
  std::shared_ptr<const columns::KeyCodec> key_codec_;  // Null: no keyed table.
  columns::IdFilterBuilder key_filter_;
  std::string last_key_;
  std::vector<WrittenGranule> written_;
  bool failed_ = false;
};

/// Checks that a layout fits a schema. Errors: Invalid, Unsupported (a column that takes no id filter).
Status CheckLayout(const Layout& layout, const arrow::Schema& schema);

}  // namespace sheaf::parts
