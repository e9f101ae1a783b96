/// The client's side of one HTTP/2 connection, without its socket: requests in, bytes out; bytes in, answers out.
///
/// Wraps libnghttp2 as http2_session.h does for servers. What a server may send is bounded: header lists, frames that carry
/// nothing (nghttp2's own limits), and bodies by whoever takes them. Windows open again as bytes are handed on; that of a stream
/// which is paused stays shut, so that the server waits.
/// Not thread-safe; Receive() and Fill() must not be called from an event.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/status.h"

struct nghttp2_session;

namespace sheaf::wire {

struct Http2ClientLimits {
  uint32_t header_bytes_max = 16 << 10;  // Of one header list: names and values plus 32 bytes a field.
  uint32_t stream_window_bytes = 1 << 20, connection_window_bytes = 4 << 20;
};

/// How a stream ended.
struct Http2StreamEnd {
  uint32_t error = 0;             // Of RST_STREAM or GOAWAY; 0: it ended as it should.
  bool perhaps_processed = true;  // False: the server said, or it is plain, that it never looked at the request.
  bool headers_too_large = false; // It was ended here, since a header list of the answer is beyond the limit.
};

/// What a session tells its user. May call any method of the session but Receive() and Fill().
class Http2ClientEvents {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  virtual ~Http2ClientEvents() = default;
  /// A header list: the head of the answer (with ":status"), or its trailers. `end`: nothing follows. Informational ones are passed over.
  virtual void OnHeaders(int32_t stream, Headers headers, bool end) = 0;
  virtual void OnData(int32_t stream, std::span<const std::byte> data) = 0;
  /// Last event of a stream. Streams that are open when the session is destroyed have none.
  virtual void OnClosed(int32_t stream, Http2StreamEnd end) = 0;

  struct Produced {
    size_t bytes = 0;
    bool end = false;  // Nothing follows in the body.
  };
  /// Fills `out` with bytes of the request's body. Nothing and no end: waits until ResumeData().
  virtual Produced OnProduce(int32_t stream, std::span<std::byte> out) = 0;
};

/// Whether a header's value is a secret, such as `authorization` (in lower case): not to be kept in tables of compression, or logged.
bool IsSecretHeader(std::string_view name);

class Http2Client {
 public:
  /// Borrows `events`, which must outlive the session. Errors: OutOfMemory.
  static Result<std::unique_ptr<Http2Client>> Make(const Http2ClientLimits& limits, Http2ClientEvents* events);
  ~Http2Client();
  Http2Client(const Http2Client&) = delete;
  Http2Client& operator=(const Http2Client&) = delete;

  /// Takes bytes from the server. False: the connection is beyond repair; close it.
  [[nodiscard]] bool Receive(std::span<const std::byte> bytes);
  /// Appends bytes for the server until `out` holds about `bytes_max` or there are none. False: as for Receive().
  [[nodiscard]] bool Fill(std::vector<uint8_t>* out, size_t bytes_max);

  /// Begins a request whose body OnProduce() gives; returns its stream. It waits here while the server allows no more streams.
  /// `headers` begin with the pseudo-headers. Errors: Unavailable (the server takes no more requests on this connection).
  Result<int32_t> Request(const Http2ClientEvents::Headers& headers);
  void ResumeData(int32_t stream);
  /// Lets the server send no more than the stream's window on it, until Unpause(). Others go on.
  void Pause(int32_t stream);
  void Unpause(int32_t stream);
  /// Asks the server for a sign of life: what it answers is not told, but bytes come.
  void Ping();
  /// Ends a stream whose answer is of no interest any more (CANCEL). OnClosed() follows.
  void Cancel(int32_t stream);

  /// False after GOAWAY, and once the numbers of streams are used up.
  bool accepts_requests() const;
  /// Whether the request's head has gone out: only then can the server have acted on it.
  bool begun(int32_t stream) const;

 private:
  struct Callbacks;
  struct Stream {
    Http2ClientEvents::Headers headers;  // Of the block that is incomplete.
    size_t header_bytes = 0;
    bool begun = false, headers_too_large = false, paused = false;
    size_t unconsumed = 0;  // Bytes that came while it was paused.
  };
  Http2Client(const Http2ClientLimits& limits, Http2ClientEvents* events) : limits_(limits), events_(events) {}
  void Close(int32_t stream, uint32_t error);

  const Http2ClientLimits limits_;
  Http2ClientEvents* const events_;  // Borrowed.
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, Stream> streams_;
};

}  // namespace sheaf::wire
