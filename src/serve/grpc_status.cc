/// google.rpc.Status by hand: three fields, one of them an Any with a RetryInfo.

#include <cstdint>
#include <string>
#include <string_view>

#include "serve/transport.h"

namespace sheaf::serve {
namespace {

constexpr int kVarint = 0, kBytes = 2;  // Wire types of protobuf.

void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void AppendNumber(int field, int64_t value, std::string* out) {
  if (value == 0) return;
  AppendVarint(static_cast<uint64_t>(field << 3 | kVarint), out);
  AppendVarint(static_cast<uint64_t>(value), out);
}

void AppendBytes(int field, std::string_view value, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field << 3 | kBytes), out);
  AppendVarint(value.size(), out);
  out->append(value);
}

/// google.rpc.RetryInfo { google.protobuf.Duration retry_delay = 1; }
std::string EncodeRetryInfo(int64_t retry_after_ms) {
  std::string duration;
  AppendNumber(1, retry_after_ms / 1000, &duration);              // seconds
  AppendNumber(2, retry_after_ms % 1000 * 1'000'000, &duration);  // nanos
  std::string info;
  AppendBytes(1, duration, &info);
  return info;
}

}  // namespace

std::string EncodeRpcStatus(GrpcCode code, std::string_view message, int64_t retry_after_ms) {
  std::string status;
  AppendNumber(1, static_cast<int64_t>(code), &status);
  if (!message.empty()) AppendBytes(2, message, &status);
  if (retry_after_ms >= 0) {
    std::string any;
    AppendBytes(1, "type.googleapis.com/google.rpc.RetryInfo", &any);
    AppendBytes(2, EncodeRetryInfo(retry_after_ms), &any);
    AppendBytes(3, any, &status);
  }
  return status;
}

}  // namespace sheaf::serve
