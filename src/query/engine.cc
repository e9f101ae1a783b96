#include "query/engine.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <vector>

#include "duckdb/storage/buffer_manager.hpp"
#include <fmt/format.h>

#include "core/mutex.h"
#include "query/admission.h"
#include "query/catalog.h"
#include "query/deadlines.h"
#include "query/definitions.h"
#include "query/error_map.h"
#include "query/insert_conflicts.h"
#include "query/instance.h"
#include "query/kept_sql.h"
#include "query/parsed_statements.h"
#include "query/precedence.h"
#include "query/query_log.h"
#include "query/result_cache.h"
#include "query/running_query.h"
#include "query/statement_report.h"
#include "query/statement_rights.h"
#include "query/statement_shape.h"
#include "query/system_tables.h"
#include "query/system_views.h"
#include "query/view_statements.h"
#include "query/views.h"

namespace sheaf::query {

namespace {

using Clock = std::chrono::steady_clock;

/// What a statement answers that has been done by the time it is planned.
const std::string kNoRows = "SELECT true AS \"Success\" WHERE false";

int64_t NsSince(Clock::time_point start) { return std::chrono::nanoseconds(Clock::now() - start).count(); }

StatementKind KindOfStatement(const duckdb::SQLStatement& statement) {
  switch (statement.type) {
    case duckdb::StatementType::SELECT_STATEMENT: return StatementKind::kSelect;
    case duckdb::StatementType::INSERT_STATEMENT:
    case duckdb::StatementType::UPDATE_STATEMENT:
    case duckdb::StatementType::DELETE_STATEMENT:
    case duckdb::StatementType::MERGE_INTO_STATEMENT:
    case duckdb::StatementType::COPY_STATEMENT: return StatementKind::kWrite;
    case duckdb::StatementType::CREATE_STATEMENT:
    case duckdb::StatementType::DROP_STATEMENT:
    case duckdb::StatementType::ALTER_STATEMENT: return StatementKind::kDefinition;
    default: return StatementKind::kOther;
  }
}

/// What one Start() has taken and must give back on every way out.
struct Claim {
  std::unique_ptr<Session> session;
  std::shared_ptr<StatementRecord> record = std::make_shared<StatementRecord>();
  std::shared_ptr<Interrupter> interrupter;
  std::optional<Deadlines::Ticket> deadline;
  Admission::Place place = Admission::Place::kNone;
  std::optional<Clock::time_point> expires;
  uint64_t log_id = 0;
  int64_t timeout_ms = 0;
  std::string cache_key;         // Empty: its answer is not to be kept.
  uint64_t definitions = 0;      // Before it was planned.
};

/// A statement that is planned, and how to plan it once more.
struct Begun {
  duckdb::unique_ptr<duckdb::PendingQueryResult> pending;
  Restart restart;
};

class EngineOverDuckDb : public Engine {
 public:
  EngineOverDuckDb(store::Database* database, const EngineOptions& options)
      : database_(database), options_(options),
        admission_(std::max(1, options.concurrent_queries_max), std::max(1, options.concurrent_queries_max / 4),
                   options.waiting_queries_max),
        definitions_(database), kept_(&definitions_), views_(database, &definitions_, &kept_),
        cache_(options.result_cache_bytes_max, database, [this] { return DefinitionsVersion(); }),
        system_tables_(AllSystemTables()) {}
  ~EngineOverDuckDb() override { views_.Stop(); }

  Status OpenClients() {
    SHEAF_ASSIGN_OR_RETURN(clients_, Instance::Open(database_, options_, Shared(), false));
    SHEAF_ASSIGN_OR_RETURN(const auto session, clients_->MakeSessionApart());
    SHEAF_RETURN_NOT_OK(kept_.Load(*session->connection->context));
    return views_.Start([this] { return clients_->MakeSessionApart(); });
  }

  Result<std::unique_ptr<Query>> Start(const QueryRequest& request) override;
  Result<StatementShape> Describe(const QueryRequest& request) override;

