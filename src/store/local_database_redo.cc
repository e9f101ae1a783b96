/// LocalDatabase: changes of tables in the log, written behind the manifest that made them, done again by a restore.

#include <algorithm>
#include <future>
#include <utility>

#include "core/log.h"
#include "store/local_database.h"
#include "store/table_record.h"

namespace sheaf::store {
namespace {

/// How often room in the log is waited for before a change is left to be logged later.
constexpr int kTries = 100;

/// Versions of the schema that parts here are of. Where the change was made there were none any more, so it forgot them.
void KeepHistory(const TableVersion& table, TableInfo* changed) {
  std::vector<SchemaVersion> known = table.info->history;
  known.push_back({table.info->schema_version, table.info->since, table.info->schema});
  for (const SchemaVersion& old : known) {
    const auto same = [&](const SchemaVersion& kept) { return kept.version == old.version; };
    const auto used = [&](const auto& part) { return part->info.schema_version == old.version; };
    if (old.version >= changed->schema_version || std::none_of(table.parts.begin(), table.parts.end(), used)) continue;
    if (std::none_of(changed->history.begin(), changed->history.end(), same)) changed->history.push_back(old);
  }
  std::sort(changed->history.begin(), changed->history.end(), [](const auto& a, const auto& b) { return a.version < b.version; });
}

}  // namespace

void LocalDatabase::LogDefinitions() {
  std::vector<UnloggedStep> steps;
  {
    MutexLock lock(&commit_mutex_);
    steps = unlogged_;
  }
  const std::shared_ptr<const Version> version = versions_.current();
  const auto log = [&](const UnloggedStep& step) -> Status {
    DefinitionStep whole{.number = step.number, .dropped = step.dropped, .table = std::nullopt};
    if (const TableVersion* table = version->Find(step.table); table != nullptr) {
      SHEAF_ASSIGN_OR_RETURN(whole.table, ToRecord(*table->info));
    }
    SHEAF_ASSIGN_OR_RETURN(const auto payload, EncodeDefinition(whole));
    return AppendDefinition(payload).status();
  };
  for (const UnloggedStep& step : steps) {
    if (const Status logged = log(step); !logged.ok()) {
      LogWarn("definition.not_logged", {{"directory", options_.directory},
                                        {"number", step.number},
                                        {"error", logged.message()},
                                        {"effect", "a restore from an older snapshot cannot go beyond it"}});
      return;
    }
    MutexLock lock(&commit_mutex_);
    std::erase_if(unlogged_, [&](const UnloggedStep& other) { return other.number == step.number; });
  }
}

Result<Lsn> LocalDatabase::AppendDefinition(const std::shared_ptr<arrow::Buffer>& payload) {
  for (int attempt = 1;; ++attempt) {
    auto promise = std::make_shared<std::promise<Result<Lsn>>>();
    std::future<Result<Lsn>> outcome = promise->get_future();
    wal::Entry entry;
    entry.type = kDefinitionEntry;
    entry.payload = payload;
    entry.sender_waits = true;
    const Status submitted =
        log_->Append(std::move(entry), [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); });
    if (submitted.ok()) {
      Result<Lsn> logged = outcome.get();
      if (KindOf(logged.status()) == ErrorKind::kUnknown) SetNotWritable(logged.status().message());
      return logged;
    }
    if (KindOf(submitted) != ErrorKind::kThrottled || attempt == kTries) return submitted;
    SHEAF_RETURN_NOT_OK(log_->SyncThrough(log_->visible_lsn()));
  }
}

Status LocalDatabase::NoteDefinition(const wal::LoggedEntry& entry) {
  auto step = DecodeDefinition(*entry.entry.payload);
  if (!step.ok()) return WithContext(step.status(), fmt::format("log entry {}", entry.lsn));
  {
    MutexLock lock(&commit_mutex_);
    definitions_ = std::max(definitions_, step->number);
    std::erase_if(unlogged_, [&](const UnloggedStep& other) { return other.number == step->number; });
  }
  return Status::OK();
}

Status LocalDatabase::RedoDefinition(const wal::LoggedEntry& entry) {
  MutexLock definitions(&definitions_mutex_);
  auto step = DecodeDefinition(*entry.entry.payload);
  if (!step.ok()) return WithContext(step.status(), fmt::format("log entry {}", entry.lsn));
  bool known = false;  // The snapshot was taken between the change and its entry.
  {
    MutexLock lock(&commit_mutex_);
    known = step->number <= definitions_;
    if (!known) definitions_ = step->number - 1;
  }
  if (known) {
    SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<arrow::Buffer> payload, EncodeDefinition(*step));
    SHEAF_RETURN_NOT_OK(AppendDefinition(payload).status());
  } else if (const Status done = Redo(*step); !done.ok()) {
    return WithContext(done, fmt::format("log entry {}, a change of tables", entry.lsn));
  }
  if (versions_.visible() == entry.lsn) return Status::OK();
  return MakeError(ErrorKind::kCorruption, "log entry {} came as {}: entries before it are missing", entry.lsn, versions_.visible());
}

Status LocalDatabase::Redo(const DefinitionStep& step) {
  const std::shared_ptr<const Version> version = versions_.current();
  const bool drops = version->Find(step.dropped) != nullptr;
  if (!step.table) return drops ? Drop(step.dropped, nullptr) : CommitDefinition({});
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<const TableInfo> info, TableOf(*step.table));
  if (version->Find(info->id) == nullptr) {
    {
      MutexLock lock(&commit_mutex_);
      next_table_ = std::max(next_table_, info->id.Next());
    }
    return Create(info, drops ? step.dropped : TableId());
  }
  MutexLock upkeep(&upkeep_mutex_);
  const TableVersion& table = *versions_.current()->Find(info->id);
  TableInfo changed = *info;
  KeepHistory(table, &changed);
  return Change(table, std::move(changed), /*again=*/true).status();
}

}  // namespace sheaf::store
