/// The rows of a granule that a scan may show, a chunk at a time.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "columns/dead_rows.h"
#include "query/arrow_to_duckdb.h"

namespace sheaf::query {

/// Walks a granule past its dead rows, 64 at a step. Where none is dead in reach it costs nothing: the rows are a range.
class AliveRows {
 public:
  AliveRows() = default;
  /// `dead`: null where no row is; borrowed, as long as this is used.
  AliveRows(int64_t rows, const columns::DeadRows::Bits* dead) : rows_(rows), dead_(dead) {}

  bool HasMore() const { return position_ < rows_; }

  /// The next `count_max` living rows, or fewer at the end; none where all that is left is dead. Valid until the next call.
  Rows Take(int64_t count_max) {
    if (dead_ == nullptr) return TakeRange(position_, std::min(count_max, rows_ - position_));
    list_.clear();
    while (position_ < rows_ && static_cast<int64_t>(list_.size()) < count_max) {
      const int64_t end = std::min((position_ | 63) + 1, rows_);
      AddWord(end, count_max);
    }
    if (list_.empty()) return {};
    const auto count = static_cast<int64_t>(list_.size());
    if (list_.back() - list_.front() == count - 1) return {.offset = list_.front(), .count = count};
    return {.count = count, .list = list_.data()};
  }

 private:
  Rows TakeRange(int64_t offset, int64_t count) {
    position_ = offset + count;
    return {.offset = offset, .count = count};
  }

  /// Adds the living rows from the position to `end`, which lie in one word, and moves on.
  void AddWord(int64_t end, int64_t count_max) {
    const auto word = static_cast<size_t>(position_ >> 6);
    uint64_t alive = word < dead_->size() ? ~(*dead_)[word] : ~uint64_t{0};
    alive &= ~uint64_t{0} << (position_ & 63);
    const int64_t base = position_ & ~int64_t{63};
    if (end - base < 64) alive &= (uint64_t{1} << (end - base)) - 1;
    while (alive != 0) {
      const int64_t row = base + __builtin_ctzll(alive);
      if (static_cast<int64_t>(list_.size()) == count_max) {
        position_ = row;
        return;
      }
      list_.push_back(row);
      alive &= alive - 1;
    }
    position_ = end;
  }

  int64_t rows_ = 0, position_ = 0;
  const columns::DeadRows::Bits* dead_ = nullptr;
  std::vector<int64_t> list_;
};

}  // namespace sheaf::query
