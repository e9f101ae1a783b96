/// Immutable files of sorted rows: hot ones are Arrow IPC files that are mapped and read without
/// copying, cold ones Parquet. Both come with an index (zone maps, id filters, checksums per 64 KiB
/// block) that is read without touching the data. Formats: docs/formats/part.md.

#pragma once

#include <cstdint>
#include <functional>
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
  std::string file_uuid;                // 16 bytes; stands in the file too. WritePart() makes one where empty.
  std::string database_uuid;            // 16 bytes; the owner's, in data and index, to tell foreign files. May be empty.
  int64_t rows = 0;
  int64_t data_bytes = 0, index_bytes = 0;
  Lsn min_lsn, max_lsn;
  int64_t time_min = 0, time_max = 0;   // Of the table's time column, ns whatever its unit; with a NULL in it the latter is INT64_MAX.
  int64_t created_ns = 0;               // WritePart() asks the system's clock where 0.
  std::string digest;                   // XXH3-128 over the list of the data's block checksums, 16 bytes.

  // Keyed tables only. Keys as columns::KeyCodec encodes them; the lower bound may be a key's beginning, the upper one is
  // cut and rounded up: key_min <= every key <= key_max.
  std::string key_min, key_max;
  std::string dead_file;                // Delete vector (delete_vector.h), relative as file_name; empty: none.
  std::string dead_digest;              // Of that file, 16 bytes.
  int64_t dead_rows = 0;                // Rows dead in it…
  Lsn dead_through;                     // …by writes through this LSN.
};

/// How rows of a table are laid out in its parts.
struct Layout {
  int time_column = -1;                 // Physical index; -1: none.
  std::vector<int> sort_columns;        // In order; unless cluster_traces.
  std::vector<int> filter_columns;      // Columns that get an id filter.
  bool cluster_traces = false;          // Spans: keep a trace together, traces ordered by root service, then time.
  int trace_column = -1, service_column = -1, parent_column = -1;
  int64_t granule_rows = 16'384;        // Of hot and cold parts; a row group of a cold one is a granule.
  std::vector<int> token_columns = {};  // Text columns that get a token index (columns/token_filter.h).
  std::vector<int> key_columns = {};    // Keyed tables: in key order, and sort_columns the same. The index then finds keys,
                                        // and a part may hold each key once only.
};

/// The hidden last column of a keyed table's parts: the LSN of the entry that wrote the row, uint64 without NULLs.
inline constexpr const char* kLsnColumn = "sheaf.lsn";

/// Granules of keyed tables: a look-up reads one, and a cold one has to be decoded for it.
inline constexpr int64_t kKeyedGranuleRows = 4096;

/// Writes `batches` (one schema, any order) as one part, sorted by `layout`: data file, index, sync of
/// both and of the folder. On error nothing is left behind. `info` comes with id, table, schema_version,
/// format, level, database_uuid and LSNs set; the rest is filled in. The files are part-<id>.arrow or
/// part-<id>.parquet and part-<id>.idx; those of an earlier attempt with the same id are replaced.
/// Errors: Invalid (no rows, a batch of another schema, a key that is NULL or comes twice), Unsupported (a column that cannot
/// be sorted by, be a key or be filtered), TooLarge, Io, Unavailable (disk full).
Result<PartInfo> WritePart(io::FileSystem* files, const std::string& directory, PartInfo info, const Layout& layout,
                           const std::shared_ptr<arrow::Schema>& schema,
                           const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);

/// Opens a part for reading; checks size, identity, the index and the list of block checksums against `info`,
/// and the data's first block. Every other block is checked when first read, so damage is an error of that
/// Read() and never a row. The files may be removed while open. Errors: Corruption, NotFound, Io, Unsupported.
Result<std::shared_ptr<const columns::GranuleSource>> OpenPart(io::FileSystem* files, const std::string& directory,
                                                               const PartInfo& info, const std::shared_ptr<arrow::Schema>& schema);

/// Name of a part's index beside its data file, and of the data file itself.
std::string IndexFileName(PartId id);
std::string DataFileName(PartId id, Format format);

/// Checks every checksum of a part, and its delete vector. Errors: Corruption (names file and block).
/// `after_piece` is called with the bytes of each piece of about a MiB; what it returns, if not OK, ends the check.
Status VerifyPart(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                  const std::function<Status(int64_t)>& after_piece = nullptr);

}  // namespace sheaf::parts
