/// LocalDatabase: memtables to parts, and the manifest.

#include <algorithm>
#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/log.h"
#include "core/metrics.h"
#include "core/test_hooks.h"
#include "store/batch_id_file.h"
#include "store/local_database.h"
#include "store/table_record.h"

namespace sheaf::store {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kSealTick{100};
constexpr std::chrono::seconds kSealRetry{1};
/// Above this many, files of batch ids are merged into one.
constexpr size_t kIdFilesMax = 32;
/// A manifest and the two before it are kept: a file may go when the third after its last mention is current.
constexpr uint64_t kManifestsKept = 3;

}  // namespace

void LocalDatabase::SealLoop() {
  while (!stopping()) {
    versions_.Rotate(clock_->MonotonicNs() - options_.seal_age_ms * 1'000'000);
    ServeSnapshots();
    const auto [table, memtable] = versions_.NextToSeal();
    const Status sealed = memtable ? Seal(table, memtable) : Status::OK();
    if (!sealed.ok()) {
      LogError("memtable.seal_failed", {{"directory", options_.directory}, {"error", sealed.message()}});
      FailCut(sealed);
    }
    MutexLock lock(&state_mutex_);
    if (!sealed.ok()) {
      ++seal_failures_;
      seal_error_ = sealed;
    }
    state_changed_.NotifyAll();
    if (memtable && sealed.ok()) continue;
    const uint64_t wanted = seal_wanted_;
    const auto deadline = std::chrono::steady_clock::now() + (sealed.ok() ? std::chrono::nanoseconds(kSealTick) : kSealRetry);
    while (!stopping_ && seal_wanted_ == wanted) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= left.zero()) break;
      state_changed_.WaitFor(&state_mutex_, left);
    }
  }
  FailSnapshots(MakeError(ErrorKind::kUnavailable, "the database {} is closing", options_.directory));
}

Status LocalDatabase::Seal(TableId table_id, const TableMemtable& memtable) {
  static Histogram& seconds = Metrics().AddHistogram("sheaf_store_seal_seconds", "Time to turn a memtable into a part.");
  const int64_t began_ns = clock_->MonotonicNs();
  const std::shared_ptr<const Version> version = versions_.current();
  const TableVersion* found = version->Find(table_id);
  if (found == nullptr) return Status::OK();  // Dropped meanwhile, and its rows with it.
  const TableInfo& table = *found->info;
  parts::PartInfo info;
  info.id = PartId(memtable.ordinal());
  info.table = table_id;
  info.schema_version = table.schema_version;
  info.format = parts::Format::kHot;
  info.min_lsn = memtable.min_lsn();
  info.max_lsn = memtable.max_lsn();
  VersionChange change;
  change.table = table_id;
  change.sealed = memtable;
  if (!(uncommitted_.first == memtable)) {
    Failpoint("store.seal_begun");
    std::shared_ptr<const Part> written;
    if (memtable.keyed != nullptr) {
      SHEAF_ASSIGN_OR_RETURN(written, WriteKeyed(table, memtable, std::move(info)));
    } else {
      SHEAF_ASSIGN_OR_RETURN(written, WriteAndOpen(std::move(info), table, memtable.append->batches()));
    }
    Failpoint("store.part_written");
    uncommitted_ = {memtable, std::move(written)};
  }
  const std::shared_ptr<const Part> part = uncommitted_.second;  // Null where all that the memtable holds was deleted again.
  if (part != nullptr) change.added.push_back(part);
  const Status committed = Commit(change);
  if (!committed.ok() && KindOf(committed) == ErrorKind::kNotFound) {  // Dropped while the part was written.
    uncommitted_ = {};
    MutexLock lock(&commit_mutex_);
    if (part != nullptr) Discard(*part);
    return Status::OK();
  }
  SHEAF_RETURN_NOT_OK(committed);
  uncommitted_ = {};
  ingest_->Add(-memtable.charged->load());
  seals_.fetch_add(1);
  const double took = static_cast<double>(clock_->MonotonicNs() - began_ns) * 1e-9;
  seconds.Observe(took);
  LogInfo("part.sealed", {{"table", table.schema_name + "." + table.name},
                          {"part", PartId(memtable.ordinal())},
                          {"rows", part == nullptr ? 0 : part->info.rows},
                          {"memory_bytes", memtable.bytes()},
                          {"file_bytes", part == nullptr ? 0 : part->info.data_bytes + part->info.index_bytes},
                          {"seconds", took}});
  return Status::OK();
}

