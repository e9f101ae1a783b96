/// LocalDatabase: disk space, retention, cold parts, files that nobody needs any more.

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/log.h"
#include "core/metrics.h"
#include "core/test_hooks.h"
#include "store/local_database.h"
#include "store/upkeep_plan.h"

namespace sheaf::store {
namespace {

constexpr std::chrono::milliseconds kUpkeepTick{500};
/// With nothing else to write, a manifest is written this long after the last to let go of log and files.
constexpr int64_t kSettleAfterNs = int64_t{10} * 1'000'000'000;
constexpr double kNanosecond = 1e-9;

}  // namespace

void LocalDatabase::UpkeepLoop() {
  while (!stopping()) {
    Upkeep();
    MutexLock lock(&state_mutex_);
    const auto deadline = std::chrono::steady_clock::now() + kUpkeepTick;
    while (!stopping_) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= left.zero()) break;
      state_changed_.WaitFor(&state_mutex_, left);
    }
  }
}

void LocalDatabase::Upkeep() {
  const auto Report = [&](const char* what, const Status& status) {
    if (!status.ok()) LogWarn("upkeep.failed", {{"directory", options_.directory}, {"step", what}, {"error", status.message()}});
  };
  CheckDisk();
  Report("retention", Expire());
  Report("cold parts", ConvertOldParts());
  Report("snapshot", SnapshotWhenDue());
  bool settle = false;
  {
    MutexLock lock(&commit_mutex_);
    settle = (covered_ > truncated_ || !obsolete_.empty()) && clock_->MonotonicNs() - committed_ns_ > kSettleAfterNs;
  }
  if (settle) Report("manifest", Commit({}));
}

void LocalDatabase::CheckDisk() {
  const auto total = files_->TotalBytes(paths_.root);
  if (!total.ok() && KindOf(total.status()) == ErrorKind::kUnsupported) return;
  const auto free = files_->FreeBytes(paths_.root);
  if (!free.ok() || !total.ok()) {
    LogWarn("disk.unknown", {{"directory", options_.directory}, {"error", (free.ok() ? total.status() : free.status()).message()}});
    return;
  }
  const auto needed = static_cast<int64_t>(static_cast<double>(*total) * options_.free_space_min_fraction);
  MutexLock lock(&state_mutex_);
  const bool was_full = !disk_full_.empty();
  const bool full = *free < needed;
  if (full) {
    disk_full_ = fmt::format("the disk of {} has {} bytes free and {} are to be kept; reads go on, writes resume when there is room",
                             options_.directory, *free, needed);
  } else {
    disk_full_.clear();
  }
  if (full != was_full) {
    Log(full ? LogLevel::kError : LogLevel::kInfo, full ? "disk.full" : "disk.has_room",
        {{"directory", options_.directory}, {"free_bytes", *free}, {"needed_bytes", needed}});
  }
}

/// Drops parts of which every row is past its table's retention.
Status LocalDatabase::Expire() {
  MutexLock lock(&upkeep_mutex_);
  const bool was_paused = retention_clock_.paused();
  retention_clock_.Tick(clock_->NowNs(), clock_->MonotonicNs());
  retention_now_ns_.store(retention_clock_.now_ns());
  if (retention_clock_.paused() != was_paused) {
    LogWarn(was_paused ? "retention.resumed" : "retention.paused", {{"directory", options_.directory}, {"reason", "the clock leapt"}});
  }
  if (retention_clock_.paused()) return Status::OK();
  const std::shared_ptr<const Version> version = versions_.current();
  for (const auto& table : version->tables) {
    VersionChange change;
    change.table = table->info->id;
    change.removed = PartsToExpire(*table, retention_clock_.now_ns());
    if (change.removed.empty()) continue;
    Failpoint("store.expiry_begun");
    SHEAF_RETURN_NOT_OK(Commit(change));
    parts_expired_.fetch_add(static_cast<int64_t>(change.removed.size()));
    LogInfo("part.expired", {{"table", table->info->schema_name + "." + table->info->name}, {"parts", change.removed.size()}});
  }
  return Status::OK();
}

/// One conversion at most, and then a pause: it keeps to the share of the cores that compaction has, and to half of one core where so
/// much waits that the disk would fill up.
Status LocalDatabase::ConvertOldParts() {
  MutexLock lock(&upkeep_mutex_);
  const int64_t began_ns = clock_->MonotonicNs();
  if (began_ns < convert_not_before_ns_) return Status::OK();
  const std::shared_ptr<const Version> version = versions_.current();
  for (const auto& table : version->tables) {
    if (table->is_keyed()) continue;  // Their parts go down the levels of compaction.
    const auto inputs = PartsToConvert(*table, clock_->NowNs(), options_.cold_after_ms * 1'000'000);
    if (inputs.empty()) continue;
    const int64_t before_ns = io::ThreadCpuNs();
    const Status merged = MergeIntoCold(*table->info, inputs);
    CountCompactionCpu("cold", io::ThreadCpuNs() - before_ns);
    const int64_t now_ns = clock_->MonotonicNs();
    const std::shared_ptr<const Version> now = versions_.current();
    const TableVersion* left = now->Find(table->info->id);
    const int64_t waiting = left == nullptr ? 0 : BytesToConvert(*left, clock_->NowNs(), options_.cold_after_ms * 1'000'000);
    const int64_t pause_ns = ConversionPauseNs(now_ns - began_ns, waiting, rate_limit_.cores_at_rest());
    convert_not_before_ns_ = now_ns + std::max<int64_t>(pause_ns, merged.ok() ? 0 : kSettleAfterNs);
    return merged;
  }
  return Status::OK();
}

