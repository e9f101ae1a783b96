#include "client/tls.h"

#include <boost/asio/ip/address.hpp>

namespace sheaf::client {

namespace asio = boost::asio;

Result<std::unique_ptr<asio::ssl::context>> MakeTlsContext(const TlsOptions& options) {
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return MakeError(ErrorKind::kInvalid, "a client's certificate needs its key, and a key its certificate");
  }
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  boost::system::error_code error;
  if (options.ca_file.empty()) {
    context->set_default_verify_paths(error);
  } else {
    context->load_verify_file(options.ca_file, error);
  }
  if (error) return MakeError(ErrorKind::kIo, "reading certificates {}: {}", options.ca_file, error.message());
  if (options.certificate_file.empty()) return context;
  context->use_certificate_chain_file(options.certificate_file, error);
  if (error) return MakeError(ErrorKind::kIo, "reading the certificate {}: {}", options.certificate_file, error.message());
  context->use_private_key_file(options.key_file, asio::ssl::context::pem, error);
  if (error) return MakeError(ErrorKind::kIo, "reading the key {} of {}: {}", options.key_file, options.certificate_file, error.message());
  return context;
}

void NameServer(SSL* ssl, const std::string& host) {
  boost::system::error_code not_an_address;
  asio::ip::make_address(host, not_an_address);
  if (not_an_address) SSL_set_tlsext_host_name(ssl, host.c_str());
}

}  // namespace sheaf::client
