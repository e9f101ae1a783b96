#include "client/grpc_call.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "wire/base64.h"
#include "wire/http_text.h"

namespace sheaf::client {
namespace {

std::string_view Find(const wire::Http2ClientEvents::Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

/// What gRPC makes of an answer that has an HTTP status and no gRPC one.
GrpcCode CodeOfHttp(std::string_view status) {
  if (status == "400") return GrpcCode::kInternal;
  if (status == "401") return GrpcCode::kUnauthenticated;
  if (status == "403") return GrpcCode::kPermissionDenied;
  if (status == "404") return GrpcCode::kUnimplemented;
  if (status == "429" || status == "502" || status == "503" || status == "504") return GrpcCode::kUnavailable;
  return GrpcCode::kUnknown;
}

GrpcEnd EndOf(std::string_view status, const wire::Http2ClientEvents::Headers& headers) {
  GrpcEnd end{.from_server = true};
  int code = -1;
  const auto [after, error] = std::from_chars(status.data(), status.data() + status.size(), code);
  const bool known = error == std::errc() && after == status.data() + status.size() && code >= 0 && code <= 16;
  end.code = known ? static_cast<GrpcCode>(code) : GrpcCode::kUnknown;
  const std::string_view message = Find(headers, "grpc-message");
  end.message = wire::PercentDecode(message).value_or(std::string(message));
  const std::string_view details = Find(headers, "grpc-status-details-bin");
  if (details.empty()) return end;
  const std::optional<std::string> bytes = wire::FromBase64(details);
  const auto rpc = bytes ? wire::ReadRpcStatus(*bytes) : Result<wire::RpcStatus>(MakeError(ErrorKind::kInvalid, "no base64"));
  if (rpc.ok()) {
    end.retry_after_ms = rpc->retry_after_ms;
  } else {
    end.message += " (the error's details cannot be read)";
  }
  return end;
}

}  // namespace

const char* GrpcCodeName(GrpcCode code) {
  static constexpr const char* kNames[] = {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
                                           "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
                                           "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  return kNames[static_cast<int>(code)];
}

wire::Http2ClientEvents::Headers GrpcCall::RequestHeaders(const Url& url) const {
  wire::Http2ClientEvents::Headers headers = {{":method", "POST"},
                                              {":scheme", url.tls ? "https" : "http"},
                                              {":path", url.path + request_.path},
                                              {":authority", url.authority()},
                                              {"te", "trailers"},
                                              {"content-type", "application/grpc"},
                                              {"user-agent", "sheaf"},
                                              {"grpc-accept-encoding", "identity,gzip,zstd"}};
  if (request_.compression != wire::Encoding::kIdentity) {
    headers.emplace_back("grpc-encoding", wire::EncodingName(request_.compression));
  }
  // At most eight digits.
  if (request_.timeout) headers.emplace_back("grpc-timeout", fmt::format("{}m", std::min<int64_t>(request_.timeout->count(), 99'999'999)));
  headers.insert(headers.end(), request_.metadata.begin(), request_.metadata.end());
  return headers;
}

wire::Http2ClientEvents::Produced GrpcCall::Produce(std::span<std::byte> out) {
  size_t filled = 0;
  while (!outgoing_.empty() && filled < out.size()) {
    const std::string& frame = outgoing_.front();
    const size_t n = std::min(frame.size() - sent_, out.size() - filled);
    std::memcpy(out.data() + filled, frame.data() + sent_, n);
    filled += n;
    sent_ += n;
    if (sent_ < frame.size()) break;
    outgoing_.pop_front();
    sent_ = 0;
  }
  sent_bytes_ += static_cast<int64_t>(filled);
  return {.bytes = filled, .end = finished_ && outgoing_.empty()};
}

bool GrpcCall::Refuse(GrpcCode code, std::string message, bool answered) {
  Decide({.code = code, .message = std::move(message), .answered = answered, .perhaps_processed = true});
  return false;
}

bool GrpcCall::OnHeaders(const wire::Http2ClientEvents::Headers& headers, bool last) {
  if (!head_seen_) {
    head_seen_ = true;
    const std::string_view status = Find(headers, ":status"), type = Find(headers, "content-type");
    if (status != "200" || !wire::IsGrpcContentType(type)) {
      Decide({.code = CodeOfHttp(status),
              .message = fmt::format("the server answered HTTP {} with '{}'; is it a gRPC server?", status, type),
              .from_server = true});
      return false;
    }
    const std::string_view encoding = Find(headers, "grpc-encoding");
    const std::optional<wire::Encoding> parsed = wire::ParseEncoding(encoding);
    if (!parsed) {
      return Refuse(GrpcCode::kInternal, fmt::format("the server compresses with '{}', which is not known", encoding), !last);
    }
    reader_.SetEncoding(*parsed);
  }
  if (!last) return true;
  const std::string_view status = Find(headers, "grpc-status");
  if (status.empty()) return Refuse(GrpcCode::kUnknown, "the server ended the call without a grpc-status");
  GrpcEnd end = EndOf(status, headers);
  if (end.ok() && reader_.inside()) return Refuse(GrpcCode::kInternal, "the server's answer ends within a message", true);
  Decide(std::move(end));
  return true;
}

bool GrpcCall::OnData(std::span<const std::byte> data) {
  if (!head_seen_) return Refuse(GrpcCode::kInternal, "the server sent a message before its headers");
  const Status read = reader_.Push(data, on_message_);
  return read.ok() || Refuse(GrpcCode::kInternal, read.message(), true);
}

void GrpcCall::Decide(GrpcEnd end) {
  if (!end_) end_ = std::move(end);
}

void GrpcCall::Close(const std::string& why, bool perhaps_processed, GrpcCode code) {
  if (std::exchange(closed_, true)) return;
  Decide({.code = code, .message = why, .perhaps_processed = true});
  if (!perhaps_processed) end_->perhaps_processed = false;
  end_->sent_bytes = sent_bytes_;
  on_end_(*std::move(end_));
}

}  // namespace sheaf::client
