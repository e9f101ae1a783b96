#include "memtable/death_log.h"

#include <algorithm>
#include <utility>

namespace sheaf::memtable {

void DeathLog::Tell(Lsn lsn, uint32_t chunk, uint32_t row) {
  const Death death{lsn.value, chunk, row};
  MutexLock lock(&mutex_);
  const auto at =
      std::upper_bound(told_.begin(), told_.end(), death, [](const Death& a, const Death& b) { return a.lsn < b.lsn; });
  const bool late = static_cast<size_t>(at - told_.begin()) < kept_told_.count;  // The vector kept covers deaths after it.
  auto kept = late ? kept_->With({PositionOf(death)}) : nullptr;
  told_.insert(at, death);  // Nothing has changed where memory is out by now.
  if (!late) return;
  kept_ = std::move(kept);
  ++kept_told_.count;
}

template <typename Array>
void DeathLog::Move(const Array& deaths, size_t size, uint64_t through, Kept* kept, Positions* more, Positions* less) {
  kept->lsn = std::max(kept->lsn, through);
  const size_t count = CountThrough(deaths, kept->count, size, kept->lsn);
  for (; kept->count < count; ++kept->count) more->push_back(PositionOf(deaths[kept->count]));
  for (size_t i = CountThrough(deaths, 0, count, through); i < count; ++i) less->push_back(PositionOf(deaths[i]));
}

std::shared_ptr<const columns::DeadRows> DeathLog::At(Lsn through, Lsn published) const {
  Positions more, less;
  MutexLock lock(&mutex_);
  Kept own = kept_own_, told = kept_told_;
  Move(own_, own_.size(), std::min(through, published).value, &own, &more, &less);
  Move(told_, told_.size(), through.value, &told, &more, &less);
  auto kept = more.empty() ? kept_ : kept_->With(std::move(more));
  const auto dead = less.empty() ? kept : kept->Without(std::move(less));
  kept_own_ = own;  // All at once, when there was memory for all.
  kept_told_ = told;
  kept_ = std::move(kept);
  return dead->count() == 0 ? nullptr : dead;
}

}  // namespace sheaf::memtable
