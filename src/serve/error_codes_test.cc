#include "serve/error_codes.h"

#include <string>

#include <gtest/gtest.h>

#include "wire/protobuf_reader.h"

namespace sheaf::serve {
namespace {

struct Row {
  const char* name;
  ErrorKind kind;
  GrpcCode grpc;
  int otlp_http, api_http;
  bool retry;
};

// The promises to exporters: what may work later is UNAVAILABLE with RetryInfo or 503 with Retry-After; what never will is not.
const Row kRows[] = {
    {"Malformed", ErrorKind::kInvalid, GrpcCode::kInvalidArgument, 400, 400, false},
    {"TooLarge", ErrorKind::kTooLarge, GrpcCode::kResourceExhausted, 413, 413, false},
    {"Overload", ErrorKind::kThrottled, GrpcCode::kUnavailable, 503, 429, true},
    {"DiskFullOrStopping", ErrorKind::kUnavailable, GrpcCode::kUnavailable, 503, 503, true},
    {"OutcomeUnknown", ErrorKind::kUnknown, GrpcCode::kUnavailable, 503, 503, true},
    {"IngestBudget", ErrorKind::kOutOfMemory, GrpcCode::kUnavailable, 503, 503, true},
    {"DiskError", ErrorKind::kIo, GrpcCode::kUnavailable, 503, 500, true},
    {"TimeOut", ErrorKind::kTimeout, GrpcCode::kDeadlineExceeded, 503, 408, false},
    {"Cancelled", ErrorKind::kCancelled, GrpcCode::kCancelled, 503, 408, false},
    {"NotFound", ErrorKind::kNotFound, GrpcCode::kNotFound, 404, 404, false},
    {"Exists", ErrorKind::kAlreadyExists, GrpcCode::kAlreadyExists, 409, 409, false},
    {"Conflict", ErrorKind::kConflict, GrpcCode::kAborted, 409, 409, false},
    {"Denied", ErrorKind::kDenied, GrpcCode::kPermissionDenied, 403, 403, false},
    {"NotThereYet", ErrorKind::kUnsupported, GrpcCode::kUnimplemented, 501, 501, false},
    {"Damaged", ErrorKind::kCorruption, GrpcCode::kInternal, 500, 500, false},
    {"Bug", ErrorKind::kInternal, GrpcCode::kInternal, 500, 500, false},
};

/// Whether a google.rpc.Status has details (field 3).
bool HasDetails(const std::string& status) {
  wire::ProtobufReader reader(status);
  bool found = false;
  while (reader.Next()) {
    found = found || wire::FieldOf(reader.tag()) == 3;
    reader.Skip();
  }
  EXPECT_TRUE(reader.ok());
  return found;
}

TEST(ErrorCodes, AreThoseOfTheTable) {
  EXPECT_EQ(std::size(kRows), static_cast<size_t>(ErrorKind::kInternal) + 1);
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    const ErrorCodes& codes = CodesOf(row.kind);
    EXPECT_EQ(codes.grpc, row.grpc);
    EXPECT_EQ(codes.otlp_http, row.otlp_http);
    EXPECT_EQ(codes.api_http, row.api_http);
    EXPECT_EQ(codes.retry, row.retry);
    const GrpcStatus status = ToGrpcStatus(MakeStatus(row.kind, "why"), 1500);
    EXPECT_EQ(status.code, row.grpc);
    EXPECT_EQ(status.message, "why");
    EXPECT_EQ(!status.details.empty() && HasDetails(status.details), row.retry);
  }
}

TEST(ErrorCodes, ResourceExhaustedNeverComesWithRetryInfo) {
  // With it, exporters would send the same too large request again, for ever.
  EXPECT_EQ(ToGrpcStatus(MakeStatus(ErrorKind::kTooLarge, "x"), 1000).details, "");
}

TEST(ErrorCodes, RetryAfterIsWholeSecondsRoundedUp) {
  EXPECT_EQ(RetryAfterSeconds(1), "1");
  EXPECT_EQ(RetryAfterSeconds(1000), "1");
  EXPECT_EQ(RetryAfterSeconds(1001), "2");
}

TEST(ErrorCodes, MessagesToClientsAreShortAndUtf8) {
  EXPECT_EQ(ClientMessage(MakeStatus(ErrorKind::kInvalid, "bad \xff name")), "bad ? name");
  EXPECT_EQ(ClientMessage(MakeStatus(ErrorKind::kInvalid, std::string(100'000, 'x'))).size(), 4096u);
}

}  // namespace
}  // namespace sheaf::serve
