/// What is visible: of each table its parts and memtables, and the LSN up to which they count.
///
/// A Version is immutable but for its active memtables, which only grow; a snapshot is a version and an
/// LSN, so taking one costs two copies under a short lock. Changes make a new version and leave the old
/// one to those who hold it.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "memtable/memtable.h"
#include "parts/manifest.h"
#include "store/database.h"
#include "store/log_payload.h"

namespace sheaf::store {

/// A part that is open. Immutable.
struct Part {
  parts::PartInfo info;
  std::shared_ptr<const columns::GranuleSource> source;
};

/// A table within a version.
struct TableVersion {
  std::shared_ptr<const TableInfo> info;
  std::shared_ptr<const BatchCodec> codec;
  std::vector<std::shared_ptr<const Part>> parts;             // In order of min_lsn.
  std::vector<std::shared_ptr<memtable::Memtable>> sealing;   // Full, waiting to become parts; oldest first.
  std::shared_ptr<memtable::Memtable> active;
  Lsn sealed;                                                 // Rows through this LSN are in parts (or expired).
};

struct Version {
  uint64_t catalog_version = 1;
  std::vector<std::shared_ptr<const TableVersion>> tables;    // In order of schema and name.
  std::vector<std::shared_ptr<const TableInfo>> infos;        // The same order.

  /// Null where there is none.
  const TableVersion* Find(TableId id) const;
  /// NotFound names the nearest names.
  Result<std::shared_ptr<const TableInfo>> FindByName(const std::string& schema_name, const std::string& name) const;
};

/// A change of one table that goes through the manifest.
struct VersionChange {
  TableId table;                                              // 0: nothing changes but the manifest itself.
  std::shared_ptr<memtable::Memtable> sealed;                 // Its rows are in `added` now.
  std::vector<std::shared_ptr<const Part>> added;
  std::vector<PartId> removed;
  std::shared_ptr<const TableInfo> info;                      // New definition; null: as before.
};

/// Returns `version` after `change`.
std::shared_ptr<const Version> Apply(const Version& version, const VersionChange& change);

/// The current version and the visible LSN. Thread-safe; the lock is held for microseconds, never
/// across I/O or a callback.
class VersionSet {
 public:
  /// Memtables are made with ids from `next_part`, so that a memtable and the part it becomes share theirs.
  VersionSet(int64_t memtable_bytes, int64_t ingest_bytes_max);

  struct Table {
    std::shared_ptr<const TableInfo> info;
    std::vector<std::shared_ptr<const Part>> parts;
    Lsn sealed;
  };
  /// Sets the tables; once, before anything else.
  Status Start(std::vector<Table> tables, Lsn visible, PartId next_part) SHEAF_EXCLUDES(mutex_);

  std::shared_ptr<const Snapshot> GetSnapshot() const SHEAF_EXCLUDES(mutex_);
  std::shared_ptr<const Version> current() const SHEAF_EXCLUDES(mutex_);
  Lsn visible() const SHEAF_EXCLUDES(mutex_);

  struct NewRows {
    TableId table;
    std::shared_ptr<const memtable::Chunk> chunk;
  };
  /// Makes the rows of one entry visible, all at once. LSNs rise. Returns whether a memtable is full now
  /// and waits to be sealed.
  bool Publish(Lsn lsn, const std::vector<NewRows>& rows, int64_t now_ns) SHEAF_EXCLUDES(mutex_);

  /// Closes the active memtables with rows that arrived at or before `arrived_ns` (monotonic). Returns
  /// whether there are memtables to be sealed.
  bool Rotate(int64_t arrived_ns) SHEAF_EXCLUDES(mutex_);

  /// The memtable to be sealed next: the one with the oldest entry. Null where there is none.
  std::pair<TableId, std::shared_ptr<memtable::Memtable>> NextToSeal() const SHEAF_EXCLUDES(mutex_);
  /// All that wait to be sealed.
  std::vector<std::shared_ptr<memtable::Memtable>> Sealing() const SHEAF_EXCLUDES(mutex_);

  struct Prospect {
    std::shared_ptr<const Version> version;   // As it will be after the change.
    Lsn covered;                              // Every entry through this is in parts then.
    PartId next_part;
  };
  /// What the manifest has to say once `change` is made.
  Prospect Preview(const VersionChange& change) const SHEAF_EXCLUDES(mutex_);
  /// Makes the change visible.
  void Install(const VersionChange& change) SHEAF_EXCLUDES(mutex_);

  PartId TakePartId() SHEAF_EXCLUDES(mutex_);

 private:
  void RotateTable(size_t index) SHEAF_REQUIRES(mutex_);
  bool RotateFull() SHEAF_REQUIRES(mutex_);
  std::shared_ptr<memtable::Memtable> NewMemtable(const TableInfo& info) SHEAF_REQUIRES(mutex_);

  const int64_t memtable_bytes_;
  const int64_t ingest_bytes_max_;

  mutable Mutex mutex_;
  std::shared_ptr<const Version> version_ SHEAF_GUARDED_BY(mutex_);
  Lsn visible_ SHEAF_GUARDED_BY(mutex_);
  PartId next_part_ SHEAF_GUARDED_BY(mutex_){1};
  std::unordered_map<TableId, int64_t> oldest_ns_ SHEAF_GUARDED_BY(mutex_);  // Arrival of the active memtable's first row.
};

}  // namespace sheaf::store
