/// Sampling decisions over 1,048,576 ids from memory and 16,384 in the core's own cache, ids a second: one threshold, a threshold
/// for each id, and beside them a plain read of the same bytes and a loop that decides one id after the other.
/// `--benchmark_enable_random_interleaving --benchmark_repetitions=9` runs them in turns.

#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "columns/sampler.h"

namespace sheaf::columns {
namespace {

struct Input {
  explicit Input(int64_t count) : rows(count), ids(static_cast<size_t>(count) * 2), kept(static_cast<size_t>(count) / 64) {
    std::mt19937_64 random(1);
    for (uint64_t& half : ids) half = random();
    for (int64_t i = 0; i < rows; ++i) thresholds.push_back(SamplingThreshold(0.1 + static_cast<double>(i % 8) / 10));
  }
  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(ids.data()); }
  int64_t rows;
  std::vector<uint64_t> ids, kept, thresholds;
};

template <typename Run>
void Measure(benchmark::State& state, const Run& run) {
  Input in(state.range(0));
  for (auto _ : state) {
    run(&in);
    benchmark::DoNotOptimize(in.kept.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * in.rows);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * in.rows * 16);
}

void OneThreshold(benchmark::State& state) {
  const uint64_t threshold = SamplingThreshold(0.1, 4);
  Measure(state, [&](Input* in) { SampleTraces(TraceIdOrder::kBytes, in->bytes(), in->rows, threshold, in->kept.data()); });
}

void OneThresholdOfNumbers(benchmark::State& state) {
  const uint64_t threshold = SamplingThreshold(0.1, 4);
  Measure(state, [&](Input* in) { SampleTraces(TraceIdOrder::kNumbers, in->bytes(), in->rows, threshold, in->kept.data()); });
}

void EachThreshold(benchmark::State& state) {
  Measure(state,
          [](Input* in) { SampleTraces(TraceIdOrder::kBytes, in->bytes(), in->rows, in->thresholds.data(), in->kept.data()); });
}

void SimpleLoop(benchmark::State& state) {
  const uint64_t threshold = SamplingThreshold(0.1, 4);
  Measure(state, [&](Input* in) {
    for (int64_t block = 0; block < in->rows; block += 64) {
      uint64_t bits = 0;
      for (int64_t i = 0; i < 64; ++i) {
        const uint64_t random = __builtin_bswap64(in->ids[static_cast<size_t>(2 * (block + i) + 1)]) & (kSamplingRange - 1);
        bits |= uint64_t{random >= threshold} << i;
      }
      in->kept[static_cast<size_t>(block / 64)] = bits;
    }
  });
}

void PlainRead(benchmark::State& state) {
  typedef uint64_t Two __attribute__((vector_size(16), may_alias, aligned(8)));
  Measure(state, [](Input* in) {
    const auto* values = reinterpret_cast<const Two*>(in->ids.data());
    Two sum[8] = {};
    for (size_t i = 0; i < static_cast<size_t>(in->rows); i += 8) {
      for (size_t k = 0; k < 8; ++k) sum[k] |= values[i + k];
    }
    for (const Two& one : sum) benchmark::DoNotOptimize(one[0] | one[1]);
  });
}

BENCHMARK(PlainRead)->ArgName("rows")->Arg(1 << 20)->Arg(1 << 14);
BENCHMARK(OneThreshold)->ArgName("rows")->Arg(1 << 20)->Arg(1 << 14);
BENCHMARK(OneThresholdOfNumbers)->ArgName("rows")->Arg(1 << 20)->Arg(1 << 14);
BENCHMARK(EachThreshold)->ArgName("rows")->Arg(1 << 20)->Arg(1 << 14);
BENCHMARK(SimpleLoop)->ArgName("rows")->Arg(1 << 20)->Arg(1 << 14);

}  // namespace
}  // namespace sheaf::columns

BENCHMARK_MAIN();
