/// Recent rows of a keyed table: columns that SQL scans as they are, a hash index for look-ups, versions by LSN.
///
/// One thread writes (publishing, in LSN order), any number reads, without locks on the way of a look-up. Batches are
/// kept as the log's buffers hold them; single rows are written straight into columns of preallocated chunks, so that
/// a scan sees them without a conversion. A new version of a key links to the one before, so a snapshot is a number.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "columns/dead_rows.h"
#include "columns/granules.h"
#include "columns/key_codec.h"
#include "columns/row_codec.h"
#include "core/ids.h"
#include "core/status.h"

namespace sheaf::memtable {

/// What a look-up found. Keeps the batch alive, not the memtable.
struct KeyedHit {
  enum class Kind : uint8_t {
    kNone,     // No version of the key here: look in what is older.
    kDeleted,  // The newest version is a deletion.
    kRow,
  };
  Kind kind = Kind::kNone;
  Lsn lsn;
  std::shared_ptr<arrow::RecordBatch> batch;  // kRow: the row is row `row` of it; no other may be read. Table's schema.
  int64_t row = 0;
  int granule = 0;                            // Of the sources that ViewAt() gives, where the row has the same number.
};

/// One write, in the order of writing. `key` lives as long as the memtable.
struct KeyedWrite {
  Lsn lsn;
  std::string_view key;
  bool deleted = false;
};

class KeyedMemtable {
 public:
  struct Options {
    std::shared_ptr<arrow::Schema> schema;            // Physical, of the table.
    std::shared_ptr<const columns::KeyCodec> keys;
    std::shared_ptr<const columns::RowCodec> rows;    // Null: AddRow() is not possible.
    int time_column = -1;                             // Gets zones, as in Memtable.
    std::vector<int> filter_columns;
    uint64_t ordinal = 0;                             // The id of the part that it will become.
    arrow::MemoryPool* pool = nullptr;                // Null: Arrow's default.
  };
  static Result<std::unique_ptr<KeyedMemtable>> Make(Options options);
  virtual ~KeyedMemtable() = default;

  /// Writers: one thread. LSNs must not fall. A key that occurs twice in one batch counts with its last row.
  /// `bytes`: what the batch occupies. `keys`: of its rows, encoded.
  virtual void AddBatch(Lsn lsn, std::shared_ptr<arrow::RecordBatch> batch, const columns::KeyColumn& keys, int64_t bytes) = 0;
  /// `row` has passed RowCodec::Check().
  virtual void AddRow(Lsn lsn, std::string_view row, std::string_view key) = 0;
  virtual void AddDeletes(Lsn lsn, const columns::KeyColumn& keys) = 0;
  /// Writes of an LSN above `through` are invisible to readers until this says so; the writer calls it once an entry is whole.
  virtual void Publish(Lsn through) = 0;

  /// The newest version of `key` with LSN <= `through`. Any thread; takes no lock; < 1 µs.
  virtual KeyedHit Get(std::string_view key, Lsn through) const = 0;

  /// Rows with LSN <= `through`, one granule a chunk, and which of them are dead as of `through`: replaced or deleted by
  /// a write with LSN <= `through` here, or told by Supersede(). Null source where there are no rows. Any thread.
  struct View {
    std::shared_ptr<const columns::GranuleSource> source;
    std::shared_ptr<const columns::DeadRows> dead;    // Null: none.
  };
  virtual View ViewAt(Lsn through) const = 0;

  /// Tells that `key` was written in a later memtable at `by`: its newest row here is dead from then on. Returns whether
  /// there was a row that was alive. One thread at a time, which may be another than the writer's.
  virtual bool Supersede(std::string_view key, Lsn by) = 0;

  /// Writes so far (deletions included), numbered from 0 in the order of writing; those below the count never change. Any thread.
  virtual int64_t writes() const = 0;
  virtual KeyedWrite write(int64_t number) const = 0;

  /// Rows alive as of `through`, in key order: for range scans. Starts at the first key >= `from`. Not thread-safe itself.
  class Cursor {
   public:
    virtual ~Cursor() = default;
    /// False at the end. Deletions are shown (hit.kind), so that the caller can hide older rows of the key.
    virtual bool Next(std::string_view* key, KeyedHit* hit) = 0;
  };
  virtual std::unique_ptr<Cursor> Scan(std::string_view from, Lsn through) const = 0;

  virtual int64_t bytes() const = 0;  // Of rows, keys and index.
  virtual int64_t rows() const = 0;   // Row versions, deletions not counted.
  virtual Lsn min_lsn() const = 0;    // Of the first and last write, 0 where none.
  virtual Lsn max_lsn() const = 0;
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  virtual uint64_t ordinal() const = 0;
};

}  // namespace sheaf::memtable