Result<std::shared_ptr<const Part>> LocalDatabase::WriteAndOpen(parts::PartInfo info, const TableInfo& table,
                                                                const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  {
    MutexLock lock(&commit_mutex_);
    info.database_uuid = database_uuid_;
  }
  info.created_ns = clock_->NowNs();
  SHEAF_ASSIGN_OR_RETURN(info, parts::WritePart(files_, paths_.parts, std::move(info), table.layout, table.schema, batches));
  return OpenPartOf(table, std::move(info));
}

Status LocalDatabase::Flush() noexcept {
  if (options_.read_only) return MakeError(ErrorKind::kUnavailable, "the database {} was opened read-only", options_.directory);
  versions_.Rotate(INT64_MAX);
  return WaitForSeals(versions_.Sealing(), /*timeout_ns=*/0);
}

/// Waits until none of `memtables` is left to be sealed, or an attempt fails, or (not for 0) time is up.
Status LocalDatabase::WaitForSeals(const std::vector<TableMemtable>& memtables, int64_t timeout_ns) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
  uint64_t failures = 0;
  {
    MutexLock lock(&state_mutex_);
    failures = seal_failures_;
    ++seal_wanted_;
    state_changed_.NotifyAll();
  }
  while (true) {
    const auto left = versions_.Sealing();
    const bool waiting = std::any_of(memtables.begin(), memtables.end(), [&](const auto& memtable) {
      return std::find(left.begin(), left.end(), memtable) != left.end();
    });
    if (!waiting) return Status::OK();
    MutexLock lock(&state_mutex_);
    if (seal_failures_ > failures) return seal_error_;
    if (stopping_) return MakeError(ErrorKind::kUnavailable, "the database {} is closing", options_.directory);
    if (timeout_ns != 0 && std::chrono::steady_clock::now() > deadline) {
      return MakeError(ErrorKind::kTimeout, "memtables of {} were not sealed in time; their rows stay in the log", options_.directory);
    }
    state_changed_.WaitFor(&state_mutex_, kSealTick);
  }
}

Status LocalDatabase::Commit(VersionChange change) {
  MutexLock lock(&commit_mutex_);
  if (change.table != TableId() && versions_.current()->Find(change.table) == nullptr) {
    return MakeError(ErrorKind::kNotFound, "table {} was dropped", change.table);
  }
  if (!change.dropped) SHEAF_RETURN_NOT_OK(PrepareDeaths(&change));
  const VersionSet::Prospect prospect = versions_.Preview(change);
  // Buffered entries may be visible, and in parts, before the log has them: it must never end before what a manifest covers.
  SHEAF_RETURN_NOT_OK(log_->SyncThrough(prospect.covered));
  Failpoint("store.log_synced");
  if (change.dropped) dropped_[change.table] = versions_.visible();  // Says nothing while the table is there: a failure may leave it.
  SHEAF_RETURN_NOT_OK(SaveBatchIds(prospect.covered));
  Failpoint("store.batch_ids_saved");
  SHEAF_ASSIGN_OR_RETURN(parts::ManifestState state, StateOf(prospect));
  state.number = ++manifest_number_;
  SHEAF_RETURN_NOT_OK(parts::CommitManifest(files_, paths_.root, state));
  Failpoint("store.manifest_committed");

  const std::shared_ptr<const Version> before = versions_.current();
  versions_.Install(change);
  Failpoint("store.version_installed");
  DiscardRemoved(change, *before);
  // What this manifest and the one before cover, and nobody reads any more.
  const Lsn truncatable = std::min(std::exchange(covered_, prospect.covered), Lsn(log_kept_after_.load()));
  covered_lsn_.store(covered_.value);
  committed_ns_ = clock_->MonotonicNs();
  RemoveObsolete();
  Failpoint("store.files_removed");
  if (truncatable <= truncated_) return Status::OK();
  truncated_ = truncatable;
  if (const Status truncated = log_->TruncateThrough(truncatable); !truncated.ok()) {
    LogWarn("log.truncate_failed", {{"directory", paths_.log}, {"through", truncatable}, {"error", truncated.message()}});
  }
  Failpoint("store.log_truncated");
  return Status::OK();
}

/// What a manifest says of a version; its number is still to be given.
Result<parts::ManifestState> LocalDatabase::StateOf(const VersionSet::Prospect& prospect) {
  parts::ManifestState state;
  state.database_uuid = database_uuid_;
  state.covered = prospect.covered;
  state.durable = log_->durable_lsn();
  state.next_part = prospect.next_part;
  state.next_table = next_table_;
  for (const auto& table : prospect.version->tables) {
    auto& [info, record] = records_[table->info->id];
    if (info != table->info) {
      SHEAF_ASSIGN_OR_RETURN(record, ToRecord(*table->info));
      info = table->info;
    }
    state.tables.push_back(record);
    for (const auto& part : table->parts) state.parts.push_back(part->info);
  }
  if (records_.size() > state.tables.size()) {
    std::erase_if(records_, [&](const auto& kept) { return prospect.version->Find(kept.first) == nullptr; });
  }
  SHEAF_ASSIGN_OR_RETURN(state.extra_json, ExtraJson(*prospect.version, prospect.covered));
  return state;
}

