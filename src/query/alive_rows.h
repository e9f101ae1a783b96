/// The rows of a granule that a scan may show, a chunk at a time.

#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "columns/dead_rows.h"

namespace sheaf::query {

/// Rows of a granule from `offset` on, and which of them live.
struct Window {
  int64_t offset = 0, count = 0;
  int64_t living = 0;
  const uint64_t* dead = nullptr;  // A bit a row, those of row `offset` first; null where all live. Borrowed from the granule.

  bool whole() const { return dead == nullptr; }
};

/// The bits of the living among the next 64 of `rows` rows; those behind them do not live.
inline uint64_t LivingBits(uint64_t dead, int64_t rows) { return rows >= 64 ? ~dead : ~dead & ((uint64_t{1} << rows) - 1); }

/// Puts the numbers of the living rows of `window` into `rows`, in order.
inline void ListLivingRows(const Window& window, std::vector<int64_t>* rows) {
  rows->resize(static_cast<size_t>(window.living));
  int64_t* next = rows->data();
  for (int64_t begin = 0; begin < window.count; begin += 64) {
    uint64_t left = LivingBits(window.dead[begin >> 6], window.count - begin);
    for (; left != 0; left &= left - 1) *next++ = window.offset + begin + std::countr_zero(left);
  }
}

/// Walks a granule past its dead rows, 64 at a step. Where none is dead it costs nothing.
class AliveRows {
 public:
  AliveRows() = default;
  /// `dead`: null where no row is; borrowed, as long as this and its windows are used.
  AliveRows(int64_t rows, const columns::DeadRows::Bits* dead) : rows_(rows), dead_(dead != nullptr ? dead->data() : nullptr) {
    if (dead != nullptr) known_ = std::min(rows_, static_cast<int64_t>(dead->size()) * 64);
  }

  bool HasMore() const { return position_ < rows_; }

  /// The next rows of which at most `living_max`, a multiple of 64, live: as many as are at hand, dead ones between them, or
  /// a shorter stretch without dead ones where it is worth a chunk of its own. None where all that are left are dead.
  Window Take(int64_t living_max) {
    while (position_ < known_ && Living(position_) == 0) position_ = std::min(position_ + 64, rows_);
    Window window{.offset = position_};
    const int64_t end = EndOfStretch(living_max);
    if (end == rows_ || end - position_ >= living_max / 2) {
      window.count = window.living = end - position_;
      position_ = end;
      return window;
    }
    window.dead = dead_ + (position_ >> 6);
    while (position_ < known_ && window.living + Living(position_) <= living_max) {
      window.living += Living(position_);
      position_ = std::min(position_ + 64, known_);
    }
    window.count = position_ - window.offset;
    return window;
  }

 private:
  /// How many live of the 64 rows from `row` on, a multiple of 64.
  int64_t Living(int64_t row) const { return std::popcount(LivingBits(dead_[row >> 6], rows_ - row)); }

  /// The end of the rows from here on, at most `count_max`, that all live.
  int64_t EndOfStretch(int64_t count_max) const {
    int64_t end = position_;
    while (end < known_ && end - position_ < count_max && dead_[end >> 6] == 0) end += 64;
    return end < known_ ? end : std::min(rows_, position_ + count_max);
  }

  int64_t rows_ = 0, position_ = 0;
  int64_t known_ = 0;  // Rows that there are bits of: those behind them live.
  const uint64_t* dead_ = nullptr;
};

}  // namespace sheaf::query
