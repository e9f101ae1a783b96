/// What it costs to analyse a granule of 16,384 values, and to read values that are run-end encoded (docs/decisions/0010).
/// Counters: ns_per_value; bytes_per_value, what is stored.

#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/array/array_run_end.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>
#include <benchmark/benchmark.h>

#include "columns/column_analysis.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

constexpr int64_t kRows = 16'384;

void CountValues(benchmark::State& state, int64_t stored_bytes) {
  state.counters["ns_per_value"] = benchmark::Counter(
      static_cast<double>(kRows) * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  state.counters["bytes_per_value"] = static_cast<double>(stored_bytes) / static_cast<double>(kRows);
}

/// Runs of `run` equal numbers on average, of `distinct`.
std::shared_ptr<arrow::Array> Numbers(int64_t run, int64_t distinct) {
  arrow::Int64Builder builder;
  std::mt19937_64 random(1);
  int64_t now = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    if (random() % static_cast<uint64_t>(run) == 0)
      now = static_cast<int64_t>(random() % static_cast<uint64_t>(distinct)) * 1'000;
    SHEAF_CHECK(builder.Append(now).ok());
  }
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Array> Texts(int64_t distinct) {
  arrow::StringBuilder builder;
  std::mt19937_64 random(1);
  for (int64_t i = 0; i < kRows; ++i)
    SHEAF_CHECK(builder.Append("user-" + std::to_string(random() % static_cast<uint64_t>(distinct))).ok());
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Array> Ids() {
  arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(16));
  std::mt19937_64 random(1);
  for (int64_t i = 0; i < kRows; ++i) {
    const uint64_t id[2] = {random(), random()};
    SHEAF_CHECK(builder.Append(reinterpret_cast<const uint8_t*>(id)).ok());
  }
  return builder.Finish().ValueOrDie();
}

void Analyse(benchmark::State& state, const std::shared_ptr<arrow::Array>& array) {
  for (auto _ : state) {
    ColumnAnalyzer analyzer(array->type());
    for (int granule = 0; granule < 8; ++granule) SHEAF_CHECK(analyzer.Add(*array->data()).ok());  // A part's.
    benchmark::DoNotOptimize(analyzer.Analysis());
  }
  state.counters["ns_per_value"] = benchmark::Counter(
      static_cast<double>(8 * kRows) * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(Analyse, constant, Numbers(kRows * 100, 1));
BENCHMARK_CAPTURE(Analyse, runs_of_16, Numbers(16, 1000));
BENCHMARK_CAPTURE(Analyse, few_numbers, Numbers(1, 100));
BENCHMARK_CAPTURE(Analyse, many_numbers, Numbers(1, int64_t{1} << 40));
BENCHMARK_CAPTURE(Analyse, dictionary, arrow::compute::DictionaryEncode(Texts(100)).ValueOrDie().make_array());
BENCHMARK_CAPTURE(Analyse, few_texts, Texts(100));
BENCHMARK_CAPTURE(Analyse, many_texts, Texts(int64_t{1} << 40));
BENCHMARK_CAPTURE(Analyse, ids, Ids());

/// As a scan of a hot part hands them on: where they lie.
void SumPlain(benchmark::State& state) {
  const auto plain = std::static_pointer_cast<arrow::Int64Array>(Numbers(state.range(0), 1000));
  for (auto _ : state) {
    int64_t sum = 0;
    const int64_t* values = plain->raw_values();
    for (int64_t i = 0; i < kRows; ++i) sum += values[i];
    benchmark::DoNotOptimize(sum);
  }
  CountValues(state, kRows * 8);
}
BENCHMARK(SumPlain)->ArgName("run")->Arg(1)->Arg(4)->Arg(16)->Arg(64)->Arg(1024);

/// As DuckDB's vectors need them: every value in its place.
void SumAfterExpandingRuns(benchmark::State& state) {
  SHEAF_CHECK(arrow::compute::Initialize().ok());
  const auto plain = Numbers(state.range(0), 1000);
  const auto encoded = std::static_pointer_cast<arrow::RunEndEncodedArray>(
      arrow::compute::RunEndEncode(plain, arrow::compute::RunEndEncodeOptions(arrow::int32())).ValueOrDie().make_array());
  const auto& ends = static_cast<const arrow::Int32Array&>(*encoded->run_ends());
  const auto& values = static_cast<const arrow::Int64Array&>(*encoded->values());
  std::vector<int64_t> expanded(kRows);
  for (auto _ : state) {
    int64_t* out = expanded.data();
    int64_t at = 0;
    for (int64_t run = 0; run < ends.length(); ++run) {
      const int64_t end = ends.Value(run), value = values.Value(run);
      for (; at < end; ++at) out[at] = value;
    }
    int64_t sum = 0;
    for (int64_t i = 0; i < kRows; ++i) sum += out[i];
    benchmark::DoNotOptimize(sum);
  }
  CountValues(state, ends.length() * 12);
}
BENCHMARK(SumAfterExpandingRuns)->ArgName("run")->Arg(1)->Arg(4)->Arg(16)->Arg(64)->Arg(1024);

}  // namespace
}  // namespace sheaf::columns

BENCHMARK_MAIN();
