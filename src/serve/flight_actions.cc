/// Actions of Flight and Flight SQL: prepared statements, cancelling, sessions, and what looks after the database.

#include <utility>

#include <nlohmann/json.hpp>

#include "serve/flight_batches.h"
#include "serve/flight_service.h"
#include "serve/gate.h"
#include "serve/json_text.h"

namespace sheaf::serve {
namespace {

constexpr size_t kSnapshotNameBytesMax = 4096;

constexpr std::pair<std::string_view, std::string_view> kActions[] = {
    {"CreatePreparedStatement", "ActionCreatePreparedStatementRequest: prepares a statement"},
    {"ClosePreparedStatement", "ActionClosePreparedStatementRequest: forgets it"},
    {"CancelFlightInfo", "CancelFlightInfoRequest: stops a statement"},
    {"CancelQuery", "ActionCancelQueryRequest: the same, as older clients ask for it"},
    {"GetSessionOptions", "GetSessionOptionsRequest: catalog and schema of names without them"},
    {"SetSessionOptions", "SetSessionOptionsRequest: they cannot be changed"},
    {"CloseSession", "CloseSessionRequest: nothing is kept for a session"},
    {"snapshot", "Makes a snapshot on disk, named by the body or by itself; answers {\"id\", \"lsn\"}"},
    {"flush", "Seals all rows in memory into parts, and waits"},
    {"health", "Answers {\"status\", \"writable\"}"},
};

bool IsTransaction(std::string_view type) {
  return type == "BeginTransaction" || type == "EndTransaction" || type == "BeginSavepoint" || type == "EndSavepoint";
}

constexpr const char* kDefaultSchema = "main";

}  // namespace

Status FlightService::ListActions(const std::shared_ptr<GrpcStreamCall>& call) {
  for (const auto& [type, description] : kActions) {
    if (!call->Send(wire::EncodeActionType(type, description))) break;
  }
  return Status::OK();
}

Status FlightService::DoAction(const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(const wire::FlightAction action, wire::ReadFlightAction(call->message->view()));
  call->message.reset();
  const auto answer = [&call](const Result<std::string>& body) {
    if (body.ok()) call->Send(wire::EncodeFirstBytes(*body));
    return body.status();
  };
  if (action.type == "CreatePreparedStatement") return answer(CreatePrepared(action.body, *call));
  if (action.type == "ClosePreparedStatement") {
    const auto message = wire::ReadFlightSqlAny(action.body);
    if (!message) return MakeError(ErrorKind::kInvalid, "the action's body is no ActionClosePreparedStatementRequest");
    SHEAF_ASSIGN_OR_RETURN(const std::string handle, wire::ReadFirstBytes(message->value));
    prepared_.Close(handle, UserOf(*call));
    return Status::OK();
  }
  if (action.type == "CancelFlightInfo") {
    SHEAF_ASSIGN_OR_RETURN(const std::string info, wire::ReadFirstBytes(action.body));
    return answer(CancelTickets(info, *call));
  }
  if (action.type == "CancelQuery") {
    const auto message = wire::ReadFlightSqlAny(action.body);
    if (!message) return MakeError(ErrorKind::kInvalid, "the action's body is no ActionCancelQueryRequest");
    SHEAF_ASSIGN_OR_RETURN(const std::string info, wire::ReadFirstBytes(message->value));
    SHEAF_ASSIGN_OR_RETURN(const std::string outcome, CancelTickets(info, *call));
    return answer(wire::EncodeFlightSqlAny("ActionCancelQueryResult", outcome));
  }
  if (action.type == "GetSessionOptions") {
    return answer(wire::EncodeSessionOptions({{"catalog", kCatalogName}, {"schema", kDefaultSchema}}));
  }
  if (action.type == "SetSessionOptions") return answer(SetSession(action.body));
  if (action.type == "CloseSession") return answer(wire::EncodeFirstNumber(1));  // Closed.
  if (action.type == "snapshot") return answer(MakeSnapshot(action.body, *call));
  if (action.type == "flush") return Flush(*call);
  if (action.type == "health") return answer(TellHealth());
  if (IsTransaction(action.type)) {
    return MakeError(ErrorKind::kUnsupported,
                     "there are no transactions of several statements: each statement is atomic by itself");
  }
  std::string known;
  for (const auto& [type, description] : kActions) known += fmt::format("{}{}", known.empty() ? "" : ", ", type);
  return MakeError(ErrorKind::kUnsupported, "there is no action {}; known are {}", action.type, known);
}

Result<std::string> FlightService::CreatePrepared(std::string_view body, const GrpcCall& call) {
  const auto message = wire::ReadFlightSqlAny(body);
  if (!message) return MakeError(ErrorKind::kInvalid, "the action's body is no ActionCreatePreparedStatementRequest");
  SHEAF_ASSIGN_OR_RETURN(const auto asked, wire::ReadFlightSqlStatement(message->value));
  if (asked.in_transaction) {
    return MakeError(ErrorKind::kUnsupported,
                     "there are no transactions of several statements: each statement is atomic by itself");
  }
  PreparedStatement statement{.sql = asked.text, .shape = {}, .parameters = {}, .user = UserOf(call)};
  SHEAF_ASSIGN_OR_RETURN(statement.shape, queries_.Describe(asked.text, call));
  // JDBC takes a statement for a query where this has fields.
  std::string result, parameters;
  if (statement.shape.answer == query::StatementShape::Answer::kRows) {
    const auto open = arrow::schema({arrow::field("unknown", arrow::null())});
    SHEAF_ASSIGN_OR_RETURN(result, SchemaBytes(statement.shape.result_open ? *open : *statement.shape.result));
  } else {
    SHEAF_ASSIGN_OR_RETURN(result, SchemaBytes(*arrow::schema({})));
  }
  SHEAF_ASSIGN_OR_RETURN(parameters, SchemaBytes(*statement.shape.parameters));
  SHEAF_ASSIGN_OR_RETURN(const std::string handle, prepared_.Add(std::move(statement)));
  return wire::EncodePreparedStatement(handle, result, parameters);
}

Result<std::string> FlightService::CancelTickets(std::string_view info, const GrpcCall& call) {
  SHEAF_ASSIGN_OR_RETURN(const auto tickets, wire::ReadFlightTickets(info));
  auto outcome = CancelOutcome::kNotCancellable;
  for (const std::string& ticket : tickets) {
    const auto message = wire::ReadFlightSqlAny(ticket);
    if (!message || message->name != "TicketStatementQuery") continue;
    SHEAF_ASSIGN_OR_RETURN(const std::string handle, wire::ReadFirstBytes(message->value));
    SHEAF_ASSIGN_OR_RETURN(const StatementTicket statement, ReadTicket(handle, call));
    queries_.Cancel(statement);
    outcome = CancelOutcome::kCancelled;
  }
  return wire::EncodeFirstNumber(static_cast<int64_t>(outcome));
}

Result<std::string> FlightService::SetSession(std::string_view body) {
  SHEAF_ASSIGN_OR_RETURN(const auto options, wire::ReadSessionOptions(body));
  std::vector<std::pair<std::string, wire::SessionOptionError>> errors;
  for (const auto& [name, value] : options) {
    if (name != "catalog" && name != "schema") {
      errors.emplace_back(name, wire::SessionOptionError::kInvalidName);
    } else if (value != (name == "catalog" ? kCatalogName : kDefaultSchema)) {
      errors.emplace_back(name, wire::SessionOptionError::kInvalidValue);
    }
  }
  return wire::EncodeSessionErrors(errors);
}

Result<std::string> FlightService::MakeSnapshot(std::string_view body, const GrpcCall& call) {
  SHEAF_RETURN_NOT_OK(CheckRight(call.identity.get(), access::Action::kAdminister));
  if (body.size() > kSnapshotNameBytesMax) {
    return MakeError(ErrorKind::kTooLarge, "a snapshot's name has {} bytes; at most {}", body.size(), kSnapshotNameBytesMax);
  }
  SHEAF_ASSIGN_OR_RETURN(const auto info, database_->CreateSnapshot(std::string(body)));
  return DumpJson({{"id", info.id}, {"lsn", info.lsn.value}});
}

Status FlightService::Flush(const GrpcCall& call) {
  SHEAF_RETURN_NOT_OK(CheckRight(call.identity.get(), access::Action::kAdminister));
  return database_->Flush();
}

Result<std::string> FlightService::TellHealth() {
  const store::Stats stats = database_->GetStats();
  nlohmann::json health = {{"status", "serving"}, {"writable", stats.writable}};
  if (!stats.writable) health["reason"] = stats.not_writable_reason;
  return DumpJson(health);
}

}  // namespace sheaf::serve
