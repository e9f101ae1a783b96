/// One I/O thread of the transport: an event loop, its connections and its shared buffers.
/// Needs Boost.Asio; included by the transport's own .cc files only.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_set>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "serve/io_executor.h"

namespace sheaf::serve {

class TransportConnection;

/// All members but Start(), Stop() and `executor` are for the thread itself.
struct IoThread {
  static constexpr size_t kReadBytes = 256 << 10;

  IoThread();
  /// Calls `tick` a few times a second. Call once.
  void Start(std::function<void()> tick);
  /// Runs what is ready, then ends the thread; what is posted later is dropped.
  void Stop();
  /// Ticks faster, as for a drain.
  void HurryTicks();

  boost::asio::io_context context{1};  // First: what is below lives in it.
  std::shared_ptr<IoExecutor> executor;
  std::unordered_set<std::shared_ptr<TransportConnection>> connections;
  /// Used within one event only, so that an idle connection holds no buffers.
  std::vector<uint8_t> read_buffer = std::vector<uint8_t>(kReadBytes);
  std::vector<uint8_t> plain_in, plain_out, wire_out;

 private:
  void Tick();
  boost::asio::steady_timer timer_{context};
  std::chrono::milliseconds interval_{250};
  std::function<void()> tick_;
  std::thread thread_;
};

}  // namespace sheaf::serve
