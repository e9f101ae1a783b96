/// When which row of a keyed memtable was replaced or deleted, and from it the delete vector at any LSN.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "columns/dead_rows.h"
#include "core/ids.h"
#include "core/mutex.h"
#include "memtable/segmented.h"

namespace sheaf::memtable {

/// The newest vector asked for is kept and extended by the deaths since, so that a view after few writes costs little; older ones
/// are had from it by taking deaths away. Each row dies once.
class DeathLog {
 public:
  /// A row died by a later write here. One thread, LSNs do not fall; takes no lock.
  void Add(Lsn lsn, uint32_t chunk, uint32_t row) { own_.Push({lsn.value, chunk, row}); }
  /// A row died by a write elsewhere. Any thread, any LSN.
  void Tell(Lsn lsn, uint32_t chunk, uint32_t row) SHEAF_EXCLUDES(mutex_);

  /// The rows that were dead as of `through`, by deaths of Add() only as far as `published`; null: none. Any thread.
  std::shared_ptr<const columns::DeadRows> At(Lsn through, Lsn published) const SHEAF_EXCLUDES(mutex_);

  int64_t bytes() const { return own_.bytes(); }

 private:
  struct Death {
    uint64_t lsn;
    uint32_t chunk, row;
  };
  using Positions = std::vector<columns::DeadRows::Position>;
  static columns::DeadRows::Position PositionOf(const Death& death) { return {static_cast<int>(death.chunk), death.row}; }
  /// How far the vector kept goes in one of the logs: it has the first `count` deaths, which are those not above `lsn`.
  struct Kept {
    uint64_t lsn = 0;
    size_t count = 0;
  };
  /// Appends to `more` what the vector kept lacks of deaths through the later of its LSN and `through`, and moves it there; to
  /// `less` what it has too much then.
  template <typename Array>
  static void Move(const Array& deaths, size_t size, uint64_t through, Kept* kept, Positions* more, Positions* less);

  Segmented<Death, 6> own_;
  mutable Mutex mutex_;
  std::vector<Death> told_ SHEAF_GUARDED_BY(mutex_);  // In order of LSN.
  mutable std::shared_ptr<const columns::DeadRows> kept_ SHEAF_GUARDED_BY(mutex_) = std::make_shared<const columns::DeadRows>();
  mutable Kept kept_own_ SHEAF_GUARDED_BY(mutex_), kept_told_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::memtable
