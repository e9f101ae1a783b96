/// A DuckDB instance over our catalog, and a pool of connections to it. The engine has one for clients'
/// statements, locked down, and one for the owner's, made when first needed.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/memory.h"
#include "core/mutex.h"
#include "core/status.h"
#include "query/catalog.h"
#include "query/duckdb_headers.h"
#include "query/engine.h"
#include "query/statement_state.h"

namespace sheaf::query {

/// One DuckDB connection and what we keep beside it.
struct Session {
  std::unique_ptr<duckdb::Connection> connection;
  duckdb::shared_ptr<SessionState> state;
};

/// Thread-safe.
class Instance {
 public:
  /// Borrows `database` and `sources`. Errors: Unsupported (another DuckDB than the pinned one), Io, Internal.
  static Result<std::unique_ptr<Instance>> Open(store::Database* database, const EngineOptions& options,
                                                const CatalogSources& sources, bool trusted);
  /// A connection of its own, which is not given back.
  Result<std::unique_ptr<Session>> MakeSessionApart();

  /// A connection that nobody else uses until it is given back.
  Result<std::unique_ptr<Session>> Borrow() SHEAF_EXCLUDES(mutex_);
  void GiveBack(std::unique_ptr<Session> session) SHEAF_EXCLUDES(mutex_);

 private:
  Instance(bool trusted, const EngineOptions& options)
      : trusted_(trusted),
        idle_max_(static_cast<size_t>(options.concurrent_queries_max)),
        read_ahead_granules_(options.read_ahead_granules) {}
  std::unique_ptr<Session> MakeSession(bool trusted);
  void Configure(const EngineOptions& options, const std::string& temp_directory);

  const bool trusted_;
  const size_t idle_max_;
  const int read_ahead_granules_;
  std::unique_ptr<duckdb::DuckDB> duckdb_;
  std::shared_ptr<const MemorySource> memory_;  // Shows DuckDB's memory as component "query".
  Mutex mutex_;
  std::vector<std::unique_ptr<Session>> idle_ SHEAF_GUARDED_BY(mutex_);  // Most recently used last.
};

}  // namespace sheaf::query