 private:
  SystemTables AllSystemTables() {
    SystemTables tables = MakeSystemTables(database_, &options_, &log_);
    tables.push_back(ViewsTable(&views_));
    return tables;
  }
  CatalogSources Shared() { return {.system_tables = &system_tables_, .views = &views_, .kept = &kept_}; }
  Result<Instance*> InstanceFor(bool trusted) SHEAF_EXCLUDES(mutex_);
  /// Changes whenever a name may come to mean something else. All summands only grow.
  uint64_t DefinitionsVersion() const { return database_->catalog_version() + views_.version() + kept_.version(); }
  Status CheckSize(const std::string& sql) const {
    if (static_cast<int64_t>(sql.size()) <= options_.sql_bytes_max) return Status::OK();
    return MakeError(ErrorKind::kTooLarge, "the SQL text has {} bytes, the limit is {}", sql.size(), options_.sql_bytes_max);
  }
  Status NoTurn(const Claim& claim) const {
    return MakeError(ErrorKind::kThrottled, "{} statements run already and none ended within {} ms: try again later",
                     options_.concurrent_queries_max, claim.timeout_ms);
  }
  /// Waits for the statement's turn. Throttled where it did not come in time.
  Status Admit(bool look_up, Claim* claim);
  /// Has a statement without a turn wait for it: a SELECT once its plan shows whether it is a look-up, anything else now.
  Status AdmitOrPostpone(const duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>>& statements, Claim* claim);
  Result<std::unique_ptr<Query>> Run(const QueryRequest& request, Instance* instance, Claim* claim);
  StatementLimits LimitsOf(const Claim& claim) const {
    return {.timeout_ms = claim.timeout_ms, .memory_bytes_max = options_.memory_bytes_max, .temp_bytes_max = options_.temp_bytes_max};
  }
  Result<Begun> Begin(duckdb::unique_ptr<duckdb::SQLStatement> statement, const std::vector<Parameter>& parameters, const std::string& sql,
                      Claim* claim);
  /// What a statement has taken goes back, and its end is told.
  struct Taken {
    Instance* instance = nullptr;
    Admission::Place place = Admission::Place::kNone;
    uint64_t log_id = 0;
  };
  std::unique_ptr<Query> AnswerAgain(std::shared_ptr<const KeptAnswer> answer, const Claim& claim);
  /// What a planned statement's answer will be kept as, if it may be.
  std::optional<AnswerDraft> DraftAnswer(const Claim& claim);
  void Return(const Taken& taken, std::unique_ptr<Session> session, const Status& outcome);

