/// LocalDatabase: snapshots on disk, and entries of another log.

#include <algorithm>
#include <cstring>
#include <ctime>
#include <future>
#include <utility>

#include "core/log.h"
#include "core/metrics.h"
#include "core/test_hooks.h"
#include "store/damaged_part.h"
#include "store/local_database.h"
#include "store/snapshots.h"
#include "wal/archive.h"

namespace sheaf::store {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
/// Ids of snapshots that were made by themselves, and go by themselves.
constexpr char kAutomatic[] = "auto-";

/// "20261129T004300Z-1234": sorts by time.
std::string IdFor(int64_t now_ns, Lsn lsn) {
  const std::time_t seconds = now_ns / kNsPerSecond;
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
  return fmt::format("{}-{}", text, lsn);
}

/// A copy of what is damaged would look like one of what was written.
Status RefuseDamaged(const Version& version) {
  for (const auto& table : version.tables) {
    for (const auto& part : table->parts) {
      if (!part->damaged()) continue;
      return MakeError(ErrorKind::kCorruption,
                       "part {} of {}.{} is damaged ({}): 'sheaf salvage' makes a new database of all that can be read", part->info.id,
                       table->info->schema_name, table->info->name, part->source->damage());
    }
  }
  return Status::OK();
}

}  // namespace

Result<SnapshotInfo> LocalDatabase::CreateSnapshot(const std::string& id) noexcept {
  if (!id.empty()) SHEAF_RETURN_NOT_OK(CheckSnapshotId(id));
  std::promise<Result<SnapshotInfo>> promise;
  std::future<Result<SnapshotInfo>> outcome = promise.get_future();
  {
    MutexLock lock(&state_mutex_);
    SHEAF_RETURN_NOT_OK(WhyNotOpen());
    if (!disk_full_.empty()) return MakeStatus(ErrorKind::kUnavailable, disk_full_);
    snapshots_wanted_.push_back({id, std::move(promise)});
    ++seal_wanted_;
    state_changed_.NotifyAll();
  }
  return outcome.get();
}

Result<std::vector<SnapshotInfo>> LocalDatabase::Snapshots() const { return ListSnapshots(files_, options_.directory); }

Status LocalDatabase::DropSnapshot(const std::string& id) noexcept {
  if (options_.read_only) return MakeError(ErrorKind::kUnavailable, "the database {} was opened read-only", options_.directory);
  SHEAF_RETURN_NOT_OK(RemoveSnapshot(files_, options_.directory, id));
  return PruneArchive();
}

/// The sealer's part, called before each seal: cuts all memtables at one instant when somebody wants a snapshot, and takes it
/// as soon as all that was cut is in parts. Until then nothing newer is sealed, as the oldest memtable always comes first.
void LocalDatabase::ServeSnapshots() {
  if (cut_ == nullptr) {
    std::vector<WantedSnapshot> wanted;
    {
      MutexLock lock(&state_mutex_);
      wanted = std::exchange(snapshots_wanted_, {});
    }
    if (wanted.empty()) return;
    cut_ = std::make_unique<PendingCut>();
    cut_->wanted = std::move(wanted);
    cut_->began_ns = clock_->MonotonicNs();
    cut_->cut = versions_.CutAll();
  }
  const std::vector<TableMemtable> left = versions_.Sealing();
  const bool sealed = std::none_of(cut_->cut.memtables.begin(), cut_->cut.memtables.end(), [&](const TableMemtable& memtable) {
    return std::find(left.begin(), left.end(), memtable) != left.end();
  });
  if (!sealed) return;
  for (WantedSnapshot& wanted : cut_->wanted) wanted.outcome.set_value(TakeSnapshot(wanted.id, cut_->cut.lsn, cut_->began_ns));
  cut_.reset();
}

/// Snapshots that are asked for from now on have a cut of their own: what failed was not theirs.
void LocalDatabase::FailCut(const Status& why) {
  if (cut_ == nullptr) return;
  for (WantedSnapshot& wanted : cut_->wanted) wanted.outcome.set_value(why);
  cut_.reset();
}

