/// Which rows of a source a reader must not see, since they were replaced or deleted: a delete vector.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace sheaf::columns {

/// Immutable and thread-safe. Changing one copies only the granules that change, so that the vectors of one
/// source at different LSNs share the rest.
class DeadRows {
 public:
  /// A bit a row, least significant first; 1: dead.
  using Bits = std::vector<uint64_t>;

  DeadRows() = default;
  explicit DeadRows(std::vector<std::shared_ptr<const Bits>> granules);

  /// Dead rows in all.
  int64_t count() const { return count_; }
  int64_t count(int granule) const {
    return granule < static_cast<int>(counts_.size()) ? counts_[static_cast<size_t>(granule)] : 0;
  }
  /// Null where no row of the granule is dead.
  const Bits* granule(int granule) const {
    return granule < static_cast<int>(granules_.size()) ? granules_[static_cast<size_t>(granule)].get() : nullptr;
  }
  bool IsDead(int granule_number, int64_t row) const {
    const Bits* bits = granule(granule_number);
    const auto word = static_cast<size_t>(row >> 6);
    return bits != nullptr && word < bits->size() && ((*bits)[word] >> (row & 63) & 1) != 0;
  }

  struct Position {
    int granule = 0;
    int64_t row = 0;
    auto operator<=>(const Position&) const = default;
  };
  /// This with `more` dead as well (any order; rows that are dead already change nothing).
  std::shared_ptr<const DeadRows> With(std::vector<Position> more) const;
  /// This with `alive` alive again: for snapshots older than the newest deaths.
  std::shared_ptr<const DeadRows> Without(std::vector<Position> alive) const;

 private:
  std::vector<std::shared_ptr<const Bits>> granules_;
  std::vector<int64_t> counts_;
  int64_t count_ = 0;
};

}  // namespace sheaf::columns
