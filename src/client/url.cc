#include "client/url.h"

#include <charconv>

namespace sheaf::client {
namespace {

/// An address without a name and a password, which are secrets.
std::string Shown(std::string_view text) {
  const size_t scheme = text.find("://");
  const size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
  const size_t at = text.substr(0, text.find('/', begin)).rfind('@');
  if (at == std::string_view::npos || at < begin) return std::string(text);
  return fmt::format("{}…{}", text.substr(0, begin), text.substr(at));
}

Status Wrong(std::string_view text, std::string_view why) {
  return MakeError(ErrorKind::kInvalid, "'{}' is not a usable address: {}; write http://HOST:PORT", Shown(text), why);
}

}  // namespace

std::string Url::authority() const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(is_ipv6 ? "[{}]:{}" : "{}:{}"), host, port);
}

Result<Url> ParseUrl(std::string_view text, uint16_t default_port) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    url.tls = true;
  } else {
    return Wrong(text, "it does not begin with http:// or https://");
  }
  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    url.path = rest.substr(slash);
    while (url.path.ends_with('/')) url.path.pop_back();
    rest = rest.substr(0, slash);
  }
  if (rest.find('@') != std::string_view::npos) return Wrong(text, "names and passwords do not belong into an address");

  std::string_view port_text;
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) return Wrong(text, "a bracket is open");
    url.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    if (!rest.empty() && rest[0] != ':') return Wrong(text, "something other than a port follows the bracket");
    port_text = rest.empty() ? rest : rest.substr(1);
  } else {
    const size_t colon = rest.find(':');
    url.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) port_text = rest.substr(colon + 1);
  }
  if (url.host.empty()) return Wrong(text, "the host is missing");

  url.port = default_port != 0 ? default_port : (url.tls ? 443 : 80);
  if (!port_text.empty()) {
    const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), url.port);
    if (error != std::errc() || end != port_text.data() + port_text.size() || url.port == 0) {
      return Wrong(text, "the port is not a number from 1 to 65535");
    }
  }
  return url;
}

}  // namespace sheaf::client