void LocalDatabase::FailSnapshots(const Status& why) {
  FailCut(why);
  std::vector<WantedSnapshot> wanted;
  {
    MutexLock lock(&state_mutex_);
    wanted = std::exchange(snapshots_wanted_, {});
  }
  for (WantedSnapshot& one : wanted) one.outcome.set_value(why);
}

/// All rows through `lsn` are in parts, and none later. Holds commit_mutex_, so that no file goes away meanwhile.
Result<SnapshotInfo> LocalDatabase::TakeSnapshot(const std::string& wanted_id, Lsn lsn, int64_t began_ns) {
  static Histogram& seconds =
      Metrics().AddHistogram("sheaf_store_snapshot_seconds", "Time to make a snapshot, from the cut to the mark.");
  SHEAF_RETURN_NOT_OK(log_->SyncThrough(lsn));
  SnapshotInfo info;
  info.created_ns = clock_->NowNs();
  info.lsn = lsn;
  info.id = wanted_id.empty()         ? IdFor(info.created_ns, lsn)
            : wanted_id == kAutomatic ? kAutomatic + IdFor(info.created_ns, lsn)
                                      : wanted_id;
  const std::string folder = io::Join(paths_.snapshots, info.id);
  MutexLock lock(&commit_mutex_);
  if (files_->Stat(folder).ok()) {
    SHEAF_ASSIGN_OR_RETURN(const auto known, ListSnapshots(files_, options_.directory));
    if (std::any_of(known.begin(), known.end(), [&](const SnapshotInfo& one) { return one.id == info.id; })) {
      return MakeError(ErrorKind::kAlreadyExists, "there is a snapshot {} already", info.id);
    }
    SHEAF_RETURN_NOT_OK(RemoveTree(files_, folder));  // Left from a crash.
  }
  const Status linked = LinkSnapshot(folder, &info);
  if (!linked.ok()) {
    const Status removed = RemoveTree(files_, folder);
    if (!removed.ok()) LogWarn("snapshot.remove_failed", {{"folder", folder}, {"error", removed.message()}});
    return WithContext(linked, fmt::format("snapshot {}", info.id));
  }
  Failpoint("store.snapshot_made");
  const double took = static_cast<double>(clock_->MonotonicNs() - began_ns) * 1e-9;
  seconds.Observe(took);
  LogInfo("snapshot.made",
          {{"snapshot", info.id}, {"lsn", lsn}, {"parts", info.parts}, {"bytes", info.bytes}, {"seconds", took}});
  return info;
}

Status LocalDatabase::LinkSnapshot(const std::string& folder, SnapshotInfo* info) {
  const DirectoryLayout to(folder);
  for (const std::string& path : {to.root, to.parts, to.batch_ids}) SHEAF_RETURN_NOT_OK(files_->MakeDirectories(path));
  SHEAF_RETURN_NOT_OK(SaveBatchIds(info->lsn));
  VersionSet::Prospect now = versions_.Preview({});
  now.covered = info->lsn;
  // Which definitions the log lacks is the database's affair: one that is made of the snapshot must not add them to its own.
  std::vector<UnloggedStep> unlogged = std::exchange(unlogged_, {});
  auto made = StateOf(now);
  unlogged_ = std::move(unlogged);
  SHEAF_ASSIGN_OR_RETURN(parts::ManifestState state, std::move(made));
  state.number = 1;
  state.durable = info->lsn;
  SHEAF_RETURN_NOT_OK(RefuseDamaged(*now.version));
  const auto Link = [&](const std::string& name) { return files_->Link(io::Join(paths_.parts, name), io::Join(to.parts, name)); };
  for (const parts::PartInfo& part : state.parts) {
    SHEAF_RETURN_NOT_OK(Link(part.file_name));
    SHEAF_RETURN_NOT_OK(Link(parts::IndexFileName(part.id)));
    if (!part.dead_file.empty()) SHEAF_RETURN_NOT_OK(Link(part.dead_file));
    ++info->parts;
    info->bytes += part.data_bytes + part.index_bytes;
  }
  for (const std::string& name : id_files_) {
    SHEAF_RETURN_NOT_OK(files_->Link(io::Join(paths_.batch_ids, name), io::Join(to.batch_ids, name)));
  }
  Failpoint("store.snapshot_linked");
  for (const std::string& path : {to.parts, to.batch_ids, paths_.snapshots}) SHEAF_RETURN_NOT_OK(files_->SyncDirectory(path));
  SHEAF_RETURN_NOT_OK(parts::CommitManifest(files_, to.root, state));
  Failpoint("store.snapshot_unmarked");
  return MarkSnapshot(files_, options_.directory, *info);
}