  store::Database* const database_;  // Borrowed.
  const EngineOptions options_;
  Admission admission_;
  WriteTurn turn_;
  QueryLog log_;
  Definitions definitions_;
  KeptSql kept_;
  Views views_;
  ResultCache cache_;
  const SystemTables system_tables_;
  Deadlines deadlines_;
  std::unique_ptr<Instance> clients_;
  Mutex mutex_;
  std::unique_ptr<Instance> owner_ SHEAF_GUARDED_BY(mutex_);
};

Result<Instance*> EngineOverDuckDb::InstanceFor(bool trusted) {
  if (!trusted) return clients_.get();
  MutexLock lock(&mutex_);
  if (!owner_) {
    SHEAF_ASSIGN_OR_RETURN(owner_, Instance::Open(database_, options_, Shared(), true));
  }
  return owner_.get();
}

void EngineOverDuckDb::Return(const Taken& taken, std::unique_ptr<Session> session, const Status& outcome) {
  if (session) taken.instance->GiveBack(std::move(session));
  admission_.Leave(taken.place);
  ReportStatement(*log_.Ended(taken.log_id, outcome), options_.slow_ms);
}

Status EngineOverDuckDb::Admit(bool look_up, Claim* claim) {
  StatementCosts& costs = claim->record->costs;
  const auto start = Clock::now();
  costs.queued = true;
  const auto outcome = admission_.Enter(look_up, claim->expires, &claim->place);
  costs.queued = false;
  costs.queue_ns = NsSince(start);
  switch (outcome) {
    case Admission::Outcome::kEntered: return Status::OK();
    case Admission::Outcome::kTimedOut: return NoTurn(*claim);
    case Admission::Outcome::kFull: break;
  }
  return MakeError(ErrorKind::kThrottled, "{} statements run and {} wait already: try again later", options_.concurrent_queries_max,
                   options_.waiting_queries_max);
}

Status EngineOverDuckDb::AdmitOrPostpone(const duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>>& statements, Claim* claim) {
  if (claim->place != Admission::Place::kNone) return Status::OK();
  const bool planned_first = statements.size() == 1 && statements[0]->type == duckdb::StatementType::SELECT_STATEMENT;
  if (!planned_first) return Admit(false, claim);
  claim->session->state->SetAdmission([this, claim](bool look_up) { return Admit(look_up, claim); });
  return Status::OK();
}

std::unique_ptr<Query> EngineOverDuckDb::AnswerAgain(std::shared_ptr<const KeptAnswer> answer, const Claim& claim) {
  claim.record->costs.cache_hit = true;
  claim.record->SetKind(StatementKind::kSelect);
  return std::make_unique<KeptQuery>(std::move(answer), claim.record, [this, log_id = claim.log_id](const Status& outcome) {
    ReportStatement(*log_.Ended(log_id, outcome), options_.slow_ms);
  });
}

std::optional<AnswerDraft> EngineOverDuckDb::DraftAnswer(const Claim& claim) {
  auto reads = claim.session->state->TakeReads();
  // Definitions that changed while it was planned: which of them its names meant is not known.
  if (!reads || DefinitionsVersion() != claim.definitions) return std::nullopt;
  KeptAnswer answer;
  answer.definitions = claim.definitions;
  answer.tables = std::move(*reads);
  return AnswerDraft(&cache_, claim.cache_key, std::move(answer));
}

Result<std::unique_ptr<Query>> EngineOverDuckDb::Start(const QueryRequest& request) {
  SHEAF_RETURN_NOT_OK(CheckSize(request.sql));
  Claim claim;
  claim.timeout_ms = request.timeout_ms >= 0 ? request.timeout_ms : options_.timeout_ms;
  if (claim.timeout_ms > 0) claim.expires = Clock::now() + std::chrono::milliseconds(claim.timeout_ms);
  SHEAF_ASSIGN_OR_RETURN(Instance* const instance, InstanceFor(request.trusted));
  claim.log_id = log_.Started(request.sql, claim.record);
  if (cache_.enabled() && !request.trusted) {  // The owner's connections have settings of their own.
    claim.cache_key = ResultCache::KeyOf(request);
    if (!claim.cache_key.empty()) {
      if (auto answer = cache_.Find(claim.cache_key)) return AnswerAgain(std::move(answer), claim);
    }
    claim.definitions = DefinitionsVersion();
  }
  claim.place = admission_.TryEnter();
  auto session = instance->Borrow();
  if (!session.ok()) {
    Return({.instance = instance, .place = claim.place, .log_id = claim.log_id}, nullptr, session.status());
    return session.status();
  }
  claim.session = std::move(session).ValueUnsafe();
  claim.interrupter = std::make_shared<Interrupter>(claim.session->connection.get());
  if (claim.expires) {
    claim.deadline = deadlines_.Add(*claim.expires,
                                    [interrupter = claim.interrupter] { interrupter->Interrupt(Interrupter::Reason::kTimeout); });
  }
  auto query = WithoutExceptions([&] { return Run(request, instance, &claim); }, request.sql);
  if (query.ok()) return query;
  Status error = ExplainFailure(query.status(), *claim.interrupter, *claim.record, LimitsOf(claim));
  if (claim.place == Admission::Place::kNone && KindOf(error) == ErrorKind::kTimeout) error = NoTurn(claim);
  if (claim.deadline) deadlines_.Remove(*claim.deadline);
  claim.interrupter->Detach();
  if (claim.session) claim.session->state->SetAdmission(nullptr);
  Return({.instance = instance, .place = claim.place, .log_id = claim.log_id}, std::move(claim.session), error);
  return error;
}

Result<Begun> EngineOverDuckDb::Begin(duckdb::unique_ptr<duckdb::SQLStatement> statement, const std::vector<Parameter>& parameters,
                                      const std::string& sql, Claim* claim) {
  auto* connection = claim->session->connection.get();
  auto* state = claim->session->state.get();
  SHEAF_ASSIGN_OR_RETURN(const Writing writing, SimplifyInsert(*connection->context, statement.get()));
  duckdb::case_insensitive_map_t<duckdb::BoundParameterData> values;
  for (size_t i = 0; i < parameters.size(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(duckdb::Value value, ToValue(parameters[i]));
    values[std::to_string(i + 1)] = duckdb::BoundParameterData(std::move(value));
  }
  auto start = [connection, state, writing, values, sql](duckdb::unique_ptr<duckdb::SQLStatement> planned)
      -> Result<duckdb::unique_ptr<duckdb::PendingQueryResult>> {
    state->SetWriting(writing.writes, writing.insert_missing);
    std::optional<Precedence::Hold> first;
    if (!state->waits_for_turn()) first.emplace();
    auto given = values;
    auto pending = given.empty() ? connection->context->PendingQuery(std::move(planned), duckdb::QueryParameters(true))
                                 : connection->context->PendingQuery(std::move(planned), given, duckdb::QueryParameters(true));
    if (pending->HasError()) return FromDuckDb(pending->GetErrorObject(), sql);
    return pending;
  };
  Begun begun;
  if (writing.writes) {
    begun.restart = [start, kept = std::shared_ptr<duckdb::SQLStatement>(statement->Copy().release())] { return start(kept->Copy()); };
  }
  SHEAF_ASSIGN_OR_RETURN(begun.pending, start(std::move(statement)));
  return begun;
}

Result<std::unique_ptr<Query>> EngineOverDuckDb::Run(const QueryRequest& request, Instance* instance, Claim* claim) {
  auto& connection = *claim->session->connection;
  claim->session->state->Begin(claim->record);
  claim->session->state->SetIdentity(request.identity);
  const auto parse_start = Clock::now();
  SHEAF_ASSIGN_OR_RETURN(const auto of_view, ParseViewStatement(&connection, request.sql));
  if (of_view) {
    SHEAF_RETURN_NOT_OK(CheckViewStatement(request.identity.get()));
    if (claim->place == Admission::Place::kNone) SHEAF_RETURN_NOT_OK(Admit(false, claim));
    SHEAF_RETURN_NOT_OK(views_.Execute(*of_view));
  }
  SHEAF_ASSIGN_OR_RETURN(auto statements, ParseStatements(&connection, of_view ? kNoRows : request.sql, request.trusted, *kept_.Get()));
  SHEAF_RETURN_NOT_OK(CheckKinds(request.identity.get(), statements));
  StatementCosts& costs = claim->record->costs;
  costs.parse_ns = NsSince(parse_start);
  claim->record->SetKind(of_view ? StatementKind::kDefinition : KindOfStatement(*statements.back()));
  MemoryWatch memory(&duckdb::BufferManager::GetBufferManager(*connection.context), &costs);
  SHEAF_RETURN_NOT_OK(AdmitOrPostpone(statements, claim));
  claim->session->state->SetKeeping(!claim->cache_key.empty() && claim->record->kind_now() == StatementKind::kSelect &&
                                    ResultCache::IsRepeatableText(request.sql));
  const int64_t queued_before = costs.queue_ns;
  const auto plan_start = Clock::now();
  for (size_t i = 0; i + 1 < statements.size(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(auto begun, Begin(std::move(statements[i]), {}, request.sql, claim));
    SHEAF_ASSIGN_OR_RETURN(auto result, RunToResult(std::move(begun.pending), begun.restart, &turn_, *claim->interrupter,
                                                    claim->record.get(), &memory));
    while (auto chunk = result->Fetch()) {
      if (chunk->size() == 0) break;
    }
    if (result->HasError()) return FromDuckDb(result->GetErrorObject());
  }
  SHEAF_ASSIGN_OR_RETURN(auto begun, Begin(std::move(statements.back()), request.parameters, request.sql, claim));
  auto pending = std::move(begun.pending);
  if (claim->session->state->waits_for_turn()) {  // It was planned without any optimizer.
    const Status admitted = claim->session->state->Admit(false);
    if (!admitted.ok()) pending->Close();
    SHEAF_RETURN_NOT_OK(admitted);
  }
  costs.plan_ns = NsSince(plan_start) - (costs.queue_ns - queued_before);
  // DuckDB forgets an interrupt that came before the statement began.
  if (claim->interrupter->reason() != Interrupter::Reason::kNone) {
    pending->Close();
    return MakeError(ErrorKind::kCancelled, "interrupted");
  }
  RunningQuery::Parts parts{.draft = DraftAnswer(*claim), .keep_ns_min = options_.result_cache_work_min_us * 1000, .memory = memory};
  parts.session = std::move(claim->session);
  parts.record = claim->record;
  parts.interrupter = claim->interrupter;
  parts.deadline = claim->deadline;
  parts.deadlines = &deadlines_;
  parts.limits = LimitsOf(*claim);
  parts.restart = std::move(begun.restart);
  parts.turn = &turn_;
  parts.release = [this, taken = Taken{.instance = instance, .place = claim->place, .log_id = claim->log_id}](
                      std::unique_ptr<Session> session, const Status& outcome) { Return(taken, std::move(session), outcome); };
  return std::make_unique<RunningQuery>(std::move(parts), std::move(pending));
}

Result<StatementShape> EngineOverDuckDb::Describe(const QueryRequest& request) {
  SHEAF_RETURN_NOT_OK(CheckSize(request.sql));
  Claim claim;
  claim.timeout_ms = options_.timeout_ms;
  SHEAF_ASSIGN_OR_RETURN(claim.session, clients_->Borrow());
  claim.log_id = log_.Started(request.sql, claim.record);  // Seen while it is planned; kept only where that went wrong.
  claim.interrupter = std::make_shared<Interrupter>(claim.session->connection.get());
  if (claim.timeout_ms > 0) {
    claim.deadline = deadlines_.Add(Clock::now() + std::chrono::milliseconds(claim.timeout_ms), [interrupter = claim.interrupter] {
      interrupter->Interrupt(Interrupter::Reason::kTimeout);
    });
  }
  // Without a turn, as a SELECT is planned before it waits for its own: whoever asks runs the statement next, and waits then.
  auto shape = WithoutExceptions([&] { return DescribeStatement(claim.session.get(), request, *kept_.Get()); }, request.sql);
  if (claim.deadline) deadlines_.Remove(*claim.deadline);
  claim.interrupter->Detach();
  if (shape.ok()) {
    log_.Forget(claim.log_id);
    clients_->GiveBack(std::move(claim.session));
    return shape;
  }
  const Status error = ExplainFailure(shape.status(), *claim.interrupter, *claim.record, LimitsOf(claim));
  Return({.instance = clients_.get(), .log_id = claim.log_id}, std::move(claim.session), error);
  return error;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::Open(store::Database* database, const EngineOptions& options) {
  auto engine = std::make_unique<EngineOverDuckDb>(database, options);
  SHEAF_RETURN_NOT_OK(engine->OpenClients());
  return engine;
}

}  // namespace sheaf::query
