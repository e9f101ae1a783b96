/// LocalDatabase: tables come, change and go. Each change is one manifest, then an entry of the log for those who bring a snapshot
/// forward; appends to its table wait meanwhile, so that the log has its rows on the right side of that entry.
///
/// Where columns change, the table's rows are sealed into parts first, so that neither memory nor the part of the log that a
/// recovery reads has rows of the version before; parts say which version theirs are of.

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/log.h"
#include "core/test_hooks.h"
#include "store/column_types.h"
#include "store/damaged_part.h"
#include "store/local_database.h"
#include "store/names.h"
#include "store/part_columns.h"
#include "store/ready_tables.h"
#include "store/table_change.h"

namespace sheaf::store {
namespace {

/// How long a change waits for appends that began before it, and for its table's rows to be sealed.
constexpr std::chrono::seconds kDrainWait{10};
constexpr int64_t kSealWaitNs = int64_t{60} * 1'000'000'000;
/// Every append and every manifest walks the list of tables.
constexpr size_t kTablesMax = 10'000;
/// Above this many older versions, those that no part is of are forgotten.
constexpr size_t kHistoryMax = 64;

/// Sizes of fixed-size lists differ: no row can be read under both.
bool AnyResize(const TableInfo& before, const TableInfo& after) {
  if (before.schema->num_fields() != after.schema->num_fields()) return false;
  for (int i = 0; i < before.schema->num_fields(); ++i) {
    if (IsResize(*before.schema->field(i)->type(), *after.schema->field(i)->type())) return true;
  }
  return false;
}

void ForgetUnused(const TableVersion& table, std::vector<SchemaVersion>* history) {
  if (history->size() <= kHistoryMax) return;
  std::erase_if(*history, [&](const SchemaVersion& old) {
    return old.version != table.info->schema_version &&
           std::none_of(table.parts.begin(), table.parts.end(),
                        [&](const auto& part) { return part->info.schema_version == old.version; });
  });
}

std::string FullName(const TableInfo& table) { return table.schema_name + "." + table.name; }

}  // namespace

/// Holds up appends to a table that is there, and to one that comes, for a scope. Either may be 0.
class LocalDatabase::HeldTables {
 public:
  HeldTables(LocalDatabase* database, TableId table, TableId coming = TableId())
      : database_(database), held_(database->HoldAppends(table, coming)) {}
  ~HeldTables() {
    if (held_.ok()) database_->ReleaseAppends();
  }
  HeldTables(const HeldTables&) = delete;
  HeldTables& operator=(const HeldTables&) = delete;
  const Status& status() const { return held_; }

 private:
  LocalDatabase* const database_;
  const Status held_;
};

/// Returns once no append to `table` that began before this is open. Later ones wait. Error: Timeout (nothing is held then).
Status LocalDatabase::HoldAppends(TableId table, TableId coming) {
  const auto deadline = std::chrono::steady_clock::now() + kDrainWait;
  MutexLock lock(&state_mutex_);
  if (coming != TableId()) changing_.push_back(coming);
  if (table == TableId()) return Status::OK();
  changing_.push_back(table);
  for (int pass = 0; pass < 2; ++pass) {
    // The other turn may have appends left from a change that gave up; then this one's.
    const int other = 1 - turn_;
    while (appending_[other] > 0) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= left.zero()) {
        changing_.clear();
        state_changed_.NotifyAll();
        return MakeError(ErrorKind::kTimeout, "appends that began before did not end in {} s; nothing was changed, try again",
                         kDrainWait.count());
      }
      state_changed_.WaitFor(&state_mutex_, left);
    }
    if (pass == 0) turn_ = other;
  }
  return Status::OK();
}

void LocalDatabase::ReleaseAppends() {
  MutexLock lock(&state_mutex_);
  changing_.clear();
  state_changed_.NotifyAll();
}

/// Requires: appends to the table are held up.
Status LocalDatabase::SealAll(TableId table) {
  const Status sealed = WaitForSeals(versions_.Rotate(table), kSealWaitNs);
  return sealed.ok() ? sealed
                     : WithContext(sealed, "rows in memory must become parts before columns change; nothing was changed");
}

