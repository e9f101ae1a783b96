// Materialised views over ticks of a market: how long from a batch's sending to a reader of the view having it, at 100,000 rows a
// second; what a row costs; how long a view over ten million rows takes to build and to read, beside the query that it answers.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <benchmark/benchmark.h>

#include "core/check.h"
#include "io/clock.h"
#include "io/folder_testing.h"
#include "io/posix.h"
#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kHistoryRows = 10'000'000, kBatchRows = 500, kInstruments = 100;
constexpr auto kInterval = std::chrono::microseconds(5000);  // 500 rows each: 100,000 rows a second.

double MsSince(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }
double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

/// A database with ticks, and views that are kept of them.
class Ticks {
 public:
  Ticks() {
    store::Options options;
    options.directory = folder_.path() + "/db";
    database_ = store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options).ValueOrDie();
    engine_ = Engine::Open(database_.get(), {.view_wait_ms = 1000}).ValueOrDie();
    Ask("CREATE TABLE ticks (time TIMESTAMP_NS, instrument VARCHAR, price DOUBLE, volume BIGINT)");
    table_ = database_->FindTable("main", "ticks").ValueOrDie();
  }
  ~Ticks() {
    engine_.reset();
    SHEAF_CHECK(database_->Close().ok());
  }

  std::shared_ptr<arrow::Table> Ask(const std::string& sql) {
    return RunAll(engine_.get(), {.sql = sql, .timeout_ms = 0}).ValueOrDie();
  }
  int64_t Number(const std::string& sql) {
    return std::static_pointer_cast<arrow::Int64Array>(Ask(sql)->column(0)->chunk(0))->Value(0);
  }

  void Append(int64_t rows) {
    arrow::Int64Builder time, volume;
    arrow::StringBuilder instrument;
    arrow::DoubleBuilder price;
    for (int64_t i = 0; i < rows; ++i) {
      const uint64_t mix = static_cast<uint64_t>(sent_) * 0x9E3779B97F4A7C15ull;
      SHEAF_CHECK(time.Append(1'700'000'000'000'000'000 + sent_ * 10'000).ok() && volume.Append(static_cast<int64_t>(mix >> 58)).ok() &&
                  instrument.Append("INS" + std::to_string((mix >> 32) % kInstruments)).ok() &&
                  price.Append(100 + static_cast<double>(mix >> 48) / 1000).ok());
      ++sent_;
    }
    const auto& schema = table_->schema;
    const arrow::ArrayVector columns = {*(*time.Finish())->View(schema->field(0)->type()), *instrument.Finish(), *price.Finish(),
                                        *volume.Finish()};
    SHEAF_CHECK(database_->Append({{.table = table_->id, .batch = arrow::RecordBatch::Make(schema, rows, columns)}}).ok());
  }
  int64_t sent() const { return sent_; }
  store::Database* database() { return database_.get(); }

 private:
  io::TemporaryFolder folder_;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<Engine> engine_;
  std::shared_ptr<const store::TableInfo> table_;
  int64_t sent_ = 0;
};

void WaitUntil(Clock::time_point when) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (Clock::now() < when) never.wait_until(lock, when);
}

constexpr char kBars[] =
    "SELECT instrument, time_bucket(INTERVAL 1 MINUTE, time) AS minute, arg_min(price, time) AS open, max(price) AS high, "
    "min(price) AS low, arg_max(price, time) AS close, sum(volume) AS volume, count(*) AS n FROM ticks GROUP BY ALL";

/// Of each batch: from before it is sent until a statement has read the view with it in. What it reads is checked.
void Freshness(benchmark::State& state) {
  Ticks ticks;
  ticks.Ask(std::string("CREATE MATERIALIZED VIEW bars AS ") + kBars);
  std::vector<double> durable, visible;
  for (auto _ : state) {
    const auto begin = Clock::now();
    for (int64_t i = 0; i < 2000; ++i) {
      WaitUntil(begin + i * kInterval);
      const auto sent = Clock::now();
      ticks.Append(kBatchRows);
      durable.push_back(MsSince(sent));
      SHEAF_CHECK(ticks.Number("SELECT sum(n)::BIGINT FROM bars") == ticks.sent());
      visible.push_back(MsSince(sent));
    }
    state.counters["rows/s"] = static_cast<double>(ticks.sent()) / (MsSince(begin) * 1e-3);
  }
  state.counters["durable_p50_ms"] = Quantile(durable, 0.5);
  state.counters["durable_p99_ms"] = Quantile(durable, 0.99);
  state.counters["read_p50_ms"] = Quantile(visible, 0.5);
  state.counters["read_p99_ms"] = Quantile(visible, 0.99);
  const auto cost = ticks.Ask("SELECT apply_us_per_row FROM sheaf.views");
  state.counters["us_per_row"] = std::static_pointer_cast<arrow::DoubleArray>(cost->column(0)->chunk(0))->Value(0);
}
BENCHMARK(Freshness)->Iterations(1)->Unit(benchmark::kMillisecond);

void History(benchmark::State& state) {
  Ticks ticks;
  while (ticks.sent() < kHistoryRows) ticks.Append(100'000);
  SHEAF_CHECK(ticks.database()->Flush().ok());
  for (auto _ : state) {
    const auto begin = Clock::now();
    ticks.Ask(std::string("CREATE MATERIALIZED VIEW bars AS ") + kBars);
    state.counters["build_ms"] = MsSince(begin);
    std::vector<double> view, query;
    const std::string wanted = " WHERE instrument = 'INS7' ORDER BY minute DESC LIMIT 10";
    for (int i = 0; i < 21; ++i) {
      auto at = Clock::now();
      ticks.Ask("SELECT * FROM bars" + wanted);
      view.push_back(MsSince(at));
      if (i % 4 != 0) continue;
      at = Clock::now();
      ticks.Ask(std::string("SELECT * FROM (") + kBars + ")" + wanted);
      query.push_back(MsSince(at));
    }
    state.counters["read_view_ms"] = Quantile(view, 0.5);
    state.counters["read_query_ms"] = Quantile(query, 0.5);
    state.counters["groups"] = static_cast<double>(ticks.Number("SELECT count(*) FROM bars"));
  }
}
BENCHMARK(History)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sheaf::query

BENCHMARK_MAIN();
