/// Listening sockets, HTTP/1.1, HTTP/2 and gRPC, TLS, limits: everything between a socket and a handler.
///
/// Threads: each connection lives on one I/O thread (its HTTP state needs no locks); handlers run on a
/// pool of workers, except those registered as `inline_on_io`, and answer from any thread.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "access/identity.h"
#include "core/status.h"

namespace sheaf::serve {

class Gate;

/// Names in lower case.
using Headers = std::vector<std::pair<std::string, std::string>>;

/// A request body or message, already inflated. Dropping it gives back its share of the memory budget
/// and reopens flow control: hold it no longer than its bytes are needed.
class Body {
 public:
  virtual ~Body() = default;
  virtual std::span<const std::byte> bytes() const = 0;
  std::string_view view() const { return {reinterpret_cast<const char*>(bytes().data()), bytes().size()}; }
};

struct HttpRequest {
  std::string method, path, query;  // Path decoded, query raw (without '?').
  Headers headers;
  std::unique_ptr<Body> body;       // Never null.
  std::string peer;                 // "127.0.0.1:5555"
  bool tls = false;
  std::shared_ptr<const access::Identity> identity;  // Who sends it; null where the transport has no gate.

  /// The first header of that (lower-case) name, or empty.
  std::string_view header(std::string_view name) const;
};

/// One HTTP request and the way to answer it, either with Respond() or with Begin(), Write()…, End().
/// Thread-safe in the sense that one thread at a time answers; after the peer is gone all are no-ops.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  HttpRequest request;

  virtual void Respond(int status, Headers headers, std::string body) = 0;
  virtual void Begin(int status, Headers headers) = 0;
  /// Waits while the peer reads too slowly (bounded memory). Returns false once the peer is gone.
  virtual bool Write(std::string chunk) = 0;
  virtual void End() = 0;
  /// Ends a begun answer visibly broken (connection or stream reset), so that the client sees the error.
  virtual void Abort() = 0;
  virtual bool cancelled() const = 0;
  /// Runs `action` once, on an I/O thread, when the peer goes away before End(); at once if it has.
  virtual void OnCancel(std::function<void()> action) = 0;
};
using HttpHandler = std::function<void(std::shared_ptr<HttpExchange>)>;

enum class GrpcCode : int {
  kOk = 0, kCancelled = 1, kUnknown = 2, kInvalidArgument = 3, kDeadlineExceeded = 4, kNotFound = 5, kAlreadyExists = 6,
  kPermissionDenied = 7, kResourceExhausted = 8, kFailedPrecondition = 9, kAborted = 10, kOutOfRange = 11,
  kUnimplemented = 12, kInternal = 13, kUnavailable = 14, kDataLoss = 15, kUnauthenticated = 16,
};

struct GrpcStatus {
  GrpcCode code = GrpcCode::kOk;
  std::string message;      // UTF-8.
  std::string details;      // Serialised google.rpc.Status (RetryInfo), or empty.
  Headers trailers = {};    // The handler's own.
};

/// One unary call.
class GrpcCall {
 public:
  virtual ~GrpcCall() = default;
  std::string path;         // "/package.Service/Method"
  Headers metadata;
  std::unique_ptr<Body> message;
  std::string peer;
  std::shared_ptr<const access::Identity> identity;  // As that of HttpRequest; of a stream, as it was when it began.
  std::optional<std::chrono::steady_clock::time_point> deadline;

  /// Answers; once. `reply` is the serialised message of a call that went well.
  virtual void Finish(GrpcStatus status, std::string reply = {}) = 0;
  virtual bool cancelled() const = 0;
};
using GrpcHandler = std::function<void(std::shared_ptr<GrpcCall>)>;

/// A call with a stream of replies: Write or Send any number of times, then Finish.
class GrpcStreamCall : public GrpcCall {
 public:
  /// Does not wait. A peer that leaves many times the send buffer unread ends the call.
  virtual void Write(std::string reply) = 0;
  /// Waits while the peer reads too slowly (bounded memory); not for I/O threads. Returns false once the call is over.
  virtual bool Send(std::string reply) = 0;
  virtual void OnCancel(std::function<void()> action) = 0;
};
using GrpcStreamHandler = std::function<void(std::shared_ptr<GrpcStreamCall>)>;

/// Takes the messages of a bidirectional call. Let go of when the call is over for the transport, on any thread.
class GrpcReceiver {
 public:
  virtual ~GrpcReceiver() = default;
  /// One message, on a worker. The next one comes, and the peer's window opens further, only after `next` was run: once, on any thread.
  virtual void OnMessage(std::unique_ptr<Body> message, std::function<void()> next) = 0;
  /// The peer has sent its last message; on a worker, after the `next` of the last one.
  virtual void OnEnd() = 0;
};
/// Begins a bidirectional call, whose `message` is null: on the I/O thread, so it must not wait. Writes and finishes as it likes. May
/// finish the call and return null.
using GrpcDuplexHandler = std::function<std::shared_ptr<GrpcReceiver>(std::shared_ptr<GrpcStreamCall>)>;

