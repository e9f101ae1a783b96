/// gRPC's length-prefixed messages as a client reads and writes them, and the google.rpc.Status of an error.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/status.h"
#include "wire/compression.h"

namespace sheaf::wire {

/// Appends one message with its prefix of five bytes. `compressed` says that `message` is so already.
void AppendGrpcFrame(bool compressed, std::string_view message, std::string* out);

/// Cuts the body of a gRPC answer into messages. Not thread-safe.
class GrpcFrameReader {
 public:
  explicit GrpcFrameReader(int64_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  /// What the answer's grpc-encoding names; identity until then.
  void SetEncoding(Encoding encoding) { encoding_ = encoding; }

  /// Takes bytes as they come; calls `take` for each whole message, inflated. Errors: TooLarge (a message over the limit, before or
  /// after inflating), Invalid (a bad prefix or compression).
  Status Push(std::span<const std::byte> bytes, const std::function<void(std::string message)>& take);
  /// Whether a message is incomplete.
  bool inside() const { return !partial_.empty(); }

 private:
  Status Take(bool compressed, std::string_view message, const std::function<void(std::string)>& take) const;

  const int64_t message_bytes_max_;
  Encoding encoding_ = Encoding::kIdentity;
  std::string partial_;  // Prefix and message, as far as they are there.
};

/// google.rpc.Status.
struct RpcStatus {
  int32_t code = 0;
  std::string message;
  std::optional<int64_t> retry_after_ms;  // Of a RetryInfo among its details; 0 and more.
};

/// Reads the bytes of a google.rpc.Status. Error: Invalid.
Result<RpcStatus> ReadRpcStatus(std::string_view bytes);

}  // namespace sheaf::wire
