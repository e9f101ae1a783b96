#include "serve/http_api.h"

#include <chrono>
#include <utility>

#include "core/log.h"
#include "serve/answer_stream.h"
#include "serve/audit.h"
#include "serve/database_metrics.h"
#include "serve/error_codes.h"
#include "serve/http_heads.h"
#include "serve/json_text.h"

namespace sheaf::serve {
namespace {

constexpr std::string_view kPage = R"(Sheaf: telemetry in, SQL out.

POST /v1/sql    a statement as text, or {"sql": ..., "params": [...]}; answers JSON, NDJSON, CSV, Arrow or Parquet
POST /v1/tables/SCHEMA.TABLE            adds rows: Arrow, Parquet, NDJSON, CSV
GET  /v1/tables/SCHEMA.TABLE/rows/KEY   one row
GET  /v1/snapshots   snapshots on disk; POST makes one
GET  /v1/openapi.json   all this for programs, as an OpenAPI document
GET  /metrics   Prometheus text
GET  /healthz   is the process up
GET  /readyz    does it serve

curl --data "SELECT service_name, count(*) FROM traces GROUP BY ALL" http://THIS-HOST:PORT/v1/sql?format=table
)";

void CountStatement(std::string_view code) {
  Metrics().AddCounter("sheaf_sql_requests_total", "SQL requests by outcome.", {{"code", std::string(code)}}).Add();
}

/// What the transport refuses knows only its HTTP status.
const char* CodeOfHttp(int status) {
  switch (status) {
    case 401: return "unauthenticated";
    case 403: return ErrorKindName(ErrorKind::kDenied);
    case 404: return ErrorKindName(ErrorKind::kNotFound);
    case 408: return ErrorKindName(ErrorKind::kTimeout);
    case 413:
    case 431: return ErrorKindName(ErrorKind::kTooLarge);
    case 429: return ErrorKindName(ErrorKind::kThrottled);
    case 501: return ErrorKindName(ErrorKind::kUnsupported);
    case 503: return ErrorKindName(ErrorKind::kUnavailable);
    default: return ErrorKindName(ErrorKind::kInvalid);
  }
}

/// How the API words what the transport refuses: as its own errors.
ErrorBody RefusedBody(const RefusedRequest& refused) {
  const nlohmann::json body = {{"code", CodeOfHttp(refused.status)}, {"message", ClientMessage(refused.reason)}, {"position", nullptr}};
  return {"application/json", DumpJson({{"error", body}}) + "\n"};
}

void NotThereYet(const std::shared_ptr<HttpExchange>& exchange) {
  RespondJsonError(exchange.get(),
                   MakeError(ErrorKind::kUnsupported, "{} {} is not there yet in this version; POST /v1/sql is",
                             exchange->request.method, exchange->request.path),
                   -1, -1);
}

}  // namespace

/// One request on its way.
struct HttpApi::Statement {
  std::shared_ptr<HttpExchange> exchange;
  std::string id;
  std::unique_ptr<AnswerStream> answer;       // Once the answer's form is known.
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  int64_t rows = 0;
  std::string sql;                            // Once the request is read.
};

nlohmann::json JsonOfError(const Status& error, int64_t position) {
  nlohmann::json body = {{"code", ErrorKindName(KindOf(error))}, {"message", ClientMessage(error)}, {"position", nullptr}};
  if (position >= 0) body["position"] = position;
  return body;
}

void RespondJsonError(HttpExchange* exchange, const Status& error, int64_t position, int64_t retry_after_ms, Headers headers) {
  RespondJsonError(exchange, error, JsonOfError(error, position), retry_after_ms, std::move(headers));
}

void RespondJsonError(HttpExchange* exchange, const Status& error, const nlohmann::json& body, int64_t retry_after_ms,
                      Headers headers) {
  const ErrorCodes& codes = CodesOf(error);
  headers.emplace_back("content-type", "application/json");
  if (codes.retry && retry_after_ms >= 0) headers.emplace_back("retry-after", RetryAfterSeconds(retry_after_ms));
  exchange->Respond(codes.api_http, std::move(headers), DumpJson({{"error", body}}) + "\n");
}

HttpApi::HttpApi(query::Engine* engine, store::Database* database, const HttpApiOptions& options)
    : engine_(engine), database_(database), options_(options),
      seconds_(Metrics().AddHistogram("sheaf_sql_seconds", "SQL requests from arrival to the end of the answer.")) {}

