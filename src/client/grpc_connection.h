/// One HTTP/2 connection of a gRPC client with its calls. Lives on the client's I/O thread.

#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>

#include "client/grpc_call.h"
#include "wire/http2_client.h"

namespace sheaf::client {

class GrpcConnection;

/// A call with its place in a connection. On the I/O thread.
struct OpenCall {
  OpenCall(boost::asio::io_context* io, GrpcCall made) : call(std::move(made)), timer(*io) {}
  GrpcCall call;
  boost::asio::steady_timer timer;  // Of the deadline.
  std::chrono::steady_clock::time_point began;
  std::weak_ptr<GrpcConnection> connection;
  int32_t stream = 0;               // 0: waits for the connection.
};

class GrpcConnection : public wire::Http2ClientEvents, public std::enable_shared_from_this<GrpcConnection> {
 public:
  /// Borrows all but `io`, which outlive the I/O thread. `tls` is null for cleartext.
  GrpcConnection(std::shared_ptr<boost::asio::io_context> io, const Url& url, const GrpcClientOptions& options,
                 boost::asio::ssl::context* tls);

  /// Begins to connect; calls may be added at once.
  void Start();
  /// Whether calls may still be added.
  bool usable() const;
  void Add(const std::shared_ptr<OpenCall>& call);
  /// There is more to send for `call`.
  void Resume(const OpenCall& call);
  /// Lets the server send no more on `call`, or goes on.
  void Hold(const OpenCall& call, bool paused);
  /// Ends `call` now, as it was decided; the server is told.
  void Drop(const std::shared_ptr<OpenCall>& call);
  /// Ends all calls and closes.
  void Close(const std::string& why, GrpcCode code = GrpcCode::kUnavailable);
  std::chrono::steady_clock::time_point last_received() const { return last_received_; }

  void OnHeaders(int32_t stream, Headers headers, bool end) override;
  void OnData(int32_t stream, std::span<const std::byte> data) override;
  void OnClosed(int32_t stream, wire::Http2StreamEnd end) override;
  Produced OnProduce(int32_t stream, std::span<std::byte> out) override;

 private:
  using Socket = boost::asio::ip::tcp::socket;
  using TlsStream = boost::asio::ssl::stream<Socket>;
  using Error = boost::system::error_code;

  Socket& lowest();
  template <typename Action>
  void Visit(Action action);
  void ConnectNext();
  void Handshake();
  void Ready();
  void Begin(const std::shared_ptr<OpenCall>& call);
  void Read();
  void WatchSilence();
  void CheckSilence();
  void Flush();
  void Failed(const char* doing, const Error& error);

  const std::shared_ptr<boost::asio::io_context> io_;  // Look-ups that nobody waits for any more keep it too.
  const Url& url_;
  const GrpcClientOptions& options_;
  boost::asio::ssl::context* const tls_;
  boost::asio::steady_timer connect_timer_, address_timer_, silence_timer_;
  std::vector<std::string> addresses_;
  size_t next_address_ = 0;
  std::variant<std::monostate, Socket, TlsStream> stream_;
  std::unique_ptr<wire::Http2Client> session_;
  std::unordered_map<int32_t, std::shared_ptr<OpenCall>> calls_;
  std::deque<std::shared_ptr<OpenCall>> waiting_;  // For the connection.
  std::array<std::byte, 64 << 10> in_;
  std::vector<uint8_t> out_;
  bool ready_ = false, writing_ = false, closed_ = false, in_session_ = false;
  std::chrono::steady_clock::time_point last_received_;
  // Signs of life:
  std::chrono::steady_clock::time_point last_sent_, last_ping_;
  bool awaits_ = false, watching_ = false;  // An answer; with the timer.
  int pings_ = 0;                           // Since the last answer.
};

}  // namespace sheaf::client
