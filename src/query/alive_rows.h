/// The rows of a granule that a scan may show, a chunk at a time.

#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "columns/dead_rows.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// Rows of a granule from `offset` on, and which of them live.
struct Window {
  int64_t offset = 0, count = 0;
  duckdb::idx_t alive = 0;
  duckdb::SelectionVector living = {};  // Positions from `offset` on; not set where all live.

  bool whole() const { return static_cast<int64_t>(alive) == count; }
};

/// Walks a granule past its dead rows, 64 at a step. Where none is dead it costs nothing.
class AliveRows {
 public:
  AliveRows() = default;
  /// `dead`: null where no row is; borrowed, as long as this is used.
  AliveRows(int64_t rows, const columns::DeadRows::Bits* dead) : rows_(rows), dead_(dead) {}

  bool HasMore() const { return position_ < rows_; }

  /// Of the next `count_max` rows, or fewer at the end, those from the first living one to the last; none where all are dead.
  Window Take(int64_t count_max) {
    Window window{.offset = position_, .count = std::min(count_max, rows_ - position_)};
    position_ += window.count;
    if (dead_ == nullptr) {
      window.alive = static_cast<duckdb::idx_t>(window.count);
      return window;
    }
    window.living.Initialize(static_cast<duckdb::idx_t>(window.count) + 8);  // AddByte() writes eight positions whatever lives.
    duckdb::sel_t* next = window.living.data();
    for (int64_t row = window.offset; row < position_; row = (row | 63) + 1) {
      const int64_t base = row & ~int64_t{63};
      uint64_t alive = AliveWord(base) & (~uint64_t{0} << (row & 63));
      if (position_ - base < 64) alive &= (uint64_t{1} << (position_ - base)) - 1;
      auto position = static_cast<duckdb::sel_t>(base - window.offset);  // Wraps where the window begins within a word.
      for (; alive != 0; alive >>= 8, position += 8) next = AddByte(static_cast<uint8_t>(alive), position, next);
    }
    window.alive = static_cast<duckdb::idx_t>(next - window.living.data());
    Trim(&window);
    return window;
  }

 private:
  uint64_t AliveWord(int64_t row) const {
    const auto word = static_cast<size_t>(row >> 6);
    return word < dead_->size() ? ~(*dead_)[word] : ~uint64_t{0};
  }

  /// Adds `position` plus the number of each bit that is set.
  static duckdb::sel_t* AddByte(uint8_t bits, duckdb::sel_t position, duckdb::sel_t* next) {
    static constexpr auto kBits = [] {
      std::array<std::array<uint8_t, 8>, 256> table{};
      for (size_t byte = 0; byte < table.size(); ++byte) {
        for (uint8_t bit = 0, count = 0; bit < 8; ++bit) {
          if ((byte >> bit & 1) != 0) table[byte][count++] = bit;
        }
      }
      return table;
    }();
    const auto& set = kBits[bits];
    for (size_t i = 0; i < set.size(); ++i) next[i] = position + set[i];
    return next + std::popcount(bits);
  }

  /// Cuts off what is dead at both ends.
  static void Trim(Window* window) {
    if (window->alive == 0) {
      window->count = 0;
      return;
    }
    duckdb::sel_t* const living = window->living.data();
    const duckdb::sel_t first = living[0];
    window->count = living[window->alive - 1] - first + 1;
    window->offset += first;
    if (first == 0 || window->whole()) return;
    for (duckdb::idx_t i = 0; i < window->alive; ++i) living[i] -= first;
  }

  int64_t rows_ = 0, position_ = 0;
  const columns::DeadRows::Bits* dead_ = nullptr;
};

}  // namespace sheaf::query
