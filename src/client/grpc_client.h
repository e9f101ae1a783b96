/// A gRPC client over HTTP/2: many calls at once on one connection, deadlines, compression, errors with what the server asks for.
///
/// A call is not retried here: whoever makes it knows whether that does harm, and is told whether the server can have acted on
/// it (GrpcEnd::perhaps_processed). A connection that is lost is made anew for the next call.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/look_up.h"
#include "client/request_headers.h"
#include "client/tls.h"
#include "client/url.h"
#include "core/status.h"
#include "wire/compression.h"

namespace sheaf::client {

/// The codes of gRPC. A server may send others; they count as kUnknown.
enum class GrpcCode : int {
  kOk = 0, kCancelled = 1, kUnknown = 2, kInvalidArgument = 3, kDeadlineExceeded = 4, kNotFound = 5, kAlreadyExists = 6,
  kPermissionDenied = 7, kResourceExhausted = 8, kFailedPrecondition = 9, kAborted = 10, kOutOfRange = 11,
  kUnimplemented = 12, kInternal = 13, kUnavailable = 14, kDataLoss = 15, kUnauthenticated = 16,
};

/// "OK", "INVALID_ARGUMENT", …
const char* GrpcCodeName(GrpcCode code);

/// How a call ended, whether the server said so or the connection did.
struct GrpcEnd {
  GrpcCode code = GrpcCode::kUnknown;
  std::string message;
  std::optional<int64_t> retry_after_ms;  // RetryInfo of the answer.
  bool from_server = false;               // The server said so; else the call was cut off.
  bool reset = false;                     // The server reset the stream, and said no more.
  bool answered = false;                  // A message or an OK came that cannot be read: a unary call was taken.
  bool perhaps_processed = false;         // Cut off after the request began to go out: it may have been acted on.
  int64_t sent_bytes = 0;                 // Of messages, as they went out: after compression.

  bool ok() const { return code == GrpcCode::kOk; }
};

struct GrpcClientOptions {
  std::chrono::milliseconds connect_timeout{5'000};  // With the look-up of the host and TLS; shared by its addresses.
  int64_t reply_bytes_max = int64_t{16} << 20;  // Of one message, inflated.
  TlsOptions tls;
  HostLookUp look_up;                           // Empty: the system's.
  /// So long an answer may be awaited in silence before the server is asked for a sign of life (PING), and that as long: then the
  /// connection is given up.
  std::chrono::milliseconds ping_after{10'000};
};

using GrpcMetadata = RequestHeaders;

/// What a call begins with.
struct GrpcRequest {
  std::string path;                                // "/package.Service/Method"
  GrpcMetadata metadata;
  wire::Encoding compression = wire::Encoding::kIdentity;
  std::optional<std::chrono::milliseconds> timeout;  // Until its end; told to the server. None: for as long as it takes.
};

/// An open call with messages in both directions. Thread-safe. Letting go of it without Finish() cancels the call.
class GrpcStream {
 public:
  virtual ~GrpcStream() = default;
  /// Sends a message as soon as the server takes it. Waits for nothing: the caller bounds what it has under way. No effect after the end.
  /// Error: OutOfMemory (while compressing).
  virtual Status Write(std::string_view message) = 0;
  /// Says that nothing more will be written.
  virtual void Finish() = 0;
  virtual void Cancel() = 0;
  /// Lets the server send no more than 1 MiB or so on this call until Resume(): for readers that are slower. Others go on.
  virtual void Pause() = 0;
  virtual void Resume() = 0;
};

/// Thread-safe. Callbacks run on the client's own thread, one at a time: they must be short, and may begin calls.
class GrpcClient {
 public:
  using OnMessage = std::function<void(std::string message)>;
  using OnEnd = std::function<void(GrpcEnd end)>;

  /// Connects with the first call. Error: Io (certificates cannot be read), Invalid (a certificate without its key).
  static Result<std::unique_ptr<GrpcClient>> Make(const Url& url, GrpcClientOptions options = {});
  /// Ends open calls with CANCELLED, and waits for their callbacks. Not from a callback.
  virtual ~GrpcClient() = default;

  /// Opens a call. `on_end` is run once, last, always, and never inside Open().
  virtual std::unique_ptr<GrpcStream> Open(const GrpcRequest& request, OnMessage on_message, OnEnd on_end) = 0;
  /// Ends all calls with CANCELLED, and from now on each new one at once.
  virtual void CancelAll() = 0;
  virtual const Url& url() const = 0;

  struct Reply {
    GrpcEnd end;
    std::string message;  // Of a call that went well.
  };
  /// A call with one message each way; waits for its end.
  Reply Call(const GrpcRequest& request, std::string_view message);
};

}  // namespace sheaf::client
