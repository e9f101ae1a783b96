#include "query/view.h"

#include <algorithm>
#include <utility>

#include "duckdb/planner/planner.hpp"
#include <fmt/format.h>

#include "core/log.h"
#include "query/error_map.h"
#include "query/lockdown.h"
#include "query/logical_times.h"

namespace sheaf::query {

namespace {

using SteadyClock = std::chrono::steady_clock;

// Of the log; where there is more, computing the view from its tables is not slower, and takes less memory.
constexpr int64_t kChangesBytesMax = int64_t{256} << 20;
constexpr size_t kListedValuesMax = 1000;  // In the condition that finds the rows of groups.

/// Rows of keys as they are in `snapshot`.
Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> RowsOf(const store::Snapshot& snapshot, TableId table,
                                                                const columns::KeyColumn& keys) {
  SHEAF_ASSIGN_OR_RETURN(const auto found, snapshot.MultiGet(table, keys));
  arrow::RecordBatchVector rows;
  for (const auto& row : found) {
    if (row) rows.push_back(row.Slice());
  }
  if (rows.size() <= 1) return rows;
  SHEAF_ASSIGN_OR_RETURN(auto whole, arrow::ConcatenateRecordBatches(rows));  // A granule for each would cost more than its row.
  return std::vector<std::shared_ptr<arrow::RecordBatch>>{std::move(whole)};
}

/// Each key once.
columns::KeyColumn Distinct(const columns::KeyColumn& keys) {
  std::vector<std::string_view> sorted;
  for (int64_t i = 0; i < keys.size(); ++i) sorted.push_back(keys[i]);
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  columns::KeyColumn distinct;
  for (const std::string_view key : sorted) distinct.Add(key);
  return distinct;
}

/// When a window is complete that begins, or of a session ends, at `us`; kNoTime: never.
int64_t EndOf(int64_t us, const ViewWindow& window) {
  if (us == kNoTime) return kNoTime;
  int64_t end = kNoTime;
  if (window.size.months == 0) {
    const int64_t size = duckdb::Interval::GetMicro(window.size) + (window.session ? 1 : 0);  // A row as late as the pause is still of it.
    return __builtin_add_overflow(us, size, &end) ? kNoTime : end;
  }
  const Status added = WithoutExceptions([&] {  // Months may lead past the last time there is.
    end = duckdb::Interval::Add(duckdb::timestamp_t(us), window.size).value;
    return Status::OK();
  });
  return added.ok() ? end : kNoTime;
}

}  // namespace

std::string ViewDefinition::sql() const {
  const auto quoted = [](const std::string& text) { return duckdb::KeywordHelper::WriteOptionallyQuoted(text); };
  const std::string refresh = refresh_ms ? fmt::format(" REFRESH EVERY INTERVAL '{} milliseconds'", *refresh_ms) : "";
  return fmt::format("CREATE MATERIALIZED VIEW {}.{}{}{} AS {}", quoted(schema_name), quoted(name), refresh,
                     watermark ? " " + watermark->sql() : "", select_sql);
}

Result<std::shared_ptr<View>> View::Make(store::Database* database, std::unique_ptr<Session> session, ViewDefinition definition,
                                         const KeptSet& kept) {
  std::shared_ptr<View> view(new View(database, std::move(session), std::move(definition)));
  SHEAF_RETURN_NOT_OK(WithoutExceptions([&] { return view->PlanIt(kept); }, view->definition_.select_sql));
  return view;
}

Status View::PlanIt(const KeptSet& kept) {
  auto& context = *session_->connection->context;
  duckdb::Parser parser(context.GetParserOptions());
  parser.ParseQuery(definition_.select_sql);
  if (parser.statements.size() != 1 || parser.statements[0]->type != duckdb::StatementType::SELECT_STATEMENT) {
    return MakeError(ErrorKind::kInvalid, "{} must be AS SELECT …", definition_.full_name());
  }
  const auto& select = parser.statements[0]->Cast<duckdb::SelectStatement>();
  SHEAF_RETURN_NOT_OK(CheckStatement(select, kept));  // Whoever asked for it, whoever wrote the definition.
  if (!is_refreshed() && UsesKept(select, kept)) {  // It is planned for each batch of rows, and these can change in between.
    return MakeError(ErrorKind::kUnsupported,
                     "{} is made of a view or macro that SQL made: write out what that stands for, or use REFRESH EVERY",
                     definition_.full_name());
  }
  Status planned;
  session_->state->Begin(std::make_shared<StatementRecord>());
  context.RunFunctionInTransaction([&] {
    if (is_refreshed()) {
      duckdb::Planner planner(context);
      planner.CreatePlan(select.Copy());
      types_ = planner.types;
      std::string columns;
      for (size_t i = 0; i < planner.names.size(); ++i) {
        columns += fmt::format("{}\"{}\" AS {}", i == 0 ? "" : ", ", GroupColumn(i),
                               duckdb::KeywordHelper::WriteQuoted(planner.names[i], '"'));
      }
      output_sql_ = fmt::format("SELECT {} FROM {}({})", columns, kViewFunction, duckdb::Value(definition_.full_name()).ToSQLString());
      plan_.groups = types_.size();
      return;
    }
    auto plan = PlanView(context, definition_.full_name(), select);
    planned = plan.status();
    if (!plan.ok()) return;
    plan_ = std::move(plan).ValueUnsafe();
    output_sql_ = plan_.output_sql;
    tables_ = plan_.tables();
    planned = SetWatermark();
    if (!planned.ok()) return;
    const ViewState state(context, plan_, plan_.input_types);
    types_ = state.types();
    types_.push_back(duckdb::LogicalType::BOOLEAN);  // kCompleteColumn, behind kChangedColumn.
    if (const auto unsaved = state.unsaved()) {
      unsaved_because_ = fmt::format("what {}() has seen cannot be written to disk", plan_.aggregates[*unsaved].function);
    }
  });
  return planned;
}

/// Runs a statement on what `snapshot` holds, in the session: whoever follows the log may.
Status View::Run(const std::string& sql, std::shared_ptr<const store::Snapshot> snapshot,
                 const std::function<void(duckdb::unique_ptr<duckdb::DataChunk>)>& take) {
  const auto record = std::make_shared<StatementRecord>();
  session_->state->Begin(record);
  session_->state->SetWriting(false, false);
  session_->state->SetSnapshot(std::move(snapshot));
  const Status run = WithoutExceptions([&]() -> Status {
    const auto result = session_->connection->SendQuery(sql);
    while (!result->HasError()) {
      auto chunk = result->Fetch();
      if (result->HasError() || !chunk || chunk->size() == 0) break;
      take(std::move(chunk));
    }
    return result->HasError() ? FromDuckDb(result->GetErrorObject()) : Status::OK();
  });
  session_->state->SetSnapshot(nullptr);
  return record->error().ok() ? run : record->error();
}

Status View::Build(const std::shared_ptr<const store::Snapshot>& snapshot) {
  MutexLock following(&following_mutex_);
  return BuildNow(snapshot);
}

Status View::BuildNow(const std::shared_ptr<const store::Snapshot>& snapshot) {
  const auto began = SteadyClock::now();
  if (is_refreshed()) return Refresh(snapshot);
  std::unique_ptr<ViewState> state;
  int64_t rows = 0;
  Watermark::Progress progress;
  const Status built = WithoutExceptions([&]() -> Status {
    state = NewState(plan_);
    SHEAF_ASSIGN_OR_RETURN(progress, ProgressOf(snapshot));
    return Run(plan_.input_sql, snapshot, [&](duckdb::unique_ptr<duckdb::DataChunk> chunk) {
      rows += static_cast<int64_t>(chunk->size());
      state->Add(*chunk, snapshot->lsn());
    });
  });
  if (!built.ok()) {
    Fail(built);
    return built;
  }
  before_ = plan_.keyed_tables.empty() ? nullptr : snapshot;
  unsaved_changes_ = true;
  LogInfo("view.built", {{"view", definition_.full_name()},
                         {"lsn", snapshot->lsn()},
                         {"rows", rows},
                         {"groups", state->groups()},
                         {"seconds", std::chrono::duration<double>(SteadyClock::now() - began).count()}});
  Replace(std::move(state), nullptr, snapshot->lsn(), progress);
  return Status::OK();
}

std::unique_ptr<ViewState> View::NewState(const ViewPlan& plan) {
  std::unique_ptr<ViewState> state;
  auto& context = *session_->connection->context;
  context.RunFunctionInTransaction([&] { state = std::make_unique<ViewState>(context, plan, plan_.input_types); });
  return state;
}

Status View::SetWatermark() {
  if (!definition_.watermark) return Status::OK();
  rule_ = definition_.watermark;
  if (!plan_.append_table) {
    return MakeError(ErrorKind::kUnsupported, "{} has a WATERMARK, but is made of keyed tables only: their rows change",
                     definition_.full_name());
  }
  if (rule_->lateness_us && !plan_.keyed_tables.empty()) {
    return MakeError(ErrorKind::kUnsupported,
                     "{} has an ALLOWED LATENESS, but is joined with a keyed table: where that changes, groups are computed anew from all "
                     "rows",
                     definition_.full_name());
  }
  const auto snapshot = database_->GetSnapshot();
  SHEAF_ASSIGN_OR_RETURN(const auto table, snapshot->Table(*plan_.append_table));
  const auto& info = *table.info;
  for (const auto& field : info.schema->fields()) {
    if (!duckdb::StringUtil::CIEquals(field->name(), rule_->column) || field->type()->id() != arrow::Type::TIMESTAMP) continue;
    rule_->column = field->name();
    return Status::OK();
  }
  return MakeError(ErrorKind::kInvalid, "{} has a WATERMARK FOR {}, but {}.{} has no timestamp of that name", definition_.full_name(),
                   rule_->column, info.schema_name, info.name);
}

Result<Watermark::Progress> View::ProgressOf(const std::shared_ptr<const store::Snapshot>& snapshot) {
  Watermark::Progress progress;
  if (!rule_) return progress;
  SHEAF_ASSIGN_OR_RETURN(const auto table, snapshot->Table(*plan_.append_table));
  const auto quoted = [](const std::string& name) { return duckdb::KeywordHelper::WriteQuoted(name, '"'); };
  const std::string time = quoted(rule_->column);
  const std::string sql = fmt::format("SELECT epoch_us(max({}) FILTER (WHERE isfinite({}))) FROM {}.{}", time, time,
                                      quoted(table.info->schema_name), quoted(table.info->name));
  SHEAF_RETURN_NOT_OK(Run(sql, snapshot, [&](duckdb::unique_ptr<duckdb::DataChunk> chunk) {
    const auto newest = chunk->GetValue(0, 0);
    if (!newest.IsNull()) progress.value_us = Watermark::Behind(newest.GetValue<int64_t>(), rule_->delay_us);
  }));
  return progress;
}

void View::Replace(std::unique_ptr<ViewState> state, std::shared_ptr<duckdb::ColumnDataCollection> rows, Lsn lsn,
                   const Watermark::Progress& progress) {
  MutexLock lock(&mutex_);
  watermark_.Start(progress, lsn);
  std::swap(state_, state);  // The old one goes outside the lock.
  rows_ = std::move(rows);
  lsn_ = lsn;
  counts_.rebuilds += built_ ? 1 : 0;
  built_ = true;
  broken_ = restored_ = false;
  error_ = Status::OK();
  changed_.NotifyAll();
}

Status View::Refresh(const std::shared_ptr<const store::Snapshot>& snapshot) {
  refreshed_ = SteadyClock::now();
  auto rows = std::make_shared<duckdb::ColumnDataCollection>(duckdb::Allocator::DefaultAllocator(), types_);
  const Status run = Run(definition_.select_sql, snapshot, [&](duckdb::unique_ptr<duckdb::DataChunk> chunk) { rows->Append(*chunk); });
  if (!run.ok()) {
    Fail(run);
    return run;
  }
  Replace(nullptr, std::move(rows), snapshot->lsn(), {});
  return Status::OK();
}

bool View::IsDue(SteadyClock::time_point now) const {
  return is_refreshed() && now - refreshed_.load() >= std::chrono::milliseconds(*definition_.refresh_ms);
}

void View::Fail(const Status& why) {
  MutexLock lock(&mutex_);
  if (closed_) return;
  if (error_.ok() || error_.message() != why.message()) {
    LogError("view.failed", {{"view", definition_.full_name()}, {"error", why.message()}});
  }
  error_ = why;
  changed_.NotifyAll();
}

Result<View::Changes> View::ReadChanges(Lsn after, Lsn through, const Watermark::Progress& progress) const {
  Changes changes;
  changes.progress = progress;
  const Status read = database_->ReadLogged(after, through, tables_, [&](const store::LoggedRows& logged) -> Status {
    if (changes.bytes > kChangesBytesMax && logged.lsn != changes.through) {  // Entries are whole.
      changes.more = true;
      return MakeError(ErrorKind::kTooLarge, "more than {} bytes to catch up with", kChangesBytesMax);
    }
    if (logged.batch) {
      auto batch = logged.batch;
      changes.rows += batch->num_rows();
      if (rule_) {
        SHEAF_ASSIGN_OR_RETURN(batch, WithoutLateRows(*rule_, std::move(batch), &changes.progress));
      }
      if (batch->num_rows() > 0) changes.appended.push_back(std::move(batch));
    }
    auto& keys = changes.keys[logged.table];
    for (int64_t i = 0; i < logged.keys.size(); ++i) keys.Add(logged.keys[i]);
    changes.rows += logged.keys.size();
    changes.bytes += logged.bytes;
    changes.through = logged.lsn;
    return Status::OK();
  });
  // What rows of keyed tables were is known as of the view's LSN and of the snapshot only, so all is taken at once.
  if (!read.ok() && (!changes.more || !plan_.keyed_tables.empty())) return read;
  if (!changes.more) changes.through = through;
  std::erase_if(changes.keys, [](const auto& of_table) { return of_table.second.size() == 0; });
  return changes;
}

Status View::TakeNext(Lsn after, const std::shared_ptr<const store::Snapshot>& snapshot, Changes* changes) {
  const auto began = SteadyClock::now();
  Watermark::Progress progress;
  {
    MutexLock lock(&mutex_);
    progress = watermark_.progress();
  }
  SHEAF_ASSIGN_OR_RETURN(*changes, ReadChanges(after, snapshot->lsn(), progress));
  changes->before = before_;
  if (changes->rows > 0) {
    const Status applied = WithoutExceptions([&] { return Apply(*changes, snapshot); });
    if (!applied.ok()) return applied;
    unsaved_changes_ = true;
  }
  const int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(SteadyClock::now() - began).count();
  MutexLock lock(&mutex_);
  lsn_ = changes->through;
  if (changes->progress.value_us != progress.value_us) rows_ = nullptr;  // Some may be complete now.
  watermark_.Advance(changes->progress, lsn_);
  if (changes->rows > 0) {
    counts_.rows_taken += changes->rows;
    counts_.apply_ns += ns;
    counts_.lag_ns_max = std::max(counts_.lag_ns_max, ns);
  }
  changed_.NotifyAll();
  return Status::OK();
}

Status View::CatchUp(const std::shared_ptr<const store::Snapshot>& snapshot) {
  if (is_refreshed()) return Status::OK();
  MutexLock following(&following_mutex_);
  Lsn after;
  {
    MutexLock lock(&mutex_);
    if (built_ && lsn_ >= snapshot->lsn()) return Status::OK();
    after = built_ && error_.ok() ? lsn_ : Lsn();
  }
  if (after == Lsn()) {
    const auto restored = std::exchange(restore_tried_, true) ? Result<Lsn>(Lsn()) : Restore(snapshot);
    if (!restored.ok()) LogWarn("view.rebuild", {{"view", definition_.full_name()}, {"reason", restored.status().message()}});
    if (!restored.ok() || *restored == Lsn()) return BuildNow(snapshot);
    after = *restored;
  }
  while (after < snapshot->lsn()) {
    Changes changes;
    const Status taken = TakeNext(after, snapshot, &changes);
    if (!taken.ok()) {
      LogInfo("view.rebuild", {{"view", definition_.full_name()}, {"reason", taken.message()}});
      return BuildNow(snapshot);
    }
    after = changes.through;
  }
  before_ = plan_.keyed_tables.empty() ? nullptr : snapshot;
  MutexLock lock(&mutex_);
  restored_ = false;
  changed_.NotifyAll();
  return Status::OK();
}

Status View::Apply(const Changes& changes, const std::shared_ptr<const store::Snapshot>& snapshot) {
  Chunks added;
  std::unique_ptr<ViewState> touched;
  std::unique_ptr<duckdb::ColumnDataCollection> groups;
  if (!changes.keys.empty()) {
    SHEAF_ASSIGN_OR_RETURN(touched, Touched(changes, snapshot));
    groups = touched->KnownRows();
  }
  if (groups && groups->Count() > 0) {
    SHEAF_RETURN_NOT_OK(Run(InputOf(groups.get()), snapshot, [&](duckdb::unique_ptr<duckdb::DataChunk> chunk) {
      touched->Select(ViewState::Which::kKnown, chunk.get());
      if (chunk->size() > 0) added.push_back(std::move(chunk));
    }));
  }
  if (!changes.appended.empty()) {
    SHEAF_RETURN_NOT_OK(Run(plan_.input_sql, store::WithRows(snapshot, *plan_.append_table, changes.appended),
                            [&](duckdb::unique_ptr<duckdb::DataChunk> chunk) {
                              if (touched) touched->Select(ViewState::Which::kUnknown, chunk.get());
                              if (chunk->size() > 0) added.push_back(std::move(chunk));
                            }));
  }
  MutexLock lock(&mutex_);
  rows_ = nullptr;
  broken_ = true;  // Until all of it is done: what comes now may throw.
  if (groups) {
    counts_.groups_recomputed += static_cast<int64_t>(groups->Count());
    for (auto& chunk : groups->Chunks()) state_->Forget(chunk);
  }
  for (const auto& chunk : added) state_->Add(*chunk, changes.through);
  broken_ = false;
  return Status::OK();
}

Result<std::unique_ptr<ViewState>> View::Touched(const Changes& changes, const std::shared_ptr<const store::Snapshot>& snapshot) {
  ViewPlan counting;
  counting.groups = plan_.groups;
  counting.aggregates.push_back({.function = "count_star", .arguments = {}});
  std::unique_ptr<ViewState> touched = NewState(counting);
  for (const auto& [table, keys] : changes.keys) {
    const columns::KeyColumn distinct = Distinct(keys);
    for (const auto& at : {changes.before, snapshot}) {
      SHEAF_ASSIGN_OR_RETURN(const auto rows, RowsOf(*at, table, distinct));
      if (rows.empty()) continue;
      SHEAF_RETURN_NOT_OK(Run(plan_.input_sql, store::WithRows(at, table, rows),
                              [&](duckdb::unique_ptr<duckdb::DataChunk> chunk) { touched->Add(*chunk, snapshot->lsn()); }));
    }
  }
  return touched;
}

std::string View::InputOf(duckdb::ColumnDataCollection* groups) const {
  std::string conditions;
  for (size_t column = 0; column < plan_.groups && groups->Count() <= kListedValuesMax; ++column) {
    if (types_[column].IsNested()) continue;  // What is left are rows of these groups and some others.
    std::string values;
    bool has_null = false;
    for (auto& chunk : groups->Chunks()) {
      for (size_t row = 0; row < chunk.size(); ++row) {
        const auto value = chunk.GetValue(column, row);
        has_null |= value.IsNull();
        if (!value.IsNull()) values += (values.empty() ? "" : ", ") + value.ToSQLString();
      }
    }
    std::string condition = values.empty() ? "" : fmt::format("\"{}\" IN ({})", GroupColumn(column), values);
    if (has_null) condition += fmt::format("{}\"{}\" IS NULL", condition.empty() ? "" : " OR ", GroupColumn(column));
    conditions += fmt::format("{}({})", conditions.empty() ? " WHERE " : " AND ", condition);
  }
  return fmt::format("SELECT * FROM ({}) AS input{}", plan_.input_sql, conditions);
}

Result<std::shared_ptr<duckdb::ColumnDataCollection>> View::Rows(Lsn lsn, std::chrono::nanoseconds wait,
                                                                 const std::function<bool()>& interrupted) {
  const auto until = SteadyClock::now() + wait;
  MutexLock lock(&mutex_);
  while (!closed_ && (!built_ || restored_ || (lsn_ < lsn && !is_refreshed() && error_.ok()))) {
    if (interrupted()) return MakeError(ErrorKind::kCancelled, "interrupted while waiting for {}", definition_.full_name());
    if ((!built_ || restored_) && !error_.ok()) break;
    const auto left = until - SteadyClock::now();
    const bool is_there = built_ && !restored_;
    if (is_there && left <= std::chrono::nanoseconds(0)) break;
    changed_.WaitFor(&mutex_, is_there ? std::chrono::nanoseconds(left) : std::chrono::milliseconds(20));
  }
  if (!built_) {
    return MakeError(ErrorKind::kUnavailable, "{} is not built: {}", definition_.full_name(),
                     closed_ ? "the database is being closed" : error_.message());
  }
  if (broken_ || restored_) {
    return MakeError(ErrorKind::kUnavailable, "{} is being computed anew: {}", definition_.full_name(),
                     error_.ok() ? "taking in rows failed; see the log" : error_.message());
  }
  if (!rows_) rows_ = WithCompleteness(state_->Rows().get());
  return rows_;
}

std::shared_ptr<duckdb::ColumnDataCollection> View::WithCompleteness(duckdb::ColumnDataCollection* rows) const {
  using duckdb::FlatVector;
  auto answer = std::make_shared<duckdb::ColumnDataCollection>(duckdb::Allocator::DefaultAllocator(), types_);
  const size_t changed = types_.size() - 2, complete = types_.size() - 1;
  const auto& window = plan_.window;
  const bool is_known =
      rule_ && window && duckdb::StringUtil::CIEquals(window->time, rule_->column) && IsTime(types_[window->group]);
  for (auto& chunk : rows->Chunks()) {
    duckdb::DataChunk whole;
    whole.InitializeEmpty(types_);
    for (size_t i = 0; i < complete; ++i) whole.data[i].Reference(chunk.data[i]);
    duckdb::Vector is_complete(duckdb::LogicalType::BOOLEAN), last_change(duckdb::LogicalType::BIGINT);
    for (duckdb::idx_t row = 0; is_known && row < chunk.size(); ++row) {
      const size_t of_end = window->session ? plan_.groups + window->session->last : window->group;
      const int64_t end = EndOf(MicrosOf(chunk.data[of_end], row), *window);
      const auto reached = end == kNoTime ? std::nullopt : watermark_.ReachedAt(end);
      const int64_t lsn = FlatVector::GetData<int64_t>(chunk.data[changed])[row];
      FlatVector::GetData<int64_t>(last_change)[row] = reached ? std::max(lsn, static_cast<int64_t>(reached->value)) : lsn;
      FlatVector::GetData<bool>(is_complete)[row] = reached.has_value();
    }
    if (is_known) {
      whole.data[changed].Reference(last_change);
      whole.data[complete].Reference(is_complete);
    } else {
      whole.data[complete].Reference(duckdb::Value(duckdb::LogicalType::BOOLEAN));
    }
    whole.SetCardinality(chunk.size());
    answer->Append(whole);
  }
  return answer;
}

std::string View::ChangesSql(int64_t lsn) const {
  return fmt::format("{}{}{}", plan_.changes_before, lsn, plan_.changes_behind);
}

std::string View::ColumnName(size_t column) const {
  if (!is_refreshed() && column + 2 >= types_.size()) return column + 1 == types_.size() ? kCompleteColumn : kChangedColumn;
  return column < plan_.groups ? GroupColumn(column) : AggregateColumn(column - plan_.groups);
}

Lsn View::lsn() const {
  MutexLock lock(&mutex_);
  return lsn_;
}

ViewStatus View::status() const {
  MutexLock lock(&mutex_);
  ViewStatus status = counts_;
  status.state = !error_.ok() ? "failed" : built_ ? "fresh" : "building";
  status.lsn = lsn_;
  status.unsaved_because = unsaved_because_;
  status.progress = watermark_.progress();
  status.error = error_.ok() ? "" : error_.message();
  status.groups = state_ ? static_cast<int64_t>(state_->groups()) : rows_ ? static_cast<int64_t>(rows_->Count()) : 0;
  return status;
}

bool View::closed() const {
  MutexLock lock(&mutex_);
  return closed_;
}

void View::Close() {
  MutexLock lock(&mutex_);
  closed_ = true;
  session_->connection->Interrupt();
  changed_.NotifyAll();
}

}  // namespace sheaf::query
