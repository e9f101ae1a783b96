/// A gRPC server for tests of clients that does as it is told, on a free port of this machine.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "client/url.h"
#include "core/mutex.h"
#include "wire/http2_session.h"

namespace sheaf::client {

/// What becomes of a call once a message of it has come.
struct ScriptedAnswer {
  enum What {
    kAnswer,      // The status below; with code 0 after `reply`.
    kHang,        // Nothing.
    kDisconnect,  // The connection is closed.
    kRefuse,      // RST_STREAM with REFUSED_STREAM: never looked at.
    kReset,       // RST_STREAM with INTERNAL_ERROR.
    kHttp,        // An HTTP answer of `code` that has nothing of gRPC.
    kStream,      // `reply`, where there is one, and `replies` as messages; the call stays open until the client ends it.
    kEcho,        // The message back, and the call stays open until the client ends it.
  };
  What what = kAnswer;
  int code = 0;
  std::string message = {}, details = {}, reply = {};
  std::vector<std::string> replies = {};  // With kStream, further messages.
  bool goaway = false;  // First says GOAWAY: takes no more calls on this connection.
};

/// Answers each message by what `script` says of it. The script runs on the server's thread.
class ScriptedGrpcServer {
 public:
  struct Request {
    std::string path, message;  // The message as it came on the wire, without its prefix.
    wire::Http2Headers headers;
    bool compressed = false;
    int number = 0;  // Of the message in its call, from 1.
    std::string header(std::string_view name) const;
  };
  using Script = std::function<ScriptedAnswer(const Request&)>;

  explicit ScriptedGrpcServer(Script script);
  /// Answers what comes with the next of `answers`, and again with the last.
  explicit ScriptedGrpcServer(std::vector<ScriptedAnswer> answers);
  ~ScriptedGrpcServer();

  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  Url url() const { return {.host = "127.0.0.1", .port = port()}; }
  int connections() const SHEAF_EXCLUDES(mutex_);
  std::vector<Request> requests() const SHEAF_EXCLUDES(mutex_);

 private:
  class Peer;
  void Accept();
  ScriptedAnswer Answer(const Request& request) SHEAF_EXCLUDES(mutex_);

  const Script script_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  mutable Mutex mutex_;
  int connections_ SHEAF_GUARDED_BY(mutex_) = 0;
  std::vector<Request> requests_ SHEAF_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace sheaf::client
