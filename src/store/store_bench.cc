/// What rows cost on their way into the database, by step, a thousand spans a batch.
///
/// Encode and Chunk are the appending thread's; Append is all of it until durable (several in flight share a
/// sync, as with several clients), with the process's CPU time; Seal turns a memtable into a hot part. Read
/// CPU an item against the aim of docs/performance.md; bytes_per_second of Append against the disk's own rate.

#include <future>
#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "core/check.h"
#include "core/log.h"
#include "decode/schemas.h"
#include "io/folder_testing.h"
#include "io/posix.h"
#include "memtable/chunk.h"
#include "store/database.h"
#include "store/log_payload.h"
#include "store/ready_tables.h"
#include "store/testing.h"

namespace sheaf::store {
namespace {

constexpr int64_t kRows = 1000;
constexpr int64_t kBytesMax = int64_t{256} << 20;

const std::shared_ptr<arrow::Schema>& Spans() { return decode::SignalSchema(decode::Signal::kTraces); }

PayloadRows MakeRows() {
  std::mt19937_64 random(1);
  return {TableId(1), 1, BatchCodec::Make(Spans()).ValueOrDie(), RandomBatch(Spans(), kRows, &random)};
}

void BM_Encode(benchmark::State& state) {
  const PayloadRows rows = MakeRows();
  int64_t bytes = 0;
  for (auto _ : state) {
    const EncodedPayload encoded = EncodePayload({rows}, kBytesMax).ValueOrDie();
    bytes = encoded.bytes->size();
    benchmark::DoNotOptimize(encoded.tables.data());
  }
  state.SetItemsProcessed(state.iterations() * kRows);
  state.counters["bytes_per_row"] = static_cast<double>(bytes) / kRows;
}
BENCHMARK(BM_Encode);

void BM_Chunk(benchmark::State& state) {
  const PayloadRows rows = MakeRows();
  const parts::Layout layout = SignalLayout(decode::Signal::kTraces);
  for (auto _ : state) {
    const memtable::Chunk chunk(rows.batch, layout.time_column, layout.filter_columns, 1);
    benchmark::DoNotOptimize(&chunk);
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}
BENCHMARK(BM_Chunk);

std::unique_ptr<Database> OpenIn(const io::TemporaryFolder& folder, int64_t memtable_bytes) {
  ConfigureLog(LogLevel::kError, false);
  Options options;
  options.directory = folder.path() + "/db";
  options.memtable_bytes = memtable_bytes;
  options.ingest_memory_bytes_max = int64_t{4} << 30;
  options.free_space_min_fraction = 0;
  return Database::Open(io::PosixFileSystem(), io::SystemClock(), options).ValueOrDie();
}

/// Appends a batch; returns when it will be durable.
std::future<Result<Lsn>> Send(Database* database, const std::vector<TableRows>& rows) {
  auto promise = std::make_shared<std::promise<Result<Lsn>>>();
  auto outcome = promise->get_future();
  const Status sent = database->AppendAsync(rows, "", [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); });
  SHEAF_CHECK(sent.ok());
  return outcome;
}

/// `seals`: whether memtables become parts meanwhile, as they do for good.
void AppendDurably(benchmark::State& state, bool seals) {
  const io::TemporaryFolder folder;
  const auto database = OpenIn(folder, seals ? int64_t{32} << 20 : int64_t{8} << 30);
  const auto in_flight = static_cast<size_t>(state.range(0));
  const std::vector<TableRows> rows = {{database->FindTable("otel", "traces").ValueOrDie()->id, MakeRows().batch}};
  for (auto _ : state) {
    std::vector<std::future<Result<Lsn>>> outcomes;
    for (size_t i = 0; i < in_flight; ++i) outcomes.push_back(Send(database.get(), rows));
    for (auto& outcome : outcomes) SHEAF_CHECK(outcome.get().ok());
  }
  state.SetItemsProcessed(state.iterations() * kRows * state.range(0));
  state.counters["seals"] = static_cast<double>(database->GetStats().seals);
}
void BM_Append(benchmark::State& state) { AppendDurably(state, false); }
BENCHMARK(BM_Append)->ArgName("in_flight")->Arg(1)->Arg(16)->Iterations(50)->MeasureProcessCPUTime()->UseRealTime();
void BM_AppendAndSeal(benchmark::State& state) { AppendDurably(state, true); }
BENCHMARK(BM_AppendAndSeal)->ArgName("in_flight")->Arg(16)->Iterations(50)->MeasureProcessCPUTime()->UseRealTime();

void BM_Seal(benchmark::State& state) {
  const io::TemporaryFolder folder;
  const auto database = OpenIn(folder, int64_t{8} << 30);
  const std::vector<TableRows> rows = {{database->FindTable("otel", "traces").ValueOrDie()->id, MakeRows().batch}};
  for (auto _ : state) {
    state.PauseTiming();
    for (int64_t i = 0; i < state.range(0); ++i) SHEAF_CHECK(Send(database.get(), rows).get().ok());
    state.ResumeTiming();
    SHEAF_CHECK(database->Flush().ok());
  }
  state.SetItemsProcessed(state.iterations() * kRows * state.range(0));
}
BENCHMARK(BM_Seal)->ArgName("batches")->Arg(100)->Iterations(2)->MeasureProcessCPUTime()->UseRealTime();

void BM_Snapshot(benchmark::State& state) {
  const io::TemporaryFolder folder;
  const auto database = OpenIn(folder, int64_t{8} << 30);
  const TableId table = database->FindTable("otel", "traces").ValueOrDie()->id;
  SHEAF_CHECK(Send(database.get(), {{table, MakeRows().batch}}).get().ok());
  for (auto _ : state) benchmark::DoNotOptimize(database->GetSnapshot()->Table(table).ValueOrDie().rows);
}
BENCHMARK(BM_Snapshot);

}  // namespace
}  // namespace sheaf::store

BENCHMARK_MAIN();
