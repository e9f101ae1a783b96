/// Sends prepared spans over loopback gRPC as fast as the server answers, and prints one line of JSON:
/// spans acknowledged, seconds, latencies, and the client's own CPU seconds.
///
///   otlp_load PORT SPANS [CONNECTIONS STREAMS SPANS_PER_REQUEST FIRST_TRACE]

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "grpc_client.h"
#include "payload.h"

namespace {

using sheaf::bench::GrpcClient;
using sheaf::bench::kSpansPerTrace;
using sheaf::bench::Payload;

constexpr uint64_t kStartNs = 1'760'000'000'000'000'000;      // Fixed, so that runs are alike.
constexpr uint64_t kSpanOfTimeNs = 24 * 3'600'000'000'000ull;  // All spans lie in 24 hours.

int64_t Argument(int count, char** values, int index, int64_t otherwise) {
  return count > index ? std::strtoll(values[index], nullptr, 10) : otherwise;
}

double Percentile(const std::vector<double>& sorted, double share) {
  return sorted.empty() ? 0 : sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * sorted.size()))];
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

}  // namespace

int main(int count, char** values) {
  if (count < 3) {
    std::fprintf(stderr, "usage: otlp_load PORT SPANS [CONNECTIONS STREAMS SPANS_PER_REQUEST FIRST_TRACE]\n");
    return 2;
  }
  const auto port = static_cast<uint16_t>(Argument(count, values, 1, 0));
  const int64_t spans = Argument(count, values, 2, 0);
  const int connections = static_cast<int>(Argument(count, values, 3, 4));
  const int streams = static_cast<int>(Argument(count, values, 4, 4));
  const auto request_spans = std::max(1, static_cast<int>(Argument(count, values, 5, 1000)));
  const int request_traces = (request_spans + kSpansPerTrace - 1) / kSpansPerTrace;  // The last one of a request may be a part of one.
  const int64_t first_trace = Argument(count, values, 6, 0);
  const int64_t requests = std::max<int64_t>(1, spans / request_spans);

  std::vector<std::vector<std::unique_ptr<Payload>>> payloads(connections);
  for (int c = 0; c < connections; ++c) {
    for (int s = 0; s < streams; ++s) payloads[c].push_back(std::make_unique<Payload>(request_spans, c * 1000 + s + 1));
  }
  const double bytes_per_span = static_cast<double>(payloads[0][0]->bytes().size()) / request_spans;

  std::atomic<int64_t> taken{0};
  std::vector<double> latencies;
  std::atomic<int64_t> refused{0};
  int64_t retried = 0;
  std::vector<std::unique_ptr<GrpcClient>> clients;
  for (int c = 0; c < connections; ++c) clients.push_back(std::make_unique<GrpcClient>(port));
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int c = 0; c < connections; ++c) {
    threads.emplace_back([&, c] {
      clients[c]->Run("/opentelemetry.proto.collector.trace.v1.TraceService/Export", streams, [&](int slot) -> const std::string* {
        const int64_t request = taken.fetch_add(1);
        if (request >= requests) return nullptr;
        payloads[c][slot]->Renew(first_trace + request * request_traces, kStartNs + kSpanOfTimeNs / requests * request);
        return &payloads[c][slot]->bytes();
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  std::string error;
  for (const auto& client : clients) {
    latencies.insert(latencies.end(), client->latencies().begin(), client->latencies().end());
    refused += client->refused();
    retried += client->retried();
    if (error.empty()) error = client->first_error();
  }
  std::sort(latencies.begin(), latencies.end());
  fmt::print(
      "{{\"spans\": {}, \"requests\": {}, \"refused\": {}, \"throttled\": {}, \"seconds\": {:.3f}, \"spans_per_second\": {:.0f}, "
      "\"bytes_per_span\": {:.1f}, "
      "\"p50_ms\": {:.3f}, \"p99_ms\": {:.3f}, \"client_cpu_seconds\": {:.2f}, \"error\": \"{}\"}}\n",
      static_cast<int64_t>(latencies.size()) * request_spans, requests, refused.load(), retried, seconds,
      latencies.size() * request_spans / seconds, bytes_per_span, Percentile(latencies, 0.5) * 1e3,
      Percentile(latencies, 0.99) * 1e3, CpuSeconds(), error);
  return refused == 0 ? 0 : 1;
}
