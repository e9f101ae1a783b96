/// What a look-up by key costs in a part of a million orders, hot and cold, beside RocksDB's block-based table with the same
/// rows (Bloom filter of 10 bits, no compression). Each reads the row's price, which is what a caller would do.
///
/// RocksDB's `cache_mib`: 0 reads each block from the page cache, as a cold start does; 1024 holds everything.

#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <benchmark/benchmark.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include "core/check.h"
#include "io/folder_testing.h"
#include "io/posix.h"
#include "parts/keyed_part.h"

namespace sheaf::parts {
namespace {

constexpr int64_t kRows = 1'000'000;
constexpr int kPriceColumn = 3;

std::shared_ptr<arrow::Schema> Orders() {
  arrow::FieldVector fields = {arrow::field("id", arrow::int64(), false), arrow::field("symbol", arrow::utf8(), false),
                               arrow::field("account", arrow::int64()),   arrow::field("price", arrow::int64()),
                               arrow::field("quantity", arrow::int64()),  arrow::field("at", arrow::timestamp(arrow::TimeUnit::NANO)),
                               arrow::field("note", arrow::utf8())};
  return arrow::schema(std::move(fields));
}
std::vector<int> KeyOf(bool composite) { return composite ? std::vector<int>{1, 0} : std::vector<int>{0}; }

/// Ids are even, so that odd ones are missing.
std::shared_ptr<arrow::RecordBatch> MakeOrders() {
  arrow::Int64Builder id, account, price, quantity;
  arrow::UInt64Builder lsn;
  arrow::TimestampBuilder at(arrow::timestamp(arrow::TimeUnit::NANO), arrow::default_memory_pool());
  arrow::StringBuilder symbol, note;
  std::mt19937_64 random(1);
  const auto ok = [](const arrow::Status& status) { SHEAF_CHECK(status.ok()); };
  for (int64_t i = 0; i < kRows; ++i) {
    ok(id.Append(i * 2));
    ok(symbol.Append("SYM" + std::to_string(i % 100)));
    ok(account.Append(static_cast<int64_t>(random() % 1000)));
    ok(price.Append(static_cast<int64_t>(random() % 100'000)));
    ok(quantity.Append(static_cast<int64_t>(random() % 1000)));
    ok(at.Append(1'700'000'000'000'000'000 + i * 1000));
    ok(note.Append("order of client " + std::to_string(random() % 100'000)));
    ok(lsn.Append(static_cast<uint64_t>(i + 1)));
  }
  return arrow::RecordBatch::Make(KeyedSchema(*Orders()), kRows,
                                  {id.Finish().ValueOrDie(), symbol.Finish().ValueOrDie(), account.Finish().ValueOrDie(),
                                   price.Finish().ValueOrDie(), quantity.Finish().ValueOrDie(), at.Finish().ValueOrDie(),
                                   note.Finish().ValueOrDie(), lsn.Finish().ValueOrDie()});
}

const std::shared_ptr<arrow::RecordBatch>& Rows() {
  static const auto rows = MakeOrders();
  return rows;
}

struct Opened {
  Opened(Format format, bool composite) : codec(columns::KeyCodec::Make(Orders(), KeyOf(composite)).ValueOrDie()) {
    PartInfo info;
    info.id = PartId(1);
    info.format = format;
    Layout layout;
    layout.sort_columns = layout.key_columns = KeyOf(composite);
    layout.granule_rows = kKeyedGranuleRows;
    info = WritePart(io::PosixFileSystem(), folder.path(), info, layout, Rows()->schema(), {Rows()}).ValueOrDie();
    part = KeyedPart::Open(io::PosixFileSystem(), folder.path(), info, {.keys = codec, .schema = Orders(), .cache = &cache}).ValueOrDie();
    keys = codec->Encode(*Rows()).ValueOrDie();
  }
  io::TemporaryFolder folder;
  GranuleCache cache{int64_t{1} << 30};
  std::shared_ptr<const columns::KeyCodec> codec;
  std::shared_ptr<const KeyedPart> part;
  columns::KeyColumn keys;
};

Opened& Part(Format format, bool composite) {
  static std::unique_ptr<Opened> parts[2][2];  // Made once: what is measured is the warm state.
  auto& slot = parts[format == Format::kHot ? 0 : 1][composite ? 1 : 0];
  if (!slot) slot = std::make_unique<Opened>(format, composite);
  return *slot;
}

std::vector<int64_t> RandomRows(int64_t count) {
  std::mt19937_64 random(7);
  std::vector<int64_t> out(static_cast<size_t>(count));
  for (int64_t& row : out) row = static_cast<int64_t>(random() % kRows);
  return out;
}

int64_t PriceOf(const KeyedPartRow& row) { return row.batch->column_data(kPriceColumn)->GetValues<int64_t>(1)[row.row]; }

void Get(benchmark::State& state) {
  Opened& opened = Part(state.range(0) == 1 ? Format::kHot : Format::kCold, state.range(1) != 0);
  const auto rows = RandomRows(1 << 16);
  for (int64_t g = 0; g < kRows; g += kKeyedGranuleRows) SHEAF_CHECK(opened.part->Row(**opened.part->Find(opened.keys[g])).ok());
  size_t i = 0;
  for (auto _ : state) {
    const auto found = opened.part->Find(opened.keys[rows[i++ % rows.size()]]);
    benchmark::DoNotOptimize(PriceOf(*opened.part->Row(**found)));
  }
}
BENCHMARK(Get)->ArgNames({"format", "composite"})->Args({1, 0})->Args({1, 1})->Args({2, 0})->Args({2, 1});

/// Without its row: what an upsert asks.
void Find(benchmark::State& state) {
  Opened& opened = Part(Format::kHot, state.range(0) != 0);
  const auto rows = RandomRows(1 << 16);
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(opened.part->Find(opened.keys[rows[i++ % rows.size()]]));
}
BENCHMARK(Find)->ArgName("composite")->Arg(0)->Arg(1);

void Missing(benchmark::State& state) {
  Opened& opened = Part(state.range(0) == 1 ? Format::kHot : Format::kCold, false);
  std::vector<std::string> keys;
  for (const int64_t row : RandomRows(1 << 16)) {
    const std::shared_ptr<arrow::Scalar> id = std::make_shared<arrow::Int64Scalar>(row * 2 + 1);
    keys.push_back(opened.codec->EncodeScalars({&id, 1}).ValueOrDie());
  }
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(opened.part->Find(keys[i++ % keys.size()]));
}
BENCHMARK(Missing)->ArgName("format")->Arg(1)->Arg(2);

void FindMany(benchmark::State& state) {
  Opened& opened = Part(state.range(0) == 1 ? Format::kHot : Format::kCold, false);
  columns::KeyColumn keys;
  for (const int64_t row : RandomRows(state.range(1))) keys.Add(opened.keys[row]);
  for (auto _ : state) benchmark::DoNotOptimize(opened.part->FindMany(keys));
  state.SetItemsProcessed(state.iterations() * keys.size());
}
BENCHMARK(FindMany)->ArgNames({"format", "keys"})->Args({1, 100})->Args({1, 100'000})->Args({2, 100'000});

/// A range of 100 rows in key order.
void Range(benchmark::State& state) {
  Opened& opened = Part(Format::kHot, false);
  const auto rows = RandomRows(1 << 12);
  size_t i = 0;
  int64_t sum = 0;
  for (auto _ : state) {
    const auto cursor = *opened.part->Scan(opened.keys[rows[i++ % rows.size()]]);
    for (int n = 0; n < 100 && *cursor->Next(); ++n) sum += PriceOf(*cursor->Row());
  }
  benchmark::DoNotOptimize(sum);
}
BENCHMARK(Range);

std::unique_ptr<rocksdb::DB> OpenRocks(const std::string& path, int64_t cache_mib) {
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.cache_index_and_filter_blocks = false;
  if (cache_mib == 0) {
    table.no_block_cache = true;
  } else {
    table.block_cache = rocksdb::NewLRUCache(static_cast<size_t>(cache_mib) << 20);
  }
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  options.target_file_size_base = size_t{1} << 30;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(options, path, &db);
  SHEAF_CHECK(opened.ok());
  return std::unique_ptr<rocksdb::DB>(db);
}

void RocksGet(benchmark::State& state) {
  const io::TemporaryFolder folder;
  const bool missing = state.range(1) != 0;
  Opened& opened = Part(Format::kHot, false);
  auto db = OpenRocks(folder.path() + "/rocks", state.range(0));
  {
    rocksdb::WriteOptions unlogged;
    unlogged.disableWAL = true;
    const auto row = [&](int64_t i, int c) { return Rows()->column_data(c)->GetValues<int64_t>(1)[i]; };
    const auto& notes = static_cast<const arrow::StringArray&>(*Rows()->column(6));
    const auto& symbols = static_cast<const arrow::StringArray&>(*Rows()->column(1));
    for (int64_t i = 0; i < kRows; ++i) {
      std::string value;
      for (const int c : {3, 2, 4, 5}) {
        const int64_t number = row(i, c);
        value.append(reinterpret_cast<const char*>(&number), sizeof number);
      }
      value.append(symbols.GetView(i)).append(notes.GetView(i));
      const std::string_view key = opened.keys[i];
      SHEAF_CHECK(db->Put(unlogged, rocksdb::Slice(key.data(), key.size()), value).ok());
    }
    SHEAF_CHECK(db->CompactRange({}, nullptr, nullptr).ok());
  }
  std::vector<std::string> keys;
  for (const int64_t row : RandomRows(1 << 16)) {
    keys.emplace_back(opened.keys[row]);
    if (missing) keys.back().back() ^= 1;
  }
  size_t i = 0;
  rocksdb::PinnableSlice value;
  for (auto _ : state) {
    value.Reset();
    const rocksdb::Status got = db->Get({}, db->DefaultColumnFamily(), keys[i++ % keys.size()], &value);
    SHEAF_CHECK(got.ok() != missing);
    if (!missing) benchmark::DoNotOptimize(*value.data());
  }
}
BENCHMARK(RocksGet)->ArgNames({"cache_mib", "missing"})->Args({0, 0})->Args({1024, 0})->Args({1024, 1})->Iterations(300'000);

}  // namespace
}  // namespace sheaf::parts

BENCHMARK_MAIN();
