/// LocalDatabase: keyed tables' parts go down the levels of compaction, at a rate that ingest does not feel.

#include <algorithm>
#include <chrono>
#include <utility>

#include "compact/merge.h"
#include "compact/plan.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/metrics.h"
#include "core/test_hooks.h"
#include "parts/keyed_part.h"
#include "store/damaged_part.h"
#include "store/local_database.h"

namespace sheaf::store {
namespace {

constexpr std::chrono::milliseconds kCompactTick{200};
constexpr std::chrono::seconds kCompactRetry{5};
/// After so long the rate limit is asked again: it may allow more by then.
constexpr std::chrono::milliseconds kPauseMax{100};
constexpr int64_t kNsPerMs = 1'000'000;

compact::PartFacts FactsOf(const parts::PartInfo& info) {
  compact::PartFacts facts;
  facts.id = info.id;
  facts.level = info.level;
  facts.format = info.format;
  facts.rows = info.rows;
  facts.dead_rows = info.dead_rows;
  facts.bytes = info.data_bytes + info.index_bytes;
  facts.key_min = info.key_min;
  facts.key_max = info.key_max;
  facts.min_lsn = info.min_lsn;
  facts.max_lsn = info.max_lsn;
  facts.created_ns = info.created_ns;
  return facts;
}

std::vector<std::shared_ptr<const Part>> PartsOf(const TableVersion& table, const std::vector<PartId>& ids) {
  std::vector<std::shared_ptr<const Part>> parts;
  for (const auto& part : table.parts) {
    if (std::find(ids.begin(), ids.end(), part->info.id) != ids.end()) parts.push_back(part);
  }
  return parts;
}

/// A part was set aside after the merge began: which of its rows died since is not known.
bool TouchesDamaged(const TableVersion& table, const VersionChange& change) {
  return std::any_of(table.parts.begin(), table.parts.end(), [&](const auto& part) {
    const PartId id = part->info.id;
    const bool removed = std::find(change.removed.begin(), change.removed.end(), id) != change.removed.end();
    const bool updated = std::any_of(change.updated.begin(), change.updated.end(), [&](const auto& one) { return one->info.id == id; });
    return part->damaged() && (removed || updated);
  });
}

}  // namespace

/// Waits `wait`, or until the database stops.
void LocalDatabase::Pause(std::chrono::nanoseconds wait) const {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  MutexLock lock(&state_mutex_);
  while (!stopping_) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= left.zero()) return;
    state_changed_.WaitFor(&state_mutex_, left);
  }
}

void LocalDatabase::CompactLoop() {
  while (!stopping()) {
    const Result<bool> merged = CompactOnce();
    if (!merged.ok() && KindOf(merged.status()) != ErrorKind::kCancelled) {
      LogWarn("compaction.failed", {{"directory", options_.directory}, {"error", merged.status().message()}});
    }
    if (merged.ok() && *merged) continue;
    Pause(merged.ok() ? std::chrono::nanoseconds(kCompactTick) : std::chrono::nanoseconds(kCompactRetry));
  }
}

void LocalDatabase::CountCompactionCpu(const char* work, int64_t ns) {
  static constexpr char kHelp[] = "Processor time of merges of keyed tables' parts, and of turning parts of other tables cold.";
  Metrics().AddCounter("sheaf_compaction_cpu_microseconds_total", kHelp, {{"work", work}}).Add(static_cast<uint64_t>(ns / 1000));
}

/// The merge that is worth most, of all tables; false: there is nothing to do.
Result<bool> LocalDatabase::CompactOnce() {
  const std::shared_ptr<const Version> version = versions_.current();
  compact::PlanOptions plan;
  plan.memtable_bytes = options_.memtable_bytes;
  plan.level1_bytes = 4 * options_.memtable_bytes;
  plan.output_bytes = std::max<int64_t>(options_.memtable_bytes / 2, 1 << 20);
  plan.cold_after_ns = options_.cold_after_ms * kNsPerMs;
  int level0 = 0;
  for (const auto& table : version->tables) level0 = std::max(level0, table->is_keyed() ? table->level0 : 0);
  rate_limit_.SetLevel0Parts(level0);
  for (const auto& table : version->tables) {
    if (!table->is_keyed()) continue;
    std::vector<compact::PartFacts> facts;
    for (const auto& part : table->parts) {
      if (!part->damaged()) facts.push_back(FactsOf(part->info));
    }
    const auto merge = compact::NextMerge(facts, clock_->NowNs(), plan);
    if (!merge) continue;
    SHEAF_RETURN_NOT_OK(Merge(*table, *merge, plan.output_bytes));
    return true;
  }
  return false;
}

