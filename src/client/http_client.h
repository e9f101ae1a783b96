/// A small HTTP/1.1 client: one connection kept alive, time-outs, retries with back-off.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/look_up.h"
#include "client/tls.h"
#include "client/url.h"
#include "core/status.h"

namespace sheaf::client {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpClientOptions {
  std::chrono::milliseconds connect_timeout{5'000};    // With the look-up of the host; shared by its addresses. Again for TLS.
  std::chrono::milliseconds response_timeout{60'000};  // Without a single byte from the server.
  std::chrono::milliseconds call_timeout{0};           // Of a whole call, with all attempts and the body; 0: no such limit.
  int attempts_max = 5;                                // In all; 1 means no retry.
  std::chrono::milliseconds backoff_first{200};        // Doubles with each attempt, with jitter…
  std::chrono::milliseconds backoff_max{10'000};       // …up to this; Retry-After counts up to this too.
  uint64_t jitter_seed = 1;
  int64_t response_bytes_max = int64_t{256} << 20;       // Of Send(); a stream has no bound.
  std::string authorization;                             // Value of that header, sent with every request; empty: none.
  TlsOptions tls;
  HostLookUp look_up;                                    // Empty: the system's.
  std::function<bool()> cancelled;                       // Asked ten times a second; true ends the call with kCancelled.
  std::function<void(std::chrono::milliseconds)> sleep;  // Between attempts; empty: really sleeps.
};

struct HttpRequest {
  std::string method = "POST";
  std::string target;  // Path and query, below the URL's own path.
  Headers headers;
  std::string body;
  /// Whether sending it twice does no harm where the first answer was lost. A connection that was
  /// never made is tried again in any case, and so are 429, 502, 503 and 504.
  bool repeatable = false;
};

struct HttpResponse {
  int status = 0;
  Headers headers;  // Names in lower case.
  std::string body;

  /// The first header of that (lower-case) name, or empty.
  std::string_view header(std::string_view name) const;
};

/// A response whose body is read as it arrives. Borrows its client, which takes no other request until
/// this is destroyed; an unread rest closes the connection.
class HttpResponseStream {
 public:
  virtual ~HttpResponseStream() = default;
  /// Status and headers; `body` is empty.
  virtual const HttpResponse& head() const = 0;
  /// Waits for bytes; returns how many were put into `out`, 0 at the end of a whole body.
  /// Errors: Unavailable (the answer broke off), Timeout, Cancelled.
  virtual Result<int64_t> Read(std::span<char> out) = 0;
};

/// Not thread-safe; have one per thread.
class HttpClient {
 public:
  /// Connects with the first request. Error: Io (certificates cannot be read), Invalid (a certificate without its key).
  static Result<std::unique_ptr<HttpClient>> Make(const Url& url, HttpClientOptions options = {});
  virtual ~HttpClient() = default;

  /// Sends and waits for the head of the answer, whatever its status; retries as said above.
  /// Errors: Unavailable (no connection; names address and reason), Timeout, Cancelled.
  virtual Result<std::unique_ptr<HttpResponseStream>> Start(const HttpRequest& request) = 0;
  /// The same with the whole body. Further error: TooLarge.
  virtual Result<HttpResponse> Send(const HttpRequest& request) = 0;
  /// After an error: whether the last attempt came so far that the server may have got the request, and acted on it.
  virtual bool may_have_arrived() const = 0;
  virtual const Url& url() const = 0;
};

/// Returns how long a Retry-After header (seconds, or a date of HTTP) asks to wait from `now`, at most a day: 0 if empty, 1 s if it
/// cannot be read.
std::chrono::milliseconds ParseRetryAfter(std::string_view value, std::chrono::system_clock::time_point now);

}  // namespace sheaf::client
