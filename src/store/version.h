/// What is visible: of each table its parts and memtables, and the LSN up to which they count.
///
/// A Version is immutable but for its active memtables, which only grow; a snapshot is a version and an
/// LSN, so taking one costs two copies under a short lock. Changes make a new version and leave the old
/// one to those who hold it.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "columns/dead_rows.h"
#include "core/mutex.h"
#include "parts/keyed_part.h"
#include "parts/manifest.h"
#include "store/database.h"
#include "store/death_overlay.h"
#include "store/log_payload.h"
#include "store/table_memtable.h"

namespace sheaf::store {

/// A part that is open. Immutable.
struct Part {
  parts::PartInfo info;
  std::shared_ptr<const columns::GranuleSource> source;      // With the columns that the table has now.
  std::shared_ptr<const columns::GranuleSource> file;        // With the columns it was written with; the same where they are the same.
  std::shared_ptr<const parts::KeyedPart> keyed;             // Of keyed tables: the same, by key.
  std::shared_ptr<const columns::DeadRows> dead;             // Rows replaced or deleted by what is in parts; null: none.

  bool damaged() const { return source != nullptr && !source->damage().empty(); }  // See damaged_part.h; `keyed` is null then.
};

/// A table within a version.
struct TableVersion {
  std::shared_ptr<const TableInfo> info;
  std::shared_ptr<const BatchCodec> codec;
  std::vector<std::shared_ptr<const Part>> parts;             // In order of min_lsn.
  std::vector<TableMemtable> sealing;                         // Full, waiting to become parts; oldest first.
  TableMemtable active;
  Lsn sealed;                                                 // Rows through this LSN are in parts (or expired).
  std::shared_ptr<DeathOverlay> deaths;                       // Keyed tables: what memtables have replaced in parts.
  int level0 = 0;                                             // Parts that no merge has taken in yet.

  bool is_keyed() const { return info->kind == TableKind::kKeyed; }
};

struct Version {
  uint64_t catalog_version = 1;
  std::vector<std::shared_ptr<const TableVersion>> tables;    // In order of schema and name.
  std::vector<std::shared_ptr<const TableInfo>> infos;        // The same order.

  /// Null where there is none.
  const TableVersion* Find(TableId id) const;
  bool IsKeyed(TableId id) const;
  /// The case of letters does not count. NotFound names the nearest.
  Result<std::shared_ptr<const TableInfo>> FindByName(const std::string& schema_name, const std::string& name) const;
};

/// A change of one table that goes through the manifest.
struct VersionChange {
  TableId table;         // 0: nothing changes but the manifest itself, and `created`.
  TableMemtable sealed;  // Its rows are in `added` now.
  std::vector<std::shared_ptr<const Part>> added;
  std::vector<PartId> removed;
  std::vector<std::shared_ptr<const Part>> inputs;  // Of a merge of keyed parts, as they were when it began.
  std::vector<std::shared_ptr<const Part>>
      updated;                            // Each takes the place of the part with its id: other delete vectors or columns.
  std::shared_ptr<DeathOverlay> deaths;   // Of the table afterwards; null: as before.
  std::shared_ptr<const TableInfo> info;  // New definition; null: as before.

  // With `info` where the columns change; the table has no rows in memory then.
  std::shared_ptr<const BatchCodec> codec;
  TableMemtable active;

  bool dropped = false;                                       // The table goes with all it has.
  std::shared_ptr<const TableVersion> created;                // A table that comes.
};

/// Keys that an entry inserts, so that it does not insert one twice. They point into the entry's.
using InsertedKeys = std::unordered_set<std::string_view>;
/// Whether the condition of the rows of `keys` holds as of `at`. AlreadyExists and Conflict name the key; Corruption, Io.
Status CheckConditions(const TableVersion& table, RowOp op, const WriteCondition& condition, const columns::KeyColumn& keys, Lsn at,
                       InsertedKeys* inserted);

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
  /// Both at one instant.
  std::pair<std::shared_ptr<const Version>, Lsn> Now() const SHEAF_EXCLUDES(mutex_);
  Lsn visible() const SHEAF_EXCLUDES(mutex_);
  /// Waits until something after `lsn` is visible, or until `timeout`; returns what is.
  Lsn WaitForVisible(Lsn lsn, std::chrono::nanoseconds timeout) const SHEAF_EXCLUDES(mutex_);

