/// Values as unsigned numbers that sort as the values do, and sorting by such numbers. For row_order.cc.

#pragma once

#include <cstdint>
#include <vector>

#include "columns/column_union.h"
#include "columns/uninitialized.h"
#include "core/status.h"

namespace sheaf::columns {

/// One number a row.
using Keys = LargePageVector<uint64_t>;

/// A column as numbers: words[0] counts most. None at all where all rows are equal.
struct KeyWords {
  std::vector<Keys> words;
};
/// NULLs come first; text and bytes compare bytewise, NaN after all other numbers. Works on up to `threads` threads.
/// Error: Unsupported (lists, structs and the like have no order).
Result<KeyWords> KeysOf(const ColumnUnion& column, int64_t rows, int threads = 1);

/// The same as one number a row. Of values that take several words (ids, decimals) only the last is taken.
Result<Keys> OneWord(const ColumnUnion& column, int64_t rows);

/// Error: Unsupported, where KeysOf() would say so whatever the values.
Status CheckSortable(const ColumnUnion& column);

/// Sorts `order` by keys[row], keeping equal rows in order. By digits from the least, but only as many of the highest bits as tell
/// that many rows apart; the few rows that agree in them are sorted by the rest.
void StableSortBy(const Keys& keys, std::vector<uint32_t>* order);

/// A row and what it is sorted by.
struct KeyedRow {
  uint64_t key;
  uint32_t row;
};

/// Sorts rows by one word of their keys after the other, the first counting most, and keeps equal rows in order. A later word is looked
/// up only for rows that all earlier ones left equal. Takes 33 bytes a row. Not thread-safe, but may work on several threads itself.
class WordSorter {
 public:
  /// Begins with the rows in the order of their numbers.
  explicit WordSorter(int64_t rows, int threads = 1);

  /// Whether some rows are equal yet: later words matter.
  bool has_ties() const { return ties_; }
  /// Sorts by the next word; `keys` has one number a row.
  void Add(const Keys& keys);
  /// The rows in order.
  std::vector<uint32_t> Order() const;

 private:
  /// Neighbouring entries that are sorted by one thread.
  struct Piece {
    enum class Kind : uint8_t {
      kRuns,       // Whole runs of equal rows.
      kPartition,  // A part of one run whose keys differ from all others of it. Its rows lie in scratch_, with their keys.
      kSorted,     // A run that is sorted already, with its keys.
    };
    Kind kind;
    size_t begin, end;
  };
  std::vector<Piece> Split(const Keys& keys);
  void Partition(const Keys& keys, size_t begin, size_t end, std::vector<Piece>* pieces);
  /// Sorts a piece in its place; returns whether some of its rows are equal yet.
  bool SortPiece(const Keys& keys, const Piece& piece);
  /// Where the run of equal rows from `begin` on ends.
  size_t RunEnd(size_t begin) const;
  /// Sets the keys of those rows that are equal to a neighbour.
  void LookUpTied(const Keys& keys, size_t begin, size_t end);
  /// Notes which neighbours of [begin, end), sorted, differ; returns whether some do not.
  bool MarkBegins(size_t begin, size_t end);

  const int threads_;
  LargePageVector<KeyedRow> entries_, scratch_;
  std::vector<uint8_t> begins_;  // Whether an entry differs from the one before it, a byte each: threads write theirs.
  bool ties_;
};

}  // namespace sheaf::columns
