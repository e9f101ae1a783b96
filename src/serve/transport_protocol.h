/// What the parts of the transport know of each other: a connection moves bytes, a protocol gives them meaning.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "serve/io_executor.h"
#include "serve/memory_account.h"
#include "serve/transport.h"
#include "serve/transport_metrics.h"
#include "serve/transport_routes.h"
#include "serve/unverified_bytes.h"
#include "serve/worker_pool.h"

namespace sheaf::serve {

using TimePoint = std::chrono::steady_clock::time_point;

/// What all connections share. Options do not change after Make().
struct TransportShared {
  TransportOptions options;
  std::shared_ptr<MemoryBudget> memory;
  std::shared_ptr<UnverifiedBudget> unverified;  // Of that, what strangers may hold.
  std::function<bool()> overloaded;  // Set before the first connection.
  Gate* gate = nullptr;              // Likewise.
  std::atomic<bool> draining{false};
};

/// One port name with what it serves.
struct TransportListener {
  TransportListener(std::string listener_name, size_t worker_threads)
      : name(listener_name), metrics(std::move(listener_name)), workers(worker_threads) {}
  const std::string name;
  TransportRoutes routes;
  ErrorFormatter error_formatter;  // Empty: plain text. Set before the first connection, as the next.
  HeadChecker head_checker;        // Empty: none.
  TransportMetrics metrics;
  WorkerPool workers;
};

/// What a request keeps of its connection, also after the connection is gone.
struct ConnectionContext {
  std::shared_ptr<TransportShared> shared;
  std::shared_ptr<TransportListener> listener;
  std::shared_ptr<IoExecutor> io;
  std::shared_ptr<MemoryAccount> memory;
  std::string peer;
  bool tls = false;
  mutable std::atomic<int> handlers{0};  // Handlers at work for this connection, also for requests that were reset.

  const TransportOptions& options() const { return shared->options; }
  bool overloaded() const { return shared->overloaded && shared->overloaded(); }
};
using ContextPtr = std::shared_ptr<const ConnectionContext>;

/// What a protocol may ask of the connection it runs on. On the I/O thread.
class ProtocolHost {
 public:
  virtual ~ProtocolHost() = default;
  /// There may be bytes to send, or the wish to read may have changed. Cheap; acts after the current event.
  virtual void Changed() = 0;
};

/// HTTP/1 or HTTP/2 on one connection. Lives on one I/O thread; no method is called from within another.
class Protocol {
 public:
  virtual ~Protocol() = default;

  /// Bytes from the peer. False: close, after what Fill() still gives.
  [[nodiscard]] virtual bool Receive(std::span<const std::byte> bytes, TimePoint now) = 0;
  /// The peer will send nothing more.
  virtual void ReceiveEnd() = 0;
  /// Appends bytes to send until `out` holds about `bytes_max`. False: close, after sending them.
  [[nodiscard]] virtual bool Fill(std::vector<uint8_t>* out, size_t bytes_max) = 0;
  /// Nothing more will be sent or is of interest.
  virtual bool finished() const = 0;
  /// Fill() returned false in the middle of an answer that only the connection's end would end: the peer must see a reset instead.
  virtual bool cut_off() const { return false; }
  /// Between requests: nothing is half read, and no answer is owed.
  virtual bool idle() const = 0;
  /// False while the peer has sent more than is wanted.
  virtual bool wants_input() const = 0;
  /// Looks after time-outs; called a few times a second. False: close.
  [[nodiscard]] virtual bool Check(TimePoint now) = 0;
  /// Ends once what runs has been answered.
  virtual void Drain(TimePoint now) = 0;
  /// The connection is gone; cancels what runs. Last call.
  virtual void Closed() = 0;
};

/// Makes the protocol for a connection on which the first bytes (or ALPN) have shown which one it is.
std::unique_ptr<Protocol> MakeHttp1Protocol(ContextPtr context, ProtocolHost* host, TimePoint now);
std::unique_ptr<Protocol> MakeHttp2Protocol(ContextPtr context, ProtocolHost* host, TimePoint now);

}  // namespace sheaf::serve
