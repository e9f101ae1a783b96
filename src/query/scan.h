/// The table function that reads a table's granules for DuckDB: projection and filters are pushed into
/// it, filters rule out parts and granules before anything is read, and only what passes is converted.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "query/duckdb_headers.h"
#include "query/logical_schema.h"
#include "store/database.h"

namespace sheaf::query {

/// Virtual columns: the hidden columns of a table from kHiddenBase on; keys read by themselves
/// (attributes['k']) from kExtractBase on, numbered per statement.
inline constexpr duckdb::column_t kHiddenBase = duckdb::column_t{1} << 63 | 0x1000;
inline constexpr duckdb::column_t kExtractBase = duckdb::column_t{1} << 63 | 0x10000;

/// What a scan knows of its table at planning time.
struct ScanBind : public duckdb::TableFunctionData {
  store::TableSnapshot table;
  std::shared_ptr<const LogicalTable> logical;
  duckdb::optional_ptr<duckdb::TableCatalogEntry> entry;
  std::vector<LogicalColumn> extracts;              // Column kExtractBase + i.
  std::shared_ptr<duckdb::RowGroupOrderOptions> order;  // ORDER BY … LIMIT: the column whose zones order the granules.
  bool few_rows = false;                            // See lookup_hint.h.

  duckdb::unique_ptr<duckdb::FunctionData> Copy() const override;
  bool Equals(const duckdb::FunctionData& other) const override;

  /// The logical column of a DuckDB column id; null for the row id.
  const LogicalColumn* Find(duckdb::column_t id) const;
};

inline constexpr char kScanName[] = "sheaf_scan";
/// `late_materialization`: whether DuckDB may read the same rows twice and join them by row number. Not in statements that write,
/// where rows that were found by key are numbered otherwise.
duckdb::TableFunction MakeScanFunction(bool late_materialization);

}  // namespace sheaf::query
