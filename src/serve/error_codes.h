/// What a failure looks like to each kind of client: the one table from ErrorKind to gRPC and HTTP codes.
///
/// OTLP exporters resend on UNAVAILABLE and on 429, 502, 503 and 504, and drop the data on anything else. So whatever may
/// go well later is answered with UNAVAILABLE or 503, and with when to try again; what will never go well is not.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/status.h"
#include "serve/transport.h"

namespace sheaf::serve {

struct ErrorCodes {
  ErrorKind kind;
  GrpcCode grpc;      // OTLP over gRPC.
  int otlp_http;      // OTLP over HTTP.
  int api_http;       // /v1/sql and its neighbours.
  bool retry;         // Comes with RetryInfo or Retry-After.
};

const ErrorCodes& CodesOf(ErrorKind kind);
inline const ErrorCodes& CodesOf(const Status& error) { return CodesOf(KindOf(error)); }

/// "OK", "INVALID_ARGUMENT", …
const char* GrpcCodeName(GrpcCode code);

/// The error as gRPC reports it; with RetryInfo where sending again may help.
GrpcStatus ToGrpcStatus(const Status& error, int64_t retry_after_ms);

/// Whole seconds for a Retry-After header, at least one.
std::string RetryAfterSeconds(int64_t retry_after_ms);

/// What may be shown of an error: its message, valid UTF-8, of bounded length.
std::string ClientMessage(const Status& error);
std::string ClientMessage(std::string_view message);

}  // namespace sheaf::serve
