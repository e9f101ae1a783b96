/// A made-up web shop: its services call each other, are slow, fail, and tell about it. The same seed
/// and start tell the same story, byte for byte.

#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "otlp_message.h"

namespace sheaf::cli {

enum class SpanKind : int { kInternal = 1, kServer = 2, kClient = 3, kProducer = 4, kConsumer = 5 };

struct DemoEvent {
  int64_t time_ns = 0;
  std::string name;
  OtlpAttributes attributes;
};

struct DemoSpan {
  std::string trace_id, span_id, parent_span_id;  // Raw bytes.
  std::string service, name;
  SpanKind kind = SpanKind::kInternal;
  int64_t start_ns = 0, end_ns = 0;
  bool failed = false;
  std::string error;
  OtlpAttributes attributes;
  std::vector<DemoEvent> events;
  std::string linked_trace_id, linked_span_id;  // Empty: no link.
};

struct DemoLog {
  int64_t time_ns = 0;
  std::string service, trace_id, span_id;
  int severity = 9;  // OTLP's number; 9 is INFO.
  std::string body, event_name;
  OtlpAttributes attributes;
  OtlpAttributes structured_body;  // Not empty: the body instead of the text.
};

/// What happened since the last Take…(): the sources of the three requests.
struct DemoStory {
  std::vector<DemoSpan> spans;
  std::vector<DemoLog> logs;
};

/// One kind of call that a service makes or takes, and what it makes in turn. Times in ms.
struct DemoCall {
  const char* service;
  const char* name;
  SpanKind kind;
  double self_ms;  // Median of its own work, before and after its calls.
  double error_share;
  std::vector<DemoCall> calls;
};

/// Not thread-safe.
class DemoShop {
 public:
  explicit DemoShop(uint64_t seed);

  /// Adds one visit that begins at `start_ns`: a trace, its logs, and what the metrics count.
  void Visit(int64_t start_ns, DemoStory* story);

  /// What metrics report; only Visit() changes it.
  struct ServiceNumbers {
    int64_t requests = 0, errors = 0;
    int64_t memory_bytes = 0;
    double busy_seconds = 0;
    std::vector<double> seconds;                  // Of requests since the last ClearPeriod().
    std::string sample_trace_id, sample_span_id;  // For an exemplar.
  };
  const std::map<std::string, ServiceNumbers>& services() const { return services_; }
  double revenue() const { return revenue_; }
  int64_t orders() const { return orders_; }
  int64_t queue_length() const { return queue_length_; }
  void ClearPeriod();

 private:
  struct Scene;
  int64_t Act(const DemoCall& call, const std::string& parent, int64_t start_ns, Scene* scene);
  void Describe(const DemoCall& call, DemoSpan* span, const Scene& scene);
  void Tell(DemoSpan* span, Scene* scene);
  void Consume(int64_t start_ns, const DemoSpan& sent, DemoStory* story);
  std::string NewId(size_t bytes);
  double Skewed(double median_ms);
  bool Chance(double share);
  int64_t Pick(int64_t count);

  std::mt19937_64 random_;
  std::map<std::string, ServiceNumbers> services_;
  double revenue_ = 0;
  int64_t orders_ = 0, queue_length_ = 0;
};

}  // namespace sheaf::cli
