/// One gRPC call of a client, without its connection: bytes to send, and what the answer's headers, messages and trailers make of it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "client/grpc_client.h"
#include "wire/grpc_frames.h"
#include "wire/http2_client.h"

namespace sheaf::client {

/// Used by one thread at a time.
class GrpcCall {
 public:
  GrpcCall(GrpcRequest request, int64_t reply_bytes_max, GrpcClient::OnMessage on_message, GrpcClient::OnEnd on_end)
      : request_(std::move(request)), reader_(reply_bytes_max), on_message_(std::move(on_message)), on_end_(std::move(on_end)) {}

  /// The header list of the request to `url`.
  wire::Http2ClientEvents::Headers RequestHeaders(const Url& url) const;

  // What goes out. A frame is a message with its prefix.
  void Push(std::string frame) { outgoing_.push_back(std::move(frame)); }
  void Finish() { finished_ = true; }
  bool sent_all() const { return finished_ && outgoing_.empty(); }
  wire::Http2ClientEvents::Produced Produce(std::span<std::byte> out);

  // What comes in. False: the answer is none of gRPC's, or too large; end() says so, and the stream is to be cancelled.
  [[nodiscard]] bool OnHeaders(const wire::Http2ClientEvents::Headers& headers, bool last);
  [[nodiscard]] bool OnData(std::span<const std::byte> data);

  /// Decides how the call ends, unless something decided that before.
  void Decide(GrpcEnd end);
  /// The stream is gone; `perhaps_processed` as of wire::Http2StreamEnd. Runs OnEnd, once.
  void Close(const std::string& why, bool perhaps_processed, GrpcCode code = GrpcCode::kUnavailable);
  bool closed() const { return closed_; }
  const GrpcRequest& request() const { return request_; }

 private:
  bool Refuse(GrpcCode code, std::string message, bool answered = false);

  const GrpcRequest request_;
  std::deque<std::string> outgoing_;
  size_t sent_ = 0;         // Of the first of `outgoing_`.
  int64_t sent_bytes_ = 0;  // Of all.
  bool finished_ = false, closed_ = false;

  wire::GrpcFrameReader reader_;
  bool head_seen_ = false;
  std::optional<GrpcEnd> end_;
  const GrpcClient::OnMessage on_message_;
  const GrpcClient::OnEnd on_end_;
};

}  // namespace sheaf::client
