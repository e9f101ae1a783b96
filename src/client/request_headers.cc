#include "client/request_headers.h"

#include <algorithm>
#include <array>

#include "wire/http_text.h"

namespace sheaf::client {
namespace {

constexpr size_t kHeaderBytesMax = 16 << 10;
/// What a client says of a request itself, or must not say.
constexpr std::array<std::string_view, 12> kOwn = {"host",       "content-length", "content-type",     "content-encoding",
                                                   "te",         "trailer",        "transfer-encoding", "connection",
                                                   "keep-alive", "upgrade",        "expect",            "user-agent"};

bool IsTokenCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

}  // namespace

Result<std::pair<std::string, std::string>> ParseRequestHeader(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return MakeError(ErrorKind::kInvalid, "a header of {} bytes is no NAME:VALUE; it is not shown, since it may be a secret", text.size());
  }
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces, colon + 1);
  const size_t end = text.find_last_not_of(kSpaces);
  const std::string_view value = begin == std::string_view::npos ? std::string_view() : text.substr(begin, end + 1 - begin);
  return std::pair(wire::LowerCase(text.substr(0, colon)), std::string(value));
}

Status CheckRequestHeaders(const RequestHeaders& headers) {
  size_t bytes = 0;
  for (const auto& [name, value] : headers) {
    if (name.empty() || !std::all_of(name.begin(), name.end(), IsTokenCharacter)) {
      return MakeError(ErrorKind::kInvalid,
                       "a header's name has characters that HTTP does not allow; it is not shown, since it may be a secret");
    }
    if (std::find(kOwn.begin(), kOwn.end(), name) != kOwn.end() || name.starts_with("grpc-")) {
      return MakeError(ErrorKind::kInvalid, "the header '{}' is set by the client itself", name);
    }
    const bool printable = std::all_of(value.begin(), value.end(), [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; });
    if (!printable) return MakeError(ErrorKind::kInvalid, "the value of header '{}' is not printable ASCII", name);
    bytes += name.size() + value.size();
  }
  if (bytes > kHeaderBytesMax) return MakeError(ErrorKind::kInvalid, "headers of {} bytes; at most {}", bytes, kHeaderBytesMax);
  return Status::OK();
}

}  // namespace sheaf::client
