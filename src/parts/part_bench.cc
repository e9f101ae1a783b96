/// Cost of sealing spans, of turning them cold, of reading and of looking up, on made-up spans of six
/// attributes. Counters: ns_per_row, bytes_per_row of data, index_bytes_per_row.

#include <numeric>

#include <benchmark/benchmark.h>

#include "columns/row_order.h"
#include "columns/row_union.h"
#include "decode/schemas.h"
#include "io/folder_testing.h"
#include "io/posix.h"
#include "parts/spans_testing.h"

namespace sheaf::parts {
namespace {

constexpr int kBatches = 200;
constexpr int64_t kBatchRows = 1000;

const std::vector<std::shared_ptr<arrow::RecordBatch>>& Spans() {
  static const auto spans = MakeSpans(1, kBatches, kBatchRows);
  return spans;
}
const std::shared_ptr<arrow::Schema>& Schema() { return decode::SignalSchema(decode::Signal::kTraces); }

std::vector<int> AllColumns() {
  std::vector<int> out(static_cast<size_t>(Schema()->num_fields()));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

PartInfo Write(const std::string& folder, Format format, int64_t granule_rows) {
  PartInfo info;
  info.id = PartId(1);
  info.format = format;
  Layout layout = SpanLayout();
  layout.granule_rows = granule_rows;
  return WritePart(io::PosixFileSystem(), folder, info, layout, Schema(), Spans()).ValueOrDie();
}

void CountRows(benchmark::State& state, int64_t rows) {
  state.counters["ns_per_row"] = benchmark::Counter(static_cast<double>(rows) * 1e-9,
                                                    benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void Sort(benchmark::State& state) {
  const auto rows = columns::RowUnion::Make(Schema(), Spans()).ValueOrDie();
  const Layout layout = SpanLayout();
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        columns::SortTraces(*rows, {layout.trace_column, layout.parent_column, layout.service_column, layout.time_column}));
  }
  CountRows(state, rows->rows());
}
BENCHMARK(Sort)->Unit(benchmark::kMillisecond);

void UnifyAndGather(benchmark::State& state) {
  const auto sorted = columns::RowUnion::Make(Schema(), Spans()).ValueOrDie();
  const Layout layout = SpanLayout();
  const auto order =
      columns::SortTraces(*sorted, {layout.trace_column, layout.parent_column, layout.service_column, layout.time_column}).ValueOrDie();
  const auto step = static_cast<size_t>(state.range(0)) * 16'384;
  for (auto _ : state) {
    const auto rows = columns::RowUnion::Make(Schema(), Spans()).ValueOrDie();
    const std::span<const uint32_t> all(order);
    for (size_t at = 0; at < all.size(); at += step) {
      benchmark::DoNotOptimize(rows->Gather(all.subspan(at, std::min(step, all.size() - at)), 16'384));
    }
  }
  CountRows(state, kBatches * kBatchRows);
}
BENCHMARK(UnifyAndGather)->ArgName("granules_at_once")->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond);

void Seal(benchmark::State& state) {
  const io::TemporaryFolder folder;
  Spans();
  PartInfo info;
  for (auto _ : state) info = Write(folder.path(), state.range(0) == 1 ? Format::kHot : Format::kCold, state.range(1));
  CountRows(state, info.rows);
  state.counters["bytes_per_row"] = static_cast<double>(info.data_bytes) / static_cast<double>(info.rows);
  state.counters["index_bytes_per_row"] = static_cast<double>(info.index_bytes) / static_cast<double>(info.rows);
}
BENCHMARK(Seal)
    ->ArgNames({"format", "granule"})
    ->Args({1, 16'384})
    ->Args({2, 8'192})
    ->Args({2, 16'384})
    ->Args({2, 65'536})
    ->Unit(benchmark::kMillisecond);

void ReadGranule(benchmark::State& state) {
  const io::TemporaryFolder folder;
  const PartInfo info = Write(folder.path(), state.range(0) == 1 ? Format::kHot : Format::kCold, state.range(1));
  const auto source = OpenPart(io::PosixFileSystem(), folder.path(), info, Schema()).ValueOrDie();
  const std::vector<int> columns = AllColumns();
  for (auto _ : state) benchmark::DoNotOptimize(source->Read(1, columns).ValueOrDie());
  CountRows(state, source->granule_rows(1));
}
BENCHMARK(ReadGranule)
    ->ArgNames({"format", "granule"})
    ->Args({1, 16'384})
    ->Args({2, 8'192})
    ->Args({2, 16'384})
    ->Args({2, 65'536})
    ->Unit(benchmark::kMicrosecond);

void FindGranules(benchmark::State& state) {
  const io::TemporaryFolder folder;
  const PartInfo info = Write(folder.path(), Format::kHot, 16'384);
  const auto source = OpenPart(io::PosixFileSystem(), folder.path(), info, Schema()).ValueOrDie();
  std::mt19937_64 random(3);
  std::string id(16, '\0');
  const int column = SpanLayout().trace_column;
  std::vector<int> granules;
  int64_t found = 0;
  for (auto _ : state) {
    const uint64_t words[2] = {random(), random()};
    id.assign(reinterpret_cast<const char*>(words), sizeof words);
    granules.clear();
    benchmark::DoNotOptimize(source->FindGranules(column, id, &granules));
    found += static_cast<int64_t>(granules.size());
  }
  state.counters["false_hits"] = benchmark::Counter(static_cast<double>(found), benchmark::Counter::kAvgIterations);
}
BENCHMARK(FindGranules);

void Open(benchmark::State& state) {
  const io::TemporaryFolder folder;
  const PartInfo info = Write(folder.path(), Format::kHot, 16'384);
  for (auto _ : state) benchmark::DoNotOptimize(OpenPart(io::PosixFileSystem(), folder.path(), info, Schema()).ValueOrDie());
}
BENCHMARK(Open)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sheaf::parts

BENCHMARK_MAIN();
