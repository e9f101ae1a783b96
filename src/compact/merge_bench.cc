// What a merge costs: rows and bytes a second, hot parts into hot and into cold ones.

#include <memory>
#include <string>
#include <vector>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/record_batch.h>
#include <benchmark/benchmark.h>

#include "compact/merge.h"
#include "core/check.h"
#include "io/file_system.h"
#include "io/folder_testing.h"
#include "io/posix.h"

namespace sheaf::compact {
namespace {

constexpr int64_t kRows = 1'000'000;
constexpr uint64_t kMix = 0x9E3779B97F4A7C15ull;

/// Orders as trading.orders has them, about.
std::shared_ptr<arrow::Schema> Orders() {
  return arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("symbol", arrow::utf8(), false),
                        arrow::field("price", arrow::float64()), arrow::field("quantity", arrow::int64()),
                        arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO)), arrow::field("note", arrow::utf8()),
                        arrow::field(parts::kLsnColumn, arrow::uint64(), false)});
}

/// The rows of one source: `in_source(id)` says whether the id is there.
template <typename InSource>
std::shared_ptr<arrow::RecordBatch> Batch(const InSource& in_source) {
  arrow::Int64Builder id, quantity;
  arrow::StringBuilder symbol, note;
  arrow::DoubleBuilder price;
  arrow::TimestampBuilder time(arrow::timestamp(arrow::TimeUnit::NANO), arrow::default_memory_pool());
  arrow::UInt64Builder lsn;
  int64_t rows = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    if (!in_source(i)) continue;
    ++rows;
    const uint64_t mix = static_cast<uint64_t>(i) * kMix;
    SHEAF_CHECK(id.Append(i).ok() && quantity.Append(static_cast<int64_t>(mix >> 50)).ok() &&
                symbol.Append("SYM" + std::to_string(mix >> 54)).ok() &&
                price.Append(static_cast<double>(mix >> 40) / 100).ok() &&
                time.Append(1'700'000'000'000'000'000 + i * 1000).ok() &&
                note.Append("client order " + std::to_string(mix >> 32)).ok() && lsn.Append(static_cast<uint64_t>(i)).ok());
  }
  return arrow::RecordBatch::Make(
      Orders(), rows,
      {*id.Finish(), *symbol.Finish(), *price.Finish(), *quantity.Finish(), *time.Finish(), *note.Finish(), *lsn.Finish()});
}

enum class Order { kRandom, kApart };

void Merge(benchmark::State& state, Order order, int sources, double dead, parts::Format format) {
  io::TemporaryFolder folder;
  io::FileSystem* files = io::PosixFileSystem();
  MergeOptions options;
  options.schema = Orders();
  options.keys = *columns::KeyCodec::Make(Orders(), {0});
  options.layout.sort_columns = {0};
  options.layout.granule_rows = 4096;
  options.part.format = format;
  uint64_t next = 1;
  options.next_id = [&] { return PartId(next++); };
  std::vector<MergeSource> inputs;
  int64_t bytes = 0;
  for (int s = 0; s < sources; ++s) {
    const auto batch = Batch([&](int64_t i) {
      const uint64_t at = order == Order::kRandom ? (static_cast<uint64_t>(i) * kMix >> 33) % static_cast<uint64_t>(sources)
                                                  : static_cast<uint64_t>(i * sources / kRows);
      return static_cast<int>(at) == s;
    });
    const auto info =
        *parts::WritePart(files, folder.path(), {.id = PartId(next++), .table = TableId(1)}, options.layout, Orders(), {batch});
    bytes += info.data_bytes;
    MergeSource input{*parts::OpenPart(files, folder.path(), info, Orders()), nullptr};
    std::vector<columns::DeadRows::Position> positions;
    for (int g = 0; g < input.source->num_granules(); ++g) {
      for (int64_t row = 0; row < input.source->granule_rows(g); ++row) {
        const uint64_t mix = (static_cast<uint64_t>(g * 4096 + row) + 1) * kMix >> 32;
        if (static_cast<double>(mix) < dead * 4294967296.0) positions.push_back({g, row});
      }
    }
    input.dead = columns::DeadRows().With(std::move(positions));
    inputs.push_back(std::move(input));
  }
  for (auto _ : state) {
    MergeProgress progress;
    const auto merged = MergeParts(files, folder.path(), inputs, options, &progress);
    SHEAF_CHECK(merged.ok());
    state.PauseTiming();
    for (const parts::PartInfo& info : *merged) {
      SHEAF_CHECK(files->Remove(io::Join(folder.path(), info.file_name)).ok());
      SHEAF_CHECK(files->Remove(io::Join(folder.path(), parts::IndexFileName(info.id))).ok());
    }
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kRows);
  state.SetBytesProcessed(state.iterations() * bytes);
}
constexpr auto kHot = parts::Format::kHot;
constexpr auto kCold = parts::Format::kCold;
BENCHMARK_CAPTURE(Merge, four_random_hot, Order::kRandom, 4, 0.0, kHot)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Merge, four_random_fifth_dead_hot, Order::kRandom, 4, 0.2, kHot)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Merge, twelve_random_hot, Order::kRandom, 12, 0.0, kHot)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Merge, four_apart_hot, Order::kApart, 4, 0.0, kHot)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Merge, four_random_cold, Order::kRandom, 4, 0.0, kCold)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sheaf::compact

BENCHMARK_MAIN();
