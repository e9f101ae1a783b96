/// Merges parts that are sorted by key into new ones, granule by granule: rows that are dead or expired are left out, everything
/// else is copied in runs. What to merge: plan.h.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include "columns/dead_rows.h"
#include "columns/granules.h"
#include "columns/key_codec.h"
#include "core/status.h"
#include "io/file_system.h"
#include "parts/part.h"

namespace sheaf::compact {

/// One part that is read. Its rows rise strictly by key.
struct MergeSource {
  std::shared_ptr<const columns::GranuleSource> source;
  std::shared_ptr<const columns::DeadRows> dead;  // Null: none.
};

/// Numbers of a merge so far.
struct MergeProgress {
  int64_t rows_in = 0,
          rows_out = 0;  // rows_in = rows_out + rows_dead + rows_expired, once all is read and without `newest_wins`.
  int64_t rows_dead = 0, rows_expired = 0;
  int64_t bytes_in = 0, bytes_out = 0;  // As stored; out: of parts that are whole.
  int64_t granules_out = 0, parts_out = 0;
};

struct MergeOptions {
  std::shared_ptr<arrow::Schema> schema;          // Of sources and outputs: the table's columns, then parts::kLsnColumn.
  std::shared_ptr<const columns::KeyCodec> keys;  // Over that schema.
  parts::Layout layout;                           // Of the outputs.
  parts::PartInfo part;                           // Table, schema version, format, level, database: for each output.
  std::function<PartId()> next_id;                // Called for each output.
  int64_t output_bytes = int64_t{64} << 20;  // An output is closed with the granule that reaches this, counted as if it were hot.
  int time_column = -1;                      // With `expire_before_ns`: rows with an earlier time are left out; NULL stays.
  std::optional<int64_t> expire_before_ns;   // Integers count as nanoseconds.
  bool newest_wins = false;                  // Of two rows alive with one key keep the one with the higher LSN, for repair.
  std::function<void(const MergeProgress&)>
      after_granule;                          // Called after each granule that is written, and may wait: the rate limit.
  const std::atomic<bool>* cancel = nullptr;  // Looked at before each granule.
  arrow::MemoryPool* pool = nullptr;          // Null: Arrow's default.
};

/// Writes the rows alive of all sources, in the order of their keys, as parts in `directory`, durable on return; none where no
/// row is left. Blocks; holds about a granule of each source and four of the output in memory, and dictionaries. `progress` may
/// be null. On error no file is left behind; the sources stay as they are.
/// Errors: Invalid (another schema), Corruption (a source is damaged or not in key order; a key is alive twice), Cancelled,
/// Unsupported (dictionaries inside nested columns of hot parts), TooLarge, Io, Unavailable (disk full).
Result<std::vector<parts::PartInfo>> MergeParts(io::FileSystem* files, const std::string& directory,
                                                const std::vector<MergeSource>& sources, const MergeOptions& options,
                                                MergeProgress* progress);

}  // namespace sheaf::compact
