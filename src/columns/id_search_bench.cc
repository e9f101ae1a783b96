/// Search of ids in 1,048,576 rows, which come from memory or the last cache, and in a granule's 16,384, which stay in the core's
/// own: nanoseconds a row and bytes a second, beside a plain read of the same bytes, a simple loop, a std::unordered_set and
/// Arrow's is_in. One of 16,384 rows holds a wanted id.
/// `--benchmark_enable_random_interleaving --benchmark_repetitions=9` runs them in turns.

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <unordered_set>

#include <arrow/array/array_binary.h>
#include <arrow/array/builder_binary.h>
#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>
#include <benchmark/benchmark.h>

#include "columns/id_search.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

constexpr int64_t kHitEvery = 16'384;

std::vector<std::string> Wanted(size_t width, size_t count) {
  std::mt19937_64 random(7);
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) {
    out.emplace_back(width, '\0');
    for (char& c : out.back()) c = static_cast<char>(random());
  }
  return out;
}

std::shared_ptr<arrow::FixedSizeBinaryArray> Column(int width, int64_t rows, const std::vector<std::string>& wanted) {
  arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(width));
  std::mt19937_64 random(1);
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t id[2] = {random(), random()};
    const bool hit = row % kHitEvery == 4'711;
    SHEAF_CHECK(
        (hit ? builder.Append(wanted[random() % wanted.size()]) : builder.Append(reinterpret_cast<const uint8_t*>(id))).ok());
  }
  return std::static_pointer_cast<arrow::FixedSizeBinaryArray>(builder.Finish().ValueOrDie());
}

struct Input {
  explicit Input(const benchmark::State& state)
      : width(static_cast<int>(state.range(0))),
        rows(state.range(2)),
        wanted(Wanted(static_cast<size_t>(width), static_cast<size_t>(state.range(1)))),
        column(Column(width, rows, wanted)) {}
  int width;
  int64_t rows;
  std::vector<std::string> wanted;
  std::shared_ptr<arrow::FixedSizeBinaryArray> column;
};

void Count(benchmark::State& state, const Input& in, size_t found) {
  SHEAF_CHECK(static_cast<int64_t>(found) == in.rows / kHitEvery);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * in.rows * in.width);
  state.counters["ns_per_row"] = benchmark::Counter(static_cast<double>(in.rows) * 1e-9,
                                                    benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void Search(benchmark::State& state) {
  const Input in(state);
  const IdSearch search = IdSearch::Make(*in.column->type(), in.wanted).ValueOrDie();
  std::vector<int64_t> rows;
  for (auto _ : state) {
    rows.clear();
    SHEAF_CHECK(search.Find(*in.column->data(), 0, in.rows, &rows).ok());
    benchmark::DoNotOptimize(rows.data());
  }
  Count(state, in, rows.size());
}

/// Reads every byte with 16 at a time, as wide as every machine has it.
void PlainRead(benchmark::State& state) {
  const Input in(state);
  typedef uint64_t Two __attribute__((vector_size(16), may_alias, aligned(8)));
  const auto* values = reinterpret_cast<const Two*>(in.column->raw_values());
  const auto count = static_cast<size_t>(in.rows * in.width) / sizeof(Two);
  for (auto _ : state) {
    Two sum[8] = {};
    for (size_t i = 0; i < count; i += 8) {
      for (size_t k = 0; k < 8; ++k) sum[k] |= values[i + k];
    }
    for (const Two& one : sum) benchmark::DoNotOptimize(one[0] | one[1]);
  }
  Count(state, in, static_cast<size_t>(in.rows / kHitEvery));
}

/// What the scan did before: one id, eight bytes first.
void SimpleLoop(benchmark::State& state) {
  const Input in(state);
  std::vector<int64_t> rows;
  for (auto _ : state) {
    rows.clear();
    uint64_t first, other;
    std::memcpy(&first, in.wanted[0].data(), sizeof first);
    const uint8_t* at = in.column->raw_values();
    for (int64_t row = 0; row < in.rows; ++row, at += in.width) {
      std::memcpy(&other, at, sizeof other);
      if (other == first && std::memcmp(at, in.wanted[0].data(), static_cast<size_t>(in.width)) == 0) rows.push_back(row);
    }
    benchmark::DoNotOptimize(rows.data());
  }
  Count(state, in, rows.size());
}

void HashSet(benchmark::State& state) {
  const Input in(state);
  const std::unordered_set<std::string_view> set(in.wanted.begin(), in.wanted.end());
  std::vector<int64_t> rows;
  for (auto _ : state) {
    rows.clear();
    for (int64_t row = 0; row < in.rows; ++row) {
      if (set.contains(in.column->GetView(row))) rows.push_back(row);
    }
    benchmark::DoNotOptimize(rows.data());
  }
  Count(state, in, rows.size());
}

void ArrowIsIn(benchmark::State& state) {
  SHEAF_CHECK(arrow::compute::Initialize().ok());
  const Input in(state);
  arrow::FixedSizeBinaryBuilder builder(in.column->type());
  for (const std::string& id : in.wanted) SHEAF_CHECK(builder.Append(id).ok());
  const arrow::compute::SetLookupOptions options(builder.Finish().ValueOrDie());
  int64_t found = 0;
  for (auto _ : state) {
    const auto mask = arrow::compute::CallFunction("is_in", {in.column}, &options).ValueOrDie();
    const auto rows = arrow::compute::CallFunction("indices_nonzero", {mask}).ValueOrDie();
    found = rows.length();
  }
  Count(state, in, static_cast<size_t>(found));
}

void Sizes(benchmark::internal::Benchmark* bench, std::initializer_list<int64_t> widths, std::initializer_list<int64_t> ids) {
  bench->ArgNames({"width", "ids", "rows"})->Unit(benchmark::kMicrosecond);
  for (const int64_t width : widths) {
    for (const int64_t count : ids) {
      for (const int64_t rows : {1 << 20, 1 << 14}) bench->Args({width, count, rows});
    }
  }
}
void OneId(benchmark::internal::Benchmark* bench) { Sizes(bench, {16, 8}, {1}); }
void Sets(benchmark::internal::Benchmark* bench) { Sizes(bench, {16, 8}, {1, 4, 8, 9, 256, 4'096, 65'536}); }
void PeerSets(benchmark::internal::Benchmark* bench) { Sizes(bench, {16}, {4, 256, 65'536}); }
BENCHMARK(PlainRead)->Apply(OneId);
BENCHMARK(Search)->Apply(Sets);
BENCHMARK(SimpleLoop)->Apply(OneId);
BENCHMARK(HashSet)->Apply(PeerSets);
BENCHMARK(ArrowIsIn)->Apply(PeerSets);

}  // namespace
}  // namespace sheaf::columns

BENCHMARK_MAIN();
