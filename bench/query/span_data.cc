#include "span_data.h"

#include <cmath>

#include <fmt/format.h>
#include <protozero/pbf_writer.hpp>

#include "../ingest/payload.h"

namespace sheaf::bench {
namespace {

using Writer = protozero::pbf_writer;

constexpr const char* kServices[kServiceCount] = {"frontend", "cart",  "checkout", "payment", "shipping", "catalog",
                                                  "search",   "users", "reviews",  "email",   "currency", "recommend",
                                                  "ads",      "fraud", "stock",    "gateway"};
constexpr const char* kMethods[] = {"GET", "GET", "GET", "POST", "PUT", "DELETE"};
constexpr const char* kRoutes[] = {"/",           "/cart",   "/checkout",   "/product/{id}", "/payment",
                                   "/ship-order", "/search", "/users/{id}", "/reviews",      "/ads"};
constexpr const char* kVerbs[] = {"GET", "POST", "SELECT", "publish", "charge"};
constexpr double kMeanSpansPerTrace = 6.5;

uint64_t Mix(uint64_t x) {  // SplitMix64.
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::string Bytes(uint64_t value) { return std::string(reinterpret_cast<const char*>(&value), 8); }

void Attribute(Writer* out, uint32_t field, const char* key, const std::string& value) {
  Writer pair(*out, field);
  pair.add_string(1, key);
  Writer any(pair, 2);
  any.add_string(1, value);
}
void Attribute(Writer* out, uint32_t field, const char* key, int64_t value) {
  Writer pair(*out, field);
  pair.add_string(1, key);
  Writer any(pair, 2);
  any.add_int64(3, value);
}

}  // namespace

SpanStream::SpanStream(int64_t spans, int64_t first_ns, uint64_t seed)
    : random_(seed),
      gap_ns_(static_cast<double>(kDayNs) * kMeanSpansPerTrace / static_cast<double>(spans)),
      first_ns_(first_ns) {}

void SpanStream::AddTrace() {
  int64_t start = NextTraceNs();
  const uint64_t trace = traces_++;
  const uint64_t size = 5 + Below(4);
  std::array<uint64_t, 8> ids;
  for (uint64_t i = 0; i < size; ++i) {
    ids[i] = Mix(~(trace * 8 + i)) | 1;
    coming_.push({.start_ns = start, .trace = trace, .id = ids[i], .parent = i == 0 ? 0 : ids[Below(i)]});
    start += 1 + static_cast<int64_t>(Below(5'000'000));
  }
}

std::string SpanStream::Encode(const Span& span, int operation) {
  std::string bytes;
  Writer out(bytes);
  out.add_bytes(1, TraceId(span.trace));
  out.add_bytes(2, Bytes(span.id));
  if (span.parent != 0) out.add_bytes(4, Bytes(span.parent));
  out.add_string(5, fmt::format("{} op-{:02}", kVerbs[operation % 5], operation));
  out.add_enum(6, 1 + operation % 5);
  const double median_ms = 2 + 58.0 * (operation * 37 % kOperationCount) / kOperationCount;
  const double ns = 1e6 * median_ms * std::lognormal_distribution<double>(0, 0.8)(random_);
  out.add_fixed64(7, static_cast<uint64_t>(span.start_ns));
  out.add_fixed64(8, static_cast<uint64_t>(span.start_ns + static_cast<int64_t>(ns)));
  const bool failed = Below(20) == 0;
  Attribute(&out, 9, "http.route", std::string(kRoutes[Below(std::size(kRoutes))]));
  Attribute(&out, 9, "http.method", std::string(kMethods[Below(std::size(kMethods))]));
  Attribute(&out, 9, "http.status_code", failed ? int64_t{500} : int64_t{200});
  Attribute(&out, 9, "user.id", fmt::format("user-{:06}", Below(100'000)));
  Attribute(&out, 9, "server.address", fmt::format("10.0.{}.{}", Below(4), Below(64)));
  Attribute(&out, 9, "http.response.size", static_cast<int64_t>(Below(1 << 16)));
  if (failed) {
    Writer status(out, 15);
    status.add_enum(3, 2);
  }
  return bytes;
}

std::string SpanStream::Request(int64_t count) {
  std::array<std::vector<std::string>, kServiceCount> spans;
  for (int64_t i = 0; i < count; ++i) {
    // A trace that begins later cannot have an earlier span than what waits.
    while (coming_.empty() || coming_.top().start_ns >= NextTraceNs()) AddTrace();
    const auto operation = static_cast<int>(Below(kOperationCount));
    spans[operation % kServiceCount].push_back(Encode(coming_.top(), operation));
    coming_.pop();
  }
  std::string request;
  Writer out(request);
  for (int service = 0; service < kServiceCount; ++service) {
    if (spans[service].empty()) continue;
    Writer resource_spans(out, 1);
    {
      Writer resource(resource_spans, 1);
      Attribute(&resource, 1, "service.name", std::string(kServices[service]));
      Attribute(&resource, 1, "deployment.environment", std::string("prod"));
    }
    Writer scope_spans(resource_spans, 2);
    {
      Writer scope(scope_spans, 1);
      scope.add_string(1, "shop.instrumentation");
    }
    for (const std::string& span : spans[service]) scope_spans.add_message(2, span);
  }
  return request;
}

}  // namespace sheaf::bench
