/// Definitions that SQL made and that outlive the process: rows of the keyed table sheaf.definitions, which is made with the first of
/// them. Columns: kind, schema_name, name (these three are the key), definition (of a materialised view the SELECT, else the CREATE
/// statement), refresh_ms (BIGINT; NULL: none), created_at (ns, UTC). Who reads passes over rows of kinds that it does not know.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "core/status.h"
#include "store/database.h"

namespace sheaf::query {

inline constexpr char kMaterializedViewKind[] = "materialized view", kViewKind[] = "view", kMacroKind[] = "macro",
                      kTableMacroKind[] = "table macro";

struct Definition {
  std::string kind, schema_name, name, text;
  std::optional<int64_t> refresh_ms;
  int64_t created_ns = 0;

  std::string full_name() const { return schema_name + "." + name; }
};

/// Thread-safe. Names are compared whatever the case of their letters.
class Definitions {
 public:
  /// Borrows `database`.
  explicit Definitions(store::Database* database) : database_(database) {}

  /// All, of every kind. Errors: the store's.
  Result<std::vector<Definition>> Read() const;
  Result<std::optional<Definition>> Find(const std::string& kind, const std::string& schema_name, const std::string& name) const;

  /// Whether the name is free for a definition of that kind, or is one of that kind's. Errors: AlreadyExists (there is a table, or a view
  /// of the other kind, of that name), and the store's.
  Status CheckFree(const Definition& wanted) const;

  /// Durable when it returns, in the place of the one of that kind and name. Errors: those of CheckFree(), TooLarge (there are
  /// too many, or its text is).
  Status Put(const Definition& definition) SHEAF_EXCLUDES(mutex_);
  /// Durable when it returns; false: there is none. Errors: the store's.
  Result<bool> Remove(const std::string& kind, const std::string& schema_name, const std::string& name) SHEAF_EXCLUDES(mutex_);

 private:
  Status CheckName(const Definition& wanted, const std::vector<Definition>& all) const;
  Result<TableId> Table();

  store::Database* const database_;  // Borrowed.
  Mutex mutex_;                      // One change at a time.
};

}  // namespace sheaf::query
