#include "serve/transport_connection.h"

#include <algorithm>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

#include "wire/http2_session.h"

namespace sheaf::serve {
namespace asio = boost::asio;
namespace {

constexpr size_t kWriteBytes = 128 << 10;
/// Reads or writes in a row before other connections have their turn.
constexpr int kRoundsMax = 4;
/// How long a finished connection waits for the peer to close: closing with unread input would send a TCP reset,
/// which can destroy the last answer on its way. Less long where PeerHasAll().
constexpr std::chrono::seconds kLinger{2};
constexpr size_t kLingerBytesMax = 4 << 20;

TimePoint Now() { return std::chrono::steady_clock::now(); }

/// Asks the socket how much the peer has not acknowledged yet, our end of the stream included.
struct UnacknowledgedBytes {
  int name() const { return TIOCOUTQ; }
  void* data() { return &bytes; }
  int bytes = 0;
};

}  // namespace

TransportConnection::TransportConnection(asio::ip::tcp::socket socket, IoThread* io, ContextPtr context,
                                         std::unique_ptr<TlsSession> tls, std::function<void()> closed)
    : socket_(std::move(socket)), io_(io), context_(std::move(context)), tls_(std::move(tls)), on_closed_(std::move(closed)),
      created_(Now()) {}

void TransportConnection::Start() {
  ErrorCode ignored;  // Without these options it is only slower.
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket_.non_blocking(true, ignored);
  context_->listener->metrics.connections.Add(1);
  context_->listener->metrics.connections_total.Add();
  WaitForInput();
}

void TransportConnection::WaitForInput() {
  if (reading_ || closed_ || input_ended_) return;
  if (protocol_ && !lingering_ && !protocol_->wants_input()) return;
  reading_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_read, [self = shared_from_this()](const ErrorCode& error) {
    self->reading_ = false;
    if (self->closed_) return;
    if (error) return self->Close();
    self->ReadSome();
  });
}

void TransportConnection::ReadSome() {
  for (int round = 0; round < kRoundsMax && !closed_ && !input_ended_; ++round) {
    ErrorCode error;
    const size_t n = socket_.read_some(asio::buffer(io_->read_buffer), error);
    if (error == asio::error::would_block) break;
    if (error == asio::error::eof) {
      OnInputEnd();
      break;
    }
    if (error) return Close();
    context_->listener->metrics.received_bytes.Add(n);
    OnWire(std::as_bytes(std::span(io_->read_buffer.data(), n)));
    if (n < IoThread::kReadBytes || (protocol_ && !protocol_->wants_input())) break;
  }
  if (closed_) return;
  Pump();
  WaitForInput();
}

void TransportConnection::OnWire(std::span<const std::byte> bytes) {
  if (lingering_ || close_when_sent_) {
    unwanted_bytes_ += bytes.size();
    if (unwanted_bytes_ > kLingerBytesMax) Close();
    return;
  }
  if (tls_) ReadTls(bytes);
  else OnPlain(bytes);
}

void TransportConnection::ReadTls(std::span<const std::byte> cipher) {
  tls_->Receive(cipher);
  std::vector<uint8_t>& plain = io_->plain_in;
  plain.resize(IoThread::kReadBytes);
  for (;;) {
    const auto room = std::as_writable_bytes(std::span(plain));
    Result<size_t> n = tls_->Read(room);
    if (!n.ok()) {
      close_when_sent_ = true;  // After the alert.
      return;
    }
    if (*n == 0) break;
    OnPlain(room.first(*n));
    if (closed_ || close_when_sent_) return;
  }
  if (tls_->peer_closed()) OnInputEnd();
}

bool TransportConnection::ChooseProtocol(std::span<const std::byte> bytes) {
  const std::string_view agreed = tls_ ? tls_->protocol() : std::string_view();
  first_bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t n = std::min(first_bytes_.size(), wire::kHttp2Preface.size());
  const bool prefix = std::string_view(first_bytes_).substr(0, n) == wire::kHttp2Preface.substr(0, n);
  if (agreed.empty() && prefix && n < wire::kHttp2Preface.size()) return false;  // Not yet clear.
  const bool http2 = agreed.empty() ? prefix : agreed == "h2";
  protocol_ = http2 ? MakeHttp2Protocol(context_, this, Now()) : MakeHttp1Protocol(context_, this, Now());
  if (!protocol_) Close();
  return protocol_ != nullptr;
}

void TransportConnection::OnPlain(std::span<const std::byte> bytes) {
  bool ok = true;
  if (protocol_) {
    ok = protocol_->Receive(bytes, Now());
  } else if (ChooseProtocol(bytes)) {
    const std::string first = std::move(first_bytes_);
    ok = protocol_->Receive(std::as_bytes(std::span(first)), Now());
  }
  if (!ok) close_when_sent_ = true;
}

void TransportConnection::OnInputEnd() {
  input_ended_ = true;
  if (lingering_ || !protocol_) return Close();
  protocol_->ReceiveEnd();
}