/// Makes the next automatic snapshot when it is time and something was written, and lets go of the oldest.
Status LocalDatabase::SnapshotWhenDue() {
  if (options_.snapshot_interval_ms <= 0) return Status::OK();
  const int64_t now_ns = clock_->MonotonicNs();
  if (snapshot_due_ns_ == 0) snapshot_due_ns_ = now_ns + options_.snapshot_interval_ms * 1'000'000;
  if (now_ns < snapshot_due_ns_ || versions_.visible() == snapshot_lsn_) return Status::OK();
  snapshot_due_ns_ = now_ns + options_.snapshot_interval_ms * 1'000'000;
  SHEAF_ASSIGN_OR_RETURN(const SnapshotInfo made, CreateSnapshot(kAutomatic));
  snapshot_lsn_ = made.lsn;
  SHEAF_ASSIGN_OR_RETURN(const auto all, Snapshots());
  int64_t automatic =
      std::count_if(all.begin(), all.end(), [](const SnapshotInfo& one) { return one.id.starts_with(kAutomatic); });
  for (const SnapshotInfo& one : all) {
    if (automatic <= options_.snapshots_kept || !one.id.starts_with(kAutomatic)) continue;
    SHEAF_RETURN_NOT_OK(DropSnapshot(one.id));
    --automatic;
  }
  return Status::OK();
}

/// Nothing can be restored from before the oldest snapshot.
Status LocalDatabase::PruneArchive() {
  if (!options_.archive_log) return Status::OK();
  SHEAF_ASSIGN_OR_RETURN(const auto all, Snapshots());
  if (all.empty()) return Status::OK();
  return wal::PruneArchive(files_, paths_.archive, all.front().lsn).status();
}

Status LocalDatabase::AppendLogged(const wal::LoggedEntry& entry, bool skip_sealed) noexcept {
  if (entry.entry.type == kDefinitionEntry) return RedoDefinition(entry);
  if (entry.entry.type != kRowsEntry) {
    return MakeError(ErrorKind::kUnsupported, "log entry {} is of type {}, which this program does not know; use a newer one",
                     entry.lsn, entry.entry.type);
  }
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(entry.entry.payload->size()));
  std::memcpy(bytes->mutable_data(), entry.entry.payload->data(), static_cast<size_t>(bytes->size()));
  const std::shared_ptr<const Version> version = versions_.current();
  SHEAF_ASSIGN_OR_RETURN(std::vector<VersionSet::NewRows> rows,
                         ReplaySections(*version, entry.lsn, bytes, skip_sealed));
  while (true) {
    auto promise = std::make_shared<std::promise<Result<Lsn>>>();
    auto outcome = promise->get_future();
    SHEAF_ASSIGN_OR_RETURN(const int turn, BeginAppend({}, [](TableId) { return false; }));
    const Status submitted =
        SubmitLogged(bytes, rows, entry.entry.batch_id, turn, [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); });
    if (!submitted.ok()) {
      EndAppend(turn);
      if (KindOf(submitted) != ErrorKind::kThrottled) return submitted;
      SHEAF_RETURN_NOT_OK(Flush());
      continue;
    }
    const Result<Lsn> lsn = outcome.get();
    // What did nothing when it was written does nothing now, and takes its LSN all the same.
    const bool refused =
        !lsn.ok() && (KindOf(lsn.status()) == ErrorKind::kConflict || KindOf(lsn.status()) == ErrorKind::kAlreadyExists);
    if (refused) return Status::OK();
    SHEAF_RETURN_NOT_OK(lsn.status());
    if (*lsn == entry.lsn) return Status::OK();
    return MakeError(ErrorKind::kCorruption, "log entry {} came as {}: entries before it are missing", entry.lsn, *lsn);
  }
}

}  // namespace sheaf::store