Status LocalDatabase::Merge(const TableVersion& table, const compact::Merge& merge, int64_t output_bytes) {
  static Histogram& seconds = Metrics().AddHistogram("sheaf_compaction_seconds", "Time of a merge of parts, pauses included.");
  static Counter& read = Metrics().AddCounter("sheaf_compaction_read_bytes_total", "Bytes of parts that merges have read.");
  static Counter& written =
      Metrics().AddCounter("sheaf_compaction_written_bytes_total", "Bytes of parts that merges have written.");
  const int64_t began_ns = clock_->MonotonicNs();
  VersionChange change;
  change.table = table.info->id;
  change.inputs = PartsOf(table, merge.inputs);
  compact::MergeProgress progress;
  if (merge.move_only) {
    for (const auto& part : std::exchange(change.inputs, {})) {
      auto moved = std::make_shared<Part>(*part);
      moved->info.level = merge.output_level;
      change.updated.push_back(std::move(moved));
    }
  } else {
    change.removed = merge.inputs;
    if (!merge.drop_only) {
      auto merged = MergeInputs(*table.info, change.inputs, merge, output_bytes, &progress);
      if (!merged.ok() && IsDamage(merged.status())) Suspect(change.inputs);
      SHEAF_ASSIGN_OR_RETURN(change.added, std::move(merged));
    }
  }
  Failpoint("store.merge_written");
  const Status committed = CommitMerge(table, change);
  Failpoint("store.merge_committed");
  if (!committed.ok()) {
    MutexLock lock(&commit_mutex_);
    ++manifest_number_;  // The one that failed may name the parts; the next will not.
    for (const auto& part : change.added) Discard(*part);
    return committed;
  }
  compactions_.fetch_add(1);
  read.Add(static_cast<uint64_t>(progress.bytes_in));
  written.Add(static_cast<uint64_t>(progress.bytes_out));
  const double took = static_cast<double>(clock_->MonotonicNs() - began_ns) * 1e-9;
  seconds.Observe(took);
  LogInfo("parts.merged", {{"table", table.info->schema_name + "." + table.info->name},
                           {"inputs", merge.inputs.size()},
                           {"outputs", change.added.size()},
                           {"level", merge.output_level},
                           {"reason", merge.reason},
                           {"rows_in", progress.rows_in},
                           {"rows_out", progress.rows_out},
                           {"bytes_in", progress.bytes_in},
                           {"bytes_out", progress.bytes_out},
                           {"seconds", took}});
  return Status::OK();
}

