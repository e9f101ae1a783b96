#include "payload.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

namespace sheaf::bench {
namespace {

constexpr std::string_view kServices[] = {"frontend", "cart", "checkout", "payment", "shipping"};
constexpr std::string_view kNames[] = {"GET /", "GET /cart", "POST /cart", "POST /checkout", "charge", "quote", "SELECT orders", "publish"};
constexpr std::string_view kMethods[] = {"GET", "POST", "PUT", "DELETE"};
constexpr std::string_view kRoutes[] = {"/", "/cart", "/checkout", "/product/{id}", "/payment", "/ship-order"};

uint64_t Mix(uint64_t x) {  // SplitMix64's finaliser.
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t Next(uint64_t* state) { return Mix((*state)++); }

void Varint(std::string* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void Field(std::string* out, int number, std::string_view bytes) {
  Varint(out, static_cast<uint64_t>(number) << 3 | 2);
  Varint(out, bytes.size());
  out->append(bytes);
}

void Fixed64(std::string* out, int number, uint64_t value) {
  Varint(out, static_cast<uint64_t>(number) << 3 | 1);
  out->append(reinterpret_cast<const char*>(&value), 8);
}

void Attribute(std::string* out, int number, std::string_view key, std::string_view value) {
  std::string any, pair;
  Field(&any, 1, value);
  Field(&pair, 1, key);
  Field(&pair, 2, any);
  Field(out, number, pair);
}

void Attribute(std::string* out, int number, std::string_view key, int64_t value) {
  std::string any("\x18"), pair;
  Varint(&any, static_cast<uint64_t>(value));
  Field(&pair, 1, key);
  Field(&pair, 2, any);
  Field(out, number, pair);
}

}  // namespace

std::string TraceId(uint64_t index) {
  const uint64_t halves[2] = {Mix(index * 2) | 1, Mix(index * 2 + 1)};
  return std::string(reinterpret_cast<const char*>(halves), 16);
}

void Payload::AppendSpan(std::string* out, uint64_t* random, int trace, int number) {
  // Offsets are relative to the span here; the caller, who knows where it lands, moves them.
  SpanPlace place{};
  place.trace = trace;
  place.number = number;
  const auto here = [&] { return static_cast<uint32_t>(out->size()); };
  Field(out, 1, std::string(16, 't'));
  place.trace_id = here() - 16;
  Field(out, 2, std::string(8, 's'));
  place.span_id = here() - 8;
  place.parent_id = 0;
  if (number > 0) {
    Field(out, 4, std::string(8, 'p'));
    place.parent_id = here() - 8;
  }
  Field(out, 5, kNames[Next(random) % std::size(kNames)]);
  Varint(out, 6 << 3);
  Varint(out, 1 + Next(random) % 5);
  Fixed64(out, 7, 0);
  place.start = here() - 8;
  Fixed64(out, 8, Next(random) % 50'000'000);  // A duration until Renew() adds the start.
  place.end = here() - 8;
  Attribute(out, 9, "http.request.method", kMethods[Next(random) % std::size(kMethods)]);
  Attribute(out, 9, "http.route", kRoutes[Next(random) % std::size(kRoutes)]);
  Attribute(out, 9, "http.response.status_code", Next(random) % 50 == 0 ? int64_t{500} : int64_t{200});
  Attribute(out, 9, "server.address", fmt::format("10.0.{}.{}", Next(random) % 4, Next(random) % 64));
  Attribute(out, 9, "user.id", fmt::format("user-{:06}", Next(random) % 10'000));
  Attribute(out, 9, "request.id", fmt::format("{:016x}", Next(random)));
  if (Next(random) % 50 == 0) Field(out, 15, std::string_view("\x18\x02", 2));  // ERROR
  spans_.push_back(place);
}

Payload::Payload(int spans, uint64_t seed) {
  uint64_t random = seed << 32;
  const int services = std::min(spans, static_cast<int>(std::size(kServices)));
  const size_t first_service = spans < static_cast<int>(std::size(kServices)) ? seed : 0;  // A small request comes from one of them.
  for (int service = 0; service < services; ++service) {
    std::string resource, scope, resource_spans, scope_spans;
    Attribute(&resource, 1, "service.name", kServices[(first_service + static_cast<size_t>(service)) % std::size(kServices)]);
    Attribute(&resource, 1, "host.name", fmt::format("node-{}", service));
    Attribute(&resource, 1, "telemetry.sdk.language", "cpp");
    Field(&scope, 1, "shop.instrumentation");
    Field(&scope, 2, "1.4.0");
    Field(&scope_spans, 1, scope);
    const size_t first = spans_.size();
    for (int i = service; i < spans; i += services) {
      // Span i of the request is number i % 10 of trace i / 10, so every trace crosses all services.
      std::string span;
      AppendSpan(&span, &random, i / kSpansPerTrace, i % kSpansPerTrace);
      Field(&scope_spans, 2, span);
      SpanPlace& place = spans_.back();
      const uint32_t base = static_cast<uint32_t>(scope_spans.size() - span.size());
      for (uint32_t* offset : {&place.trace_id, &place.span_id, &place.start, &place.end}) *offset += base;
      if (place.parent_id != 0) place.parent_id += base;
    }
    Field(&resource_spans, 1, resource);
    Field(&resource_spans, 2, scope_spans);
    Field(&bytes_, 1, resource_spans);
    const uint32_t base = static_cast<uint32_t>(bytes_.size() - scope_spans.size());
    for (size_t i = first; i < spans_.size(); ++i) {
      SpanPlace& place = spans_[i];
      for (uint32_t* offset : {&place.trace_id, &place.span_id, &place.start, &place.end}) *offset += base;
      if (place.parent_id != 0) place.parent_id += base;
    }
  }
}

void Payload::Renew(uint64_t first_trace, uint64_t time_ns) {
  for (const SpanPlace& place : spans_) {
    const std::string id = TraceId(first_trace + place.trace);
    uint64_t seed, old_start, old_end;
    std::memcpy(&seed, id.data() + 8, 8);
    const uint64_t span = Mix(seed + place.number) | 1;
    std::memcpy(bytes_.data() + place.trace_id, id.data(), 16);
    std::memcpy(bytes_.data() + place.span_id, &span, 8);
    if (place.parent_id != 0) {
      const uint64_t parent = Mix(seed + (place.number - 1) / 2) | 1;
      std::memcpy(bytes_.data() + place.parent_id, &parent, 8);
    }
    std::memcpy(&old_start, bytes_.data() + place.start, 8);
    std::memcpy(&old_end, bytes_.data() + place.end, 8);
    const uint64_t start = time_ns + place.trace * 100'000 + place.number * 1'000;
    const uint64_t end = start + (old_end - old_start);
    std::memcpy(bytes_.data() + place.start, &start, 8);
    std::memcpy(bytes_.data() + place.end, &end, 8);
  }
}

}  // namespace sheaf::bench
