/// Cold parts: Parquet with Zstd, one row group a granule, readable by any Parquet reader, read back as
/// exactly the physical schema.

#pragma once

#include <memory>
#include <vector>

#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>

#include "core/mutex.h"
#include "parts/part_source.h"
#include "parts/part_writer.h"

namespace sheaf::parts {

/// Writes granules as row groups.
class ColdWriter : public PartWriter {
 public:
  static Result<std::unique_ptr<PartWriter>> Make(std::shared_ptr<SummingStream> stream, const std::shared_ptr<arrow::Schema>& schema,
                                                  const Layout& layout);
  Status Choose(const std::vector<columns::ColumnAnalysis>& first) override;
  Result<WrittenGranule> Write(const std::shared_ptr<arrow::RecordBatch>& granule) override;
  Status Finish() override;
  std::vector<WrittenGranule> FinalGranules() override;
  std::vector<StoredLeaf> StoredLeaves() override { return std::move(leaves_); }

 private:
  ColdWriter(std::shared_ptr<SummingStream> stream, std::shared_ptr<arrow::Schema> schema, const Layout& layout)
      : stream_(std::move(stream)), schema_(std::move(schema)), layout_(layout) {}
  Result<WrittenGranule> Encode(const std::shared_ptr<arrow::RecordBatch>& granule);
  Status Open();

  const std::shared_ptr<SummingStream> stream_;
  const std::shared_ptr<arrow::Schema> schema_;
  const Layout layout_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;  // Null until the first granule.
  std::vector<WrittenGranule> granules_;
  std::vector<StoredLeaf> leaves_;
};

class ColdPart : public PartSource {
 public:
  ColdPart(PartInfo info, PartSchema schema, std::unique_ptr<PartIndex> index, std::unique_ptr<CheckedBytes> data);

  Result<std::shared_ptr<arrow::RecordBatch>> Read(int granule, const std::vector<int>& columns) const override SHEAF_EXCLUDES(mutex_);

 private:
  /// Returns a reader for one caller; readers share the parsed footer.
  Result<std::unique_ptr<parquet::arrow::FileReader>> TakeReader() const SHEAF_EXCLUDES(mutex_);
  void GiveBack(std::unique_ptr<parquet::arrow::FileReader> reader) const SHEAF_EXCLUDES(mutex_);

  mutable Mutex mutex_;
  mutable std::shared_ptr<parquet::FileMetaData> footer_ SHEAF_GUARDED_BY(mutex_);
  mutable std::vector<std::unique_ptr<parquet::arrow::FileReader>> idle_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::parts
