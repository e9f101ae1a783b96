/// INSERT OR REPLACE, OR IGNORE and ON CONFLICT DO NOTHING without the join that DuckDB would make of them: a keyed table
/// replaces rows by itself, and leaves out known keys when told so.

#pragma once

#include "core/status.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// What a statement about to be planned does; for SessionState::SetWriting().
struct Writing {
  bool writes = false;          // UPDATE, DELETE, MERGE, INSERT: it can lose a race and be run again.
  bool insert_missing = false;  // An INSERT that leaves out keys that are there.
};

/// Looks at `statement`, inside EXPLAIN too, and takes the conflict clause out of an INSERT into a keyed table of ours where it is one of
/// the above. Errors: Invalid (the table has no primary key; the clause names other columns than the key).
Result<Writing> SimplifyInsert(duckdb::ClientContext& context, duckdb::SQLStatement* statement);

}  // namespace sheaf::query
