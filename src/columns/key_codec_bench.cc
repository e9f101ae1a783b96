// What a key costs: encoding a batch, one row at a time, and comparing.

#include <algorithm>
#include <string>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <benchmark/benchmark.h>

#include "columns/key_codec.h"
#include "columns/row_codec.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

constexpr int64_t kRows = 10'000;

/// Orders: an id, a symbol, a time.
std::shared_ptr<arrow::RecordBatch> Orders() {
  arrow::Int64Builder id, time;
  arrow::StringBuilder symbol;
  for (int64_t i = 0; i < kRows; ++i) {
    SHEAF_CHECK(id.Append(i * 7919 % kRows).ok() && time.Append(i * 1000).ok());
    SHEAF_CHECK(symbol.Append("SYMBOL-" + std::to_string(i * 31 % 5000)).ok());
  }
  const auto schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("symbol", arrow::utf8(), false),
                                     arrow::field("time", arrow::int64(), false)});
  return arrow::RecordBatch::Make(schema, kRows, {*id.Finish(), *symbol.Finish(), *time.Finish()});
}

void Encode(benchmark::State& state, std::vector<int> columns) {
  const auto batch = Orders();
  const auto codec = *KeyCodec::Make(batch->schema(), std::move(columns));
  for (auto _ : state) benchmark::DoNotOptimize(codec->Encode(*batch));
  state.SetItemsProcessed(state.iterations() * kRows);
}
BENCHMARK_CAPTURE(Encode, int64, std::vector<int>{0});
BENCHMARK_CAPTURE(Encode, text, std::vector<int>{1});
BENCHMARK_CAPTURE(Encode, int64_int64, std::vector<int>{0, 2});
BENCHMARK_CAPTURE(Encode, int64_text, std::vector<int>{0, 1});
BENCHMARK_CAPTURE(Encode, text_int64, std::vector<int>{1, 0});

void EncodeRow(benchmark::State& state, std::vector<int> columns) {
  const auto batch = Orders();
  const auto keys = *KeyCodec::Make(batch->schema(), std::move(columns));
  const auto rows = *RowCodec::Make(batch->schema());
  std::string row, key;
  SHEAF_CHECK(rows->FromBatch(*batch, 17, &row).ok());
  for (auto _ : state) {
    key.clear();
    benchmark::DoNotOptimize(keys->EncodeRow(*rows, row, &key));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(EncodeRow, int64, std::vector<int>{0});
BENCHMARK_CAPTURE(EncodeRow, text_int64, std::vector<int>{1, 0});

void Compare(benchmark::State& state, std::vector<int> columns) {
  const auto batch = Orders();
  const auto codec = *KeyCodec::Make(batch->schema(), std::move(columns));
  const KeyColumn keys = *codec->Encode(*batch);
  const auto key_batch = *batch->SelectColumns(codec->columns());
  int64_t row = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(codec->Compare(*key_batch, row, keys[kRows / 2]));
    row = row + 1 == kRows ? 0 : row + 1;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(Compare, int64, std::vector<int>{0});
BENCHMARK_CAPTURE(Compare, text_int64, std::vector<int>{1, 0});

void BuildRow(benchmark::State& state) {
  const auto rows = *RowCodec::Make(Orders()->schema());
  RowBuilder builder(rows.get());
  int64_t i = 0;
  for (auto _ : state) {
    builder.Set<int64_t>(0, ++i);
    builder.SetText(1, "SYMBOL-1234");
    builder.Set<int64_t>(2, i);
    benchmark::DoNotOptimize(rows->Check(builder.Finish()));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BuildRow);

}  // namespace
}  // namespace sheaf::columns

BENCHMARK_MAIN();
