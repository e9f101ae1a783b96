/// A part of a keyed table: rows found by key, in microseconds, and read in key order; as a source of scans too.
///
/// Hot parts are searched where they are mapped. Granules of cold ones are decoded once and kept in a GranuleCache.
/// Which rows are dead is not known here: whoever asks holds the part's DeadRows.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "columns/dead_rows.h"
#include "columns/granules.h"
#include "columns/key_codec.h"
#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"
#include "parts/granule_cache.h"
#include "parts/part.h"
#include "parts/sorted_keys.h"

namespace sheaf::parts {

class PartSource;

/// A table's schema with kLsnColumn behind: what parts of keyed tables are written with.
std::shared_ptr<arrow::Schema> KeyedSchema(const arrow::Schema& table);

/// One row. Keeps alive what it points at, beyond the part's life.
struct KeyedPartRow {
  std::shared_ptr<arrow::RecordBatch> batch;  // The table's columns; the row is row `row` of it.
  int64_t row = 0;
  Lsn lsn;
};

/// Immutable and thread-safe.
class KeyedPart {
 public:
  using Position = columns::DeadRows::Position;

  struct Options {
    std::shared_ptr<const columns::KeyCodec> keys;           // Of the table as it is now.
    std::shared_ptr<arrow::Schema> schema;                   // Of the table as it is now, without kLsnColumn.
    std::shared_ptr<arrow::Schema> written = nullptr;        // As it was under PartInfo::schema_version; null: the same.
    std::vector<std::shared_ptr<arrow::Scalar>> fills = {};  // See ConformSource().
    GranuleCache* cache = nullptr;                           // Borrowed, outlives the part. Null: each look-up in a cold part decodes.
  };
  /// Opens the part's files as OpenPart() does, with its errors, and those of ConformSource(). Corruption too: it has no keys, or others.
  static Result<std::shared_ptr<const KeyedPart>> Open(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                                                       Options options);
  KeyedPart(const KeyedPart&) = delete;
  KeyedPart& operator=(const KeyedPart&) = delete;
  ~KeyedPart();

  const PartInfo& info() const { return info_; }
  /// For scans: the table's columns as they are now, kLsnColumn behind. Lives on without the part.
  const std::shared_ptr<const columns::GranuleSource>& source() const { return source_; }

  /// Where the row with the key is; the part holds one at most. A key that is not there mostly costs one look into the filter.
  /// Errors here and below: Corruption, Io, OutOfMemory.
  Result<std::optional<Position>> Find(std::string_view key) const;
  /// One answer a key, in their order; keys in any order. Each granule is read once: cheaper than Find() for many.
  Result<std::vector<std::optional<Position>>> FindMany(const columns::KeyColumn& keys) const;
  /// The first row with a key >= `key`, which may be any bytes; {number of granules, 0} where there is none.
  Result<Position> LowerBound(std::string_view key) const;
  /// The row at a position that one of these gave.
  Result<KeyedPartRow> Row(Position position) const;

  /// Rows in key order. Borrows the part. Not thread-safe.
  class Cursor {
   public:
    /// False at the end. After an error the cursor is of no more use.
    Result<bool> Next();
    /// Of the row that Next() came to; until the next Next().
    std::string_view key() const { return window_[position_.row - window_begin_]; }
    Position position() const { return position_; }
    Result<KeyedPartRow> Row() const { return part_->Row(position_); }

   private:
    friend class KeyedPart;
    Cursor(const KeyedPart* part, Position before_first) : part_(part), position_(before_first) {}

    const KeyedPart* const part_;
    Position position_;                          // Of the row before the next.
    std::shared_ptr<const CachedGranule> hold_;  // Of the granule of keys_, where it is not the part's own.
    const SortedKeys* keys_ = nullptr;           // Null: the next row's granule is still to be loaded.
    columns::KeyColumn window_;                  // Some rows' keys, encoded.
    int64_t window_begin_ = 0, window_rows_ = 8; // Rows of the next window: it grows, so that short scans encode little.
  };
  /// From the first key >= `from`.
  Result<std::unique_ptr<Cursor>> Scan(std::string_view from) const;

 private:
  /// Key columns of a granule, or all of the table's.
  struct Keys;
  struct Rows;
  /// What the part itself keeps for ever: arrays that point into the mapping.
  struct Pinned {
    std::atomic<const Keys*> keys{nullptr};
    std::atomic<const Rows*> rows{nullptr};
  };
  template <typename T>
  struct Loaded {
    const T* granule = nullptr;
    std::shared_ptr<const CachedGranule> hold;  // Null where it is pinned.
  };

  KeyedPart(std::shared_ptr<const PartSource> part, std::shared_ptr<const columns::GranuleSource> source, PartInfo info, Options options);
  Result<std::shared_ptr<const Keys>> ReadKeys(int granule) const;
  Result<std::shared_ptr<const Rows>> ReadRows(int granule) const;
  Result<Loaded<Keys>> LoadKeys(int granule) const;
  Result<Loaded<Rows>> LoadRows(int granule) const;
  template <typename T, typename Read>
  Result<Loaded<T>> Load(int granule, bool whole, std::atomic<const T*>* pin, const Read& read) const;

  const PartInfo info_;
  const Options options_;
  const std::shared_ptr<const PartSource> part_;
  const std::shared_ptr<const columns::GranuleSource> source_;
  const uint64_t owner_;
  std::vector<int> key_columns_, table_columns_;  // Read() of keys and LSN, of all columns.
  mutable std::vector<Pinned> pinned_;            // By granule; empty where granules are cached instead.
};

}  // namespace sheaf::parts
