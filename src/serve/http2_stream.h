/// One request on an HTTP/2 connection: what HTTP and gRPC have in common there.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "serve/transport_protocol.h"
#include "wire/http2_session.h"

namespace sheaf::serve {

/// On the I/O thread. Held by the connection until OnClosed(); handlers may keep it longer.
class Http2Stream {
 public:
  virtual ~Http2Stream() = default;
  virtual void OnData(std::span<const std::byte> data) = 0;
  /// The request is complete.
  virtual void OnEnd() = 0;
  virtual wire::Http2Events::Produced OnProduce(std::span<std::byte> out) = 0;
  /// The stream is gone: cancels, and never calls the connection again.
  virtual void OnClosed() = 0;
  /// Looks after time-outs, a few times a second.
  virtual void Check(TimePoint now) = 0;
  /// We held the peer back for so long.
  virtual void Excuse(std::chrono::steady_clock::duration time) = 0;
  /// False once the rest of the request is of no interest: its flow-control window then stays shut. Also where the stream opens it itself.
  virtual bool receiving() const = 0;
};

/// What a stream may do with its connection, until OnClosed().
class Http2Link {
 public:
  Http2Link(wire::Http2Session* session, ProtocolHost* host, int32_t stream) : session_(session), host_(host), stream_(stream) {}

  void Respond(const wire::Http2Headers& headers, bool body) {
    session_->Respond(stream_, headers, body);
    host_->Changed();
  }
  void SubmitTrailers(const wire::Http2Headers& trailers) { session_->SubmitTrailers(stream_, trailers); }
  void SendContinue() {
    session_->SendContinue(stream_);
    host_->Changed();
  }
  void ResumeData() {
    session_->ResumeData(stream_);
    host_->Changed();
  }
  /// Opens the stream's window for bytes of OnData(); only for streams that are never `receiving()`.
  void ConsumeStream(size_t bytes) {
    session_->ConsumeStream(stream_, bytes);
    host_->Changed();
  }
  void Reset(wire::Http2Error error) {
    session_->Reset(stream_, error);
    host_->Changed();
  }

 private:
  wire::Http2Session* const session_;  // Owned by the connection, as the host.
  ProtocolHost* const host_;
  const int32_t stream_;
};

/// An HTTP request. `request` is moved from.
std::shared_ptr<Http2Stream> MakeHttp2Exchange(ContextPtr context, Http2Link link, wire::Http2Request request, TimePoint now);
/// A gRPC call.
std::shared_ptr<Http2Stream> MakeGrpcStream(ContextPtr context, Http2Link link, wire::Http2Request request, TimePoint now);

}  // namespace sheaf::serve