  /// A table that is not in a version yet.
  Result<std::shared_ptr<TableVersion>> MakeTable(Table given) SHEAF_EXCLUDES(mutex_);
  /// An empty memtable for the table.
  Result<TableMemtable> MakeMemtable(const TableInfo& info) SHEAF_EXCLUDES(mutex_);

  /// What one entry does with one table.
  struct NewRows {
    TableId table;
    std::shared_ptr<const memtable::Chunk> chunk;               // Append tables: the rows. All else is of keyed ones.
    RowOp op = RowOp::kPut;
    WriteCondition condition = {};
    columns::KeyColumn keys = {};                               // Of the rows, or those to be deleted.
    std::shared_ptr<arrow::RecordBatch> batch = {};             // Rows as columns…
    std::string_view row = {};                                  // …or one compact row, which the entry keeps alive.
    int64_t bytes = 0;                                          // Of memory that is counted until the rows are in a part.
  };
  struct Published {
    bool full = false;                                          // A memtable is full now and waits to be sealed.
    Status outcome;                                             // AlreadyExists, Conflict: nothing of the entry was done.
  };
  /// Makes the rows of one entry visible, all at once. LSNs rise; one caller at a time. Conditions are decided here, in
  /// LSN order, so that recovery decides them alike. Errors of `outcome` besides: Corruption, Io (of a look-up in parts).
  Published Publish(Lsn lsn, const std::vector<NewRows>& rows, int64_t now_ns) SHEAF_EXCLUDES(publish_mutex_, mutex_);

  /// Closes the active memtables with rows that arrived at or before `arrived_ns` (monotonic). Returns
  /// whether there are memtables to be sealed.
  bool Rotate(int64_t arrived_ns) SHEAF_EXCLUDES(publish_mutex_, mutex_);

  /// Closes the active memtable of one table if it has rows. Returns all of the table's that wait to be sealed.
  std::vector<TableMemtable> Rotate(TableId table) SHEAF_EXCLUDES(publish_mutex_, mutex_);

  struct Cut {
    Lsn lsn;
    std::vector<TableMemtable> memtables;
  };
  /// Closes all active memtables at one instant; together with parts they then hold all rows through `lsn`, and nothing later.
  Cut CutAll() SHEAF_EXCLUDES(publish_mutex_, mutex_);

  /// The memtable to be sealed next: the one with the oldest entry. None where there is none.
  std::pair<TableId, TableMemtable> NextToSeal() const SHEAF_EXCLUDES(mutex_);
  /// All that wait to be sealed.
  std::vector<TableMemtable> Sealing() const SHEAF_EXCLUDES(mutex_);

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
  Result<TableMemtable> NewMemtable(const TableInfo& info) SHEAF_REQUIRES(mutex_);

  const int64_t memtable_bytes_;
  const int64_t ingest_bytes_max_;

  /// Held while rows are added to memtables and while memtables change places, before mutex_: so that readers, who take
  /// only that one, never wait for a large batch. A condition may read parts under it, whose pages the sender has touched.
  Mutex publish_mutex_;
  mutable Mutex mutex_;
  std::shared_ptr<const Version> version_ SHEAF_GUARDED_BY(mutex_);
  Lsn visible_ SHEAF_GUARDED_BY(mutex_);
  mutable CondVar advanced_;                                  // Of visible_.
  mutable int waiting_ SHEAF_GUARDED_BY(mutex_) = 0;          // For it.
  PartId next_part_ SHEAF_GUARDED_BY(mutex_){1};
  std::unordered_map<TableId, int64_t> oldest_ns_ SHEAF_GUARDED_BY(mutex_);  // Arrival of the active memtable's first row.
  int64_t unweighed_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;                     // Added since RotateFull() last looked.
};

}  // namespace sheaf::store