void HttpApi::Register(Transport* transport, const std::string& listener) {
  transport_ = transport;
  transport->FormatErrors(listener, RefusedBody);
  transport->HandleHttp(listener, "POST", "/v1/sql", [this](std::shared_ptr<HttpExchange> exchange) { Sql(std::move(exchange)); });
  transport->HandleHttp(listener, "GET", "/metrics", [this](std::shared_ptr<HttpExchange> exchange) {
    RespondWhole(exchange, {{"content-type", "text/plain; version=0.0.4; charset=utf-8"}}, MetricsText());
  });
  transport->HandleHttp(listener, "GET", "/", [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Respond(200, {{"content-type", "text/plain; charset=utf-8"}}, std::string(kPage));
  });
  for (const char* path : {"/v1/subscribe", "/api/*"}) transport->HandleHttp(listener, "GET", path, NotThereYet);
}

std::string HttpApi::MetricsText() {
  UpdateDatabaseMetrics(database_->GetStats());
  if (transport_ != nullptr) {
    Metrics().AddGauge("sheaf_connections", "Open connections.").Set(transport_->connections());
    Metrics().AddGauge("sheaf_request_memory_bytes", "Request bytes held.").Set(transport_->memory_bytes());
  }
  return Metrics().ToText();
}

void HttpApi::Sql(std::shared_ptr<HttpExchange> exchange) {
  Statement statement{.exchange = exchange, .id = RequestId(exchange->request.header("x-request-id"))};
  Status done;
  if (statements_.fetch_add(1) >= options_.statements_max) {
    done = MakeError(ErrorKind::kThrottled, "{} statements are running or waiting; try again later", options_.statements_max);
  } else {
    done = Run(&statement);
  }
  statements_.fetch_sub(1);
  seconds_.Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - statement.start).count());
  CountStatement(done.ok() ? "ok" : ErrorKindName(KindOf(done)));
  if (!done.ok()) Fail(&statement, done);
}

/// Streams the result. An error leaves the answer as it is; Fail() ends it.
Status HttpApi::Run(Statement* statement) {
  HttpExchange* const exchange = statement->exchange.get();
  SHEAF_ASSIGN_OR_RETURN(SqlRequest request, ParseSqlRequest(exchange->request, options_.sql));
  exchange->request.body.reset();
  request.query.identity = exchange->request.identity;
  statement->sql = request.query.sql;

  SHEAF_ASSIGN_OR_RETURN(auto started, engine_->Start(request.query));
  const std::shared_ptr<query::Query> running = std::move(started);
  exchange->OnCancel([weak = std::weak_ptr<query::Query>(running)] {
    if (const auto query = weak.lock()) query->Cancel();
  });

  // With the first batch a statement that writes is committed.
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::RecordBatch> batch, running->Next());
  AuditStatement(request.query.identity.get(), request.query.sql, running->stats().definition, Status::OK());
  const bool packed = request.format == query::Format::kParquet;  // Its pages are compressed already.
  const auto encoding = packed ? wire::Encoding::kIdentity : wire::ChooseEncoding(exchange->request.header("accept-encoding"));
  Headers headers = {
      {"content-type", query::MediaType(request.format)}, {"x-request-id", statement->id}, {"vary", "accept, accept-encoding"}};
  if (const Lsn lsn = running->stats().lsn; lsn.value > 0) headers.emplace_back("x-sheaf-lsn", std::to_string(lsn.value));
  statement->answer = std::make_unique<AnswerStream>(statement->exchange, std::move(headers), encoding);
  AnswerStream* const answer = statement->answer.get();
  const query::Sink sink = [answer](std::string_view bytes) { return answer->Write(bytes); };
  SHEAF_ASSIGN_OR_RETURN(const auto writer, query::ResultWriter::Make(request.format, running->schema(), sink));
  while (batch != nullptr) {
    statement->rows += batch->num_rows();
    SHEAF_RETURN_NOT_OK(writer->Write(*batch));
    SHEAF_RETURN_NOT_OK(answer->Flush());
    SHEAF_ASSIGN_OR_RETURN(batch, running->Next());
  }
  SHEAF_RETURN_NOT_OK(writer->Finish());
  return answer->End();
}

void HttpApi::Fail(Statement* statement, const Status& error) {
  const bool begun = statement->answer != nullptr && statement->answer->begun();
  AuditStatement(statement->exchange->request.identity.get(), statement->sql, false, error);
  LogDebug("sql.failed", {{"request_id", statement->id}, {"error", error.ToString()}, {"rows_sent", statement->rows}});
  if (begun) {
    statement->answer->Abort();
    return;
  }
  RespondJsonError(statement->exchange.get(), error, query::ErrorPosition(error), options_.retry_after_ms,
                   {{"x-request-id", statement->id}});
}

}  // namespace sheaf::serve
