/// What the transport counts, per listener; printed by /metrics.

#pragma once

#include <array>
#include <atomic>
#include <string>

#include "core/metrics.h"

namespace sheaf::serve {

/// Thread-safe. All of it lives as long as the process's registry.
class TransportMetrics {
 public:
  explicit TransportMetrics(std::string listener);

  Gauge& connections;
  Gauge& streams;  // Requests under way.
  Counter& connections_total;
  Counter& received_bytes;  // On the wire, after TLS.
  Counter& sent_bytes;
  Histogram& request_seconds;  // From the head of a request to the end of its answer.

  void CountHttp(int status);
  void CountGrpc(int code);
  /// `reason` is a constant such as "overload".
  void CountRefused(const char* reason);

 private:
  const std::string listener_;
  std::array<std::atomic<Counter*>, 600> http_{};
  std::array<std::atomic<Counter*>, 17> grpc_{};
};

}  // namespace sheaf::serve