/// Writes the rows alive of the inputs as new parts, which nothing names yet.
Result<std::vector<std::shared_ptr<const Part>>> LocalDatabase::MergeInputs(
    const TableInfo& table, const std::vector<std::shared_ptr<const Part>>& inputs, const compact::Merge& merge,
    int64_t output_bytes, compact::MergeProgress* progress) {
  compact::MergeOptions options;
  options.schema = parts::KeyedSchema(*table.schema);
  SHEAF_ASSIGN_OR_RETURN(options.keys, columns::KeyCodec::Make(options.schema, table.key_columns));
  options.layout = table.layout;
  options.part.table = table.id;
  options.part.schema_version = table.schema_version;
  options.part.format = merge.output_format;
  options.part.level = merge.output_level;
  options.part.created_ns = clock_->NowNs();
  options.part.min_lsn = inputs.front()->info.min_lsn;
  std::vector<compact::MergeSource> sources;
  for (const auto& input : inputs) {
    sources.push_back({input->source, input->dead});
    options.part.min_lsn = std::min(options.part.min_lsn, input->info.min_lsn);
    options.part.max_lsn = std::max(options.part.max_lsn, input->info.max_lsn);
  }
  {
    MutexLock lock(&commit_mutex_);
    options.part.database_uuid = database_uuid_;
  }
  options.next_id = [this] { return versions_.TakePartId(); };
  options.output_bytes = output_bytes;
  options.cancel = &cancel_compaction_;
  options.pool = &NamedPool("compaction");
  if (table.retention_ms && table.layout.time_column >= 0) {
    options.time_column = table.layout.time_column;
    options.expire_before_ns = retention_now_ns_.load() - *table.retention_ms * kNsPerMs;
  }
  int64_t cpu_ns = io::ThreadCpuNs();
  options.after_granule = [this, &cpu_ns](const compact::MergeProgress&) {
    const int64_t now_ns = io::ThreadCpuNs();
    const int64_t spent_ns = now_ns - std::exchange(cpu_ns, now_ns);
    CountCompactionCpu("merge", spent_ns);
    int64_t wait_ns = rate_limit_.WaitNs(spent_ns);
    for (; wait_ns > 0 && !cancel_compaction_.load(); wait_ns = rate_limit_.WaitNs(0)) {
      Pause(std::min<std::chrono::nanoseconds>(std::chrono::nanoseconds(wait_ns), kPauseMax));
    }
  };
  SHEAF_ASSIGN_OR_RETURN(const std::vector<parts::PartInfo> outputs,
                         compact::MergeParts(files_, paths_.parts, sources, options, progress));
  std::vector<std::shared_ptr<const Part>> opened;
  for (const parts::PartInfo& output : outputs) {
    SHEAF_ASSIGN_OR_RETURN(opened.emplace_back(), OpenPartOf(table, output));
  }
  return opened;
}

/// Puts a merge into the manifest, unless its table or its inputs have changed meanwhile: then it was for nothing.
Status LocalDatabase::CommitMerge(const TableVersion& table, const VersionChange& change) {
  MutexLock upkeep(&upkeep_mutex_);  // No definition changes and no part expires meanwhile.
  const std::shared_ptr<const Version> version = versions_.current();
  const TableVersion* now = version->Find(table.info->id);
  const std::vector<PartId>& inputs = change.removed;
  const bool same = now != nullptr && now->info == table.info && PartsOf(*now, inputs).size() == inputs.size();
  if (!same || TouchesDamaged(*now, change))
    return MakeError(ErrorKind::kCancelled, "{}.{} changed while parts were merged", table.info->schema_name, table.info->name);
  return Commit(change);
}

/// Every hot part of a keyed table as a cold one, where it is.
Status LocalDatabase::MakeKeyedCold(TableId id) {
  while (true) {
    const std::shared_ptr<const Version> version = versions_.current();
    const TableVersion* table = version->Find(id);
    if (table == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", id);
    const auto hot = std::find_if(table->parts.begin(), table->parts.end(),
                                  [](const auto& part) { return part->info.format == parts::Format::kHot && !part->damaged(); });
    if (hot == table->parts.end()) return Status::OK();
    compact::Merge merge;
    merge.inputs = {(*hot)->info.id};
    merge.output_level = (*hot)->info.level;
    merge.output_format = parts::Format::kCold;
    merge.reason = "asked for";
    const Status merged = Merge(*table, merge, INT64_MAX);
    if (!merged.ok() && KindOf(merged) != ErrorKind::kCancelled) return merged;
    if (!merged.ok() && stopping()) return merged;
  }
}

/// Slows a writer down as far as compaction is behind: by a wait, or by refusing.
Status LocalDatabase::StallWrite(const TableVersion& table) const {
  static Counter& stalls =
      Metrics().AddCounter("sheaf_store_write_stalls_total", "Writes that waited for compaction or for memory.");
  static Counter& stalled_us =
      Metrics().AddCounter("sheaf_store_write_stall_microseconds_total", "How long they waited together.");
  const double memory =
      static_cast<double>(ingest_->bytes()) / static_cast<double>(options_.ingest_memory_bytes_max);
  const compact::Stall stall = compact::WriteStall(table.level0, memory);
  if (stall.refuse) {
    return MakeError(ErrorKind::kThrottled, "{}.{} has {} parts that wait to be merged; try again", table.info->schema_name,
                     table.info->name, table.level0);
  }
  if (stall.delay_us > 0) {
    stalls.Add();
    stalled_us.Add(static_cast<uint64_t>(stall.delay_us));
    Pause(std::chrono::microseconds(stall.delay_us));
  }
  return Status::OK();
}

}  // namespace sheaf::store