struct TransportOptions {
  int io_threads = 1;
  int worker_threads = 2;
  std::string tls_certificate_file, tls_key_file;    // PEM; empty: cleartext.
  std::string tls_client_ca_file;                    // Not empty: clients must show a certificate signed by it.

  int64_t message_bytes_max = int64_t{64} << 20;     // On the wire, and again when inflated.
  int64_t memory_bytes_max = int64_t{512} << 20;     // Request bytes held, over all connections; reserved as they arrive.
  int64_t connection_memory_bytes_max = int64_t{128} << 20;
  int inflate_ratio_max = 100;                       // Beyond 4 MiB of output.
  int64_t header_bytes_max = 16 << 10;
  int streams_max = 128;                             // Per connection, at once.
  int connections_max = 4096;
  int connections_per_address_max = 1024;
  int64_t send_buffer_bytes_max = 256 << 10;         // Per stream; Write() waits beyond it.

  std::chrono::milliseconds handshake_timeout{10'000}, header_timeout{10'000}, idle_timeout{300'000}, write_timeout{20'000};
  std::chrono::milliseconds keepalive_interval{60'000}, keepalive_timeout{20'000};
  int64_t upload_bytes_per_second_min = 1 << 10;     // After upload_grace.
  std::chrono::milliseconds upload_grace{10'000};
};

/// An HTTP request that the transport answers itself: malformed, too large, refused in overload, at an unknown path.
struct RefusedRequest {
  int status = 400;                // Of the answer.
  std::string_view content_type;   // Of the request; empty where its head could not be read.
  std::string_view reason;         // For people; quotes what clients sent, so perhaps not UTF-8.
  int64_t retry_after_ms = -1;     // Negative: sending it again will not help.
};
struct ErrorBody {
  std::string content_type, bytes;
};
using ErrorFormatter = std::function<ErrorBody(const RefusedRequest&)>;

/// What a listener makes of a request's head, before anything else does.
struct HeadVerdict {
  Headers answer;       // Every answer carries them, whoever gives it, but for those that it names itself (Vary adds up).
  std::string refused;  // Not empty: 403, for this reason.
};
/// `request`: the headers of the request, which may be changed before its handler sees them.
using HeadChecker = std::function<HeadVerdict(std::string_view method, Headers* request)>;

/// Start order: Handle…() calls, then Listen() for each port, then it serves until Shutdown().
class Transport {
 public:
  static Result<std::unique_ptr<Transport>> Make(const TransportOptions& options);
  /// Stops at once, as Shutdown(0).
  virtual ~Transport() = default;

  /// Routes are per listener name, so that ports serve different things: "otlp_grpc", "otlp_http", "http".
  /// `path` ending in '*' matches a prefix; one more '*' may stand for any text before: "/a/*/b/*". Unknown paths get 404, known ones
  /// with another method 405.
  /// `inline_on_io`: runs on the I/O thread; such a handler must neither wait nor Write(), only Respond().
  virtual void HandleHttp(const std::string& listener, const std::string& method, const std::string& path, HttpHandler handler,
                          bool inline_on_io = false) = 0;
  virtual void HandleGrpc(const std::string& listener, const std::string& path, GrpcHandler handler, bool inline_on_io = false) = 0;
  virtual void HandleGrpcStream(const std::string& listener, const std::string& path, GrpcStreamHandler handler) = 0;
  virtual void HandleGrpcDuplex(const std::string& listener, const std::string& path, GrpcDuplexHandler handler) = 0;

  /// How `listener` words the errors that the transport itself answers with; plain text where this is not called. Runs on any
  /// thread, several at once.
  virtual void FormatErrors(const std::string& listener, ErrorFormatter formatter) = 0;

  /// Sees the head of each HTTP request to `listener`, found its path or not. Runs on I/O threads: must not wait.
  virtual void CheckHeads(const std::string& listener, HeadChecker checker) = 0;

  /// Binds and serves. Port 0 picks a free one; returns the port. Errors: Unavailable (in use; names the address), Io.
  virtual Result<uint16_t> Listen(const std::string& listener, const std::string& address, uint16_t port) = 0;

  /// Overload valve, asked before a body is read: true refuses new requests early (503 / UNAVAILABLE + RetryInfo).
  virtual void SetOverloaded(std::function<bool()> overloaded) = 0;

  /// Asked who sends each request, and whether it may come in, before its body is read where that can be said at once; null: everybody
  /// may. Borrowed; it must outlive the transport. Requests that come in no longer have their Authorization header.
  virtual void SetGate(Gate* gate) = 0;

  /// Reads certificate, key and client CA anew, for connections that come from now on. Errors: as of Make(); the old ones stay.
  virtual Status ReloadTls() = 0;

  /// Stops accepting, says GOAWAY / Connection: close, lets running requests finish for at most `grace`, closes.
  virtual void Shutdown(std::chrono::milliseconds grace) = 0;

  virtual int64_t connections() const = 0;
  virtual int64_t memory_bytes() const = 0;
};

/// Serialises google.rpc.Status with `code`, `message` and, where retry_after_ms >= 0, a RetryInfo.
std::string EncodeRpcStatus(GrpcCode code, std::string_view message, int64_t retry_after_ms);

}  // namespace sheaf::serve
