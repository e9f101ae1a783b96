/// Reads one logical column out of a granule's arrays. One reader per scanned column and thread; it
/// caches what outlives a granule (dictionaries that parts share, parsed envelopes).

#pragma once

#include <memory>

#include <arrow/array.h>

#include "core/status.h"
#include "query/arrow_to_duckdb.h"
#include "query/duckdb_headers.h"
#include "query/logical_schema.h"

namespace sheaf::query {

class ColumnReader {
 public:
  virtual ~ColumnReader() = default;
  /// Takes the physical column of the next granule. Throws duckdb::Exception where it is damaged.
  virtual void Load(std::shared_ptr<arrow::Array> array) = 0;
  /// Converts `rows` of the loaded array into `out`, a fresh vector of the column's type.
  virtual void Convert(const Rows& rows, duckdb::Vector* out) = 0;
  /// Converts the living rows of `window`, some of which are dead, without a list of them. False: nothing was done, and Convert() of a
  /// list is the way.
  virtual bool ConvertLiving(const Window& /*window*/, duckdb::Vector* /*out*/) { return false; }
};

/// The SQL type of `column`. Error: Unsupported.
Result<duckdb::LogicalType> LogicalColumnType(const LogicalColumn& column, const arrow::Schema& schema);

/// `type`: LogicalColumnType() of `column`.
std::unique_ptr<ColumnReader> MakeColumnReader(const LogicalColumn& column, const duckdb::LogicalType& type, const arrow::Schema& schema);

}  // namespace sheaf::query
