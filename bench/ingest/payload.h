/// Prepared OTLP trace requests for the ingest benchmark: plausible spans of six attributes, about 262 bytes each.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sheaf::bench {

inline constexpr int kSpansPerTrace = 10;

/// Returns trace number `index`'s id: 16 bytes that look random and are never zero.
std::string TraceId(uint64_t index);

/// One ExportTraceServiceRequest, and where its ids and times stand, so that it can be made distinct cheaply.
class Payload {
 public:
  /// Builds a request of `spans` spans over five services, one resource each; of fewer spans over as many services.
  Payload(int spans, uint64_t seed);

  /// Gives the spans the ids of traces `first_trace`… and start times from `time_ns` on.
  void Renew(uint64_t first_trace, uint64_t time_ns);

  const std::string& bytes() const { return bytes_; }
  int spans() const { return static_cast<int>(spans_.size()); }

 private:
  struct SpanPlace {
    uint32_t trace_id, span_id, parent_id, start, end;  // Offsets in bytes_; parent_id 0: a root.
    int trace, number;                                  // Which trace of the request, and which span of it.
  };
  void AppendSpan(std::string* out, uint64_t* random, int trace, int number);

  std::string bytes_;
  std::vector<SpanPlace> spans_;
};

}  // namespace sheaf::bench
