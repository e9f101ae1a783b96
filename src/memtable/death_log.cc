#include "memtable/death_log.h"

#include <algorithm>

namespace sheaf::memtable {

void DeathLog::Tell(Lsn lsn, uint32_t chunk, uint32_t row) {
  const Death death{lsn.value, chunk, row};
  MutexLock lock(&mutex_);
  const auto at =
      std::upper_bound(told_.begin(), told_.end(), death, [](const Death& a, const Death& b) { return a.lsn < b.lsn; });
  const auto place = static_cast<size_t>(at - told_.begin());
  told_.insert(at, death);
  if (place >= kept_told_.count) return;
  kept_ = kept_->With({PositionOf(death)});  // It came late: the vector kept covers deaths after it.
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
  Move(own_, own_.size(), std::min(through, published).value, &kept_own_, &more, &less);
  Move(told_, told_.size(), through.value, &kept_told_, &more, &less);
  if (!more.empty()) kept_ = kept_->With(std::move(more));
  const auto dead = less.empty() ? kept_ : kept_->Without(std::move(less));
  return dead->count() == 0 ? nullptr : dead;
}

}  // namespace sheaf::memtable