/// Commits a definition twice: with it in both manifests that count, damage of one cannot undo it while the log has rows of it.
/// On error nothing was changed; where that cannot be known, nothing can be written until a restart.
Status LocalDatabase::CommitDefinition(const VersionChange& change) {
  uint64_t number_before = 0;
  {
    MutexLock lock(&commit_mutex_);
    number_before = manifest_number_;
    unlogged_.push_back({.number = ++definitions_,
                         .table = change.created ? change.created->info->id : change.dropped ? TableId() : change.table,
                         .dropped = change.dropped ? change.table : TableId()});
  }
  const Status committed = Commit(change);
  Failpoint("store.definition_committed");
  if (committed.ok()) {
    LogDefinitions();
    Failpoint("store.definition_logged");
  } else {
    MutexLock lock(&commit_mutex_);
    unlogged_.pop_back();
    --definitions_;
  }
  const Status again = Commit({});
  if (committed.ok()) {
    if (!again.ok())
      LogWarn("definition.second_manifest_failed", {{"directory", options_.directory}, {"error", again.message()}});
    return committed;
  }
  const bool rows_depend = change.dropped || change.active;
  if (again.ok() || !rows_depend) return committed;
  // The manifest of the failed attempt may be the one that a restart finds. Rows written under the old definition would then be
  // lost.
  const auto loaded = parts::LoadManifest(files_, paths_.root);
  if (!loaded.ok() || loaded->fell_back || loaded->state.number > number_before) {
    SetNotWritable(fmt::format("a change of a table in {} may or may not be durable: {}; restart to recover", options_.directory,
                               committed.message()));
  }
  return committed;
}

Result<TableId> LocalDatabase::TakeTableId() {
  if (versions_.current()->tables.size() >= kTablesMax) {
    return MakeError(ErrorKind::kInvalid, "the database {} has {} tables; more are not possible", options_.directory, kTablesMax);
  }
  MutexLock lock(&commit_mutex_);
  return std::exchange(next_table_, next_table_.Next());
}

Status LocalDatabase::CheckNameIsFree(const std::string& schema_name, const std::string& name) const {
  const auto found = FindTable(schema_name, name);
  if (!found.ok()) return Status::OK();
  return MakeError(ErrorKind::kAlreadyExists, "there is a table {} already", FullName(**found));
}

Result<std::shared_ptr<const TableInfo>> LocalDatabase::CreateTable(const NewTable& asked) noexcept {
  MutexLock definitions(&definitions_mutex_);
  SHEAF_RETURN_NOT_OK(CheckWritable());
  const auto found = FindTable(asked.schema_name, asked.name);
  if (found.ok() && asked.if_not_exists) return *found;
  if (found.ok() && !asked.or_replace) return CheckNameIsFree(asked.schema_name, asked.name);
  SHEAF_ASSIGN_OR_RETURN(TableInfo made, MakeTable(asked));
  SHEAF_ASSIGN_OR_RETURN(made.id, TakeTableId());
  const auto info = std::make_shared<const TableInfo>(std::move(made));
  SHEAF_RETURN_NOT_OK(Create(info, found.ok() ? (*found)->id : TableId()));
  return info;
}

/// `replaced`: a table that goes in the same step; 0: none.
Status LocalDatabase::Create(const std::shared_ptr<const TableInfo>& info, TableId replaced) {
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<const TableVersion> table, versions_.MakeTable({info, {}, Lsn()}));
  if (replaced != TableId()) {
    SHEAF_RETURN_NOT_OK(Drop(replaced, table));
  } else {
    const HeldTables held(this, TableId(), info->id);
    VersionChange change;
    change.created = table;
    SHEAF_RETURN_NOT_OK(CommitDefinition(change));
  }
  LogInfo("table.created", {{"table", FullName(*info)}, {"id", info->id}});
  return Status::OK();
}

Status LocalDatabase::DropTable(TableId table) noexcept {
  MutexLock definitions(&definitions_mutex_);
  SHEAF_RETURN_NOT_OK(CheckOpen());  // On a full disk this is what helps.
  return Drop(table, nullptr);
}

