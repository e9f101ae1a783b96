#include "query/views.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/log.h"
#include "query/catalog.h"
#include "query/error_map.h"
#include "query/kept_sql.h"
#include "query/view_statements.h"

namespace sheaf::query {

namespace {

constexpr auto kIdleWait = std::chrono::milliseconds(100);
/// Entries of this long are taken together: planning a statement for each would cost more than it tells sooner.
constexpr auto kTick = std::chrono::milliseconds(2);
constexpr auto kRetry = std::chrono::seconds(1);
/// What views get at the end to take in the last entries, before their statements are interrupted.
constexpr auto kLastCatchUp = std::chrono::seconds(1);

/// A view with a watermark is kept as the clauses of that, AS and the SELECT.
constexpr std::string_view kWatermark = "WATERMARK FOR ";

Definition ToStore(const ViewDefinition& view) {
  return {.kind = kMaterializedViewKind, .schema_name = view.schema_name, .name = view.name,
          .text = view.watermark ? fmt::format("{} AS {}", view.watermark->sql(), view.select_sql) : view.select_sql,
          .refresh_ms = view.refresh_ms, .created_ns = view.created_ns};
}

duckdb::Value TextOrNull(const std::string& text) {
  return text.empty() ? duckdb::Value(duckdb::LogicalType::VARCHAR) : duckdb::Value(text);
}

duckdb::Value Time(int64_t us) {
  return us == Watermark::kNone ? duckdb::Value(duckdb::LogicalType::TIMESTAMP) : duckdb::Value::TIMESTAMP(duckdb::timestamp_t(us));
}

duckdb::Value SavedLsn(const ViewStatus& status) {
  return status.saved_lsn ? duckdb::Value::BIGINT(static_cast<int64_t>(status.saved_lsn->value))
                          : duckdb::Value(duckdb::LogicalType::BIGINT);
}

bool IsNamed(const ViewDefinition& definition, const std::string& schema_name, const std::string& name) {
  return duckdb::StringUtil::CIEquals(definition.schema_name, schema_name) && duckdb::StringUtil::CIEquals(definition.name, name);
}

}  // namespace

Status Views::Start(MakeSession make_session) {
  make_session_ = std::move(make_session);
  {
    MutexLock definitions(&definitions_mutex_);
    SHEAF_RETURN_NOT_OK(LoadDefinitions());
  }
  KeepLog();
  MutexLock lock(&mutex_);
  following_ = true;
  follower_ = std::thread([this] {
    Follow();
    for (const auto& view : All()) {
      if (view->lsn() > Lsn()) view->CatchUp(database_->GetSnapshot()).ok();  // What fails is done at the next start.
    }
    Save(/*closing=*/true);
    MutexLock ending(&mutex_);
    following_ = false;
    changed_.NotifyAll();
  });
  return Status::OK();
}

void Views::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
    const auto patient_until = std::chrono::steady_clock::now() + kLastCatchUp;
    while (following_ && std::chrono::steady_clock::now() < patient_until) changed_.WaitFor(&mutex_, std::chrono::milliseconds(10));
    while (following_) {  // DuckDB forgets an interrupt that comes before a statement has begun.
      for (const auto& view : views_) view->Close();
      changed_.WaitFor(&mutex_, std::chrono::milliseconds(10));
    }
  }
  if (follower_.joinable()) follower_.join();
  MutexLock lock(&mutex_);
  views_.clear();
}

Result<ViewDefinition> Views::ToView(const Definition& stored) const {
  ViewDefinition view{.schema_name = stored.schema_name, .name = stored.name, .select_sql = stored.text, .refresh_ms = stored.refresh_ms};
  if (stored.text.starts_with(kWatermark)) {
    SHEAF_ASSIGN_OR_RETURN(const auto session, make_session_());
    std::optional<ViewStatement> read;
    SHEAF_RETURN_NOT_OK(WithoutExceptions([&]() -> Status {
      SHEAF_ASSIGN_OR_RETURN(read, ParseViewStatement(session->connection.get(), "CREATE MATERIALIZED VIEW v " + stored.text));
      return Status::OK();
    }));
    if (!read) return MakeError(ErrorKind::kCorruption, "the definition of {} cannot be read: {}", view.full_name(), stored.text);
    view.watermark = read->definition.watermark;
    view.select_sql = read->definition.select_sql;
  }
  view.created_ns = stored.created_ns;
  return view;
}

Result<std::shared_ptr<View>> Views::Make(ViewDefinition definition) const {
  SHEAF_ASSIGN_OR_RETURN(auto session, make_session_());
  return View::Make(database_, std::move(session), std::move(definition), *kept_->Get());
}

