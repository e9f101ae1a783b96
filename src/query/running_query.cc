#include "query/running_query.h"

#include <thread>
#include <utility>

#include "duckdb/storage/buffer/buffer_pool.hpp"
#include "duckdb/storage/buffer_manager.hpp"

#include "query/duckdb_to_arrow.h"
#include "query/error_map.h"
#include "query/precedence.h"
#include "query/query_log.h"

namespace sheaf::query {

namespace {

constexpr int64_t kBatchRowsMax = 16'384;  // Chunks of 2,048 rows are gathered to this, where they are there already.
constexpr int kYieldsMax = 200;            // About 0.1 ms where nobody else wants the processor.
constexpr std::chrono::microseconds kPause(50);
constexpr int64_t kLittleMemory = int64_t{1} << 20;  // What holds no more has not spilled, and asking for that takes a lock.

/// Without what DuckDB counts apart for each processor, 32 KB at most: gathering that is 64 atomic operations.
int64_t UsedMemory(const duckdb::BufferManager& buffers) { return static_cast<int64_t>(buffers.GetBufferPool().GetUsedMemory(false)); }

/// Runs the statement's tasks on this thread until its result begins. DuckDB's own loop asks for the next task without a pause while
/// its other threads have all there are, and where processors are few it takes theirs.
void RunTasks(duckdb::PendingQueryResult* pending, const Interrupter& interrupter, MemoryWatch* memory) {
  for (int idle = 0;;) {
    const auto state = pending->ExecuteTask();
    memory->Look();
    if (duckdb::PendingQueryResult::IsResultReady(state)) return;
    if (state == duckdb::PendingExecutionResult::BLOCKED) {
      pending->WaitForTask();
    } else if (state != duckdb::PendingExecutionResult::NO_TASKS_AVAILABLE) {
      idle = 0;
    } else if (++idle < kYieldsMax) {
      std::this_thread::yield();
    } else {
      interrupter.Pause(kPause);
    }
  }
}

/// DuckDB's advice is to change its settings, which no client may: ours names those of the configuration.
Status ExplainMemory(const Status& error, const StatementLimits& limits) {
  if (error.message().find("max_temp_directory_size") != std::string::npos) {
    return MakeError(ErrorKind::kOutOfMemory,
                     "the statement spills more to temporary files than the {} bytes that all statements may (query.temp_bytes): narrow "
                     "it down, or ask for a higher limit",
                     limits.temp_bytes_max);
  }
  const std::string detail = error.message().substr(0, error.message().find('\n'));
  return MakeError(ErrorKind::kOutOfMemory,
                   "the statement needs more memory than the {} bytes that all statements share (query.memory_bytes), for something that "
                   "cannot be written to temporary files: narrow it down, or ask for a higher limit ({})",
                   limits.memory_bytes_max, detail);
}

}  // namespace

MemoryWatch::MemoryWatch(const duckdb::BufferManager* buffers, StatementCosts* costs)
    : buffers_(buffers), costs_(costs), memory_before_(UsedMemory(*buffers)),
      spilled_before_(static_cast<int64_t>(buffers->GetUsedSwap())) {}

void MemoryWatch::Look() {
  const int64_t memory = UsedMemory(*buffers_) - memory_before_;
  if (memory > costs_->peak_memory_bytes) costs_->peak_memory_bytes = memory;
  if (costs_->peak_memory_bytes < kLittleMemory) return;
  const int64_t spilled = static_cast<int64_t>(buffers_->GetUsedSwap()) - spilled_before_;
  if (spilled > costs_->spilled_bytes) costs_->spilled_bytes = spilled;
}

void Interrupter::Interrupt(Reason reason) {
  MutexLock lock(&mutex_);
  if (connection_ == nullptr) return;
  if (reason_ == Reason::kNone) reason_ = reason;
  connection_->Interrupt();
  interrupted_.NotifyAll();
}

void Interrupter::Detach() {
  MutexLock lock(&mutex_);
  connection_ = nullptr;
}

Interrupter::Reason Interrupter::reason() const {
  MutexLock lock(&mutex_);
  return reason_;
}

void Interrupter::Pause(std::chrono::nanoseconds time) const {
  MutexLock lock(&mutex_);
  if (reason_ == Reason::kNone) interrupted_.WaitFor(&mutex_, time);
}

Status ExplainFailure(const Status& error, const Interrupter& interrupter, const StatementRecord& record,
                      const StatementLimits& limits) {
  const Status of_scan = record.error();
  if (!of_scan.ok()) return of_scan;
  if (KindOf(error) == ErrorKind::kOutOfMemory) return ExplainMemory(error, limits);
  if (KindOf(error) != ErrorKind::kCancelled) return error;
  if (interrupter.reason() == Interrupter::Reason::kTimeout) {
    return MakeError(ErrorKind::kTimeout, "the statement was stopped after its time-out of {} ms: narrow it down or ask for more time",
                     limits.timeout_ms);
  }
  return MakeError(ErrorKind::kCancelled, "the statement was cancelled");
}

Result<duckdb::unique_ptr<duckdb::QueryResult>> RunToResult(duckdb::unique_ptr<duckdb::PendingQueryResult> pending,
                                                            const Restart& restart, WriteTurn* turn, const Interrupter& interrupter,
                                                            StatementRecord* record, MemoryWatch* memory) {
  std::optional<WriteTurn::Hold> hold;
  while (true) {
    RunTasks(pending.get(), interrupter, memory);
    duckdb::ErrorData error;
    if (pending->HasError()) {
      error = pending->GetErrorObject();
    } else {
      auto result = pending->Execute();
      if (!result->HasError()) return result;
      error = result->GetErrorObject();
    }
    pending.reset();
    if (!restart || KindOf(record->error()) != ErrorKind::kConflict || interrupter.reason() != Interrupter::Reason::kNone) {
      return FromDuckDb(error);
    }
    while (!hold && interrupter.reason() == Interrupter::Reason::kNone) hold = turn->Take(std::chrono::milliseconds(10));
    record->ClearError();
    SHEAF_ASSIGN_OR_RETURN(pending, restart());
  }
}

RunningQuery::RunningQuery(Parts parts, duckdb::unique_ptr<duckdb::PendingQueryResult> pending)
    : parts_(std::move(parts)), pending_(std::move(pending)), schema_(ResultSchema(pending_->types, pending_->names)) {
  if (parts_.draft) parts_.draft->SetSchema(schema_);
}

RunningQuery::~RunningQuery() {
  if (!ended_) {
    Cancel();
    Finish(MakeError(ErrorKind::kCancelled, "the statement was dropped before its end"));
  }
}

void RunningQuery::Cancel() { parts_.interrupter->Interrupt(Interrupter::Reason::kCancelled); }

Result<std::shared_ptr<arrow::RecordBatch>> RunningQuery::Next() {
  if (!outcome_.ok()) return outcome_;
  if (ended_) return nullptr;
  StatementCosts& costs = parts_.record->costs;
  const auto start = std::chrono::steady_clock::now();
  std::optional<Precedence::Hold> first;
  if (parts_.record->kind_now() == StatementKind::kLookUp) first.emplace();
  auto batch = WithoutExceptions([&] { return Fetch(); });
  first.reset();
  costs.execute_ns += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
  if (!batch.ok()) {
    outcome_ = ExplainFailure(batch.status(), *parts_.interrupter, *parts_.record, parts_.limits);
    Finish(outcome_);
    return outcome_;
  }
  if (*batch == nullptr) {
    KeepAnswer();
    Finish(Status::OK());
  } else {
    if (parts_.draft && !parts_.draft->Add(*batch)) parts_.draft.reset();
    costs.rows += (*batch)->num_rows();
  }
  return batch;
}

Result<std::shared_ptr<arrow::RecordBatch>> RunningQuery::Fetch() {
  if (pending_) {
    SHEAF_ASSIGN_OR_RETURN(result_, RunToResult(std::move(pending_), parts_.restart, parts_.turn, *parts_.interrupter,
                                                parts_.record.get(), &parts_.memory));
  }
  arrow::RecordBatchVector batches;
  int64_t rows = 0;
  while (!drained_ && rows < kBatchRowsMax) {
    auto chunk = result_->Fetch();
    parts_.memory.Look();
    if (result_->HasError()) return FromDuckDb(result_->GetErrorObject());
    if (!chunk || chunk->size() == 0) {
      drained_ = true;  // Asking a stream again after its end is an error.
      break;
    }
    SHEAF_ASSIGN_OR_RETURN(auto batch, ToRecordBatch(*parts_.session->connection->context, *chunk, schema_));
    rows += batch->num_rows();
    batches.push_back(std::move(batch));
  }
  if (parts_.interrupter->reason() != Interrupter::Reason::kNone) return MakeError(ErrorKind::kCancelled, "interrupted");
  if (batches.empty()) return nullptr;
  return batches.size() == 1 ? batches[0] : arrow::ConcatenateRecordBatches(batches);
}

void RunningQuery::KeepAnswer() {
  const StatementCosts& costs = parts_.record->costs;
  if (parts_.draft && costs.plan_ns + costs.execute_ns >= parts_.keep_ns_min) parts_.draft->Keep();
  parts_.draft.reset();
}

void RunningQuery::Finish(const Status& outcome) {
  ended_ = true;
  if (parts_.deadline) parts_.deadlines->Remove(*parts_.deadline);
  parts_.interrupter->Detach();
  const Status closed = WithoutExceptions([&]() -> Status {
    if (result_ && result_->type == duckdb::QueryResultType::STREAM_RESULT) result_->Cast<duckdb::StreamQueryResult>().Close();
    if (pending_) pending_->Close();
    result_.reset();
    pending_.reset();
    return Status::OK();
  });
  // A connection whose statement was stopped keeps what it had gathered until it runs another: it is not used again, and goes
  // before anybody hears of the end.
  if (!closed.ok() || !outcome.ok()) parts_.session.reset();
  parts_.release(std::move(parts_.session), outcome);
}

Result<std::shared_ptr<arrow::RecordBatch>> KeptQuery::Next() {
  if (cancelled_) {
    const Status cancelled = MakeError(ErrorKind::kCancelled, "the statement was cancelled");
    End(cancelled);
    return cancelled;
  }
  if (next_ == answer_->batches.size()) {
    End(Status::OK());
    return nullptr;
  }
  record_->costs.rows += answer_->batches[next_]->num_rows();
  return answer_->batches[next_++];
}

QueryStats RunningQuery::stats() const { return StatsOf(*parts_.record); }
QueryStats KeptQuery::stats() const { return StatsOf(*record_); }

}  // namespace sheaf::query
