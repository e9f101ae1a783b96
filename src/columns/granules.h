/// What a scan reads: a piece of a table cut into granules, each with statistics that can rule it out
/// before any of its bytes is touched. Memtable chunks, hot parts (Arrow IPC) and cold parts (Parquet)
/// all offer this one interface, so that SQL prunes and reads them alike.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "columns/attribute_keys.h"
#include "core/ids.h"
#include "core/status.h"

namespace sheaf::columns {

/// Range of a column's values in a granule. Bounds are inclusive and in the column's physical order:
/// numbers and times as int64 (decimals unscaled), uint64 or double; binary and text as bytes (a long upper
/// bound may be cut and rounded up, a long lower one cut). A column without a zone cannot be pruned by range.
struct Zone {
  enum class Kind : uint8_t { kNone, kInt64, kUint64, kDouble, kBytes };
  Kind kind = Kind::kNone;
  int64_t int_min = 0, int_max = 0;          // kInt64; kUint64 as the same 64 bits
  double double_min = 0, double_max = 0;     // kDouble; NaNs are counted apart
  std::string bytes_min, bytes_max;          // kBytes
  bool bytes_max_is_exact = true, bytes_min_is_exact = true;
  bool has_nan = false;
  int64_t null_count = 0;                    // of the granule's rows; equal to the rows where all are NULL
};

/// One memtable chunk or one part. Immutable and thread-safe; keeps alive what its batches point at.
class GranuleSource {
 public:
  virtual ~GranuleSource() = default;

  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  /// "memtable", or the part's file name: for EXPLAIN and errors.
  virtual const std::string& name() const = 0;
  /// Stable number that orders sources of a table, and with (granule, row) identifies a row.
  virtual uint64_t ordinal() const = 0;
  virtual int64_t rows() const = 0;
  /// LSNs of the batches inside, inclusive.
  virtual Lsn min_lsn() const = 0;
  virtual Lsn max_lsn() const = 0;

  virtual int num_granules() const = 0;
  virtual int64_t granule_rows(int granule) const = 0;
  /// The column's zone over the whole source, and over one granule. Null where none is kept.
  virtual const Zone* source_zone(int column) const = 0;
  virtual const Zone* granule_zone(int granule, int column) const = 0;

  /// Whether the column keeps an id filter or index (Bloom filter, dictionary, sorted ids).
  virtual bool has_filter(int column) const = 0;
  /// Appends to `granules` those that may hold a row whose `column` equals `value` (raw bytes of a
  /// binary, text or fixed-size binary column). Never leaves one out that does hold it. Reads only
  /// the index. Error: Corruption.
  virtual Status FindGranules(int column, std::string_view value, std::vector<int>* granules) const = 0;

  /// Whether the column of texts keeps a token index (token_filter.h).
  virtual bool has_tokens(int /*column*/) const { return false; }
  /// Appends to `granules` those that may hold a row whose text has all of `needs` (tokens.h), ascending. Never leaves one out that does
  /// hold it. Reads only the index. Requires: has_tokens(column). Error: Corruption.
  virtual Status FindTokens(int /*column*/, std::span<const uint64_t> /*needs*/, std::vector<int>* /*granules*/) const {
    return MakeError(ErrorKind::kInvalid, "{} has no token index", name());
  }

  /// What is known of keys in lists of attributes; null: nothing. A key's own column has a position behind schema()'s columns, at which
  /// it can be read, and has zones and filters, as those.
  virtual const AttributeKeys* attributes() const { return nullptr; }

  /// Reads the given columns (positions in schema() or of attributes(), any order) of one granule, in that order. Hot
  /// data comes without copying. Errors: Corruption (a checksum failed; names part and granule), Io.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Read(int granule, const std::vector<int>& columns) const = 0;
  /// Read() of these columns of the granule will follow soon: starts to fetch what is on disk, where that is worth it. Advice only;
  /// must not wait for long.
  virtual void ReadAhead(int /*granule*/, const std::vector<int>& /*columns*/) const {}
  /// Bytes that Read() of these columns would touch, as stored; for EXPLAIN ANALYZE.
  virtual int64_t granule_bytes(int granule, const std::vector<int>& columns) const = 0;
  /// Why none of it can be read: Read() then fails with Corruption, and rows() is what was known before. Empty: it is sound.
  virtual const std::string& damage() const {
    static const std::string none;
    return none;
  }
};

}  // namespace sheaf::columns
