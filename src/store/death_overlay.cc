#include "store/death_overlay.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "store/version.h"

namespace sheaf::store {
namespace {

/// Writes that are looked up at once: enough to sort for locality, few enough to stay in the cache.
constexpr int64_t kWritesAtOnce = 8192;

/// `dead` (null: none) with `more`.
std::shared_ptr<const columns::DeadRows> Plus(const std::shared_ptr<const columns::DeadRows>& dead,
                                              std::vector<columns::DeadRows::Position> more) {
  static const columns::DeadRows none;
  return more.empty() ? dead : (dead == nullptr ? none : *dead).With(std::move(more));
}

/// Oldest first.
std::vector<TableMemtable> MemtablesOf(const TableVersion& table) {
  std::vector<TableMemtable> memtables = table.sealing;
  memtables.push_back(table.active);
  return memtables;
}

}  // namespace

struct DeathOverlay::Writes {
  columns::KeyColumn keys;
  std::vector<Lsn> lsns;

  void Add(std::string_view key, Lsn lsn) {
    keys.Add(key);
    lsns.push_back(lsn);
  }
};

Status DeathOverlay::LookUp(const std::vector<std::shared_ptr<const Part>>& parts, const Writes& writes) {
  if (writes.lsns.empty()) return Status::OK();
  for (const auto& part : parts) {
    if (part->damaged()) continue;  // Nobody will read it any more.
    SHEAF_ASSIGN_OR_RETURN(const auto found, part->keyed->FindMany(writes.keys));
    std::vector<columns::DeadRows::Position> fresh;
    PartDeaths* known = nullptr;
    for (size_t i = 0; i < found.size(); ++i) {
      if (!found[i]) continue;
      if (known == nullptr) {
        known = &parts_[part->info.id.value];
        if (known->all == nullptr) known->all = part->dead;
      }
      if (known->all != nullptr && known->all->IsDead(found[i]->granule, found[i]->row)) continue;
      known->deaths.push_back({writes.lsns[i], *found[i]});
      fresh.push_back(*found[i]);
    }
    if (!fresh.empty()) known->all = Plus(known->all, std::move(fresh));
  }
  return Status::OK();
}

Status DeathOverlay::Advance(const TableVersion& table, Lsn through) {
  const std::vector<TableMemtable> memtables = MemtablesOf(table);
  MutexLock lock(&mutex_);
  for (size_t m = 0; m < memtables.size(); ++m) {
    int64_t& taken = taken_[memtables[m].ordinal()];
    const int64_t count = memtables[m].keyed->writes();
    while (taken < count) {
      Writes writes;
      const int64_t end = std::min(count, taken + kWritesAtOnce);
      int64_t next = taken;
      for (; next < end; ++next) {
        const memtable::KeyedWrite write = memtables[m].keyed->write(next);
        if (write.lsn > through) break;
        bool found = false;
        for (size_t older = m; older-- > 0 && !found;) found = memtables[older].keyed->Supersede(write.key, write.lsn);
        if (!found) writes.Add(write.key, write.lsn);
      }
      SHEAF_RETURN_NOT_OK(LookUp(table.parts, writes));
      const bool done = next < end;
      taken = next;
      if (done) break;
    }
  }
  return Status::OK();
}

std::shared_ptr<const columns::DeadRows> DeathOverlay::DeadAt(const Part& part, Lsn at) const {
  MutexLock lock(&mutex_);
  const auto found = parts_.find(part.info.id.value);
  if (found == parts_.end()) return part.dead;
  const PartDeaths& known = found->second;
  if (known.deaths.empty() || known.deaths.back().lsn <= at) return known.all;
  std::vector<columns::DeadRows::Position> then;
  for (const Death& death : known.deaths) {
    if (death.lsn <= at) then.push_back(death.position);
  }
  return Plus(part.dead, std::move(then));
}

Result<std::shared_ptr<DeathOverlay>> DeathOverlay::After(DeathOverlay* known, const TableVersion& before, const TableVersion& after) {
  auto made = std::make_shared<DeathOverlay>();
  MutexLock lock(&made->mutex_);
  const std::vector<TableMemtable> memtables = MemtablesOf(after);
  std::vector<std::shared_ptr<const Part>> added;
  {
    MutexLock known_lock(&known->mutex_);
    for (const auto& part : after.parts) {
      const bool is_new = std::none_of(before.parts.begin(), before.parts.end(),
                                       [&](const auto& old) { return old->info.id == part->info.id; });
      if (is_new) {
        added.push_back(part);
        continue;
      }
      const auto found = known->parts_.find(part->info.id.value);
      if (found == known->parts_.end()) continue;
      PartDeaths& deaths = made->parts_[part->info.id.value];
      std::vector<columns::DeadRows::Position> fresh;
      for (const Death& death : found->second.deaths) {
        if (death.lsn <= after.sealed) continue;  // In Part::dead by now.
        deaths.deaths.push_back(death);
        fresh.push_back(death.position);
      }
      deaths.all = Plus(part->dead, std::move(fresh));
    }
    for (const TableMemtable& memtable : memtables) {
      const auto taken = known->taken_.find(memtable.ordinal());
      if (taken != known->taken_.end()) made->taken_[memtable.ordinal()] = taken->second;
    }
  }
  if (added.empty()) return made;
  for (const TableMemtable& memtable : memtables) {
    const auto taken = made->taken_.find(memtable.ordinal());
    if (taken == made->taken_.end()) continue;
    for (int64_t next = 0; next < taken->second;) {
      Writes writes;
      const int64_t end = std::min(taken->second, next + kWritesAtOnce);
      for (; next < end; ++next) {
        const memtable::KeyedWrite write = memtable.keyed->write(next);
        writes.Add(write.key, write.lsn);
      }
      SHEAF_RETURN_NOT_OK(made->LookUp(added, writes));
    }
  }
  return made;
}

}  // namespace sheaf::store
