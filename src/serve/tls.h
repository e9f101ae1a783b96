/// TLS by OpenSSL, without a socket: received bytes in, plain text out, and back.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "serve/transport.h"

struct ssl_ctx_st;
struct ssl_st;

namespace sheaf::serve {

/// Certificate, key and rules of a server. Immutable and thread-safe; sessions keep theirs alive.
class TlsContext {
 public:
  /// Reads the PEM files that `options` name: TLS 1.2 with the suites HTTP/2 allows, or 1.3; ALPN h2 and http/1.1; with
  /// a client CA, clients must show a certificate signed by it. Errors: Invalid, naming the file and OpenSSL's reason.
  static Result<std::shared_ptr<const TlsContext>> Load(const TransportOptions& options);
  ~TlsContext();
  ssl_ctx_st* get() const { return context_; }

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* const context_;
};

/// The server's side of one TLS connection. Not thread-safe.
class TlsSession {
 public:
  /// Errors: OutOfMemory.
  static Result<std::unique_ptr<TlsSession>> Make(std::shared_ptr<const TlsContext> context);
  ~TlsSession();

  /// Takes bytes from the peer. Afterwards call Read() until it gives nothing, and send what Output() has.
  void Receive(std::span<const std::byte> cipher);

  /// Goes on with the handshake, then decrypts into `out`. Returns the bytes written; 0: more must be received.
  /// Invalid: the handshake failed or the stream is damaged; an alert for the peer may be in Output().
  Result<size_t> Read(std::span<std::byte> out);

  /// Encrypts. Requires: handshake_done(). Errors: Internal.
  Status Write(std::span<const uint8_t> plain);

  /// Appends to `out` what is to be sent.
  void Output(std::vector<uint8_t>* out);

  /// Says goodbye (close_notify).
  void Close();

  bool handshake_done() const { return handshake_done_; }
  /// The peer said goodbye.
  bool peer_closed() const { return peer_closed_; }
  /// What ALPN agreed on: "h2", "http/1.1" or nothing.
  std::string_view protocol() const;

 private:
  TlsSession(std::shared_ptr<const TlsContext> context, ssl_st* ssl) : context_(std::move(context)), ssl_(ssl) {}
  const std::shared_ptr<const TlsContext> context_;
  ssl_st* const ssl_;
  bool handshake_done_ = false, peer_closed_ = false;
};

}  // namespace sheaf::serve
