/// Rows from outside as record batches of a table: what POST /v1/tables takes.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <arrow/type.h>

#include "core/memory.h"
#include "core/status.h"
#include "query/formats.h"

namespace sheaf::query {

/// Most rows of one request.
inline constexpr int64_t kRowsReadMax = 10'000'000;

/// Reads a whole document: an Arrow IPC stream, Parquet, NDJSON (an object a line) or CSV (with a head line). Columns are found
/// by name and cast to the table's types without loss; those that are absent are NULL. Bytes come from a stranger: every batch is
/// validated fully. All memory comes from `pool`, which must outlive the rows; its limit is how far a document may inflate.
/// Errors: Invalid (names the column, the row where it can, and what would do), TooLarge (also beyond the pool's limit), Unsupported
/// (a format that cannot be read).
Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> ReadRows(Format format, std::shared_ptr<arrow::Buffer> bytes,
                                                                  const std::shared_ptr<arrow::Schema>& schema, TrackingPool* pool);

/// The same of some rows of an NDJSON or CSV document, as a table of `columns` that are in it, some of them as text: for ConformRows().
/// `names`: of the columns of CSV, whose head line `bytes` is without. Not `all`: columns of the document that are not asked for are left
/// out instead of refused. Errors as above.
Result<std::shared_ptr<arrow::Table>> ReadTextRows(Format format, const std::shared_ptr<arrow::Buffer>& bytes,
                                                   const std::vector<std::string>& names, const arrow::Schema& columns, bool all,
                                                   arrow::MemoryPool* pool);

/// The table's columns out of `rows`, in its order and types: found by name, cast without loss, NULL where absent. Errors: Invalid
/// (a column that the table does not have, a value that does not fit).
Result<std::shared_ptr<arrow::Table>> ConformRows(const arrow::Table& rows, const std::shared_ptr<arrow::Schema>& schema,
                                                  arrow::MemoryPool* pool);

}  // namespace sheaf::query
