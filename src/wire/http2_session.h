/// The server's side of one HTTP/2 connection, without its socket: bytes in, events out; answers in, bytes out.
///
/// Wraps libnghttp2 and adds what it leaves to its user: header list size, a budget for frames that cost work
/// and carry nothing (rapid reset, PING, SETTINGS, empty DATA … floods), and early answers.
/// Not thread-safe; no method may be called from two threads, nor Receive() and Fill() from an event.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/status.h"

struct nghttp2_session;

namespace sheaf::wire {

using Http2Time = std::chrono::steady_clock::time_point;
using Http2Headers = std::vector<std::pair<std::string, std::string>>;

/// What a client sends before its first frame.
inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Http2Limits {
  uint32_t streams_max = 128;
  uint32_t header_bytes_max = 16 << 10;  // Names and values plus 32 bytes a field.
  uint32_t stream_window_bytes = 1 << 20, connection_window_bytes = 4 << 20;
  double glitch_burst = 1000, glitches_per_second = 50;
};

enum class Http2Error : uint32_t { kNone = 0, kProtocol = 1, kInternal = 2, kCancel = 8, kEnhanceYourCalm = 11 };

/// The head of a request. Pseudo-headers are apart; names are in lower case.
struct Http2Request {
  std::string method, path, scheme, authority;
  Http2Headers headers;
  bool headers_too_large = false;  // Over the limit: what came after it was dropped.
};

/// What a session tells its user. May call any method of the session but Receive() and Fill().
class Http2Events {
 public:
  virtual ~Http2Events() = default;
  virtual void OnRequest(int32_t stream, Http2Request request) = 0;
  /// A piece of the body. Its bytes stay counted against the windows until ConsumeStream() and ConsumeConnection().
  virtual void OnData(int32_t stream, std::span<const std::byte> data) = 0;
  virtual void OnRequestEnd(int32_t stream) = 0;
  /// The stream is gone: answered, reset by either side, or lost with the connection. Last event of a stream.
  virtual void OnStreamClosed(int32_t stream) = 0;

  struct Produced {
    size_t bytes = 0;
    bool end = false;       // Nothing follows in the body.
    bool trailers = false;  // With `end`: SubmitTrailers() was called and ends the stream.
  };
  /// Fills `out` with answer bytes. Nothing and no end: waits until ResumeData().
  virtual Produced OnProduce(int32_t stream, std::span<std::byte> out) = 0;
};

class Http2Session {
 public:
  /// Borrows `events`, which must outlive the session. Errors: OutOfMemory.
  static Result<std::unique_ptr<Http2Session>> Make(const Http2Limits& limits, Http2Events* events, Http2Time now);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  /// Takes bytes from the peer. False: the connection is beyond repair (not HTTP/2, flood); close it after a last Fill().
  /// Lesser faults queue a RST_STREAM or GOAWAY and return true.
  [[nodiscard]] bool Receive(std::span<const std::byte> bytes, Http2Time now);

  /// Appends bytes for the peer until `out` holds about `bytes_max` or there are none. False: as for Receive().
  [[nodiscard]] bool Fill(std::vector<uint8_t>* out, size_t bytes_max);

  /// True once nothing is to be sent or received any more, as after GOAWAY and the last stream.
  bool finished() const;

  /// Sends the head of an answer; with `body`, OnProduce() is asked for the rest, else the stream ends here.
  /// `headers` begins with ":status".
  void Respond(int32_t stream, const Http2Headers& headers, bool body);
  /// Ends a body. Only from OnProduce(), which then returns trailers = true.
  void SubmitTrailers(int32_t stream, const Http2Headers& trailers);
  void SendContinue(int32_t stream);
  void ResumeData(int32_t stream);
  void Reset(int32_t stream, Http2Error error);

  /// Reopen flow control for bytes of OnData().
  void ConsumeStream(int32_t stream, size_t bytes);
  void ConsumeConnection(size_t bytes);

  /// Resets streams that were answered a while ago and whose request still has no end. Call a few times a second.
  void ResetOverdue(Http2Time now);

  void Ping();
  /// Announces the end (GOAWAY that still accepts); FinishDrain() a round trip later names the last stream.
  void BeginDrain();
  void FinishDrain();
  /// Says GOAWAY with `error`; finished() follows once it is written.
  void Terminate(Http2Error error);

  /// The peer has sent its SETTINGS: it does speak HTTP/2.
  bool established() const { return established_; }
  /// When the header block that is still incomplete began.
  std::optional<Http2Time> header_block_since() const { return header_block_since_; }
  size_t open_streams() const { return heads_.size() + active_streams_; }

 private:
  struct Callbacks;
  struct Head {
    Http2Request request;
    size_t bytes = 0;
  };
  Http2Session(const Http2Limits& limits, Http2Events* events, Http2Time now);
  void RequestComplete(int32_t stream);
  void ResetAnswered(int32_t stream);
  /// Notes which stream identifiers were skipped and may never be used again; true for one of those.
  bool UsesSkippedId(int32_t stream);
  /// Charges for a frame that costs us work and carries nothing; ends the connection when the purse is empty.
  void Glitch(double cost);

  const Http2Limits limits_;
  Http2Events* const events_;  // Borrowed.
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, Head> heads_;  // Requests whose header block is incomplete.
  /// Answered before the request ended: what came of it since.
  struct AnsweredEarly {
    Http2Time since;
    size_t bytes = 0;
  };
  std::unordered_map<int32_t, AnsweredEarly> answered_early_;
  size_t active_streams_ = 0;
  int32_t highest_id_ = -1;                             // Of the peer's streams.
  std::vector<std::pair<int32_t, int32_t>> skipped_ids_;  // First and last, the newest few.
  bool established_ = false;
  std::optional<Http2Time> header_block_since_;
  uint64_t header_block_bytes_ = 0;  // Unpacked of the current or last one.
  Http2Time now_, tokens_time_;
  double tokens_;
};

}  // namespace sheaf::wire
