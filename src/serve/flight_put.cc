#include "serve/flight_put.h"

#include <utility>

#include "serve/error_codes.h"

namespace sheaf::serve {
namespace {

GrpcStatus Stopping() { return {.code = GrpcCode::kUnavailable, .message = "the server is stopping"}; }

Status NoTransactions() {
  return MakeError(ErrorKind::kUnsupported,
                   "there are no transactions of several statements: each statement is atomic by itself");
}

Result<std::shared_ptr<PutSink>> MakeCommandSink(const PutContext& context, const std::shared_ptr<GrpcStreamCall>& call,
                                                 std::string_view command) {
  const auto message = wire::ReadFlightSqlAny(command);
  if (!message) return MakeError(ErrorKind::kInvalid, "the command is none of Flight SQL; rows go to a path [schema, table]");
  if (message->name == "CommandStatementIngest") {
    SHEAF_ASSIGN_OR_RETURN(const auto ingest, wire::ReadFlightSqlIngest(message->value));
    if (ingest.in_transaction) return NoTransactions();
    return MakeIngestSink(context, call, ingest);
  }
  SHEAF_ASSIGN_OR_RETURN(const auto statement, wire::ReadFlightSqlStatement(message->value));
  if (statement.in_transaction) return NoTransactions();
  if (message->name == "CommandStatementUpdate") return MakeUpdateSink(context, call, {}, statement.text);
  if (message->name == "CommandPreparedStatementUpdate") return MakeUpdateSink(context, call, statement.text, {});
  if (message->name == "CommandPreparedStatementQuery") return MakeBindSink(context, call, statement.text);
  return MakeError(ErrorKind::kUnsupported, "DoPut does not know {}", message->name);
}

}  // namespace

Result<std::shared_ptr<const store::TableInfo>> FindPathTable(const store::Database& database,
                                                              const std::vector<std::string>& path) {
  if (path.empty() || path.size() > 2) {
    return MakeError(ErrorKind::kNotFound, "a path is [schema, table] or [table]; this one has {} names", path.size());
  }
  std::string schema = path.size() == 2 ? path.front() : "main";
  if (schema == "otlp") schema = "otel";  // As the paths of OTLP are named.
  return database.FindTable(schema, path.back());
}

std::shared_ptr<PutSink> FlightPut::sink() const {
  MutexLock lock(&mutex_);
  return sink_;
}

Status FlightPut::Begin(std::string_view bytes) {
  if (bytes.empty()) return MakeError(ErrorKind::kInvalid, "the first message of a DoPut must say what it is for");
  SHEAF_ASSIGN_OR_RETURN(const wire::FlightDescriptor descriptor, wire::ReadFlightDescriptor(bytes));
  std::shared_ptr<PutSink> made;
  if (descriptor.kind == wire::FlightDescriptor::Kind::kPath) {
    SHEAF_ASSIGN_OR_RETURN(made, MakeTableSink(context_, call_, descriptor.path));
  } else {
    SHEAF_ASSIGN_OR_RETURN(made, MakeCommandSink(context_, call_, descriptor.command));
  }
  reader_ = std::make_unique<FlightBatchReader>(made->pool());
  MutexLock lock(&mutex_);
  sink_ = std::move(made);
  return Status::OK();
}

Status FlightPut::TellSchema() {
  if (schema_told_ || reader_->schema() == nullptr) return Status::OK();
  schema_told_ = true;
  return sink()->Schema(reader_->schema());
}

Status FlightPut::Take(std::string_view message) {
  SHEAF_ASSIGN_OR_RETURN(const wire::FlightData data, wire::ReadFlightData(message));
  if (reader_ == nullptr) SHEAF_RETURN_NOT_OK(Begin(data.descriptor));
  const auto read = reader_->Take(data);
  if (!read.ok()) return sink()->Explained(read.status());
  const auto& batch = *read;
  SHEAF_RETURN_NOT_OK(TellSchema());
  return batch != nullptr ? sink()->Batch(batch, data.metadata) : Status::OK();
}

void FlightPut::Fail(const Status& error) {
  failed_ = true;
  const GrpcStatus status = ToGrpcStatus(error, context_.retry_after_ms);
  if (const auto made = sink()) return made->Stop(status);
  call_->Finish(status);
}

void FlightPut::OnMessage(std::unique_ptr<Body> message, std::function<void()> next) {
  if (failed_ || stopping()) return;  // Who stopped it has told the client why.
  SetIdle(std::nullopt);
  const Status taken = Take(message->view());
  message.reset();
  if (!taken.ok()) return Fail(taken);
  if (stopping()) return Stop();  // The sink was not there when it was told.
  SetIdle(Clock::now());          // Where the sink lets it wait, the log gets on long before a client counts as idle.
  sink()->WhenReady(std::move(next));
}

void FlightPut::OnEnd() {
  if (failed_) return;
  SetIdle(std::nullopt);
  const auto made = sink();
  if (made == nullptr) return Fail(MakeError(ErrorKind::kInvalid, "the DoPut ended without a message"));
  made->End();
}

bool FlightPut::stopping() const {
  MutexLock lock(&mutex_);
  return stopping_;
}

void FlightPut::SetIdle(std::optional<Clock::time_point> since) {
  MutexLock lock(&mutex_);
  idle_since_ = since;
}

std::optional<FlightPut::Clock::time_point> FlightPut::idle_since() const {
  MutexLock lock(&mutex_);
  return idle_since_;
}

void FlightPut::StopWith(GrpcStatus why) {
  std::shared_ptr<PutSink> made;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    made = sink_;
  }
  if (made != nullptr) return made->Stop(std::move(why));
  call_->Finish(std::move(why));
}

void FlightPut::Stop() { StopWith(Stopping()); }

void FlightPut::Stop(const Status& why) { StopWith(ToGrpcStatus(why, context_.retry_after_ms)); }

int64_t FlightPut::memory_bytes() const {
  const auto made = sink();
  return made != nullptr && made->owns_pool() ? made->pool()->bytes_allocated() : 0;
}

}  // namespace sheaf::serve
