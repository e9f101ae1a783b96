#include "spans.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace sheaf::bench {
namespace {

constexpr std::string_view kServices[] = {"frontend", "cart",  "checkout", "payment", "shipping",  "catalog",
                                          "search",   "users", "reviews",  "email",   "recommend", "gateway"};
constexpr std::string_view kMethods[] = {"GET", "GET", "GET", "POST", "PUT", "DELETE"};
constexpr std::string_view kRoutes[] = {"/",           "/cart",   "/checkout",   "/product/{id}", "/payment",
                                        "/ship-order", "/search", "/users/{id}", "/reviews/{id}", "/recommendations"};
constexpr std::string_view kAgents[] = {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "okhttp/4.12.0",
                                        "Go-http-client/2.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"};
constexpr std::string_view kRegions[] = {"eu-west-1", "eu-central-1", "us-east-1"};
constexpr std::string_view kFailures[] = {"TimeoutException", "ConnectionRefused", "IllegalStateException", "OutOfStock"};

AttributeRow Text(std::string_view key, std::string_view value) { return {std::string(key), std::string(value)}; }
AttributeRow Number(std::string_view key, uint64_t value) { return {std::string(key), static_cast<int64_t>(value)}; }

}  // namespace

SpanSource::SpanSource(std::string_view workload, uint64_t seed) : realistic_(workload == "realistic"), random_(seed) {
  if (realistic_ || workload == "source") return;
  std::fprintf(stderr, "there is no workload '%.*s'; there are: source, realistic\n", static_cast<int>(workload.size()),
               workload.data());
  std::exit(1);
}

RequestRows SpanSource::Next(int64_t spans) { return realistic_ ? NextRealistic(spans) : NextSource(spans); }

template <typename Id>
Id SpanSource::RandomId() {
  Id id;
  for (size_t at = 0; at < id.size(); at += 8) {
    const uint64_t word = random_() | 1;
    std::memcpy(id.data() + at, &word, 8);
  }
  return id;
}

RequestRows SpanSource::NextSource(int64_t spans) {
  RequestRows services(10);
  for (size_t s = 0; s < services.size(); ++s) {
    services[s].name = fmt::format("service_{}", s);
    services[s].resource = {Text("service.version", "1.0.0")};
  }
  for (int64_t n = 0; n < spans; ++n) {
    const uint64_t i = made_++;
    constexpr int kKinds[] = {2, 3, 1, 4, 5};  // Server, client, internal, producer, consumer.
    ServiceRows& service = services[i % 10];
    SpanRow span;
    span.trace_id = RandomId<TraceIdRow>();
    span.span_id = RandomId<SpanIdRow>();
    if (i % 5 != 0) span.parent_span_id = RandomId<SpanIdRow>();
    span.name = fmt::format("operation_{}", i % 100);
    span.kind = kKinds[i % 5];
    span.start_ns = 1'000'000'000 + i * 1'000'000;
    span.end_ns = span.start_ns + 100'000 + Below(9'900'000);
    span.attributes = {Text("http.method", "GET"), Number("http.status_code", 200), Text("service.name", service.name)};
    span.status_code = i % 20 == 0 ? 2 : 1;
    service.spans.push_back(std::move(span));
  }
  return services;
}

RequestRows SpanSource::NextRealistic(int64_t spans) {
  RequestRows services(std::size(kServices));
  for (size_t s = 0; s < services.size(); ++s) {
    services[s].name = kServices[s];
    services[s].resource = {Text("service.version", fmt::format("2.{}.1", s)), Text("deployment.environment", "prod"),
                            Text("host.name", fmt::format("node-{}", s % 5)), Text("telemetry.sdk.language", "java")};
    services[s].scope_name = "io.opentelemetry.http";
    services[s].scope_version = "1.33.0";
  }
  for (int64_t n = 0; n < spans; ++n) {
    const auto service = static_cast<int>(Below(std::size(kServices)));
    services[static_cast<size_t>(service)].spans.push_back(RealisticSpan(service));
  }
  return services;
}

SpanRow SpanSource::RealisticSpan(int service) {
  if (left_in_trace_ == 0) {
    left_in_trace_ = 4 + Below(9);
    trace_id_ = RandomId<TraceIdRow>();
    parents_.clear();
  }
  --left_in_trace_;
  ++made_;
  SpanRow span;
  span.trace_id = trace_id_;
  span.span_id = RandomId<SpanIdRow>();
  if (!parents_.empty()) span.parent_span_id = parents_[Below(parents_.size())];
  parents_.push_back(span.span_id);
  const bool failed = Below(20) == 0;
  const std::string_view method = kMethods[Below(std::size(kMethods))], route = kRoutes[Below(std::size(kRoutes))];
  const uint64_t user = Below(100'000), item = Below(5'000);
  span.name = fmt::format("{} {}", method, route);
  span.kind = parents_.size() == 1 ? 2 : 1 + static_cast<int>(Below(5));
  span.start_ns = time_ns_ += Below(200'000);
  span.end_ns = span.start_ns + 50'000 + Below(40'000'000);
  span.status_code = failed ? 2 : 0;
  if (failed) span.status_message = "upstream failed";
  span.attributes = {Text("http.request.method", method),
                     Text("http.route", route),
                     Number("http.response.status_code", failed ? 500 : 200),
                     Text("url.full", fmt::format("https://shop.example.com{}?item={}", route, item)),
                     Text("server.address", fmt::format("10.0.{}.{}", service, Below(64))),
                     Number("server.port", 8080),
                     Text("user_agent.original", kAgents[Below(std::size(kAgents))]),
                     Text("user.id", fmt::format("user-{:06}", user)),
                     Text("cloud.region", kRegions[Below(std::size(kRegions))]),
                     Number("http.response.body.size", Below(1 << 15)),
                     Number("thread.id", Below(200)),
                     {"app.queue_seconds", static_cast<double>(Below(1'000)) / 1e4}};
  AddEvents(&span, failed);
  if (Below(10) == 0) {
    span.links.push_back({RandomId<TraceIdRow>(), RandomId<SpanIdRow>(), {Text("messaging.operation", "receive")}});
  }
  return span;
}

void SpanSource::AddEvents(SpanRow* span, bool failed) {
  if (failed) {
    const std::string_view type = kFailures[Below(std::size(kFailures))];
    std::string trace = fmt::format("com.example.shop.{}: no answer after {} ms", type, Below(2'000));
    for (int frame = 0; frame < 8; ++frame) {
      trace += fmt::format("\n\tat com.example.shop.Handler{}.call(Handler{}.java:{})", frame, frame, 40 + frame * 17);
    }
    span->events.push_back(
        {span->end_ns - 1'000, "exception", {Text("exception.type", type), Text("exception.stacktrace", trace)}});
  } else if (Below(3) == 0) {
    span->events.push_back(
        {span->start_ns + 20'000, "cache.miss", {Text("cache.name", "products"), Number("cache.shard", Below(16))}});
  }
}

}  // namespace sheaf::bench
