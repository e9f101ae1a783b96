#include "serve/otlp_receiver.h"

#include <chrono>
#include <span>
#include <utility>

#include "serve/error_codes.h"
#include "serve/json_text.h"
#include "wire/nested_writer.h"
#include "wire/otlp_records.h"

namespace sheaf::serve {
namespace {

using wire::OtlpRequest;

constexpr OtlpRequest kRequests[] = {OtlpRequest::kTraces, OtlpRequest::kLogs, OtlpRequest::kMetrics};

const char* GrpcPath(OtlpRequest kind) {
  switch (kind) {
    case OtlpRequest::kTraces: return "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    case OtlpRequest::kLogs: return "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    case OtlpRequest::kMetrics: break;
  }
  return "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
}

const char* RejectedName(OtlpRequest kind) {
  switch (kind) {
    case OtlpRequest::kTraces: return "rejectedSpans";
    case OtlpRequest::kLogs: return "rejectedLogRecords";
    case OtlpRequest::kMetrics: break;
  }
  return "rejectedDataPoints";
}

/// Export…ServiceResponse { Export…PartialSuccess partial_success = 1 { int64 rejected_… = 1; string error_message = 2; } }
std::string ResponseProtobuf(const IngestOutcome& outcome) {
  std::string response;
  if (outcome.rejected == 0) return response;
  wire::NestedWriter writer;
  const size_t partial = writer.Begin(1);
  writer.Varint(1, static_cast<uint64_t>(outcome.rejected));
  writer.Bytes(2, outcome.rejected_reason);
  writer.End(partial);
  writer.AppendTo(&response);
  return response;
}

std::string ResponseJson(OtlpRequest kind, const IngestOutcome& outcome) {
  if (outcome.rejected == 0) return "{}";
  nlohmann::json partial = nlohmann::json::object();
  partial[RejectedName(kind)] = std::to_string(outcome.rejected);
  partial["errorMessage"] = outcome.rejected_reason;
  return DumpJson({{"partialSuccess", partial}});
}

enum class BodyType { kProtobuf, kJson, kOther };

BodyType BodyTypeOf(std::string_view content_type) {
  const std::string type = MediaTypeOf(content_type);
  if (type == "application/x-protobuf") return BodyType::kProtobuf;
  if (type == "application/json") return BodyType::kJson;
  return BodyType::kOther;
}

/// A google.rpc.Status in the request's own encoding, as OTLP/HTTP asks; in JSON where the request's is not known.
ErrorBody StatusBody(BodyType type, GrpcCode code, const std::string& message, int64_t retry_after_ms) {
  if (type == BodyType::kProtobuf) return {"application/x-protobuf", EncodeRpcStatus(code, message, retry_after_ms)};
  return {"application/json", DumpJson({{"code", static_cast<int>(code)}, {"message", message}})};
}

void RespondError(HttpExchange* exchange, BodyType type, int http, GrpcStatus status, bool retry, int64_t retry_after_ms) {
  Headers headers;
  if (retry) headers.emplace_back("retry-after", RetryAfterSeconds(retry_after_ms));
  ErrorBody body = StatusBody(type, status.code, status.message, retry ? retry_after_ms : -1);
  headers.emplace_back("content-type", std::move(body.content_type));
  exchange->Respond(http, std::move(headers), std::move(body.bytes));
}

/// What the transport refuses knows only its HTTP status.
GrpcCode CodeOfHttp(int status) {
  switch (status) {
    case 401: return GrpcCode::kUnauthenticated;
    case 403: return GrpcCode::kPermissionDenied;
    case 404: return GrpcCode::kNotFound;
    case 405:
    case 501:
    case 505: return GrpcCode::kUnimplemented;
    case 408: return GrpcCode::kDeadlineExceeded;
    case 413:
    case 429:
    case 431: return GrpcCode::kResourceExhausted;
    case 503: return GrpcCode::kUnavailable;
    default: return GrpcCode::kInvalidArgument;
  }
}

ErrorBody RefusedBody(const RefusedRequest& refused) {
  const GrpcCode code = CodeOfHttp(refused.status);
  return StatusBody(BodyTypeOf(refused.content_type), code, ClientMessage(refused.reason), refused.retry_after_ms);
}

/// A request that was not received as it is.
class TextBody final : public Body {
 public:
  explicit TextBody(std::string text) : text_(std::move(text)) {}
  std::span<const std::byte> bytes() const override { return std::as_bytes(std::span(text_)); }

