/// The index beside a part's data file: who the part is, checksums of its blocks, where its granules lie,
/// zone maps, id filters and keys. Read by one mapping; look-ups touch only the pages they need.
/// Format: docs/formats/part.md.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>

#include "columns/attribute_keys.h"
#include "columns/granules.h"
#include "columns/id_filter.h"
#include "columns/key_codec.h"
#include "columns/token_filter.h"
#include "core/status.h"
#include "parts/blocks.h"
#include "parts/part.h"

namespace sheaf::parts {

/// Where a granule lies in the data file: an IPC message, or a Parquet row group.
struct GranulePlace {
  int64_t rows = 0;
  int64_t offset = 0;
  int64_t bytes = 0;
};

/// Where keys lie in a part of a keyed table.
struct PartKeys {
  std::vector<int> columns;                        // Positions in the part's schema, in key order.
  columns::KeyColumn separators;                   // One a granule: above the last key of the granule before, at most its own first.
};

/// What WritePart() collects and EncodeIndex() turns into bytes.
struct IndexContents {
  PartInfo info;                                   // index_bytes and digest are ignored.
  int columns = 0;                                 // Those of attributes included.
  std::vector<uint64_t> data_sums;
  std::vector<GranulePlace> granules;
  std::vector<std::vector<int64_t>> column_bytes;  // [granule][column]
  std::vector<std::vector<columns::Zone>> zones;   // [column][0: the part; 1 + granule]
  std::vector<std::pair<int, std::string>> filters;  // Column, bytes.
  std::vector<std::pair<int, std::string>> token_filters;  // Column, bytes.
  std::optional<PartKeys> keys;                    // Of keyed tables. Their bounds are in `info`.
  std::string key_filter;
  std::optional<columns::AttributeKeys> attributes;
  std::string reports;                             // Of the columns, as EncodeReports() makes them; empty: none.
};

std::string EncodeIndex(const IndexContents& contents);

/// A mapped index. Thread-safe.
class PartIndex {
 public:
  /// Checks the head (identity, lengths, checksums) and the blocks that hold granules and zones.
  /// `name` is for errors. Errors: Corruption, Unsupported (a newer version).
  static Result<std::unique_ptr<PartIndex>> Open(std::shared_ptr<arrow::Buffer> bytes, std::string name);

  /// As written, with index_bytes and the digest of the data's blocks; file_name is empty.
  const PartInfo& info() const { return info_; }
  int columns() const { return columns_; }
  /// Null where the part was written without.
  const columns::AttributeKeys* attributes() const { return attributes_ ? &*attributes_ : nullptr; }
  const std::vector<uint64_t>& data_sums() const { return data_sums_; }
  int granules() const { return static_cast<int>(granules_.size()); }
  const GranulePlace& granule(int i) const { return granules_[static_cast<size_t>(i)]; }
  int64_t column_bytes(int granule, int column) const;

  /// Zone of the part (`granule` -1) or a granule; null where none was kept.
  const columns::Zone* zone(int granule, int column) const;
  bool has_filter(int column) const { return FilterOf(column) != nullptr; }
  /// As GranuleSource::FindGranules().
  Status Find(int column, std::string_view value, std::vector<int>* granules) const;

  bool has_tokens(int column) const { return TokensOf(column) != nullptr; }
  /// As GranuleSource::FindTokens(). Error: Corruption.
  Status FindTokens(int column, std::span<const uint64_t> needs, std::vector<int>* granules) const;
  /// The token filter's bytes, checked; for `inspect`. Requires: has_tokens(column).
  Result<std::string_view> TokenFilterBytes(int column) const;

  /// Null where the part is of no keyed table.
  const PartKeys* keys() const { return keys_ ? &*keys_ : nullptr; }
  /// The one granule that may hold the encoded key, or -1: the part does not hold it. Allocates nothing. Requires: keys().
  /// Error: Corruption.
  Result<int> FindKey(std::string_view key) const;
  /// Has the processor fetch what FindKey() reads first.
  void PrefetchKey(std::string_view key) const {
    if (key_filter_) key_filter_->Prefetch(key);
  }
  /// The granule with the first key >= `key`, unless all of its keys are below: then that is the next granule's first.
  int GranuleOfLowerBound(std::string_view key) const;
  /// The key filter's bytes, checked; empty where there is none. For `inspect`.
  Result<std::string_view> KeyFilterBytes() const;

  bool has_reports() const { return reports_.has_value(); }
  /// What EncodeReports() made, checked. Requires: has_reports(). Error: Corruption.
  Result<std::string_view> ReportBytes() const;

  /// The filter's bytes, checked; for `inspect`. Requires: has_filter(column).
  Result<std::string_view> FilterBytes(int column) const;

  /// Checks every block of the index, and that token filters are such.
  Status Verify() const;

 private:
  enum class SectionKind : uint32_t { kGranules = 1, kColumnBytes = 2, kZones = 3, kFilter = 4, kKeys = 5, kKeyFilter = 6, kTokens = 7,
                                    kAttributes = 8, kReports = 9 };
  struct Section {
    SectionKind kind;
    int column = -1;
    int64_t offset = 0, bytes = 0;  // In the body.
  };
  struct ColumnZones {
    std::once_flag once;
    std::vector<columns::Zone> zones;  // Empty: none kept.
  };
  friend std::string EncodeIndex(const IndexContents& contents);

  PartIndex() = default;
  static std::string EncodeBody(const IndexContents& contents, std::vector<Section>* sections);
  /// `head` is the beginning of `file`, which the body keeps alive.
  Status ReadHead(const std::shared_ptr<arrow::Buffer>& file, std::string_view head);
  Status ReadGranules(std::string_view bytes, int64_t count);
  Status ReadKeys(std::string_view bytes);
  Status ReadAttributes(std::string_view bytes);
  Status ReadSections(const std::vector<Section>& sections);
  std::span<const uint8_t> Bytes(const Section& section) const {
    return {body_->data() + section.offset, static_cast<size_t>(section.bytes)};
  }
  const Section* FilterOf(int column) const;
  const Section* TokensOf(int column) const;

  std::string name_;
  PartInfo info_;
  int columns_ = 0;
  std::vector<uint64_t> data_sums_;
  std::vector<GranulePlace> granules_;
  std::unique_ptr<CheckedBytes> body_;
  std::optional<Section> column_bytes_, reports_;
  std::vector<std::optional<Section>> zone_sections_, filter_sections_, token_sections_;  // By column.
  mutable std::vector<ColumnZones> zones_;  // Parsed when first asked for.
  std::optional<PartKeys> keys_;
  std::optional<columns::AttributeKeys> attributes_;
  std::optional<Section> key_filter_section_;
  std::optional<columns::IdFilterView> key_filter_;
};

}  // namespace sheaf::parts
