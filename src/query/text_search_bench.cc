/// A rare word among made-up lines of logs, in a table with a token index and in one without, hot and cold: what the statement takes from
/// its text to its answer. SHEAF_BENCH_ROWS: how many lines (default 5,000,000). Counters: rows that were scanned, and
/// the time of the first such statement.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "core/check.h"
#include "io/clock.h"
#include "io/folder_testing.h"
#include "io/posix.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

/// Eight kinds of lines, of about 70 bytes, full of numbers.
constexpr const char* kLine = R"(CASE i % 8
  WHEN 0 THEN 'GET /api/v1/orders/' || hash(i) % 10000000 || ' 200 ' || i % 977 || 'ms user=u' || hash(i) % 50021
  WHEN 1 THEN 'Connection from 10.0.' || i % 251 || '.' || i % 241 || ' closed after ' || hash(i) % 90001 || ' ms'
  WHEN 2 THEN 'Failed to acquire lock inventory-' || hash(i) % 20011 || ' on attempt ' || i % 5 || ', retrying'
  WHEN 3 THEN 'Processed batch ' || format('{:016x}', hash(i)) || ' with ' || i % 10007 || ' records'
  WHEN 4 THEN 'PacketResponder ' || i % 3 || ' for block blk_' || hash(i) || ' terminating'
  WHEN 5 THEN 'cache miss for key product:' || hash(i) % 500009 || ':details, loading from replica db-' || i % 12
  WHEN 6 THEN 'Received message offset ' || i || ' partition ' || i % 64 || ' topic payments lag ' || i % 101
  ELSE 'Garbage collection pause ' || i % 199 || ' ms, promoted ' || hash(i) % 1000003 || ' objects' END)";

/// Tables `plain` and `indexed` with the same rows in parts.
class Lines {
 public:
  static Lines& Get() {
    static Lines lines;
    return lines;
  }

  void Run(const std::string& sql, QueryStats* stats = nullptr) {
    const auto answer = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson, stats);
    if (!answer.ok()) fmt::print(stderr, "{}\n{}\n", sql, answer.status().ToString());
    SHEAF_CHECK(answer.ok());
  }
  void MakeCold() {
    if (std::exchange(is_cold_, true)) return;
    SHEAF_CHECK(database_->MakeCold(std::nullopt).ok());
    Report("cold");
  }

 private:
  Lines() {
    store::Options options;
    options.directory = folder_.path() + "/db";
    options.snapshot_interval_ms = 0;
    options.compaction_cpu_share = 1;
    database_ = store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options).ValueOrDie();
    engine_ = Engine::Open(database_.get(), {.timeout_ms = 0}).ValueOrDie();
    const char* given = std::getenv("SHEAF_BENCH_ROWS");
    const int64_t rows = given != nullptr ? std::strtoll(given, nullptr, 10) : 5'000'000;
    for (const char* table : {"plain", "indexed"}) {
      const bool indexed = table[0] == 'i';
      Run(fmt::format("CREATE TABLE {} (time TIMESTAMP_NS, body VARCHAR) WITH (time = 'time'{})", table,
                      indexed ? ", tokens = 'body'" : ""));
      const int64_t began_ns = io::SystemClock()->NowNs();
      constexpr int64_t kAtOnce = 500'000;
      for (int64_t at = 0; at < rows; at += kAtOnce) {
        Run(fmt::format("INSERT INTO {} SELECT make_timestamp_ns(1700000000000000000 + i * 1000000), CASE WHEN i = {} "
                        "THEN 'Transaction 4711 rolled back: deadlockdetected on table orders' ELSE {} END FROM range({}, {}) r(i)",
                        table, rows / 2, kLine, at, std::min(rows, at + kAtOnce)));
      }
      SHEAF_CHECK(database_->Flush().ok());
      const int64_t took_ns = io::SystemClock()->NowNs() - began_ns;
      fmt::print(stderr, "{}: {} rows written in {:.1f} s\n", table, rows, static_cast<double>(took_ns) * 1e-9);
    }
    Report("hot");
  }

  void Report(const char* what) {
    for (const char* table : {"plain", "indexed"}) {
      int64_t rows = 0, data = 0, index = 0;
      for (const auto& part : database_->Parts()) {
        if (part.table->name != table) continue;
        rows += part.info.rows;
        data += part.info.data_bytes;
        index += part.info.index_bytes;
      }
      const auto each = [&](int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(1, rows)); };
      fmt::print(stderr, "{} {}: {:.2f} bytes a row, {:.3f} of index\n", what, table, each(data), each(index));
    }
  }

  io::TemporaryFolder folder_;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<Engine> engine_;
  bool is_cold_ = false;
};

void Search(benchmark::State& state, const char* table, const char* condition) {
  Lines& lines = Lines::Get();
  if (state.range(0) == 1) lines.MakeCold();
  const std::string sql = fmt::format("SELECT time, body FROM {} WHERE {}", table, condition);
  // The first one checks the blocks of the index that it reads. The library calls this function several times.
  static std::map<std::string, double> first_ms;
  const std::string name = fmt::format("{} {}", sql, state.range(0));
  if (!first_ms.contains(name)) {
    const int64_t began_ns = io::SystemClock()->NowNs();
    lines.Run(sql);
    first_ms[name] = static_cast<double>(io::SystemClock()->NowNs() - began_ns) * 1e-6;
  }
  QueryStats stats;
  for (auto _ : state) {
    stats = {};
    lines.Run(sql, &stats);
  }
  state.counters["first_ms"] = first_ms[name];
  state.counters["rows_scanned"] = static_cast<double>(stats.rows_scanned);
}

void RegisterAll() {
  for (const int cold : {0, 1}) {  // In this order: hot parts do not come back.
    for (const char* table : {"plain", "indexed"}) {
      for (const char* condition : {"contains_token(body, 'deadlockdetected')", "body LIKE '%deadlock%'", "body ILIKE '%DEADLOCK%'",
                                    "body LIKE '%absentword%'"}) {
        benchmark::RegisterBenchmark(fmt::format("{}/{}", table, condition).c_str(), Search, table, condition)
            ->ArgName("cold")
            ->Arg(cold)
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace
}  // namespace sheaf::query

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  sheaf::query::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
