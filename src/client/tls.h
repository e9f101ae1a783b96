/// What the clients have in common of TLS: 1.2 or later, the server known by its certificate, and if it asks a certificate of ours.

#pragma once

#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include "core/status.h"

namespace sheaf::client {

/// Files are PEM.
struct TlsOptions {
  std::string ca_file;                     // By which servers are known; empty: the system's certificates.
  std::string certificate_file, key_file;  // Of this client, for servers that ask for one; both or none.
};

/// Errors: Invalid (a certificate without its key), Io (a file cannot be read, or the key is not the certificate's: says which).
Result<std::unique_ptr<boost::asio::ssl::context>> MakeTlsContext(const TlsOptions& options);

/// Tells the server of the connection `ssl` which host is meant. Not for addresses: there is no such name (RFC 6066).
void NameServer(SSL* ssl, const std::string& host);

}  // namespace sheaf::client
