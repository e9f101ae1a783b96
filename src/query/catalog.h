/// Our tables, views and macros as a DuckDB catalog. Each transaction (and so each statement) sees one snapshot
/// of the store.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "query/duckdb_headers.h"
#include "query/system_tables.h"
#include "store/database.h"

namespace sheaf::query {

class KeptSql;
class Views;

/// What all instances share, besides the database; borrowed for their lives.
struct CatalogSources {
  const SystemTables* system_tables = nullptr;
  Views* views = nullptr;
  KeptSql* kept = nullptr;
};

/// The name our catalog is attached under. Differs from every schema, as DuckDB resolves `x.y` as either.
inline constexpr char kCatalogName[] = "sheaf_db";

/// Schemas whose tables can be named without them, in this order.
inline constexpr const char* kSearchedSchemas[] = {"main", "otel", "trading", "memory"};

/// Whether it is one of these, whatever the case of its letters.
bool IsSearchedSchema(const std::string& name);

/// Holds the system tables; nobody else's.
inline constexpr const char* kSystemSchema = "sheaf";

/// Registers the storage extension that makes the catalog. Borrows all, for the instance's life.
void RegisterCatalog(duckdb::DatabaseInstance* instance, store::Database* database, const CatalogSources& sources);

}  // namespace sheaf::query
