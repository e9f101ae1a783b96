/// An HTTP server for tests of clients that answers by a script, on a free port of this machine.

#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include "client/url.h"
#include "core/mutex.h"

namespace sheaf::client {

/// Answers each request with the next line of a script, on one connection until the script closes it.
class ScriptedServer {
 public:
  struct Answer {
    std::string bytes;
    bool close = false;  // Closes the connection after the answer.
  };

  explicit ScriptedServer(std::vector<Answer> script)
      : acceptor_(io_, {boost::asio::ip::address_v4::loopback(), 0}), script_(std::move(script)), thread_([this] { Run(); }) {}
  ~ScriptedServer() { Stop(); }

  void Stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    boost::system::error_code ignored;
    boost::asio::io_context io;
    boost::asio::ip::tcp::socket knock(io);  // Wakes the accept.
    knock.connect({boost::asio::ip::address_v4::loopback(), port()}, ignored);
    knock.close(ignored);
    thread_.join();
  }

  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  Url url() const { return {.host = "127.0.0.1", .port = port()}; }
  int connections() const { return connections_; }
  int requests() const { return requests_; }
  /// The heads of the requests, each as it came; what came before it of the last one's body stands before it.
  std::vector<std::string> heads() const SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return heads_;
  }

 private:
  void Run() {
    size_t next = 0;
    while (!stopping_ && next < script_.size()) {
      boost::asio::ip::tcp::socket socket(io_);
      acceptor_.accept(socket);
      if (stopping_) return;
      ++connections_;
      boost::asio::streambuf buffer;
      while (next < script_.size()) {
        boost::system::error_code error;
        const size_t head = boost::asio::read_until(socket, buffer, "\r\n\r\n", error);
        if (error) break;
        const auto* text = static_cast<const char*>(buffer.data().data());
        {
          MutexLock lock(&mutex_);
          heads_.emplace_back(text, head);
        }
        buffer.consume(head);
        ++requests_;
        const Answer& answer = script_[next++];
        boost::asio::write(socket, boost::asio::buffer(answer.bytes), error);
        if (answer.close || error) break;
      }
    }
  }

  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  const std::vector<Answer> script_;
  std::atomic<int> connections_{0}, requests_{0};
  std::atomic<bool> stopping_{false};
  mutable Mutex mutex_;
  std::vector<std::string> heads_ SHEAF_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace sheaf::client
