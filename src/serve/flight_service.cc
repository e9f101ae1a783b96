#include "serve/flight_service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "serve/error_codes.h"
#include "serve/flight_batches.h"

namespace sheaf::serve {
namespace {

constexpr const char* kService = "/arrow.flight.protocol.FlightService/";

std::string Quoted(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

std::string SelectAll(const store::TableInfo& table) {
  return fmt::format("SELECT * FROM {}.{}", Quoted(table.schema_name), Quoted(table.name));
}

/// Of the batches of all streams of DoPut. Batches on their way to disk may outlive the service.
TrackingPool& PutMemory() { return NamedPool("flight"); }

Status NotThereYet(const char* what) { return MakeError(ErrorKind::kUnsupported, "{}", what); }

}  // namespace

FlightService::FlightService(query::Engine* engine, store::Database* database, const FlightOptions& options)
    : engine_(engine),
      database_(database),
      options_(options),
      queries_(engine, options.query_timeout_ms),
      metadata_(engine, {.sql_bytes = options.sql_bytes_max, .prepared_statements = options.prepared.count_max}),
      prepared_(options.prepared) {
  PutMemory().SetLimit(options.put_memory_of_all_bytes_max);
}

void FlightService::Register(Transport* transport, const std::string& listener) {
  const auto path = [](const char* method) { return std::string(kService) + method; };
  // Unary methods as well: a client that goes away stops what runs for it.
  const auto streaming = [&](const char* method, Status (FlightService::*answer)(const std::shared_ptr<GrpcStreamCall>&)) {
    transport->HandleGrpcStream(listener, path(method), [this, answer](std::shared_ptr<GrpcStreamCall> call) {
      const Status done = (this->*answer)(call);
      call->Finish(done.ok() ? GrpcStatus() : ToGrpcStatus(done, options_.retry_after_ms));
    });
  };
  const auto refused = [&](const char* method, const char* why) {
    transport->HandleGrpcDuplex(listener, path(method),
                                [this, why](std::shared_ptr<GrpcStreamCall> call) -> std::shared_ptr<GrpcReceiver> {
                                  call->Finish(ToGrpcStatus(NotThereYet(why), options_.retry_after_ms));
                                  return nullptr;
                                });
  };
  streaming("GetFlightInfo", &FlightService::GetFlightInfo);
  streaming("GetSchema", &FlightService::GetSchema);
  streaming("DoGet", &FlightService::DoGet);
  streaming("ListFlights", &FlightService::ListFlights);
  streaming("ListActions", &FlightService::ListActions);
  streaming("DoAction", &FlightService::DoAction);
  transport->HandleGrpcDuplex(listener, path("DoPut"),
                              [this](std::shared_ptr<GrpcStreamCall> call) { return DoPut(std::move(call)); });
  transport->HandleGrpcDuplex(listener, path("Handshake"),
                              [this](const std::shared_ptr<GrpcStreamCall>& call) -> std::shared_ptr<GrpcReceiver> {
                                call->Finish(Handshake(*call));
                                return nullptr;
                              });
  refused("DoExchange", "DoExchange is kept for subscriptions, which are not there yet; rows come by DoGet and go by DoPut");
}

GrpcStatus FlightService::Handshake(const GrpcCall& call) {
  if (options_.users == nullptr || call.identity == nullptr || call.identity->user.empty()) {
    return ToGrpcStatus(NotThereYet("there are no users: connect without a user name and a password"), options_.retry_after_ms);
  }
  if (!call.identity->by_password) return {};  // A token goes on as it is.
  const Result<std::string> token = options_.users->BeginSession(*call.identity);
  if (!token.ok()) return ToGrpcStatus(token.status(), options_.retry_after_ms);
  return {.code = GrpcCode::kOk, .message = {}, .details = {}, .trailers = {{"authorization", "Bearer " + *token}}};
}

Status FlightService::GetFlightInfo(const std::shared_ptr<GrpcStreamCall>& call) {
  const std::string_view descriptor = call->message->view();
  SHEAF_ASSIGN_OR_RETURN(Plan plan, PlanOf(descriptor, Updates::kRun, call));
  wire::FlightInfo info{.descriptor = descriptor, .rows = plan.rows};
  if (plan.schema != nullptr) {
    SHEAF_ASSIGN_OR_RETURN(info.schema, SchemaBytes(*plan.schema));
  }
  info.tickets.push_back(std::move(plan.ticket));
  call->Send(wire::EncodeFlightInfo(info));
  return Status::OK();
}

Status FlightService::GetSchema(const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(const Plan plan, PlanOf(call->message->view(), Updates::kPlan, call));
  if (plan.schema == nullptr) {
    return MakeError(ErrorKind::kInvalid, "the types of the result depend on parameters that are not bound yet");
  }
  SHEAF_ASSIGN_OR_RETURN(const std::string schema, SchemaBytes(*plan.schema));
  call->Send(wire::EncodeFirstBytes(schema));
  return Status::OK();
}

Result<FlightService::Plan> FlightService::PlanOf(std::string_view bytes, Updates updates, const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(const wire::FlightDescriptor descriptor, wire::ReadFlightDescriptor(bytes));
  if (descriptor.kind != wire::FlightDescriptor::Kind::kPath) return PlanCommand(descriptor.command, updates, call);
  SHEAF_ASSIGN_OR_RETURN(const auto table, FindPathTable(*database_, descriptor.path));
  return PlanTable(*table, call);
}

Result<FlightService::Plan> FlightService::PlanTable(const store::TableInfo& table, const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(Plan plan, PlanSql(SelectAll(table), Updates::kPlan, call));
  const auto snapshot = database_->GetSnapshot();
  const auto rows = snapshot->Table(table.id);
  if (rows.ok()) plan.rows = rows->rows;  // Else the statement tells what is wrong with it.
  return plan;
}

Result<FlightService::Plan> FlightService::PlanSql(const std::string& sql, Updates updates,
                                                   const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(const query::StatementShape shape, queries_.Describe(sql, *call));
  return PlanStatement(FlightQueries::MakeTicket(sql), shape, updates, call);
}

Result<FlightService::Plan> FlightService::PlanStatement(StatementTicket ticket, const query::StatementShape& shape, Updates updates,
                                                         const std::shared_ptr<GrpcStreamCall>& call) {
  Plan plan;
  ticket.user = UserOf(*call);
  if (shape.answer != query::StatementShape::Answer::kRows && updates == Updates::kRun) {
    SHEAF_ASSIGN_OR_RETURN(ticket.answer, queries_.UpdateToRows(ticket, shape, call));
    ticket.parameters.clear();
    plan.schema = ticket.answer->schema();
    plan.rows = ticket.answer->num_rows();
  } else {
    if (!shape.reads_only) queries_.LimitToOnce(&ticket);
    SHEAF_ASSIGN_OR_RETURN(plan.schema, queries_.SchemaOf(ticket, shape, *call));
  }
  SHEAF_ASSIGN_OR_RETURN(const std::string encoded, EncodeTicket(ticket));
  plan.ticket = wire::EncodeFlightSqlAny("TicketStatementQuery", wire::EncodeFirstBytes(encoded));
  return plan;
}

Result<FlightService::Plan> FlightService::PlanCommand(const std::string& command, Updates updates,
                                                       const std::shared_ptr<GrpcStreamCall>& call) {
  const auto message = wire::ReadFlightSqlAny(command);
  if (!message) return PlanSql(command, updates, call);  // SQL as plain Flight has it.
  if (FlightMetadata::Answers(message->name)) {
    Plan plan{.ticket = command};
    SHEAF_ASSIGN_OR_RETURN(plan.schema, FlightMetadata::SchemaOf(*message));
    return plan;
  }
  SHEAF_ASSIGN_OR_RETURN(const auto statement, wire::ReadFlightSqlStatement(message->value));
  if (message->name == "CommandStatementQuery") {
    if (statement.in_transaction) return NotThereYet("there are no transactions of several statements");
    return PlanSql(statement.text, updates, call);
  }
  if (message->name != "CommandPreparedStatementQuery") {
    return MakeError(ErrorKind::kUnsupported, "{} is not supported", message->name);
  }
  SHEAF_ASSIGN_OR_RETURN(const auto prepared, prepared_.Find(statement.text, UserOf(*call)));
  return PlanStatement(FlightQueries::MakeTicket(prepared->sql, prepared->parameters), prepared->shape, updates, call);
}

Status FlightService::DoGet(const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(const std::string ticket, wire::ReadFirstBytes(call->message->view()));
  call->message.reset();
  const auto message = wire::ReadFlightSqlAny(ticket);
  if (message && FlightMetadata::Answers(message->name)) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, metadata_.Answer(*message, call->identity));
    return FlightQueries::SendBatch(*batch, call);
  }
  if (message) {
    if (message->name != "TicketStatementQuery")
      return MakeError(ErrorKind::kUnsupported, "DoGet does not know {}", message->name);
    SHEAF_ASSIGN_OR_RETURN(const std::string handle, wire::ReadFirstBytes(message->value));
    SHEAF_ASSIGN_OR_RETURN(const StatementTicket statement, ReadTicket(handle, *call));
    return queries_.Send(statement, call);
  }
  // Plain Flight: a table's name, or SQL.
  const size_t dot = ticket.find('.');
  const auto table = dot == std::string::npos ? FindPathTable(*database_, {ticket})
                                              : FindPathTable(*database_, {ticket.substr(0, dot), ticket.substr(dot + 1)});
  return queries_.Send(FlightQueries::MakeTicket(table.ok() ? SelectAll(**table) : ticket), call);
}

