/// One accepted socket: reads, writes, TLS, which protocol it is, and its end.
/// Needs Boost.Asio; included by the transport's own .cc files only.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "serve/tls.h"
#include "serve/transport_io_thread.h"
#include "serve/transport_protocol.h"

namespace sheaf::serve {

/// Lives on one I/O thread, which holds it until Close().
class TransportConnection final : public ProtocolHost, public std::enable_shared_from_this<TransportConnection> {
 public:
  /// Without `tls`, in clear text. `closed` runs once, on the I/O thread.
  TransportConnection(boost::asio::ip::tcp::socket socket, IoThread* io, ContextPtr context, std::unique_ptr<TlsSession> tls,
                      std::function<void()> closed);

  void Start();
  /// Looks after time-outs.
  void Check(TimePoint now);
  void Drain(TimePoint now);
  /// Ends at once.
  void Close();

  void Changed() override;

 private:
  using ErrorCode = boost::system::error_code;
  void WaitForInput();
  void ReadSome();
  void OnWire(std::span<const std::byte> bytes);
  void OnPlain(std::span<const std::byte> bytes);
  void OnInputEnd();
  void ReadTls(std::span<const std::byte> cipher);
  bool ChooseProtocol(std::span<const std::byte> bytes);
  void Pump();
  /// Collects bytes for the peer in io_->wire_out. False: close once they are out.
  bool Collect();
  void Send(std::span<const uint8_t> bytes);
  void WaitForOutput();
  void WriteMore();
  void Linger();
  /// Ends the connection so that the peer sees that not all came.
  void Reset();
  /// Lingering is over early: the connection ended between requests, and the peer has acknowledged all, the end too. A client
  /// that keeps idle connections does not look at them, so waiting for it to close would hold up every stop.
  bool PeerHasAll();

  boost::asio::ip::tcp::socket socket_;
  IoThread* const io_;
  const ContextPtr context_;
  const std::unique_ptr<TlsSession> tls_;
  const std::function<void()> on_closed_;
  std::unique_ptr<Protocol> protocol_;  // Null until the first bytes show which.
  std::string first_bytes_;

  std::vector<uint8_t> unsent_;  // What the socket did not take.
  size_t unsent_offset_ = 0, unwanted_bytes_ = 0;
  const TimePoint created_;
  TimePoint write_since_, linger_since_;
  bool reading_ = false, writing_ = false, changed_ = false;
  bool input_ended_ = false, close_when_sent_ = false, lingering_ = false, ended_idle_ = false, closed_ = false;
};

}  // namespace sheaf::serve
