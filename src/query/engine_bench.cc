/// What a statement costs around its work: look-ups by id and by key, which read next to nothing.

#include <random>
#include <string>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "core/check.h"
#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

/// A database with spans and orders, and the engine over it.
struct Bench {
  explicit Bench(int64_t traces) {
    std::mt19937_64 random(7);
    for (int part = 0; part < 4; ++part) {
      database.Add(decode::Signal::kTraces, RandomSpans(traces, 5, 1'700'000'000'000'000'000, &random));
    }
    database.AddTradingTables();
    auto opened = Engine::Open(&database, {.threads = 2});
    SHEAF_CHECK(opened.ok());
    engine = std::move(opened).ValueUnsafe();
    Run("INSERT INTO trading.accounts (user_id, balance) SELECT 'u' || range, range FROM range(1000)");
    auto rows = RunToText(engine.get(), {.sql = "SELECT min(trace_id::VARCHAR) AS t FROM traces"}, Format::kNdjson).ValueOrDie();
    id = rows.substr(6, 32);  // {"t":"…"}
  }
  void Run(const std::string& sql) { SHEAF_CHECK(RunAll(engine.get(), {.sql = sql}).ok()); }

  MemoryDatabase database;
  std::unique_ptr<Engine> engine;
  std::string id;
};

void LookUpById(benchmark::State& state) {
  Bench bench(2000);
  const std::string sql = "SELECT * FROM traces WHERE trace_id = '" + bench.id + "'";
  for (auto _ : state) bench.Run(sql);
}
BENCHMARK(LookUpById)->Unit(benchmark::kMicrosecond)->MinTime(2);

/// Spans have no index here: their ids are searched, in 200,000 rows of four parts.
void LookForSpans(benchmark::State& state) {
  Bench bench(10'000);
  const std::string some = fmt::format("SELECT span_id FROM traces ORDER BY hash(span_id) LIMIT {}", state.range(0));
  const std::string ids = "SELECT string_agg(span_id::VARCHAR, ',') AS l FROM (" + some + ")";
  const std::string text = RunToText(bench.engine.get(), {.sql = ids}, Format::kNdjson).ValueOrDie();  // {"l":"…,…"}
  std::string list;
  for (size_t at = 6; at + 16 < text.size(); at += 17) list += (at > 6 ? ",'" : "'") + text.substr(at, 16) + "'";
  const std::string sql = "SELECT * FROM traces WHERE span_id IN (" + list + ")";
  for (auto _ : state) bench.Run(sql);
}
BENCHMARK(LookForSpans)->ArgName("ids")->Arg(1)->Arg(2)->Arg(20)->Arg(200)->Unit(benchmark::kMicrosecond)->MinTime(1);

/// A join that brings the ids: the children of some spans.
void ChildrenOfSpans(benchmark::State& state) {
  Bench bench(10'000);
  const std::string sql =
      "SELECT span_id, name, attributes FROM traces WHERE parent_span_id IN (SELECT span_id FROM traces WHERE trace_id = '" +
      bench.id + "')";
  for (auto _ : state) bench.Run(sql);
}
BENCHMARK(ChildrenOfSpans)->Unit(benchmark::kMicrosecond)->MinTime(1);

void LookUpByKey(benchmark::State& state) {
  Bench bench(10);
  for (auto _ : state) bench.Run("SELECT balance FROM trading.accounts WHERE user_id = 'u77'");
}
BENCHMARK(LookUpByKey)->Unit(benchmark::kMicrosecond)->MinTime(2);

void Constant(benchmark::State& state) {
  Bench bench(10);
  for (auto _ : state) bench.Run("SELECT 1");
}
BENCHMARK(Constant)->Unit(benchmark::kMicrosecond)->MinTime(2);

}  // namespace
}  // namespace sheaf::query

BENCHMARK_MAIN();
