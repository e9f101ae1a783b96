#include "client/otlp_exporter.h"

#include "wire/compression.h"
#include "wire/grpc_frames.h"

namespace sheaf::client {
namespace {

constexpr size_t kTextBytesMax = 2'000;

const char* Path(OtlpSignal signal) {
  switch (signal) {
    case OtlpSignal::kTraces: return "/v1/traces";
    case OtlpSignal::kLogs: return "/v1/logs";
    case OtlpSignal::kMetrics: return "/v1/metrics";
  }
  return "";
}

/// The text of a google.rpc.Status, or the body where it is text.
std::string ErrorText(const HttpResponse& response) {
  if (response.header("content-type").find("protobuf") == std::string_view::npos) return response.body.substr(0, kTextBytesMax);
  const Result<wire::RpcStatus> status = wire::ReadRpcStatus(response.body);
  return status.ok() ? status->message.substr(0, kTextBytesMax) : "unreadable error body";
}

}  // namespace

Status ErrorOfResponse(const HttpResponse& response) {
  const auto kind = [&] {
    switch (response.status) {
      case 401:
      case 403: return ErrorKind::kDenied;
      case 404: return ErrorKind::kNotFound;
      case 408: return ErrorKind::kTimeout;
      case 413: return ErrorKind::kTooLarge;
      case 429: return ErrorKind::kThrottled;
      case 501: return ErrorKind::kUnsupported;
      default: return response.status >= 500 ? ErrorKind::kUnavailable : ErrorKind::kInvalid;
    }
  }();
  return MakeError(kind, "the server answered {}: {}", response.status, ErrorText(response));
}

Result<ExportResult> OtlpExporter::Export(OtlpSignal signal, std::string_view request) {
  HttpRequest http;
  http.target = Path(signal);
  http.headers = {{"content-type", "application/x-protobuf"}, {"content-encoding", "gzip"}};
  http.repeatable = true;
  SHEAF_ASSIGN_OR_RETURN(http.body, wire::Compress(wire::Encoding::kGzip, request));
  sent_bytes_ += static_cast<int64_t>(http.body.size());
  SHEAF_ASSIGN_OR_RETURN(const HttpResponse response, client_->Send(http));
  if (response.status / 100 != 2) return ErrorOfResponse(response);
  return ReadOtlpResponse(response.body);
}

}  // namespace sheaf::client