/// Files that the change took out of use: removed parts, delete vectors that newer ones replace, all that a dropped table had.
void LocalDatabase::DiscardRemoved(const VersionChange& change, const Version& before) {
  const TableVersion* table = before.Find(change.table);
  if (table == nullptr) return;
  for (const auto& part : table->parts) {
    const bool removed = std::find(change.removed.begin(), change.removed.end(), part->info.id) != change.removed.end();
    if (removed || change.dropped) Discard(*part);
    for (const auto& updated : change.updated) {
      if (updated->info.id == part->info.id && updated->info.dead_file != part->info.dead_file) DiscardDead(*part);
    }
  }
  if (!change.dropped) return;
  for (const TableMemtable& memtable : table->sealing) ingest_->Add(-memtable.charged->load());
  ingest_->Add(-table->active.charged->load());
}

Result<std::string> LocalDatabase::ExtraJson(const Version& version, Lsn covered) {
  json sealed = json::object(), dropped = json::object();
  for (const auto& table : version.tables) sealed[fmt::format("{}", table->info->id)] = table->sealed.value;
  std::erase_if(dropped_, [&](const auto& table) { return table.second <= covered; });
  for (const auto& [table, through] : dropped_) dropped[fmt::format("{}", table)] = through.value;
  json extra = json::object();
  extra["sealed"] = sealed;
  extra["batch_ids"] = id_files_;
  extra["retention_clock_ns"] = retention_now_ns_.load();
  if (!dropped.empty()) extra["dropped"] = dropped;
  if (definitions_ > 0) extra["definitions"] = definitions_;
  json steps = json::array(), damaged = json::object();
  for (const UnloggedStep& step : unlogged_) {
    json unlogged = json::object();
    unlogged["number"] = step.number;
    unlogged["table"] = step.table.value;
    unlogged["dropped"] = step.dropped.value;
    steps.push_back(std::move(unlogged));
  }
  for (const auto& table : version.tables) {
    for (const auto& part : table->parts) {
      if (table->is_keyed() && part->damaged()) damaged[fmt::format("{}", part->info.id)] = part->source->damage();
    }
  }
  if (!steps.empty()) extra["unlogged"] = std::move(steps);
  if (!damaged.empty()) extra["damaged"] = std::move(damaged);
  return extra.dump();
}

/// Puts the ids that the log is about to lose into a file of their own.
Status LocalDatabase::SaveBatchIds(Lsn covered) {
  if (covered <= ids_through_) return Status::OK();
  const bool merge = id_files_.size() >= kIdFilesMax;
  const std::vector<BatchIdRecord> records = batch_ids_.Between(merge ? Lsn() : ids_through_, covered);
  if (!records.empty()) {
    const std::string name = fmt::format("ids-{}", manifest_number_ + 1);
    const std::string bytes = EncodeBatchIds(records);
    SHEAF_RETURN_NOT_OK(io::WriteFileAtomically(files_, io::Join(paths_.batch_ids, name), std::as_bytes(std::span(bytes))));
    if (merge) {
      for (const std::string& old : id_files_) obsolete_.push_back({io::Join(paths_.batch_ids, old), manifest_number_ + 1, {}});
      id_files_.clear();
    }
    id_files_.push_back(name);
  }
  ids_through_ = covered;
  return Status::OK();
}

void LocalDatabase::Discard(const Part& part) {
  obsolete_.push_back({io::Join(paths_.parts, part.info.file_name), manifest_number_, part.file});
  obsolete_.push_back({io::Join(paths_.parts, parts::IndexFileName(part.info.id)), manifest_number_, part.file});
  DiscardDead(part);
}

void LocalDatabase::DiscardDead(const Part& part) {
  if (!part.info.dead_file.empty()) obsolete_.push_back({io::Join(paths_.parts, part.info.dead_file), manifest_number_, {}});
}

/// Removes files that neither a kept manifest names nor a snapshot reads.
void LocalDatabase::RemoveObsolete() {
  std::erase_if(obsolete_, [&](const Obsolete& file) SHEAF_REQUIRES(commit_mutex_) {
    if (manifest_number_ < file.since + kManifestsKept - 1 || !file.reader.expired()) return false;
    const Status removed = files_->Remove(file.path);
    if (removed.ok() || KindOf(removed) == ErrorKind::kNotFound) return true;
    LogWarn("file.remove_failed", {{"file", file.path}, {"error", removed.message()}});
    return false;
  });
}

}  // namespace sheaf::store
