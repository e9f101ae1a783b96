/// Which rows of a keyed table's sources have been replaced or deleted by writes that are still in memtables.
///
/// A write costs nothing here. Whoever wants to scan brings the overlay up to its snapshot first: each key written
/// since is looked up in the older sources, where at most one row of it is alive. What memtables that became parts have
/// replaced stands in the delete vectors of the parts (Part::dead), so an overlay only grows until the next seal.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "columns/dead_rows.h"
#include "core/ids.h"
#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::store {

struct Part;
struct TableVersion;

/// Belongs to the versions of a table between two changes of its parts; they share it. Thread-safe; the lock is held
/// while parts are looked at, which may read from disk.
class DeathOverlay {
 public:
  DeathOverlay() = default;

  /// The overlay for `after`, which has other parts than `before`: what is known of parts in both is taken over, and the
  /// keys that were looked up already are looked up in the new parts. Errors: Corruption, Io.
  static Result<std::shared_ptr<DeathOverlay>> After(DeathOverlay* known, const TableVersion& before, const TableVersion& after);

  /// Takes in all writes with LSN <= `through`. Errors: Corruption, Io; what was taken in before them stays right.
  Status Advance(const TableVersion& table, Lsn through) SHEAF_EXCLUDES(mutex_);

  /// Dead rows of one of the table's parts as of `at`. Requires: Advance(table, at) returned OK. Null: none.
  std::shared_ptr<const columns::DeadRows> DeadAt(const Part& part, Lsn at) const SHEAF_EXCLUDES(mutex_);

 private:
  struct Death {
    Lsn lsn;
    columns::DeadRows::Position position;
  };
  struct PartDeaths {
    std::vector<Death> deaths;                        // In order of LSN.
    std::shared_ptr<const columns::DeadRows> all;     // Part::dead and all of these; null: none.
  };
  /// Keys with the LSNs of their writes.
  struct Writes;

  Status LookUp(const std::vector<std::shared_ptr<const Part>>& parts, const Writes& writes) SHEAF_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::map<uint64_t, int64_t> taken_ SHEAF_GUARDED_BY(mutex_);  // By memtable's ordinal: writes looked at.
  std::unordered_map<uint64_t, PartDeaths> parts_ SHEAF_GUARDED_BY(mutex_);  // By part id.
};

}  // namespace sheaf::store
