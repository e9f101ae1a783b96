#include "serve/http_heads.h"

#include <algorithm>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

constexpr size_t kRequestIdCharactersMax = 128;
constexpr size_t kOriginsMax = 64;

constexpr const char* kMethods = "GET, HEAD, POST";
constexpr const char* kRequestHeaders = "Accept, Authorization, Content-Encoding, Content-Type, Idempotency-Key, X-Request-Id";
constexpr const char* kAnswerHeaders = "Content-Encoding, Retry-After, X-Request-Id, X-Sheaf-Lsn";
constexpr const char* kPreflightSeconds = "600";

std::string* Find(Headers* headers, std::string_view name) {
  const auto found = std::ranges::find(*headers, name, [](const auto& header) { return std::string_view(header.first); });
  return found == headers->end() ? nullptr : &found->second;
}

/// Whether the page came from this server itself, as the browser addressed it.
bool IsSameOrigin(std::string_view origin, const std::string* host) {
  const size_t scheme = origin.find("://");
  return scheme != std::string_view::npos && host != nullptr && wire::EqualsIgnoringCase(origin.substr(scheme + 3), *host);
}

/// Scheme, host and perhaps a port; no path.
bool IsOrigin(std::string_view text) {
  const size_t scheme = text.find("://");
  if (scheme != 4 && scheme != 5) return false;
  if (text.substr(0, scheme) != "http" && text.substr(0, scheme) != "https") return false;
  const std::string_view host = text.substr(scheme + 3);
  constexpr std::string_view kKnown = "abcdefghijklmnopqrstuvwxyz0123456789.-:[]";
  return !host.empty() && host.find_first_not_of(kKnown) == std::string_view::npos;
}

}  // namespace

Result<Origins> ParseOrigins(std::string_view text) {
  constexpr std::string_view kSeparators = ", \t";
  Origins origins;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(kSeparators), text.size()));
    if (text.empty()) return origins;
    const std::string_view word = text.substr(0, text.find_first_of(kSeparators));
    text.remove_prefix(word.size());
    std::string origin = wire::LowerCase(word);
    if (origin == "*") {
      return MakeError(ErrorKind::kInvalid,
                       "'*' would let every web page that a browser here opens use the server; name each origin");
    }
    if (!IsOrigin(origin)) {
      return MakeError(ErrorKind::kInvalid, "'{}' is no origin; one looks like https://tool.example or http://localhost:3000",
                       word);
    }
    origins.insert(std::move(origin));
    if (origins.size() > kOriginsMax) return MakeError(ErrorKind::kInvalid, "at most {} origins may be named", kOriginsMax);
  }
}

std::string RequestId(std::string_view given) {
  const bool printable = std::ranges::all_of(given, [](char c) { return c > 0x20 && c < 0x7f; });
  if (!given.empty() && given.size() <= kRequestIdCharactersMax && printable) return std::string(given);
  thread_local std::mt19937_64 random{std::random_device()()};
  return fmt::format("{:016x}", random());
}

HeadChecker MakeHeadChecker(Origins origins) {
  return [origins = std::move(origins)](std::string_view method, Headers* request) {
    HeadVerdict verdict;
    std::string* const given_id = Find(request, "x-request-id");
    std::string id = RequestId(given_id != nullptr ? std::string_view(*given_id) : std::string_view());
    verdict.answer.emplace_back("x-request-id", id);
    if (given_id != nullptr) {
      *given_id = std::move(id);
    } else {
      request->emplace_back("x-request-id", std::move(id));
    }
    if (!origins.empty()) verdict.answer.emplace_back("vary", "origin");
    const std::string* const origin = Find(request, "origin");
    if (origin == nullptr) return verdict;
    if (origins.contains(wire::LowerCase(*origin))) {
      verdict.answer.emplace_back("access-control-allow-origin", *origin);
      verdict.answer.emplace_back("access-control-expose-headers", kAnswerHeaders);
      if (method == "OPTIONS" && Find(request, "access-control-request-method") != nullptr) {
        verdict.answer.emplace_back("access-control-allow-methods", kMethods);
        verdict.answer.emplace_back("access-control-allow-headers", kRequestHeaders);
        verdict.answer.emplace_back("access-control-max-age", kPreflightSeconds);
      }
      return verdict;
    }
    const bool reads_only = method == "GET" || method == "HEAD" || method == "OPTIONS";
    if (!reads_only && !IsSameOrigin(*origin, Find(request, "host"))) {
      verdict.refused = fmt::format("web pages of {} may not use this server; http.cors_origins names those that may", *origin);
    }
    return verdict;
  };
}

}  // namespace sheaf::serve