Status Views::LoadDefinitions() {
  SHEAF_ASSIGN_OR_RETURN(const auto stored, definitions_->Read());
  for (const Definition& each : stored) {
    if (each.kind != kMaterializedViewKind) continue;
    const auto definition = ToView(each);
    const auto view = definition.ok() ? Make(*definition) : definition.status();
    if (view.ok()) {
      Install(*definition, *view);
      continue;
    }
    // It stays defined, and can be dropped by name; reading it says that there is no such table. Its state is for the next start.
    LogError("view.cannot_be_made", {{"view", each.full_name()}, {"error", view.status().message()}});
    SHEAF_ASSIGN_OR_RETURN(const auto saved, states_.SavedLsn(*database_->GetSnapshot(), each.schema_name, each.name));
    MutexLock lock(&mutex_);
    if (saved) unmade_[{each.schema_name, each.name}] = *saved;
  }
  return Status::OK();
}

Status Views::Execute(const ViewStatement& statement) {
  MutexLock definitions(&definitions_mutex_);
  if (statement.kind == ViewStatement::Kind::kCreate) return Create(statement);
  if (statement.kind == ViewStatement::Kind::kDrop) return Drop(statement);
  const auto view = Find(statement.definition.schema_name, statement.definition.name);
  if (!view) return MakeError(ErrorKind::kNotFound, "there is no materialized view {}", statement.definition.full_name());
  if (view->is_refreshed()) return view->Build(database_->GetSnapshot());
  return MakeError(ErrorKind::kInvalid, "{} is kept fresh by itself: REFRESH is for views with REFRESH EVERY",
                   statement.definition.full_name());
}

Status Views::Create(const ViewStatement& statement) {
  const ViewDefinition& wanted = statement.definition;
  SHEAF_ASSIGN_OR_RETURN(const auto known, definitions_->Find(kMaterializedViewKind, wanted.schema_name, wanted.name));
  if (known && statement.if_not_exists) return Status::OK();
  if (known && !statement.or_replace) {
    return MakeError(ErrorKind::kAlreadyExists, "the materialized view {} is there already", wanted.full_name());
  }
  SHEAF_RETURN_NOT_OK(definitions_->CheckFree(ToStore(wanted)));  // Before it is built, which may take long.
  SHEAF_ASSIGN_OR_RETURN(const auto view, Make(wanted));
  {
    MutexLock lock(&mutex_);
    building_after_ = database_->GetSnapshot()->lsn();
  }
  KeepLog();
  Status done = view->Build(database_->GetSnapshot());
  if (done.ok()) done = definitions_->Put(ToStore(wanted));
  if (done.ok()) Install(wanted, view);
  {
    MutexLock lock(&mutex_);
    building_after_.reset();
  }
  KeepLog();
  return done;
}

void Views::Install(const ViewDefinition& definition, const std::shared_ptr<View>& view) {
  const auto before = Find(definition.schema_name, definition.name);
  MutexLock lock(&mutex_);
  if (before) {
    std::erase(views_, before);
    before->Close();
  }
  if (view) views_.push_back(view);
  std::erase_if(unmade_, [&](const auto& each) { return IsNamed(definition, each.first.first, each.first.second); });
  ++version_;
  changed_.NotifyAll();
}

Status Views::Drop(const ViewStatement& statement) {
  const ViewDefinition& named = statement.definition;
  SHEAF_ASSIGN_OR_RETURN(const bool known, definitions_->Remove(kMaterializedViewKind, named.schema_name, named.name));
  if (known) Install(named, nullptr);
  KeepLog();
  if (known || statement.if_exists) return Status::OK();
  return MakeError(ErrorKind::kNotFound, "there is no materialized view {}", named.full_name());
}

template <typename Matches>
std::shared_ptr<View> Views::FindWhere(const Matches& matches) const {
  MutexLock lock(&mutex_);
  const auto found = std::find_if(views_.begin(), views_.end(), [&](const auto& view) { return matches(*view); });
  return found == views_.end() ? nullptr : *found;
}

std::shared_ptr<View> Views::Find(const std::string& schema_name, const std::string& name) const {
  return FindWhere([&](const View& view) { return IsNamed(view.definition(), schema_name, name); });
}

std::shared_ptr<View> Views::Find(const std::string& full_name) const {
  return FindWhere([&](const View& view) { return view.definition().full_name() == full_name; });
}

std::vector<std::shared_ptr<View>> Views::All() const {
  MutexLock lock(&mutex_);
  return views_;
}

std::shared_ptr<View> Views::MadeOf(TableId table) const {
  return FindWhere([table](const View& view) {
    const auto& tables = view.tables();
    return std::find(tables.begin(), tables.end(), table) != tables.end();
  });
}

/// The log keeps what some view has not taken in yet.
void Views::KeepLog() {
  std::optional<Lsn> kept;
  MutexLock lock(&mutex_);
  kept = building_after_;
  for (const auto& [name, saved] : unmade_) kept = kept ? std::min(*kept, saved) : saved;
  for (const auto& view : views_) {
    if (const auto needed = view->log_needed_after()) kept = kept ? std::min(*kept, *needed) : *needed;
  }
  database_->KeepLogAfter(kept);
}

