#include "client/grpc_connection.h"

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/write.hpp>

namespace sheaf::client {
namespace {

namespace asio = boost::asio;
constexpr size_t kWriteBytesMax = 256 << 10;
/// Without an answer between; servers of other makes end connections that ask more often.
constexpr int kPingsMax = 2;

}  // namespace

GrpcConnection::GrpcConnection(std::shared_ptr<asio::io_context> io, const Url& url, const GrpcClientOptions& options,
                               asio::ssl::context* tls)
    : io_(std::move(io)), url_(url), options_(options), tls_(tls), connect_timer_(*io_), address_timer_(*io_), silence_timer_(*io_) {}

GrpcConnection::Socket& GrpcConnection::lowest() {
  return tls_ != nullptr ? std::get<TlsStream>(stream_).next_layer() : std::get<Socket>(stream_);
}

template <typename Action>
void GrpcConnection::Visit(Action action) {
  if (tls_ != nullptr) {
    action(std::get<TlsStream>(stream_));
  } else {
    action(std::get<Socket>(stream_));
  }
}

void GrpcConnection::Start() {
  connect_timer_.expires_after(options_.connect_timeout);
  connect_timer_.async_wait([self = shared_from_this()](Error error) {
    if (!error && !self->ready_) self->Close("connecting to " + self->url_.authority() + ": no answer in time");
  });
  // The answer may come long after this connection, its client too, is gone.
  BeginLookUp(options_.look_up, url_.host, [io = io_, weak = weak_from_this()](Result<std::vector<std::string>> found) {
    asio::post(*io, [weak, found = std::move(found)]() mutable {
      const auto self = weak.lock();
      if (self == nullptr || self->closed_) return;
      if (!found.ok()) return self->Close(found.status().message());
      self->addresses_ = *std::move(found);
      self->ConnectNext();
    });
  });
}

/// Tries the next address. Each that is left has the same share of the time that is left.
void GrpcConnection::ConnectNext() {
  if (tls_ != nullptr) {
    stream_.emplace<TlsStream>(*io_, *tls_);
  } else {
    stream_.emplace<Socket>(*io_);
  }
  const auto left = connect_timer_.expiry() - std::chrono::steady_clock::now();
  address_timer_.expires_after(left / static_cast<int64_t>(addresses_.size() - next_address_));
  address_timer_.async_wait([self = shared_from_this(), tried = next_address_ + 1](Error error) {
    const bool late = !error && !self->closed_ && !self->ready_ && tried == self->next_address_ && tried < self->addresses_.size();
    Error ignored;
    if (late) self->lowest().close(ignored);
  });
  Error unreadable;
  const asio::ip::tcp::endpoint endpoint(asio::ip::make_address(addresses_[next_address_++], unreadable), url_.port);
  if (unreadable) return Failed("connecting to", unreadable);
  lowest().async_connect(endpoint, [self = shared_from_this()](Error error) {
    if (self->closed_) return;
    if (error && self->next_address_ < self->addresses_.size()) return self->ConnectNext();
    self->address_timer_.cancel();
    if (error) return self->Failed("connecting to", error);
    Error ignored;  // Only slower without.
    self->lowest().set_option(asio::ip::tcp::no_delay(true), ignored);
    self->tls_ != nullptr ? self->Handshake() : self->Ready();
  });
}

void GrpcConnection::Handshake() {
  TlsStream& stream = std::get<TlsStream>(stream_);
  static constexpr unsigned char kAlpn[] = {2, 'h', '2'};
  SSL_set_alpn_protos(stream.native_handle(), kAlpn, sizeof kAlpn);
  NameServer(stream.native_handle(), url_.host);
  stream.set_verify_mode(asio::ssl::verify_peer);
  stream.set_verify_callback(asio::ssl::host_name_verification(url_.host));
  stream.async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](Error error) {
    if (self->closed_) return;
    if (error) return self->Failed("TLS with", error);
    const unsigned char* protocol = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(std::get<TlsStream>(self->stream_).native_handle(), &protocol, &length);
    if (length != 2) return self->Close("TLS with " + self->url_.authority() + ": the server does not speak HTTP/2");
    self->Ready();
  });
}

void GrpcConnection::Ready() {
  auto session = wire::Http2Client::Make({}, this);
  if (!session.ok()) return Close(session.status().message());
  session_ = *std::move(session);
  ready_ = true;
  connect_timer_.cancel();
  for (const auto& call : std::exchange(waiting_, {})) Begin(call);
  Read();
  Flush();
}

bool GrpcConnection::usable() const { return !closed_ && (!ready_ || session_->accepts_requests()); }

void GrpcConnection::Add(const std::shared_ptr<OpenCall>& call) {
  call->connection = weak_from_this();
  if (!ready_) {
    waiting_.push_back(call);
    return;
  }
  Begin(call);
  Flush();
}

void GrpcConnection::Begin(const std::shared_ptr<OpenCall>& call) {
  const Result<int32_t> stream = session_->Request(call->call.RequestHeaders(url_));
  if (!stream.ok()) {
    call->timer.cancel();
    return call->call.Close(stream.status().message(), false);
  }
  call->stream = *stream;
  calls_.emplace(*stream, call);
}

void GrpcConnection::Resume(const OpenCall& call) {
  if (closed_ || call.stream == 0) return;
  session_->ResumeData(call.stream);
  Flush();
}

void GrpcConnection::Hold(const OpenCall& call, bool paused) {
  if (closed_ || call.stream == 0) return;
  paused ? session_->Pause(call.stream) : session_->Unpause(call.stream);
  Flush();
}

