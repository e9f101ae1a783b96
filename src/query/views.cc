#include "query/views.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <fmt/format.h>

#include "columns/key_codec.h"
#include "core/log.h"
#include "query/catalog.h"

namespace sheaf::query {

namespace {

constexpr char kTable[] = "definitions", kKind[] = "materialized view";
constexpr auto kIdleWait = std::chrono::milliseconds(100);
/// Entries of this long are taken together: planning a statement for each would cost more than it tells sooner.
constexpr auto kTick = std::chrono::milliseconds(2);
constexpr auto kRetry = std::chrono::seconds(1);

std::shared_ptr<arrow::Schema> DefinitionsSchema() {
  return arrow::schema({arrow::field("kind", arrow::utf8(), false), arrow::field("schema_name", arrow::utf8(), false),
                        arrow::field("name", arrow::utf8(), false), arrow::field("definition", arrow::utf8(), false),
                        arrow::field("refresh_ms", arrow::int64()),
                        arrow::field("created_at", arrow::timestamp(arrow::TimeUnit::NANO, "UTC"), false)});
}

Result<std::shared_ptr<arrow::Array>> Text(const std::string& value) {
  arrow::StringBuilder builder;
  SHEAF_RETURN_NOT_OK(builder.Append(value));
  return builder.Finish();
}

/// The row of a definition, or its key alone.
Result<std::shared_ptr<arrow::RecordBatch>> ToRow(const ViewDefinition& definition, bool key_only) {
  arrow::ArrayVector columns(3);
  SHEAF_ASSIGN_OR_RETURN(columns[0], Text(kKind));
  SHEAF_ASSIGN_OR_RETURN(columns[1], Text(definition.schema_name));
  SHEAF_ASSIGN_OR_RETURN(columns[2], Text(definition.name));
  const auto schema = DefinitionsSchema();
  if (key_only) {
    return arrow::RecordBatch::Make(arrow::schema({schema->field(0), schema->field(1), schema->field(2)}), 1, std::move(columns));
  }
  SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), Text(definition.select_sql));
  arrow::Int64Builder refresh;
  SHEAF_RETURN_NOT_OK(definition.refresh_ms ? refresh.Append(*definition.refresh_ms) : refresh.AppendNull());
  SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), refresh.Finish());
  arrow::TimestampBuilder created(schema->field(5)->type(), arrow::default_memory_pool());
  SHEAF_RETURN_NOT_OK(created.Append(definition.created_ns));
  SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), created.Finish());
  return arrow::RecordBatch::Make(schema, 1, std::move(columns));
}

std::vector<ViewDefinition> FromRows(const arrow::RecordBatch& rows) {
  const auto text = [&rows](int column, int64_t row) {
    return std::string(static_cast<const arrow::StringArray&>(*rows.column(column)).GetView(row));
  };
  std::vector<ViewDefinition> definitions;
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    if (text(0, row) != kKind) continue;
    ViewDefinition definition{.schema_name = text(1, row), .name = text(2, row), .select_sql = text(3, row)};
    const auto& refresh = static_cast<const arrow::Int64Array&>(*rows.column(4));
    if (refresh.IsValid(row)) definition.refresh_ms = refresh.Value(row);
    definition.created_ns = static_cast<const arrow::TimestampArray&>(*rows.column(5)).Value(row);
    definitions.push_back(std::move(definition));
  }
  return definitions;
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
    while (following_) {  // DuckDB forgets an interrupt that comes before a statement has begun.
      for (const auto& view : views_) view->Close();
      changed_.WaitFor(&mutex_, std::chrono::milliseconds(10));
    }
  }
  if (follower_.joinable()) follower_.join();
  MutexLock lock(&mutex_);
  views_.clear();
}

Result<std::shared_ptr<View>> Views::Make(ViewDefinition definition) const {
  SHEAF_ASSIGN_OR_RETURN(auto session, make_session_());
  return View::Make(database_, std::move(session), std::move(definition));
}

/// Made with the first definition.
Result<TableId> Views::DefinitionsTable() {
  const auto found = database_->FindTable(kSystemSchema, kTable);
  if (found.ok()) return (*found)->id;
  store::NewTable wanted{.schema_name = kSystemSchema, .name = kTable, .schema = DefinitionsSchema(),
                         .primary_key = {"kind", "schema_name", "name"}};
  wanted.if_not_exists = wanted.internal = true;
  SHEAF_ASSIGN_OR_RETURN(const auto made, database_->CreateTable(wanted));
  return made->id;
}

Result<std::vector<ViewDefinition>> Views::Definitions() const {
  std::vector<ViewDefinition> definitions;
  const auto table = database_->FindTable(kSystemSchema, kTable);
  if (!table.ok()) return definitions;
  const auto snapshot = database_->GetSnapshot();
  SHEAF_ASSIGN_OR_RETURN(const auto rows, snapshot->Scan((*table)->id, {}, {}));
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, rows->Next());
    if (!batch) return definitions;
    for (ViewDefinition& definition : FromRows(*batch)) definitions.push_back(std::move(definition));
  }
}