void Views::Save(bool closing) {
  if (database_->options().read_only) return;
  for (const auto& view : All()) {
    const Status saved = view->SaveIfDue(std::chrono::steady_clock::now(), closing);
    if (!saved.ok()) LogWarn("view.not_saved", {{"view", view->definition().full_name()}, {"error", saved.message()}});
  }
  if (const uint64_t version = version_.load(); std::exchange(cleaned_, version) == version) return;
  if (const Status removed = RemoveOtherStates(); !removed.ok()) LogWarn("view.states_not_removed", {{"error", removed.message()}});
}

Status Views::RemoveOtherStates() const {
  SHEAF_ASSIGN_OR_RETURN(const auto defined, definitions_->Read());
  std::vector<std::pair<std::string, std::string>> known;
  for (const Definition& each : defined) {
    if (each.kind == kMaterializedViewKind) known.emplace_back(each.schema_name, each.name);
  }
  return states_.RemoveOthers(known);
}

void Views::Follow() {
  Lsn seen;
  bool failed = false;
  while (true) {
    if (All().empty()) {  // Nothing is to be looked for.
      Save(/*closing=*/false);
      KeepLog();
    }
    {
      MutexLock lock(&mutex_);
      if (stopping_) return;
      if (views_.empty()) {
        changed_.WaitFor(&mutex_, std::chrono::seconds(1));
        continue;
      }
    }
    if (!failed) database_->WaitForVisible(seen, kIdleWait);
    const auto began = std::chrono::steady_clock::now();
    const auto snapshot = database_->GetSnapshot();
    failed = false;
    for (const auto& view : All()) {
      bool done = true;
      if (view->IsDue(began)) done = view->Build(snapshot).ok();
      done = view->CatchUp(snapshot).ok() && done;
      failed |= !done && !view->closed();
    }
    seen = snapshot->lsn();
    Save(/*closing=*/false);
    KeepLog();
    MutexLock lock(&mutex_);
    const auto left = (failed ? kRetry : kTick) - (std::chrono::steady_clock::now() - began);
    if (!stopping_ && left > std::chrono::nanoseconds(0)) changed_.WaitFor(&mutex_, left);
  }
}

SystemTable ViewsTable(const Views* views) {
  using duckdb::LogicalType;
  using duckdb::Value;
  SystemTable table;
  table.name = "views";
  const auto add = [&table](const char* name, const LogicalType& type) {
    table.columns.push_back(name);
    table.types.push_back(type);
  };
  add("schema_name", LogicalType::VARCHAR);
  add("name", LogicalType::VARCHAR);
  add("state", LogicalType::VARCHAR);
  for (const char* name : {"lsn", "saved_lsn", "saved_bytes", "groups", "rows_taken", "groups_recomputed", "rebuilds"}) {
    add(name, LogicalType::BIGINT);
  }
  add("watermark", LogicalType::TIMESTAMP);
  add("late_rows", LogicalType::BIGINT);
  add("apply_us_per_row", LogicalType::DOUBLE);
  add("longest_lag_ms", LogicalType::DOUBLE);
  add("refresh_ms", LogicalType::BIGINT);
  add("error", LogicalType::VARCHAR);
  add("unsaved_because", LogicalType::VARCHAR);
  add("sql", LogicalType::VARCHAR);
  table.rows = [views] {
    std::vector<duckdb::vector<Value>> rows;
    for (const auto& view : views->All()) {
      const ViewStatus status = view->status();
      const auto& definition = view->definition();
      const double taken = static_cast<double>(std::max<int64_t>(1, status.rows_taken));
      rows.push_back({Value(definition.schema_name), Value(definition.name), Value(status.state),
                      Value::BIGINT(static_cast<int64_t>(status.lsn.value)), SavedLsn(status), Value::BIGINT(status.saved_bytes),
                      Value::BIGINT(status.groups), Value::BIGINT(status.rows_taken),
                      Value::BIGINT(status.groups_recomputed), Value::BIGINT(status.rebuilds),
                      Time(status.progress.value_us), Value::BIGINT(status.progress.late_rows),
                      Value::DOUBLE(static_cast<double>(status.apply_ns) * 1e-3 / taken),
                      Value::DOUBLE(static_cast<double>(status.lag_ns_max) * 1e-6),
                      definition.refresh_ms ? Value::BIGINT(*definition.refresh_ms) : Value(LogicalType::BIGINT),
                      TextOrNull(status.error), TextOrNull(status.unsaved_because), Value(definition.sql())});
    }
    return rows;
  };
  return table;
}

}  // namespace sheaf::query