Status LocalDatabase::MakeCold(std::optional<TableId> wanted) noexcept {
  if (options_.read_only) return MakeError(ErrorKind::kUnavailable, "the database {} was opened read-only", options_.directory);
  std::vector<TableId> keyed;
  SHEAF_RETURN_NOT_OK(MakeAppendedCold(wanted, &keyed));
  for (const TableId table : keyed) SHEAF_RETURN_NOT_OK(MakeKeyedCold(table));
  return Status::OK();
}

/// Those of keyed tables are named in `keyed` instead.
Status LocalDatabase::MakeAppendedCold(std::optional<TableId> wanted, std::vector<TableId>* keyed_tables) {
  std::vector<TableId>& keyed = *keyed_tables;
  MutexLock lock(&upkeep_mutex_);
  const std::shared_ptr<const Version> start = versions_.current();
  if (wanted && start->Find(*wanted) == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", *wanted);
  for (const auto& info : start->infos) {
    if (wanted && info->id != *wanted) continue;
    if (info->kind == TableKind::kKeyed) {
      keyed.push_back(info->id);
      continue;
    }
    while (true) {
      const std::shared_ptr<const Version> version = versions_.current();
      const auto inputs = PartsToConvert(*version->Find(info->id), INT64_MAX, 0);
      if (inputs.empty()) break;
      SHEAF_RETURN_NOT_OK(MergeIntoCold(*info, inputs));
    }
  }
  return Status::OK();
}

Status LocalDatabase::MergeIntoCold(const TableInfo& table, const std::vector<std::shared_ptr<const Part>>& inputs) {
  const int64_t began_ns = clock_->MonotonicNs();
  std::vector<int> columns;
  for (int column = 0; column < table.schema->num_fields(); ++column) columns.push_back(column);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  VersionChange change;
  change.table = table.id;
  parts::PartInfo info;
  info.id = versions_.TakePartId();
  info.table = table.id;
  info.schema_version = table.schema_version;
  info.format = parts::Format::kCold;
  info.min_lsn = inputs.front()->info.min_lsn;
  int64_t bytes = 0;
  for (const auto& input : inputs) {
    for (int granule = 0; granule < input->source->num_granules(); ++granule) {
      SHEAF_ASSIGN_OR_RETURN(batches.emplace_back(), input->source->Read(granule, columns));
    }
    info.level = std::max(info.level, input->info.level + 1);
    info.min_lsn = std::min(info.min_lsn, input->info.min_lsn);
    info.max_lsn = std::max(info.max_lsn, input->info.max_lsn);
    bytes += input->info.data_bytes;
    change.removed.push_back(input->info.id);
  }
  SHEAF_ASSIGN_OR_RETURN(auto part, WriteAndOpen(std::move(info), table, batches));
  change.added.push_back(part);
  Failpoint("store.cold_part_written");
  if (const Status committed = Commit(change); !committed.ok()) {
    MutexLock lock(&commit_mutex_);
    ++manifest_number_;  // The one that failed may name the part; the next will not.
    Discard(*part);
    return committed;
  }
  cold_conversions_.fetch_add(1);
  LogInfo("part.made_cold", {{"table", table.schema_name + "." + table.name},
                             {"part", part->info.id},
                             {"inputs", inputs.size()},
                             {"rows", part->info.rows},
                             {"hot_bytes", bytes},
                             {"cold_bytes", part->info.data_bytes},
                             {"seconds", static_cast<double>(clock_->MonotonicNs() - began_ns) * kNanosecond}});
  return Status::OK();
}

Status LocalDatabase::SetRetention(TableId table, std::optional<int64_t> retention_ms) noexcept {
  if (options_.read_only) return MakeError(ErrorKind::kUnavailable, "the database {} was opened read-only", options_.directory);
  if (retention_ms && *retention_ms <= 0) {
    return MakeError(ErrorKind::kInvalid, "a retention of {} ms would keep nothing; it must be positive, or none", *retention_ms);
  }
  {
    MutexLock definitions(&definitions_mutex_);
    MutexLock lock(&upkeep_mutex_);
    const std::shared_ptr<const Version> version = versions_.current();
    const TableVersion* found = version->Find(table);
    if (found == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", table);
    auto info = std::make_shared<TableInfo>(*found->info);
    if (retention_ms && info->layout.time_column < 0) {
      return MakeError(ErrorKind::kInvalid, "{}.{} has no time column to expire by", info->schema_name, info->name);
    }
    info->retention_ms = retention_ms;
    VersionChange change;
    change.table = table;
    change.info = std::move(info);
    if (found->info->retention_ms != retention_ms) SHEAF_RETURN_NOT_OK(CommitDefinition(change));
  }
  return Expire();
}

/// Writes what manifests it takes for the log and the files to be let go of: at a clean stop.
void LocalDatabase::SettleManifests() {
  bool settle = false;
  {
    MutexLock lock(&commit_mutex_);
    settle = covered_ > truncated_;
  }
  if (!settle) return;
  const Status committed = Commit({});
  if (!committed.ok()) LogWarn("manifest.settle_failed", {{"directory", options_.directory}, {"error", committed.message()}});
}

}  // namespace sheaf::store
