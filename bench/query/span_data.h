/// Made-up spans in the order of their start, the same for the same seed: OTLP requests as an instrumented shop sends them.

#pragma once

#include <array>
#include <cstdint>
#include <queue>
#include <random>
#include <string>
#include <vector>

namespace sheaf::bench {

inline constexpr int64_t kFirstNs = 1'795'824'000'000'000'000;  // 2026-11-28 00:00:00 UTC.
inline constexpr int64_t kDayNs = 86'400'000'000'000;
inline constexpr int kServiceCount = 16, kOperationCount = 100;

/// Traces of 5 to 8 spans, spread evenly over a day; each span's parent is an earlier one of its trace. 16 services, 100
/// operations (each of one service), log-normal durations with a median of 2 to 60 ms by operation, 5 % errors, 6 attributes.
/// Trace i has the id TraceId(i) of bench/ingest/payload.h.
class SpanStream {
 public:
  /// `spans`: how many are spread over the day, so how dense they are.
  explicit SpanStream(int64_t spans, int64_t first_ns = kFirstNs, uint64_t seed = 1);
  /// An ExportTraceServiceRequest with the next `count` spans, grouped by service.
  std::string Request(int64_t count);

 private:
  struct Span {
    int64_t start_ns;
    uint64_t trace, id, parent;  // parent 0: none.
    bool operator>(const Span& other) const { return start_ns > other.start_ns; }
  };
  int64_t NextTraceNs() const { return first_ns_ + static_cast<int64_t>(gap_ns_ * static_cast<double>(traces_)); }
  void AddTrace();
  std::string Encode(const Span& span, int operation);
  uint64_t Below(uint64_t n) { return random_() % n; }

  std::mt19937_64 random_;
  double gap_ns_;  // Between the starts of traces.
  int64_t first_ns_;
  uint64_t traces_ = 0;
  std::priority_queue<Span, std::vector<Span>, std::greater<>> coming_;
};

}  // namespace sheaf::bench
