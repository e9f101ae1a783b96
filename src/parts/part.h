/// Immutable files of sorted rows: hot ones are Arrow IPC files that are mapped and read without
/// copying, cold ones Parquet. Both come with an index (zone maps, id filters, checksums per 64 KiB
/// block) that is read without touching the data. Formats: docs/formats/part.md.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/granules.h"
#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"

namespace sheaf::parts {

enum class Format : uint8_t { kHot = 1, kCold = 2 };

/// What the manifest keeps of a part; enough to prune whole parts and to detect a wrong, stale,
/// swapped or damaged file.
struct PartInfo {
  PartId id;
  TableId table;
  uint32_t schema_version = 1;
  Format format = Format::kHot;
  int level = 0;
  std::string file_name;                // Relative to the folder of parts.
  std::string file_uuid;                // 16 bytes; stands in the file too.
  int64_t rows = 0;
  int64_t data_bytes = 0, index_bytes = 0;
  Lsn min_lsn, max_lsn;
  int64_t time_min = 0, time_max = 0;   // Of the table's time column, ns.
  int64_t created_ns = 0;
  std::string digest;                   // XXH3-128 over the list of block checksums, 16 bytes.
};

/// How rows of a table are laid out in its parts.
struct Layout {
  int time_column = -1;                 // Physical index; -1: none.
  std::vector<int> sort_columns;        // In order. See SortForTelemetry() for spans.
  std::vector<int> filter_columns;      // Columns that get an id filter.
  bool cluster_traces = false;          // Spans: keep a trace together, traces ordered by root service, then time.
  int trace_column = -1, service_column = -1, parent_column = -1;
  int64_t granule_rows = 16'384;
};

/// Writes `batches` (one schema, any order) as one part, sorted by `layout`: data file, index, sync of
/// both and of the folder. On error nothing is left behind. `info` comes with id, table, schema_version,
/// format, level and LSNs set; the rest is filled in.
Result<PartInfo> WritePart(io::FileSystem* files, const std::string& directory, PartInfo info, const Layout& layout,
                           const std::shared_ptr<arrow::Schema>& schema,
                           const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);

/// Opens a part for reading; checks header, uuid, size and index digest against `info`, not yet the data
/// (blocks are checked when first read). Errors: Corruption, NotFound, Io.
Result<std::shared_ptr<const columns::GranuleSource>> OpenPart(io::FileSystem* files, const std::string& directory,
                                                               const PartInfo& info, const std::shared_ptr<arrow::Schema>& schema);

/// Checks every checksum of a part. Errors: Corruption (names file and block).
Status VerifyPart(io::FileSystem* files, const std::string& directory, const PartInfo& info);

}  // namespace sheaf::parts