Result<std::optional<ViewDefinition>> Views::FindDefinition(const ViewDefinition& named) const {
  SHEAF_ASSIGN_OR_RETURN(auto definitions, Definitions());
  for (ViewDefinition& definition : definitions) {
    if (IsNamed(definition, named.schema_name, named.name)) return std::optional(std::move(definition));
  }
  return std::nullopt;
}

Status Views::LoadDefinitions() {
  SHEAF_ASSIGN_OR_RETURN(const auto definitions, Definitions());
  for (const ViewDefinition& definition : definitions) {
    const auto view = Make(definition);
    if (view.ok()) {
      Install(definition, *view);
    } else {  // It stays defined, and can be dropped by name; reading it says that there is no such table.
      LogError("view.cannot_be_made", {{"view", definition.full_name()}, {"error", view.status().message()}});
    }
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
  SHEAF_ASSIGN_OR_RETURN(const auto known, FindDefinition(wanted));
  if (known && statement.if_not_exists) return Status::OK();
  if (known && !statement.or_replace) {
    return MakeError(ErrorKind::kAlreadyExists, "the materialized view {} is there already", wanted.full_name());
  }
  if (!known && database_->FindTable(wanted.schema_name, wanted.name).ok()) {
    return MakeError(ErrorKind::kAlreadyExists, "{} is a table", wanted.full_name());
  }
  SHEAF_ASSIGN_OR_RETURN(const auto view, Make(wanted));
  {
    MutexLock lock(&mutex_);
    building_after_ = database_->GetSnapshot()->lsn();
  }
  KeepLog();
  Status done = view->Build(database_->GetSnapshot());
  if (done.ok()) {
    const auto add = [&]() -> Status {
      SHEAF_ASSIGN_OR_RETURN(const TableId table, DefinitionsTable());
      SHEAF_ASSIGN_OR_RETURN(const auto row, ToRow(wanted, false));
      if (!known || known->name == wanted.name) return database_->Append({{.table = table, .batch = row}}).status();
      SHEAF_ASSIGN_OR_RETURN(const auto key, ToRow(*known, true));  // To the table a name in other letters is another one.
      return database_->Append({{.table = table, .batch = key, .op = store::RowOp::kDelete}, {.table = table, .batch = row}}).status();
    };
    done = add();
  }
  if (done.ok()) Install(wanted, view);
  MutexLock lock(&mutex_);
  building_after_.reset();
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
  ++version_;
  changed_.NotifyAll();
}

Status Views::Drop(const ViewStatement& statement) {
  SHEAF_ASSIGN_OR_RETURN(const auto known, FindDefinition(statement.definition));
  if (!known && statement.if_exists) return Status::OK();
  if (!known) return MakeError(ErrorKind::kNotFound, "there is no materialized view {}", statement.definition.full_name());
  SHEAF_ASSIGN_OR_RETURN(const TableId table, DefinitionsTable());
  SHEAF_ASSIGN_OR_RETURN(const auto key, ToRow(*known, true));
  SHEAF_RETURN_NOT_OK(database_->Append({{.table = table, .batch = key, .op = store::RowOp::kDelete}}).status());
  Install(*known, nullptr);
  return Status::OK();
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
  for (const auto& view : views_) {
    if (!view->is_refreshed() && view->lsn() > Lsn()) kept = kept ? std::min(*kept, view->lsn()) : view->lsn();
  }
  database_->KeepLogAfter(kept);
}

void Views::Follow() {
  Lsn seen;
  bool failed = false;
  while (true) {
    {
      MutexLock lock(&mutex_);
      if (stopping_) return;
      if (views_.empty()) {  // Nothing is to be looked for.
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
  for (const char* name : {"lsn", "groups", "rows_taken", "groups_recomputed", "rebuilds"}) add(name, LogicalType::BIGINT);
  add("apply_us_per_row", LogicalType::DOUBLE);
  add("longest_lag_ms", LogicalType::DOUBLE);
  add("refresh_ms", LogicalType::BIGINT);
  add("error", LogicalType::VARCHAR);
  add("sql", LogicalType::VARCHAR);
  table.rows = [views] {
    std::vector<duckdb::vector<Value>> rows;
    for (const auto& view : views->All()) {
      const ViewStatus status = view->status();
      const auto& definition = view->definition();
      const double taken = static_cast<double>(std::max<int64_t>(1, status.rows_taken));
      rows.push_back({Value(definition.schema_name), Value(definition.name), Value(status.state),
                      Value::BIGINT(static_cast<int64_t>(status.lsn.value)), Value::BIGINT(status.groups), Value::BIGINT(status.rows_taken),
                      Value::BIGINT(status.groups_recomputed), Value::BIGINT(status.rebuilds),
                      Value::DOUBLE(static_cast<double>(status.apply_ns) * 1e-3 / taken),
                      Value::DOUBLE(static_cast<double>(status.lag_ns_max) * 1e-6),
                      definition.refresh_ms ? Value::BIGINT(*definition.refresh_ms) : Value(LogicalType::BIGINT),
                      status.error.empty() ? Value(LogicalType::VARCHAR) : Value(status.error), Value(definition.sql())});
    }
    return rows;
  };
  return table;
}

}  // namespace sheaf::query
