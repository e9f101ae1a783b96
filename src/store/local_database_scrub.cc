/// LocalDatabase: reads every part now and then, long before somebody needs it, and sets damaged ones aside.

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/log.h"
#include "core/test_hooks.h"
#include "store/damaged_part.h"
#include "store/local_database.h"

namespace sheaf::store {
namespace {

constexpr std::chrono::seconds kScrubTick{1};
constexpr int64_t kNsPerMs = 1'000'000, kNsPerSecond = 1'000'000'000;

}  // namespace

void LocalDatabase::ScrubLoop() {
  const auto pace = [this](int64_t bytes) {
    Pause(std::chrono::nanoseconds(bytes * kNsPerSecond / std::max<int64_t>(options_.scrub_bytes_per_second, 1)));
    return stopping() ? MakeError(ErrorKind::kCancelled, "the database is closing") : Status::OK();
  };
  while (!stopping()) {
    const std::optional<ScrubTurn> turn = NextScrub();
    if (!turn) {
      Pause(kScrubTick);
      continue;
    }
    const Result<std::string> checked = ScrubPart(*turn, pace);
    if (checked.ok() || stopping()) continue;
    LogWarn("scrub.failed", {{"directory", options_.directory}, {"part", turn->part->info.id}, {"error", checked.status().message()}});
    Pause(10 * kScrubTick);
  }
}

/// A part counts as checked when it was made: its bytes passed through this program then.
std::optional<LocalDatabase::ScrubTurn> LocalDatabase::NextScrub() {
  const int64_t due_ns = clock_->NowNs() - options_.scrub_interval_ms * kNsPerMs;
  const std::shared_ptr<const Version> version = versions_.current();
  std::optional<ScrubTurn> next;
  int64_t oldest_ns = due_ns;
  std::map<PartId, int64_t> known;
  MutexLock lock(&scrub_mutex_);
  for (const auto& table : version->tables) {
    for (const auto& part : table->parts) {
      if (part->damaged()) continue;
      const auto found = scrubbed_ns_.find(part->info.id);
      const int64_t checked_ns = found == scrubbed_ns_.end() ? part->info.created_ns : found->second;
      if (found != scrubbed_ns_.end()) known.insert(*found);
      if (checked_ns >= oldest_ns) continue;
      oldest_ns = checked_ns;
      next = ScrubTurn{table->info->id, part};
    }
  }
  scrubbed_ns_ = std::move(known);  // Others are gone.
  return next;
}

Result<std::string> LocalDatabase::ScrubPart(const ScrubTurn& turn, const std::function<Status(int64_t)>& pace) {
  const parts::PartInfo& info = turn.part->info;
  // Its files stay while `turn` holds the part.
  const Status sound = parts::VerifyPart(files_, paths_.parts, info, pace);
  if (!sound.ok() && !IsDamage(sound)) return sound;
  scrubbed_parts_.fetch_add(1);
  scrubbed_bytes_.fetch_add(info.data_bytes + info.index_bytes);
  if (!sound.ok()) SHEAF_RETURN_NOT_OK(SetAside(turn, sound.message()));
  MutexLock lock(&scrub_mutex_);
  scrubbed_ns_[info.id] = clock_->NowNs();
  return sound.ok() ? "" : sound.message();
}

/// From the next statement on nobody reads the part; durably, because writes are no longer looked up in it.
Status LocalDatabase::SetAside(const ScrubTurn& turn, const std::string& damage) {
  MutexLock upkeep(&upkeep_mutex_);  // No definition changes and no part goes meanwhile.
  const std::shared_ptr<const Version> version = versions_.current();
  const TableVersion* table = version->Find(turn.table);
  if (table == nullptr) return Status::OK();
  const auto part = std::find_if(table->parts.begin(), table->parts.end(),
                                 [&](const auto& one) { return one->info.id == turn.part->info.id; });
  if (part == table->parts.end() || (*part)->damaged()) return Status::OK();
  if ((*part)->info.dead_file != turn.part->info.dead_file) {  // Its delete vector was replaced while the old one was read.
    const Status again = parts::VerifyPart(files_, paths_.parts, (*part)->info);
    if (again.ok()) return Status::OK();
  }
  VersionChange change;
  change.table = turn.table;
  change.updated.push_back(DamagedPart(*table->info, (*part)->info, damage));
  SHEAF_RETURN_NOT_OK(Commit(change));
  Failpoint("store.part_set_aside");
  LogError("part.set_aside", {{"table", table->info->schema_name + "." + table->info->name},
                              {"part", turn.part->info.id},
                              {"rows", turn.part->info.rows},
                              {"error", damage}});
  return Status::OK();
}

void LocalDatabase::Suspect(const std::vector<std::shared_ptr<const Part>>& parts) {
  MutexLock lock(&scrub_mutex_);
  for (const auto& part : parts) scrubbed_ns_[part->info.id] = INT64_MIN;
}

Result<std::vector<PartStatus>> LocalDatabase::Scrub() noexcept {
  SHEAF_RETURN_NOT_OK(CheckOpen());
  const std::shared_ptr<const Version> version = versions_.current();
  for (const auto& table : version->tables) {
    for (const auto& part : table->parts) {
      if (part->damaged()) continue;
      SHEAF_RETURN_NOT_OK(ScrubPart({table->info->id, part}, nullptr).status());
    }
  }
  std::vector<PartStatus> damaged;
  for (PartStatus& part : Parts()) {
    if (!part.damage.empty()) damaged.push_back(std::move(part));
  }
  return damaged;
}

}  // namespace sheaf::store
