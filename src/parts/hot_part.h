/// Hot parts: an Arrow IPC file, one record batch a granule, uncompressed, mapped and read without a copy.

#pragma once

#include <memory>
#include <span>
#include <vector>

#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>

#include "columns/few_rows.h"
#include "core/mutex.h"
#include "parts/part_source.h"
#include "parts/part_writer.h"

namespace sheaf::parts {

/// Writes granules as record batches. All must share their dictionaries.
class HotWriter : public PartWriter {
 public:
  static Result<std::unique_ptr<PartWriter>> Make(SummingStream* stream, const std::shared_ptr<arrow::Schema>& schema);
  Status Choose(const std::vector<columns::ColumnAnalysis>& first) override;
  Result<WrittenGranule> Write(const std::shared_ptr<arrow::RecordBatch>& granule) override;
  Status Finish() override;
  std::vector<StoredLeaf> StoredLeaves() override;

 private:
  HotWriter(SummingStream* stream, arrow::ipc::IpcWriteOptions options) : stream_(stream), options_(std::move(options)) {}
  /// Counts what the granule's leaves take.
  Status CountLeaves(const arrow::RecordBatch& granule);

  SummingStream* const stream_;
  const arrow::ipc::IpcWriteOptions options_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
  std::vector<StoredLeaf> leaves_;
  std::vector<std::shared_ptr<arrow::ArrayData>> dictionaries_;  // By leaf; null where it has none.
};

class HotPart : public PartSource, public columns::FewRowsSource {
 public:
  HotPart(PartInfo info, PartSchema schema, std::unique_ptr<PartIndex> index, std::unique_ptr<CheckedBytes> data);

  Result<std::shared_ptr<arrow::RecordBatch>> Read(int granule, const std::vector<int>& columns) const override SHEAF_EXCLUDES(mutex_);
  /// Checks, and so reads, only the blocks that hold the rows: of a granule's 4 MB, a trace's spans need half or less.
  Result<std::shared_ptr<arrow::RecordBatch>> ReadRows(int granule, const std::vector<int>& columns,
                                                       std::span<const int64_t> rows) const override SHEAF_EXCLUDES(mutex_);

 private:
  /// Rows from `begin` to before `end`.
  struct RowRange {
    int64_t begin, end;
  };
  using RowRanges = std::vector<RowRange>;

  Status CheckMetadata() const;
  Status CheckGranuleMetadata(int granule) const;
  /// Checks bytes of a buffer that lies in the mapping; what does not was made from checked ones.
  Status CheckBytes(const arrow::Buffer& buffer, int64_t begin, int64_t end) const;
  Status CheckBuffers(const arrow::ArrayData& data) const;
  Status CheckRows(const arrow::ArrayData& data, const RowRanges& rows) const;
  template <typename Offset>
  Status CheckRowsByOffsets(const arrow::ArrayData& data, const RowRanges& rows) const;
  template <typename CheckColumn>
  Result<std::shared_ptr<arrow::RecordBatch>> ReadChecked(int granule, const std::vector<int>& columns, CheckColumn&& check) const
      SHEAF_EXCLUDES(mutex_);
  Status OpenReader() const SHEAF_REQUIRES(mutex_);
  /// The granule with all columns: arrays that point into the mapping, whose data blocks are not yet checked.
  Result<std::shared_ptr<arrow::RecordBatch>> Whole(int granule) const SHEAF_EXCLUDES(mutex_);

  mutable Mutex mutex_;
  mutable std::shared_ptr<arrow::ipc::RecordBatchFileReader> reader_ SHEAF_GUARDED_BY(mutex_);
  mutable std::vector<std::shared_ptr<arrow::RecordBatch>> batches_ SHEAF_GUARDED_BY(mutex_);  // By granule, once read.
};

}  // namespace sheaf::parts
