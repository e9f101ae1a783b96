/// Parses HTTP/1.0 and HTTP/1.1 requests, without a socket, by Boost.Beast's parser.
///
/// Stricter than the parser: whatever two servers could read differently (request smuggling) is refused, that is
/// Transfer-Encoding other than "chunked", with Content-Length or in HTTP/1.0, repeated or listed Content-Length,
/// none or several Host fields.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sheaf::wire {

struct Http1Request {
  std::string method, target;  // The target as sent.
  int version = 11;            // 10 or 11.
  std::vector<std::pair<std::string, std::string>> headers;  // Names in lower case.
  std::optional<uint64_t> content_length;                    // Nothing where chunked or without a body.
  bool chunked = false, keep_alive = true, expects_continue = false;
};

/// Called from Receive(), in this order: OnHead once, OnBody any number of times, OnEnd once.
class Http1Events {
 public:
  virtual ~Http1Events() = default;
  virtual void OnHead(Http1Request request) = 0;
  virtual void OnBody(std::span<const std::byte> data) = 0;
  virtual void OnEnd() = 0;
};

/// What to answer to a request that cannot be read; the connection must close after it.
struct Http1Fault {
  int status = 400;
  std::string reason;
};

/// One parser reads one request. Not thread-safe.
class Http1Parser {
 public:
  /// Borrows `events`.
  Http1Parser(uint32_t header_bytes_max, Http1Events* events);
  ~Http1Parser();

  /// Takes bytes and returns how many of them were used; what is left must come again, with more behind it (an
  /// incomplete head) or to the next parser (after OnEnd). Uses none after a fault or the end.
  size_t Receive(std::span<const std::byte> bytes);

  const std::optional<Http1Fault>& fault() const;
  bool head_done() const;
  bool done() const;

 private:
  class Machine;
  std::unique_ptr<Machine> machine_;
};

}  // namespace sheaf::wire