/// `successor`: a table that comes in the same step; may be null.
Status LocalDatabase::Drop(TableId id, std::shared_ptr<const TableVersion> successor) {
  MutexLock upkeep(&upkeep_mutex_);
  const std::shared_ptr<const Version> version = versions_.current();
  const TableVersion* table = version->Find(id);
  if (table == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", id);
  const std::string name = FullName(*table->info);
  if (FindReadyTable(table->info->schema_name, table->info->name) != nullptr) {
    return MakeError(ErrorKind::kDenied, "{} is a ready table and stays; its rows expire by its retention", name);
  }
  const HeldTables held(this, id, successor == nullptr ? TableId() : successor->info->id);
  SHEAF_RETURN_NOT_OK(held.status());
  VersionChange change;
  change.table = id;
  change.dropped = true;
  change.created = std::move(successor);
  SHEAF_RETURN_NOT_OK(CommitDefinition(change));
  LogInfo("table.dropped", {{"table", name}, {"id", id}});
  return Status::OK();
}

Result<VersionChange> LocalDatabase::SwitchColumns(const TableVersion& table, std::shared_ptr<const TableInfo> after) {
  VersionChange change;
  change.table = after->id;
  SHEAF_ASSIGN_OR_RETURN(change.codec, BatchCodec::Make(after->schema));
  for (const auto& part : table.parts) {
    if (part->damaged()) {
      change.updated.push_back(DamagedPart(*after, part->info, part->source->damage()));
      continue;
    }
    if (table.is_keyed()) {
      SHEAF_ASSIGN_OR_RETURN(change.updated.emplace_back(), OpenPartOf(*after, part->info));
      continue;
    }
    auto reread = std::make_shared<Part>(*part);
    SHEAF_ASSIGN_OR_RETURN(reread->source, ReadAs(part->file, part->info.schema_version, *after));
    change.updated.push_back(std::move(reread));
  }
  SHEAF_ASSIGN_OR_RETURN(change.active, versions_.MakeMemtable(*after));
  change.info = std::move(after);
  return change;
}

Result<std::shared_ptr<const TableInfo>> LocalDatabase::Alter(TableId id, const AlterTable& asked) noexcept {
  MutexLock definitions(&definitions_mutex_);
  SHEAF_RETURN_NOT_OK(CheckWritable());
  MutexLock upkeep(&upkeep_mutex_);  // No part is made from others meanwhile.
  const std::shared_ptr<const Version> version = versions_.current();
  const TableVersion* table = version->Find(id);
  if (table == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", id);
  SHEAF_ASSIGN_OR_RETURN(TableInfo changed, ChangeTable(*table->info, asked, versions_.visible()));
  if (!SameName(changed.name, table->info->name)) SHEAF_RETURN_NOT_OK(CheckNameIsFree(changed.schema_name, changed.name));
  return Change(*table, std::move(changed), /*again=*/false);
}

/// `again`: as the log says it was done, from an LSN of then.
Result<std::shared_ptr<const TableInfo>> LocalDatabase::Change(const TableVersion& table, TableInfo changed, bool again) {
  const TableId id = changed.id;
  if (!ColumnsChanged(*table.info, changed)) {
    VersionChange change;
    change.table = id;
    change.info = std::make_shared<const TableInfo>(std::move(changed));
    SHEAF_RETURN_NOT_OK(CommitDefinition(change));
    return change.info;
  }
  const HeldTables held(this, id);
  SHEAF_RETURN_NOT_OK(held.status());
  SHEAF_RETURN_NOT_OK(SealAll(id));
  const std::shared_ptr<const Version> sealed = versions_.current();
  const TableVersion& quiet = *sealed->Find(id);
  if (AnyResize(*quiet.info, changed) && !quiet.parts.empty()) {
    return MakeError(ErrorKind::kInvalid, "{} has rows; lists of a fixed size can change it only while there are none",
                     FullName(changed));
  }
  if (!again) {
    changed.since = versions_.visible();
    ForgetUnused(quiet, &changed.history);
  }
  SHEAF_ASSIGN_OR_RETURN(const VersionChange change, SwitchColumns(quiet, std::make_shared<const TableInfo>(std::move(changed))));
  SHEAF_RETURN_NOT_OK(CommitDefinition(change));
  LogInfo("table.altered", {{"table", FullName(*change.info)}, {"id", id}, {"schema_version", change.info->schema_version}});
  return change.info;
}

}  // namespace sheaf::store
