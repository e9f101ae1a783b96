/// What hot and cold parts have in common as sources of a scan: everything that the index answers.

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "columns/column_report.h"
#include "columns/granules.h"
#include "parts/blocks.h"
#include "parts/part_index.h"

namespace sheaf::parts {

struct PartSchema {
  std::shared_ptr<arrow::Schema> table;
  std::shared_ptr<arrow::Schema> stored;  // The same, and columns of attributes behind.
};

class PartSource : public columns::GranuleSource, public columns::ColumnReportSource {
 public:
  const std::shared_ptr<arrow::Schema>& schema() const override { return table_schema_; }
  const columns::AttributeKeys* attributes() const override { return index_->attributes(); }
  const std::string& name() const override { return info_.file_name; }
  uint64_t ordinal() const override { return info_.id.value; }
  int64_t rows() const override { return info_.rows; }
  Lsn min_lsn() const override { return info_.min_lsn; }
  Lsn max_lsn() const override { return info_.max_lsn; }
  int num_granules() const override { return index_->granules(); }
  int64_t granule_rows(int granule) const override { return index_->granule(granule).rows; }
  const columns::Zone* source_zone(int column) const override { return index_->zone(-1, column); }
  const columns::Zone* granule_zone(int granule, int column) const override { return index_->zone(granule, column); }
  bool has_filter(int column) const override { return index_->has_filter(column); }
  Status FindGranules(int column, std::string_view value, std::vector<int>* granules) const override {
    return index_->Find(column, value, granules);
  }
  bool has_tokens(int column) const override { return index_->has_tokens(column); }
  Status FindTokens(int column, std::span<const uint64_t> needs, std::vector<int>* granules) const override {
    return index_->FindTokens(column, needs, granules);
  }
  int64_t granule_bytes(int granule, const std::vector<int>& columns) const override {
    int64_t bytes = 0;
    for (const int column : columns) bytes += index_->column_bytes(granule, column);
    return bytes;
  }

  void ReadAhead(int granule, const std::vector<int>& columns) const override;
  /// Of a part that was written without reports: what zones and the bytes of columns tell.
  Result<std::vector<columns::ColumnReport>> ReportColumns() const override;
  int64_t DistinctValues(int column) const override;

  const PartIndex& index() const { return *index_; }

 protected:
  PartSource(PartInfo info, PartSchema schema, std::unique_ptr<PartIndex> index, std::unique_ptr<CheckedBytes> data)
      : info_(std::move(info)), table_schema_(std::move(schema.table)), schema_(std::move(schema.stored)), index_(std::move(index)),
        data_(std::move(data)) {}

  const PartInfo info_;
  const std::shared_ptr<arrow::Schema> table_schema_;
  const std::shared_ptr<arrow::Schema> schema_;  // As stored.
  const std::unique_ptr<PartIndex> index_;
  const std::unique_ptr<CheckedBytes> data_;

 private:
  mutable std::once_flag distinct_values_once_;
  mutable std::vector<int64_t> distinct_values_;  // By column.
};

/// OpenPart() for those in this module who ask the index more.
Result<std::shared_ptr<const PartSource>> OpenPartSource(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                                                         const std::shared_ptr<arrow::Schema>& schema);

}  // namespace sheaf::parts