void TransportConnection::Changed() {
  if (std::exchange(changed_, true)) return;
  asio::post(io_->context, [self = shared_from_this()] {
    if (self->changed_) self->Pump();
  });
}

bool TransportConnection::Collect() {
  std::vector<uint8_t>& wire = io_->wire_out;
  wire.clear();
  bool ok = true;
  if (!tls_) {
    if (protocol_) ok = protocol_->Fill(&wire, kWriteBytes);
    context_->listener->metrics.sent_bytes.Add(wire.size());
    return ok;
  }
  std::vector<uint8_t>& plain = io_->plain_out;
  plain.clear();
  if (protocol_) ok = protocol_->Fill(&plain, kWriteBytes);
  context_->listener->metrics.sent_bytes.Add(plain.size());
  if (!plain.empty()) ok = tls_->Write(plain).ok() && ok;
  tls_->Output(&wire);
  return ok;
}

void TransportConnection::Pump() {
  changed_ = false;
  for (int round = 0; !closed_ && !writing_ && !lingering_; ++round) {
    if (round == kRoundsMax) return Changed();
    if (!Collect()) close_when_sent_ = true;
    if (io_->wire_out.empty()) {
      if (protocol_ && protocol_->cut_off()) return Reset();
      if (close_when_sent_ || (protocol_ && protocol_->finished())) return Linger();
      break;
    }
    Send(io_->wire_out);
  }
  if (!closed_) WaitForInput();  // The protocol may want more again.
}

void TransportConnection::Send(std::span<const uint8_t> bytes) {
  ErrorCode error;
  const size_t n = socket_.write_some(asio::buffer(bytes.data(), bytes.size()), error);
  if (error && error != asio::error::would_block) return Close();
  const size_t sent = error ? 0 : n;
  if (sent == bytes.size()) return;
  unsent_.assign(bytes.begin() + static_cast<ptrdiff_t>(sent), bytes.end());
  unsent_offset_ = 0;
  writing_ = true;
  write_since_ = Now();
  WaitForOutput();
}

void TransportConnection::WaitForOutput() {
  socket_.async_wait(asio::ip::tcp::socket::wait_write, [self = shared_from_this()](const ErrorCode& error) {
    if (self->closed_) return;
    if (error) return self->Close();
    self->WriteMore();
  });
}

void TransportConnection::WriteMore() {
  ErrorCode error;
  const size_t n = socket_.write_some(asio::buffer(unsent_.data() + unsent_offset_, unsent_.size() - unsent_offset_), error);
  if (error && error != asio::error::would_block) return Close();
  if (!error) unsent_offset_ += n;
  if (unsent_offset_ < unsent_.size()) return WaitForOutput();
  std::vector<uint8_t>().swap(unsent_);
  writing_ = false;
  Pump();
}

void TransportConnection::Reset() {
  ErrorCode ignored;  // Then it is closed as any other.
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  Close();
}

void TransportConnection::Linger() {
  lingering_ = true;
  ended_idle_ = protocol_ && protocol_->idle() && unwanted_bytes_ == 0;
  linger_since_ = Now();
  if (protocol_) protocol_->Closed();
  if (tls_ && tls_->handshake_done()) {
    tls_->Close();
    io_->wire_out.clear();
    tls_->Output(&io_->wire_out);
    ErrorCode ignored;  // A courtesy.
    socket_.write_some(asio::buffer(io_->wire_out), ignored);
  }
  if (input_ended_) return Close();
  ErrorCode error;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  if (error) return Close();
  WaitForInput();
}

bool TransportConnection::PeerHasAll() {
  if (!ended_idle_ || unwanted_bytes_ > 0) return false;
  UnacknowledgedBytes unacknowledged;
  ErrorCode error;
  socket_.io_control(unacknowledged, error);
  return !error && unacknowledged.bytes == 0;
}

void TransportConnection::Check(TimePoint now) {
  const TransportOptions& options = context_->options();
  if (lingering_) {
    if (now - linger_since_ > kLinger || PeerHasAll()) Close();
    return;
  }
  if (writing_ && now - write_since_ > options.write_timeout) return Close();
  if (!protocol_) {
    if (now - created_ > options.handshake_timeout) Close();
    return;
  }
  if (!protocol_->Check(now)) {
    close_when_sent_ = true;
    Changed();
  }
}

void TransportConnection::Drain(TimePoint now) {
  if (!protocol_) return Close();
  if (!lingering_) protocol_->Drain(now);
}

void TransportConnection::Close() {
  if (std::exchange(closed_, true)) return;
  const auto self = shared_from_this();
  ErrorCode ignored;  // The descriptor is gone either way.
  socket_.close(ignored);
  if (protocol_ && !lingering_) protocol_->Closed();
  context_->listener->metrics.connections.Add(-1);
  io_->connections.erase(self);
  on_closed_();
}

}  // namespace sheaf::serve
