/// The two workloads of the headline table, as rows: spans in plain structs, as an application has them before it sends them.

#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sheaf::bench {

using TraceIdRow = std::array<uint8_t, 16>;
using SpanIdRow = std::array<uint8_t, 8>;

struct AttributeRow {
  std::string key;
  std::variant<std::string, int64_t, double> value;
};
struct EventRow {
  uint64_t time_ns = 0;
  std::string name;
  std::vector<AttributeRow> attributes;
};
struct LinkRow {
  TraceIdRow trace_id{};
  SpanIdRow span_id{};
  std::vector<AttributeRow> attributes;
};
struct SpanRow {
  TraceIdRow trace_id{};
  SpanIdRow span_id{}, parent_span_id{};  // Parent all zero: none.
  std::string name, status_message;
  int kind = 0, status_code = 0;  // As OTLP numbers them.
  uint64_t start_ns = 0, end_ns = 0;
  std::vector<AttributeRow> attributes;
  std::vector<EventRow> events;
  std::vector<LinkRow> links;
};
/// Spans of one resource and one scope.
struct ServiceRows {
  std::string name;                    // Also the resource's first attribute.
  std::vector<AttributeRow> resource;  // The others.
  std::string scope_name, scope_version;
  std::vector<SpanRow> spans;
};
/// What one request carries.
using RequestRows = std::vector<ServiceRows>;

/// Brings what a span points to into the cache, ahead of its turn: both sides of the comparison call it, since rows lie
/// scattered.
inline void PrefetchSpan(const SpanRow& span) {
  for (const AttributeRow& attribute : span.attributes) {
    __builtin_prefetch(attribute.key.data());
    if (const auto* text = std::get_if<std::string>(&attribute.value)) __builtin_prefetch(text->data());
  }
}
/// The same one step further: where its attributes lie.
inline void PrefetchAttributes(const SpanRow& span) {
  const auto* bytes = reinterpret_cast<const char*>(span.attributes.data());
  for (size_t at = 0; at < span.attributes.size() * sizeof(AttributeRow); at += 64) __builtin_prefetch(bytes + at);
}
/// Both, for the spans that follow number `i` of `spans`.
inline void PrefetchAfter(const std::vector<SpanRow>& spans, size_t i) {
  if (i + 4 < spans.size()) PrefetchSpan(spans[i + 4]);
  if (i + 8 < spans.size()) PrefetchAttributes(spans[i + 8]);
  if (i + 12 < spans.size()) {
    const auto* row = reinterpret_cast<const char*>(&spans[i + 12]);
    for (size_t at = 0; at < sizeof(SpanRow); at += 64) __builtin_prefetch(row + at);
  }
}

/// Makes requests one after the other; the same seed makes the same ones.
class SpanSource {
 public:
  /// "source": span i as in the source document's generator: operation_{i % 100} of service_{i % 10}, a root where i % 5 is 0, an
  /// error where i % 20 is 0, random ids, 100 µs to 10 ms long, the three attributes http.method GET, http.status_code 200 and
  /// service.name; its resource has service.name and service.version.
  /// "realistic": traces of about eight spans over 12 services; 12 attributes (method, route, status, sizes, user, host, URL…),
  /// an event in every third span, with a stack trace where it failed (one in twenty), a link in every tenth.
  SpanSource(std::string_view workload, uint64_t seed = 7);
  /// A request of `spans` spans, grouped by service.
  RequestRows Next(int64_t spans);

 private:
  RequestRows NextSource(int64_t spans);
  RequestRows NextRealistic(int64_t spans);
  SpanRow RealisticSpan(int service);
  void AddEvents(SpanRow* span, bool failed);
  uint64_t Below(uint64_t n) { return random_() % n; }
  template <typename Id>
  Id RandomId();

  const bool realistic_;
  std::mt19937_64 random_;
  uint64_t made_ = 0;
  uint64_t time_ns_ = 1'795'824'000'000'000'000;  // 2026-11-28.
  // The trace under way, and the spans that its next one may have as parents.
  TraceIdRow trace_id_{};
  std::vector<SpanIdRow> parents_;
  uint64_t left_in_trace_ = 0;
};

}  // namespace sheaf::bench