Status FlightService::ListFlights(const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(const std::string wanted, wire::ReadFirstBytes(call->message->view()));
  const auto snapshot = database_->GetSnapshot();
  for (const auto& table : snapshot->tables()) {
    if (table->schema_name == "sheaf" || fmt::format("{}.{}", table->schema_name, table->name).find(wanted) == std::string::npos)
      continue;
    if (call->identity && !access::Allow(*call->identity, access::Action::kRead, table->schema_name).ok()) continue;
    const Result<Plan> plan = PlanTable(*table, call);
    if (!plan.ok() && KindOf(plan.status()) == ErrorKind::kInvalid) continue;  // Dropped since.
    SHEAF_RETURN_NOT_OK(plan.status());
    const std::string descriptor = wire::EncodeFlightPath(std::vector{table->schema_name, table->name});
    wire::FlightInfo info{.descriptor = descriptor, .tickets = {plan->ticket}, .rows = plan->rows};
    SHEAF_ASSIGN_OR_RETURN(info.schema, SchemaBytes(*plan->schema));
    if (!call->Send(wire::EncodeFlightInfo(info))) break;
  }
  return Status::OK();
}

std::shared_ptr<GrpcReceiver> FlightService::DoPut(std::shared_ptr<GrpcStreamCall> call) {
  const PutContext context{.database = database_,
                           .engine = engine_,
                           .queries = &queries_,
                           .prepared = &prepared_,
                           .retry_after_ms = options_.retry_after_ms,
                           .memory_bytes_max = options_.put_memory_bytes_max,
                           .memory = &PutMemory(),
                           .relieve = [this] { EndLargestPut(); }};
  auto put = std::make_shared<FlightPut>(context, call, [this](FlightPut* gone) {
    MutexLock lock(&mutex_);
    puts_.erase(gone);
  });
  {
    MutexLock lock(&mutex_);
    if (!stopping_) {
      puts_[put.get()] = put;
      return put;
    }
  }
  put->Stop();
  return nullptr;
}

