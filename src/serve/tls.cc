#include "serve/tls.h"

#include <algorithm>
#include <cstring>

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace sheaf::serve {
namespace {

std::string OpenSslReason() {
  std::string reason;
  while (const unsigned long code = ERR_get_error()) {
    if (const char* text = ERR_reason_error_string(code); text != nullptr) reason = text;
  }
  return reason.empty() ? "unknown reason" : reason;
}

Status FileError(const char* what, const std::string& file) {
  return MakeError(ErrorKind::kInvalid, "{} {}: {}; expected PEM", what, file, OpenSslReason());
}

/// Takes h2 where the client offers it, else http/1.1; refuses the handshake where it offers neither.
int SelectProtocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in, unsigned in_length, void*) {
  for (const std::string_view want : {std::string_view("h2"), std::string_view("http/1.1")}) {
    for (unsigned i = 0; i < in_length && i + 1 + in[i] <= in_length; i += 1 + in[i]) {
      if (std::string_view(reinterpret_cast<const char*>(in + i + 1), in[i]) != want) continue;
      *out = in + i + 1;
      *out_length = in[i];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

Status RequireClientCertificates(SSL_CTX* context, const std::string& ca_file) {
  if (SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr) != 1) return FileError("client CA", ca_file);
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(ca_file.c_str());
  if (names == nullptr) return FileError("client CA", ca_file);
  SSL_CTX_set_client_CA_list(context, names);  // Takes ownership.
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return Status::OK();
}

}  // namespace

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::shared_ptr<const TlsContext>> TlsContext::Load(const TransportOptions& options) {
  ERR_clear_error();
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) return MakeError(ErrorKind::kInternal, "OpenSSL: {}", OpenSslReason());
  const std::shared_ptr<const TlsContext> owner(new TlsContext(context));
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");  // What RFC 9113 allows of TLS 1.2.
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  static constexpr unsigned char kSessionContext[] = "sheaf";
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof(kSessionContext) - 1);
  SSL_CTX_set_alpn_select_cb(context, SelectProtocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context, options.tls_certificate_file.c_str()) != 1) {
    return FileError("TLS certificate", options.tls_certificate_file);
  }
  if (SSL_CTX_use_PrivateKey_file(context, options.tls_key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return FileError("TLS key", options.tls_key_file);
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return MakeError(ErrorKind::kInvalid, "TLS key {} does not belong to certificate {}", options.tls_key_file,
                     options.tls_certificate_file);
  }
  if (!options.tls_client_ca_file.empty()) SHEAF_RETURN_NOT_OK(RequireClientCertificates(context, options.tls_client_ca_file));
  return owner;
}

Result<std::unique_ptr<TlsSession>> TlsSession::Make(std::shared_ptr<const TlsContext> context) {
  SSL* ssl = SSL_new(context->get());
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  if (ssl == nullptr || in == nullptr || out == nullptr) {
    SSL_free(ssl);
    BIO_free(in);
    BIO_free(out);
    return MakeError(ErrorKind::kOutOfMemory, "no memory for a TLS session");
  }
  SSL_set_bio(ssl, in, out);  // Takes ownership.
  SSL_set_accept_state(ssl);
  return std::unique_ptr<TlsSession>(new TlsSession(std::move(context), ssl));
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

void TlsSession::Receive(std::span<const std::byte> cipher) {
  BIO_write(SSL_get_rbio(ssl_), cipher.data(), static_cast<int>(cipher.size()));
}

Result<size_t> TlsSession::Read(std::span<std::byte> out) {
  ERR_clear_error();
  size_t n = 0;
  const int code = handshake_done_ ? SSL_read_ex(ssl_, out.data(), out.size(), &n) : SSL_do_handshake(ssl_);
  if (code == 1) {
    if (handshake_done_) return n;
    handshake_done_ = true;
    return Read(out);
  }
  switch (SSL_get_error(ssl_, code)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return size_t{0};
    case SSL_ERROR_ZERO_RETURN:
      peer_closed_ = true;
      return size_t{0};
    default:
      return MakeError(ErrorKind::kInvalid, "TLS: {}", OpenSslReason());
  }
}

Status TlsSession::Write(std::span<const uint8_t> plain) {
  ERR_clear_error();
  size_t n = 0;
  if (plain.empty() || SSL_write_ex(ssl_, plain.data(), plain.size(), &n) == 1) return Status::OK();
  return MakeError(ErrorKind::kInternal, "TLS: {}", OpenSslReason());
}

void TlsSession::Output(std::vector<uint8_t>* out) {
  BIO* bio = SSL_get_wbio(ssl_);
  const size_t pending = BIO_ctrl_pending(bio);
  if (pending == 0) return;
  const size_t before = out->size();
  out->resize(before + pending);
  BIO_read(bio, out->data() + before, static_cast<int>(pending));
}

void TlsSession::Close() {
  ERR_clear_error();
  SSL_shutdown(ssl_);  // Only queues an alert; its result says whether the peer has answered, which nobody awaits.
}

std::string_view TlsSession::protocol() const {
  const unsigned char* name = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_, &name, &length);
  return {reinterpret_cast<const char*>(name), length};
}

}  // namespace sheaf::serve
