#include "store/upkeep_plan.h"

#include <algorithm>
#include <cmath>

namespace sheaf::store {
namespace {

/// Whether the part was made at least `age_ns` ago. Its rows are at least as old as that, by arrival.
bool IsOlder(const Part& part, int64_t now_ns, int64_t age_ns) { return part.info.created_ns <= now_ns - age_ns; }

}  // namespace

std::vector<PartId> PartsToExpire(const TableVersion& table, int64_t now_ns) {
  std::vector<PartId> expired;
  if (!table.info->retention_ms || table.info->layout.time_column < 0) return expired;
  constexpr int64_t kNsPerMs = 1'000'000;
  // A retention longer than the time since 1970 keeps everything.
  if (*table.info->retention_ms > now_ns / kNsPerMs) return expired;
  const int64_t cutoff_ns = now_ns - *table.info->retention_ms * kNsPerMs;
  for (const auto& part : table.parts) {
    if (part->info.time_max < cutoff_ns) expired.push_back(part->info.id);
  }
  return expired;
}

std::vector<std::shared_ptr<const Part>> PartsToConvert(const TableVersion& table, int64_t now_ns, int64_t cold_after_ns) {
  std::vector<std::shared_ptr<const Part>> run;
  int64_t bytes = 0, rows = 0;
  for (const auto& part : table.parts) {
    const bool hot = part->info.format == parts::Format::kHot && !part->damaged();
    if (run.empty() && (!hot || !IsOlder(*part, now_ns, cold_after_ns))) continue;
    bytes += part->info.data_bytes;
    rows += part->info.rows;
    const bool fits = run.empty() || (bytes <= kColdInputBytesMax && rows <= kColdInputRowsMax);
    if (!hot || !fits || !IsOlder(*part, now_ns, cold_after_ns / 2)) break;
    run.push_back(part);
  }
  return run;
}

int64_t BytesToConvert(const TableVersion& table, int64_t now_ns, int64_t cold_after_ns) {
  int64_t bytes = 0;
  for (const auto& part : table.parts) {
    const bool hot = part->info.format == parts::Format::kHot && !part->damaged();
    if (hot && IsOlder(*part, now_ns, cold_after_ns)) bytes += part->info.data_bytes;
  }
  return bytes;
}

int64_t ConversionPauseNs(int64_t took_ns, int64_t waiting_bytes, double cores) {
  constexpr double kBacklogCores = 0.5;
  const double allowed = waiting_bytes >= kColdBacklogBytes ? std::max(cores, kBacklogCores) : cores;
  return allowed >= 1 ? 0 : std::llround(static_cast<double>(took_ns) * (1 / allowed - 1));
}

}  // namespace sheaf::store
