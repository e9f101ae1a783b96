/// A gRPC call as a caller sees it who waits: messages go out, messages come in one after the other, and a server that is faster than
/// its reader is held up.

#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "client/grpc_client.h"
#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::client {

/// Thread-safe. Destruction cancels the call, if it has not ended.
class GrpcReader {
 public:
  using Clock = std::chrono::steady_clock;
  /// Bytes of messages that wait to be read; with more, the server is asked to wait.
  static constexpr int64_t kWaitingBytesMax = int64_t{8} << 20;

  /// Opens a call. `cancelled`, which may be empty, is asked ten times a second while somebody waits. Borrows `client`.
  GrpcReader(GrpcClient* client, const GrpcRequest& request, std::function<bool()> cancelled = {});
  ~GrpcReader();
  GrpcReader(const GrpcReader&) = delete;
  GrpcReader& operator=(const GrpcReader&) = delete;

  // As GrpcStream's.
  Status Write(std::string_view message) { return stream_->Write(message); }
  void Finish() { stream_->Finish(); }
  void Cancel() { stream_->Cancel(); }

  /// Waits for the next message; nothing at the end: end() says which. Errors: Timeout (`idle` passed and nothing came), Cancelled; the
  /// call goes on then.
  Result<std::optional<std::string>> Next(std::chrono::nanoseconds idle);
  /// Whether a message, or the end, can be had without waiting.
  bool ready() const;
  /// Bytes of messages that wait to be read.
  int64_t waiting_bytes() const;
  /// Runs, under no lock, when ready() may have become true; on the client's thread. Set once.
  void OnReady(std::function<void()> ready);
  /// After the end: how the call went.
  GrpcEnd end() const;

 private:
  /// What the callbacks share with this, and keep until the call's end.
  struct Shared;
  const std::shared_ptr<Shared> shared_;
  const std::function<bool()> cancelled_;
  std::unique_ptr<GrpcStream> stream_;
};

/// What the end of a call is as an error. `what`: was done. Of a call that was cut off after its request went out: Unknown where
/// `writes`, as nobody knows whether it was done, else Unavailable. Requires: !end.ok().
Status ErrorOfGrpc(const GrpcEnd& end, std::string_view what, bool writes);

}  // namespace sheaf::client