/// To be let go of without the lock, which the last reference takes.
std::vector<std::shared_ptr<FlightPut>> FlightService::Puts() const {
  std::vector<std::shared_ptr<FlightPut>> puts;
  for (const auto& [key, each] : puts_) {
    if (auto put = each.lock()) puts.push_back(std::move(put));
  }
  return puts;
}

void FlightService::EndOverdue(std::chrono::steady_clock::time_point now) {
  std::vector<std::shared_ptr<FlightPut>> puts;
  {
    MutexLock lock(&mutex_);
    puts = Puts();
  }
  for (const auto& put : puts) {
    const auto idle = put->idle_since();
    if (!idle || now - *idle < options_.put_idle_max) continue;
    put->Stop(MakeError(ErrorKind::kTimeout, "nothing came for {} s: send the rest by another DoPut",
                        options_.put_idle_max.count() / 1000));
  }
  queries_.EndOverdue(now);
  prepared_.ForgetIdle(now);
}

void FlightService::EndLargestPut() {
  std::shared_ptr<FlightPut> largest;
  int64_t most = 0;
  std::vector<std::shared_ptr<FlightPut>> puts;
  {
    MutexLock lock(&mutex_);
    puts = Puts();
  }
  for (const auto& put : puts) {
    if (const int64_t bytes = put->memory_bytes(); bytes > most) {
      most = bytes;
      largest = put;
    }
  }
  if (largest == nullptr) return;
  largest->Stop(MakeError(ErrorKind::kThrottled,
                          "the streams of all clients hold as much as they may, and this one most of it: {} bytes; go on later",
                          most));
}

void FlightService::EndStreams() {
  std::vector<std::shared_ptr<FlightPut>> puts;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    puts = Puts();
  }
  for (const auto& put : puts) put->Stop();
}

}  // namespace sheaf::serve