 private:
  const std::string text_;
};

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void OtlpReceiver::Register(Transport* transport, const std::string& grpc, const std::string& http) {
  transport->FormatErrors(http, RefusedBody);
  for (const OtlpRequest kind : kRequests) {
    transport->HandleGrpc(grpc, GrpcPath(kind), [this, kind](std::shared_ptr<GrpcCall> call) { Export(kind, std::move(call)); });
    transport->HandleHttp(http, "POST", std::string("/v1/") + wire::OtlpSignalName(kind),
                          [this, kind](std::shared_ptr<HttpExchange> exchange) { Post(kind, std::move(exchange)); });
  }
}

void OtlpReceiver::Answered(OtlpRequest kind, GrpcCode code, std::chrono::steady_clock::time_point start) const {
  if (answered_) answered_(kind, code, SecondsSince(start));
}

void OtlpReceiver::Export(OtlpRequest kind, std::shared_ptr<GrpcCall> call) {
  if (call->cancelled()) return;
  const auto start = std::chrono::steady_clock::now();
  take_(kind, std::move(call->message), [this, kind, start, call](Result<IngestOutcome> outcome) {
    GrpcStatus status;
    std::string reply;
    if (outcome.ok()) {
      reply = ResponseProtobuf(*outcome);
    } else {
      status = ToGrpcStatus(outcome.status(), retry_after_ms_);
    }
    Answered(kind, status.code, start);
    call->Finish(std::move(status), std::move(reply));
  });
}

void OtlpReceiver::Post(OtlpRequest kind, std::shared_ptr<HttpExchange> exchange) {
  if (exchange->cancelled()) return;
  const auto start = std::chrono::steady_clock::now();
  const BodyType type = BodyTypeOf(exchange->request.header("content-type"));
  if (type == BodyType::kOther) {
    Answered(kind, GrpcCode::kInvalidArgument, start);
    constexpr const char* kMessage = "the Content-Type must be application/x-protobuf or application/json";
    return RespondError(exchange.get(), type, 415, {.code = GrpcCode::kInvalidArgument, .message = kMessage}, false, 0);
  }
  const auto answer = [this, kind, type, start, exchange](Result<IngestOutcome> outcome) {
    GrpcCode code = GrpcCode::kOk;
    if (outcome.ok()) {
      exchange->Respond(200, {{"content-type", type == BodyType::kJson ? "application/json" : "application/x-protobuf"}},
                        type == BodyType::kJson ? ResponseJson(kind, *outcome) : ResponseProtobuf(*outcome));
    } else {
      const ErrorCodes& codes = CodesOf(outcome.status());
      code = codes.grpc;
      RespondError(exchange.get(), type, codes.otlp_http, {.code = code, .message = ClientMessage(outcome.status())}, codes.retry,
                   retry_after_ms_);
    }
    Answered(kind, code, start);
  };
  std::unique_ptr<Body> body = std::move(exchange->request.body);
  if (type == BodyType::kProtobuf) return take_(kind, std::move(body), answer);
  std::string protobuf;
  const Status read = wire::OtlpJsonToProtobuf(kind, body->view(), &protobuf);
  if (!read.ok()) return answer(read);
  take_(kind, std::make_unique<TextBody>(std::move(protobuf)), answer);
}

}  // namespace sheaf::serve
