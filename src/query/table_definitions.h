/// CREATE TABLE and ALTER TABLE as DuckDB parsed them, as what the store is asked for; and a table back as DuckDB describes it.

#pragma once

#include "core/status.h"
#include "query/duckdb_headers.h"
#include "query/logical_schema.h"
#include "store/table.h"

namespace sheaf::query {

/// All may throw duckdb::Exception besides. Errors: Unsupported and Invalid (say what is possible instead).
Result<store::NewTable> ToNewTable(duckdb::ClientContext& context, const duckdb::CreateTableInfo& create);
Result<store::AlterTable> ToAlterTable(duckdb::ClientContext& context, const duckdb::AlterTableInfo& alter, const store::TableInfo& table);

/// Columns with defaults, primary key and NOT NULLs of `table`. Error: Unsupported (a column that SQL cannot show).
Result<duckdb::unique_ptr<duckdb::CreateTableInfo>> Describe(duckdb::SchemaCatalogEntry& schema, const store::TableInfo& table,
                                                             const LogicalTable& logical);

}  // namespace sheaf::query
