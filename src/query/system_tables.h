/// The tables of schema `sheaf`: small, made anew for each statement that reads them.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "query/duckdb_headers.h"

namespace sheaf::query {

struct SystemTable {
  std::string name;
  duckdb::vector<std::string> columns;
  duckdb::vector<duckdb::LogicalType> types;
  /// The rows now, each as wide as `columns`. Thread-safe.
  std::function<std::vector<duckdb::vector<duckdb::Value>>()> rows;
};

using SystemTables = std::vector<SystemTable>;

/// Scans the rows that were taken when the statement was planned. Names a Bind made by MakeRowsBind().
duckdb::TableFunction MakeRowsFunction();
duckdb::unique_ptr<duckdb::FunctionData> MakeRowsBind(const SystemTable& table);

}  // namespace sheaf::query
