#include "serve/error_codes.h"

#include <algorithm>

#include <arrow/util/utf8.h>

#include "core/check.h"

namespace sheaf::serve {
namespace {

constexpr size_t kMessageBytesMax = 4096;

// In the order of ErrorKind.
constexpr ErrorCodes kCodes[] = {
    {ErrorKind::kInvalid, GrpcCode::kInvalidArgument, 400, 400, false},
    {ErrorKind::kNotFound, GrpcCode::kNotFound, 404, 404, false},
    {ErrorKind::kAlreadyExists, GrpcCode::kAlreadyExists, 409, 409, false},
    {ErrorKind::kConflict, GrpcCode::kAborted, 409, 409, false},
    {ErrorKind::kTooLarge, GrpcCode::kResourceExhausted, 413, 413, false},
    {ErrorKind::kThrottled, GrpcCode::kUnavailable, 503, 429, true},
    {ErrorKind::kUnavailable, GrpcCode::kUnavailable, 503, 503, true},
    {ErrorKind::kUnknown, GrpcCode::kUnavailable, 503, 503, true},
    {ErrorKind::kTimeout, GrpcCode::kDeadlineExceeded, 503, 408, false},
    {ErrorKind::kCancelled, GrpcCode::kCancelled, 503, 408, false},
    {ErrorKind::kCorruption, GrpcCode::kInternal, 500, 500, false},
    {ErrorKind::kIo, GrpcCode::kUnavailable, 503, 500, true},
    {ErrorKind::kOutOfMemory, GrpcCode::kUnavailable, 503, 503, true},
    {ErrorKind::kDenied, GrpcCode::kPermissionDenied, 403, 403, false},
    {ErrorKind::kUnsupported, GrpcCode::kUnimplemented, 501, 501, false},
    {ErrorKind::kInternal, GrpcCode::kInternal, 500, 500, false},
};

}  // namespace

const ErrorCodes& CodesOf(ErrorKind kind) {
  const auto index = static_cast<size_t>(kind);
  SHEAF_CHECK(index < std::size(kCodes) && kCodes[index].kind == kind);
  return kCodes[index];
}

const char* GrpcCodeName(GrpcCode code) {
  constexpr const char* kNames[] = {
      "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
      "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED",
  };
  const auto index = static_cast<size_t>(code);
  SHEAF_CHECK(index < std::size(kNames));
  return kNames[index];
}

GrpcStatus ToGrpcStatus(const Status& error, int64_t retry_after_ms) {
  const ErrorCodes& codes = CodesOf(error);
  std::string message = ClientMessage(error);
  std::string details = codes.retry ? EncodeRpcStatus(codes.grpc, message, retry_after_ms) : std::string();
  return {.code = codes.grpc, .message = std::move(message), .details = std::move(details)};
}

std::string RetryAfterSeconds(int64_t retry_after_ms) {
  return std::to_string(std::max<int64_t>(1, (retry_after_ms + 999) / 1000));
}

std::string ClientMessage(const Status& error) { return ClientMessage(std::string_view(error.message())); }

std::string ClientMessage(std::string_view whole) {
  std::string message(whole.substr(0, kMessageBytesMax));
  // Cutting may split a character, and messages quote what clients sent.
  arrow::util::InitializeUTF8();
  const auto* bytes = reinterpret_cast<const uint8_t*>(message.data());
  if (arrow::util::ValidateUTF8(bytes, static_cast<int64_t>(message.size()))) return message;
  std::replace_if(message.begin(), message.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return message;
}

}  // namespace sheaf::serve