void GrpcConnection::Drop(const std::shared_ptr<OpenCall>& call) {
  if (call->stream == 0) {
    call->timer.cancel();
    std::erase(waiting_, call);
    return call->call.Close("", false);
  }
  if (calls_.erase(call->stream) == 0) return;
  const bool begun = session_->begun(call->stream);
  session_->Cancel(call->stream);
  call->timer.cancel();
  call->call.Close("", begun);
  if (!in_session_) Flush();
}

void GrpcConnection::Close(const std::string& why, GrpcCode code) {
  if (std::exchange(closed_, true)) return;
  connect_timer_.cancel();
  address_timer_.cancel();
  silence_timer_.cancel();
  Error ignored;
  if (!std::holds_alternative<std::monostate>(stream_)) lowest().close(ignored);
  for (const auto& [stream, call] : std::exchange(calls_, {})) {
    call->timer.cancel();
    call->call.Close(why, session_->begun(stream), code);
  }
  for (const auto& call : std::exchange(waiting_, {})) {
    call->timer.cancel();
    call->call.Close(why, false, code);
  }
}

void GrpcConnection::Failed(const char* doing, const Error& error) {
  Close(fmt::format("{} {}: {}", doing, url_.authority(), error.message()));
}

void GrpcConnection::Read() {
  Visit([this](auto& stream) {
    stream.async_read_some(asio::buffer(in_.data(), in_.size()), [self = shared_from_this()](Error error, size_t bytes) {
      if (self->closed_) return;
      if (error) return self->Failed("reading from", error);
      self->last_received_ = std::chrono::steady_clock::now();
      self->in_session_ = true;
      const bool sound = self->session_->Receive(std::span(self->in_).first(bytes));
      self->in_session_ = false;
      if (!sound) return self->Close("reading from " + self->url_.authority() + ": what came is not HTTP/2");
      self->Flush();
      if (!self->closed_) self->Read();
    });
  });
}

/// Begins to watch once request bytes went out. A connection that is open at this end only would else be found by deadlines alone.
void GrpcConnection::WatchSilence() {
  if (closed_ || !awaits_ || std::exchange(watching_, true)) return;
  const auto from = std::max({last_received_, last_sent_, last_ping_});
  silence_timer_.expires_at(from + options_.ping_after);
  silence_timer_.async_wait([self = shared_from_this()](Error error) {
    self->watching_ = false;
    if (!error && !self->closed_) self->CheckSilence();
  });
}

void GrpcConnection::CheckSilence() {
  const auto now = std::chrono::steady_clock::now();
  const bool asked = pings_ > 0 && last_ping_ > last_received_;
  if (asked && now - last_ping_ >= options_.ping_after) {
    return Close(fmt::format("no sign of life of {} in {} ms", url_.authority(), 2 * options_.ping_after.count()));
  }
  if (!asked && pings_ < kPingsMax && awaits_ && now - std::max(last_received_, last_sent_) >= options_.ping_after) {
    session_->Ping();
    ++pings_;
    last_ping_ = now;
    Flush();
  }
  if (asked || pings_ < kPingsMax || last_ping_ > last_received_) WatchSilence();
}

void GrpcConnection::Flush() {
  if (closed_ || !ready_ || writing_) return;
  out_.clear();
  in_session_ = true;
  const bool open = session_->Fill(&out_, kWriteBytesMax);
  in_session_ = false;
  if (out_.empty()) {
    if (!open) Close("the connection to " + url_.authority() + " has ended");
    return;
  }
  writing_ = true;
  Visit([this](auto& stream) {
    asio::async_write(stream, asio::buffer(out_), [self = shared_from_this()](Error error, size_t) {
      self->writing_ = false;
      if (self->closed_) return;
      // What the server said before it closed may explain the broken write: the reader comes to it.
      if (!error) self->Flush();
    });
  });
}

void GrpcConnection::OnHeaders(int32_t stream, Headers headers, bool end) {
  const auto found = calls_.find(stream);
  if (found == calls_.end()) return;
  const std::shared_ptr<OpenCall> call = found->second;
  awaits_ = false;
  pings_ = 0;
  // Where the server is done with a call before the client is, HTTP/2 keeps the stream open: the call has ended all the same.
  if (!call->call.OnHeaders(headers, end) || (end && !call->call.sent_all())) Drop(call);
}

void GrpcConnection::OnData(int32_t stream, std::span<const std::byte> data) {
  const auto found = calls_.find(stream);
  if (found == calls_.end()) return;
  const std::shared_ptr<OpenCall> call = found->second;
  awaits_ = false;
  pings_ = 0;
  if (!call->call.OnData(data)) Drop(call);
}

void GrpcConnection::OnClosed(int32_t stream, wire::Http2StreamEnd end) {
  const auto node = calls_.extract(stream);
  if (node.empty()) return;
  node.mapped()->timer.cancel();
  GrpcCall& call = node.mapped()->call;
  const std::string why = end.headers_too_large ? std::string("the headers of the server's answer are too large")
                                                : fmt::format("the server ended the call (HTTP/2 error {})", end.error);
  if (end.error != 0) {
    call.Decide({.code = GrpcCode::kUnavailable, .message = why, .reset = !end.headers_too_large,
                 .perhaps_processed = end.perhaps_processed});
  }
  call.Close(why, end.perhaps_processed);
}

wire::Http2ClientEvents::Produced GrpcConnection::OnProduce(int32_t stream, std::span<std::byte> out) {
  const auto found = calls_.find(stream);
  if (found == calls_.end()) return {.end = true};  // Dropped: the reset is on its way.
  const Produced produced = found->second->call.Produce(out);
  if (produced.bytes > 0) {
    awaits_ = true;
    last_sent_ = std::chrono::steady_clock::now();
    WatchSilence();
  }
  return produced;
}

}  // namespace sheaf::client
