/// Cost of token filters over made-up lines of logs, of about 85 bytes: what they add to a row that is written, in time and bytes, how
/// long a look-up takes, and how many granules it names in vain, beside what reading all texts would cost.

#include <cstring>
#include <random>
#include <string>

#include <arrow/array/builder_binary.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "columns/byte_values.h"
#include "columns/token_filter.h"
#include "columns/tokens.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

constexpr int kGranuleRows = 16'384;
constexpr int kGranules = 640;         // 10,485,760 rows.
constexpr int kRareGranule = 321;      // Where the rare line is.
constexpr const char* kRareLine = "Transaction 4711 rolled back: deadlockdetected on table orders, error E40P01";

std::string Line(std::mt19937_64* random) {
  const auto below = [&](uint64_t n) { return (*random)() % n; };
  const uint64_t id = (*random)();
  switch (below(10)) {
    case 0: return fmt::format("GET /api/v1/orders/{} 200 {}ms user=u{} trace={:016x}", below(10'000'000), below(900), below(50'000), id);
    case 1:
      return fmt::format("Connection from 10.{}.{}.{}:{} closed after {} ms", below(4), below(256), below(256), 1024 + below(60'000),
                         below(90'000));
    case 2:
      return fmt::format("Failed to acquire lock inventory-{} on attempt {}, retrying in {} ms", below(20'000), below(5), below(1000));
    case 3: return fmt::format("Processed batch {:016x} with {} records in {}.{:03} s", id, below(10'000), below(9), below(1000));
    case 4: return fmt::format("PacketResponder {} for block blk_{} terminating", below(3), id);
    case 5:
      return fmt::format("Session opened for user admin{} (uid={}), expires at {}", below(300), below(70'000),
                         1'700'000'000 + below(1'000'000));
    case 6: return fmt::format("cache miss for key product:{}:details, loading from replica db-{}", below(500'000), below(12));
    case 7:
      return fmt::format("Received message offset {} partition {} topic payments lag {}", below(1'000'000'000), below(64), below(100));
    case 8:
      return fmt::format("Garbage collection pause {} ms, heap {} MB of 4096 MB, promoted {} objects", below(200), below(4096),
                         below(1'000'000));
    default: return fmt::format("Scheduled job cleanup-{} finished with status success, deleted {} rows", below(40), below(5000));
  }
}

std::shared_ptr<arrow::Array> Texts(int granule) {
  std::mt19937_64 random(static_cast<uint64_t>(granule));
  arrow::StringBuilder texts;
  for (int i = 0; i < kGranuleRows; ++i) SHEAF_CHECK(texts.Append(granule == kRareGranule && i == 7 ? kRareLine : Line(&random)).ok());
  return texts.Finish().ValueOrDie();
}

const std::string& Filter() {
  static const std::string filter = [] {
    TokenFilterBuilder builder;
    for (int g = 0; g < kGranules; ++g) SHEAF_CHECK(builder.Add(*Texts(g)->data()).ok());
    return builder.Finish();
  }();
  return filter;
}

void Write(benchmark::State& state) {
  std::vector<std::shared_ptr<arrow::Array>> granules;
  int64_t text_bytes = 0;
  for (int g = 0; g < 64; ++g) {
    granules.push_back(Texts(g));
    text_bytes += std::static_pointer_cast<arrow::StringArray>(granules.back())->total_values_length();
  }
  size_t bytes = 0;
  for (auto _ : state) {
    TokenFilterBuilder builder;
    for (const auto& granule : granules) SHEAF_CHECK(builder.Add(*granule->data()).ok());
    bytes = builder.Finish().size();
  }
  const double rows = 64.0 * kGranuleRows;
  state.counters["ns_per_row"] =
      benchmark::Counter(rows * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  state.counters["filter_bytes_per_row"] = static_cast<double>(bytes) / rows;
  state.counters["text_bytes_per_row"] = static_cast<double>(text_bytes) / rows;
}
BENCHMARK(Write)->Unit(benchmark::kMillisecond);

void LookUp(benchmark::State& state, const TextNeeds& needs) {
  const std::string& filter = Filter();
  const std::span bytes(reinterpret_cast<const uint8_t*>(filter.data()), filter.size());
  std::vector<int> found;
  for (auto _ : state) {
    found.clear();
    SHEAF_CHECK(FindInTokenFilter(bytes, needs, [](size_t, size_t) { return Status::OK(); }, &found).ok());
  }
  state.counters["granules_found"] = static_cast<double>(found.size());
  state.counters["of"] = kGranules;
}

TextNeeds Token(const char* token) {
  TextNeeds needs;
  AddNeedsOfToken(token, &needs);
  return needs;
}

TextNeeds Like(const char* pattern) {
  TextNeeds needs;
  AddNeedsOfLike(pattern, 0, true, &needs);
  return needs;
}

BENCHMARK_CAPTURE(LookUp, rare_token, Token("deadlockdetected"))->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(LookUp, rare_number, Token("40000000001"))->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(LookUp, rare_piece_of_a_word, Like("%deadlock%"))->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(LookUp, absent_word, Like("%timeout%"))->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(LookUp, absent_short_word, Like("%oom%"))->Unit(benchmark::kMicrosecond);

/// The texts themselves, which a search without the filter has to look at.
void LookAtTexts(benchmark::State& state) {
  const auto texts = Texts(1);
  const ByteValues values = *ByteValues::Of(*texts->data());
  const bool by_token = state.range(0) == 1;
  int64_t found = 0;
  for (auto _ : state) {
    for (int64_t i = 0; i < values.size(); ++i) {
      found += by_token ? ContainsToken(values[i], "deadlockdetected")
                        : memmem(values[i].data(), values[i].size(), "deadlock", 8) != nullptr;
    }
  }
  benchmark::DoNotOptimize(found);
  state.counters["ns_per_row"] =
      benchmark::Counter(kGranuleRows * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK(LookAtTexts)->ArgName("token")->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sheaf::columns

BENCHMARK_MAIN();
