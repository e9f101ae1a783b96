/// Counters of ingest, by signal (traces, logs, metrics).

#pragma once

#include <array>
#include <atomic>

#include "core/metrics.h"
#include "serve/transport.h"
#include "wire/otlp_json.h"

namespace sheaf::serve {

/// Thread-safe.
class IngestMetrics {
 public:
  IngestMetrics();

  struct Signal {
    Counter* rows;         // Durable.
    Counter* rejected;     // Left out of requests otherwise kept.
    Counter* sampled_out;  // Accepted, and left out by sampling.
    Counter* bytes;        // Protobuf bytes of requests.
    Histogram* decode_seconds;
    Histogram* answer_seconds;  // From the request's arrival at its handler to the answer.
  };
  const Signal& operator[](wire::OtlpRequest kind) const { return signals_[static_cast<size_t>(kind)]; }

  /// Counts an answered request. A counter appears with its first use.
  void CountRequest(wire::OtlpRequest kind, GrpcCode code);

 private:
  static constexpr size_t kKinds = 3, kCodes = 17;
  std::array<Signal, kKinds> signals_;
  std::array<std::array<std::atomic<Counter*>, kCodes>, kKinds> requests_{};
};

}  // namespace sheaf::serve
