/// What sampling costs a request of 1,000 spans of ten services, beside decoding it: head sampling at several shares, and tail
/// sampling that holds what is left out, where no trace is kept, and where one in a hundred is.

#include <random>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "core/check.h"
#include "decode/decoder.h"
#include "serve/tail_sampler.h"
#include "wire/otlp_json.h"

namespace sheaf::serve {
namespace {

constexpr int kSpans = 1000, kSpansOfTrace = 5;

/// A request with six attributes a span; every `error_every`-th trace has an error (0: none).
std::string Request(uint64_t seed, int error_every) {
  std::mt19937_64 random(seed);
  std::string resources;
  for (int service = 0; service < 10; ++service) {
    std::string spans;
    for (int i = 0; i < kSpans / 10; ++i) {
      const int trace = (service * kSpans / 10 + i) / kSpansOfTrace;
      std::mt19937_64 of_trace(seed * 1000 + static_cast<uint64_t>(trace));
      const uint64_t high = of_trace(), low = of_trace();
      const bool error = error_every > 0 && trace % error_every == 0 && i % kSpansOfTrace == 0;
      std::string attributes;
      for (int a = 0; a < 6; ++a) {
        attributes +=
            fmt::format(R"({}{{"key":"key.{}","value":{{"stringValue":"value {}"}}}})", a > 0 ? "," : "", a, random() % 1000);
      }
      spans += fmt::format(
          R"({}{{"traceId":"{:016x}{:016x}","spanId":"{:016x}","name":"operation {}","kind":2,"startTimeUnixNano":"1000",
          "endTimeUnixNano":"2000","status":{{"code":{}}},"attributes":[{}]}})",
          i > 0 ? "," : "", high, low, random() | 1, random() % 20, error ? 2 : 0, attributes);
    }
    resources += fmt::format(R"({}{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"service{}"}}}}]}},
        "scopeSpans":[{{"spans":[{}]}}]}})",
                             service > 0 ? "," : "", service, spans);
  }
  std::string protobuf;
  SHEAF_CHECK(wire::OtlpJsonToProtobuf(wire::OtlpRequest::kTraces, R"({"resourceSpans":[)" + resources + "]}", &protobuf).ok());
  return protobuf;
}

std::shared_ptr<arrow::RecordBatch> Decode(decode::Decoder* decoder, const std::string& request) {
  return decoder->Traces(std::as_bytes(std::span(request))).ValueOrDie().batches.front().batch;
}

void Count(benchmark::State& state) {
  state.counters["ns_per_span"] =
      benchmark::Counter(kSpans * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void DecodeAlone(benchmark::State& state) {
  const std::string request = Request(1, 0);
  decode::Decoder decoder;
  for (auto _ : state) benchmark::DoNotOptimize(Decode(&decoder, request));
  Count(state);
}

void Head(benchmark::State& state) {
  const SamplingRules rules =
      SamplingRules::Parse(fmt::format("* = {}", static_cast<double>(state.range(0)) / 100), 4).ValueOrDie();
  decode::Decoder decoder;
  const auto spans = Decode(&decoder, Request(1, 0));
  for (auto _ : state) benchmark::DoNotOptimize(*TakeKept(DecideSpans(rules, *spans), spans, arrow::default_memory_pool()));
  Count(state);
}

void Tail(benchmark::State& state) {
  const SamplingRules rules = SamplingRules::Parse("* = 0.1", 4).ValueOrDie();
  TailSampler sampler({.errors = true}, io::SystemClock());
  decode::Decoder decoders[64];
  std::vector<std::shared_ptr<arrow::RecordBatch>> requests;
  for (uint64_t i = 0; i < 64; ++i) {
    requests.push_back(Decode(&decoders[i], Request(i, static_cast<int>(state.range(0)))));
  }
  size_t next = 0;
  for (auto _ : state) {
    const auto& spans = requests[next++ % requests.size()];
    benchmark::DoNotOptimize(sampler.Take(DecideSpans(rules, *spans), spans).ValueOrDie().spans);
  }
  state.counters["held_mb"] = static_cast<double>(sampler.held_bytes()) / 1e6;
  Count(state);
}

BENCHMARK(DecodeAlone)->Unit(benchmark::kMicrosecond);
BENCHMARK(Head)->ArgName("percent")->Arg(1)->Arg(10)->Arg(50)->Arg(99)->Unit(benchmark::kMicrosecond);
BENCHMARK(Tail)->ArgName("error_every")->Arg(0)->Arg(100)->Arg(10)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sheaf::serve

BENCHMARK_MAIN();
