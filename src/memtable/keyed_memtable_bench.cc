/// What one row costs in the memtable, beside oneTBB's maps and RocksDB's memtable, in one program: a million random keys of 16
/// bytes, rows of about 100 bytes, one thread, each operation timed by itself (timer included: see BM_Timer).
///
/// Counters in ns: p50, p99, p999, max, mean. Ours makes each row visible (Publish) as part of the insert; RocksDB's has
/// its log off and its files in memory, and never flushes. Get reads one value of the row. Run with --benchmark_repetitions=5 for
/// the spread.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <oneapi/tbb/concurrent_hash_map.h>
#include <oneapi/tbb/concurrent_map.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <x86intrin.h>

#include "core/check.h"
#include "memtable/keyed_memtable.h"

namespace sheaf::memtable {
namespace {

constexpr uint64_t kKeys = 1'000'000, kGets = 1'000'000, kHotKeys = 1000;
using Key = std::array<char, 16>;

uint64_t Mix(uint64_t n) {
  n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
  n = (n ^ n >> 27) * 0x94d049bb133111eb;
  return n ^ n >> 31;
}
Key KeyOf(uint64_t n) {
  const uint64_t words[2] = {Mix(n + 1), Mix(n + 0x9e3779b97f4a7c15)};
  Key key;
  std::memcpy(key.data(), words, sizeof words);
  return key;
}
std::string_view View(const Key& key) { return {key.data(), key.size()}; }

struct KeyLess {
  bool operator()(const Key& a, const Key& b) const { return std::memcmp(a.data(), b.data(), a.size()) < 0; }
};
struct KeyHash {
  static size_t hash(const Key& key) {
    uint64_t word;
    std::memcpy(&word, key.data(), sizeof word);
    return word;
  }
  static bool equal(const Key& a, const Key& b) { return a == b; }
};

double NsPerTick() {
  static const double value = [] {
    const auto start = std::chrono::steady_clock::now();
    const uint64_t ticks = __rdtsc();
    while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(50)) {
    }
    const uint64_t passed = __rdtsc() - ticks;
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() /
           static_cast<double>(passed);
  }();
  return value;
}

class Times {
 public:
  explicit Times(size_t expected) { ticks_.reserve(expected); }
  template <typename Operation>
  void Time(const Operation& operation) {
    unsigned cpu;
    const uint64_t start = __rdtscp(&cpu);
    operation();
    ticks_.push_back(static_cast<uint32_t>(__rdtscp(&cpu) - start));
  }
  void Report(benchmark::State& state) {
    std::sort(ticks_.begin(), ticks_.end());
    const auto at = [&](double share) {
      return ticks_[std::min(ticks_.size() - 1, static_cast<size_t>(share * static_cast<double>(ticks_.size())))] * NsPerTick();
    };
    double sum = 0;
    for (const uint32_t t : ticks_) sum += t;
    state.counters["mean"] = sum / static_cast<double>(ticks_.size()) * NsPerTick();
    state.counters["p50"] = at(0.5);
    state.counters["p99"] = at(0.99);
    state.counters["p999"] = at(0.999);
    state.counters["max"] = at(1);
  }

 private:
  std::vector<uint32_t> ticks_;
};

const std::shared_ptr<arrow::Schema>& Orders() {
  static const auto schema = arrow::schema({arrow::field("id", arrow::fixed_size_binary(16), false),
                                            arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO), false),
                                            arrow::field("account", arrow::int64()), arrow::field("price", arrow::float64()),
                                            arrow::field("quantity", arrow::float64()), arrow::field("filled", arrow::float64()),
                                            arrow::field("status", arrow::int32()), arrow::field("parent", arrow::int64()),
                                            arrow::field("buy", arrow::boolean()), arrow::field("sequence", arrow::int64()),
                                            arrow::field("symbol", arrow::utf8()), arrow::field("client", arrow::utf8())});
  return schema;
}

/// Compact rows; the key is put into a row when it is needed.
class Rows {
 public:
  Rows() : codec_(columns::RowCodec::Make(Orders()).ValueOrDie()) {
    columns::RowBuilder builder(codec_.get());
    for (uint64_t i = 0; i < 256; ++i) {
      builder.Clear();
      builder.SetFixed(0, Key().data(), 16);
      for (const int column : {1, 2, 7, 9}) builder.Set<int64_t>(column, static_cast<int64_t>(Mix(i)));
      for (const int column : {3, 4, 5}) builder.Set<double>(column, static_cast<double>(Mix(i) % 100'000));
      builder.Set<int32_t>(6, static_cast<int32_t>(i % 5));
      builder.Set<uint8_t>(8, i % 2);
      builder.SetText(10, "SYM" + std::to_string(i % 100));
      builder.SetText(11, "client-order-" + std::to_string(Mix(i) % 10'000'000));
      rows_.emplace_back(builder.Finish());
    }
  }
  const std::shared_ptr<const columns::RowCodec>& codec() const { return codec_; }
  std::string_view Of(uint64_t n, const Key& key) {
    row_ = rows_[n % rows_.size()];
    std::memcpy(row_.data() + codec_->columns()[0].offset, key.data(), key.size());
    return row_;
  }

 private:
  const std::shared_ptr<const columns::RowCodec> codec_;
  std::vector<std::string> rows_;
  std::string row_;
};

class Sheaf {
 public:
  explicit Sheaf(const Rows& rows)
      : table_(KeyedMemtable::Make({.schema = Orders(),
                                    .keys = columns::KeyCodec::Make(Orders(), {0}).ValueOrDie(),
                                    .rows = rows.codec(),
                                    .time_column = 1})
                   .ValueOrDie()) {}
  void Put(const Key& key, std::string_view row) {
    table_->AddRow(Lsn(++lsn_), row, View(key));
    table_->Publish(Lsn(lsn_));
  }
  bool Get(const Key& key) {
    const KeyedHit hit = table_->Get(View(key), Lsn(lsn_));
    if (hit.kind != KeyedHit::Kind::kRow) return false;
    benchmark::DoNotOptimize(hit.batch->column_data(3)->GetValues<double>(1)[hit.row]);
    return true;
  }
  KeyedMemtable* operator->() { return table_.get(); }
  uint64_t lsn() const { return lsn_; }

 private:
  std::unique_ptr<KeyedMemtable> table_;
  uint64_t lsn_ = 0;
};

class TbbMap {
 public:
  explicit TbbMap(const Rows&) {}
  void Put(const Key& key, std::string_view row) { map_.emplace(key, row); }
  bool Get(const Key& key) {
    const auto found = map_.find(key);
    if (found == map_.end()) return false;
    benchmark::DoNotOptimize(found->second[40]);
    return true;
  }

 private:
  tbb::concurrent_map<Key, std::string, KeyLess> map_;
};

class TbbHashMap {
 public:
  explicit TbbHashMap(const Rows&) {}
  void Put(const Key& key, std::string_view row) { map_.emplace(key, row); }
  bool Get(const Key& key) {
    decltype(map_)::const_accessor found;
    if (!map_.find(found, key)) return false;
    benchmark::DoNotOptimize(found->second[40]);
    return true;
  }

 private:
  tbb::concurrent_hash_map<Key, std::string, KeyHash> map_;
};

class RocksMemtable {
 public:
  explicit RocksMemtable(const Rows&) : env_(rocksdb::NewMemEnv(rocksdb::Env::Default())) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.env = env_.get();
    options.write_buffer_size = size_t{2} << 30;
    rocksdb::DB* db = nullptr;
    SHEAF_CHECK(rocksdb::DB::Open(options, "/db", &db).ok());
    db_.reset(db);
    without_log_.disableWAL = true;
  }
  void Put(const Key& key, std::string_view row) {
    SHEAF_CHECK(db_->Put(without_log_, rocksdb::Slice(key.data(), key.size()), rocksdb::Slice(row.data(), row.size())).ok());
  }
  bool Get(const Key& key) {
    rocksdb::PinnableSlice value;
    if (!db_->Get({}, db_->DefaultColumnFamily(), rocksdb::Slice(key.data(), key.size()), &value).ok()) return false;
    benchmark::DoNotOptimize(value[40]);
    return true;
  }

 private:
  const std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::WriteOptions without_log_;
};

void BM_Timer(benchmark::State& state) {
  for (auto _ : state) {
    Times times(kGets);
    for (uint64_t i = 0; i < kGets; ++i) times.Time([] {});
    times.Report(state);
  }
}
BENCHMARK(BM_Timer)->Iterations(1)->Unit(benchmark::kMillisecond);

template <typename Table>
void BM_Put(benchmark::State& state) {
  for (auto _ : state) {
    Rows rows;
    Table table(rows);
    Times times(kKeys);
    for (uint64_t i = 0; i < kKeys; ++i) {
      const Key key = KeyOf(i);
      const std::string_view row = rows.Of(i, key);
      times.Time([&] { table.Put(key, row); });
    }
    times.Report(state);
    if constexpr (std::is_same_v<Table, Sheaf>) {
      state.counters["bytes_per_row"] = static_cast<double>(table->bytes()) / kKeys;
      state.counters["row_bytes"] = static_cast<double>(rows.Of(0, KeyOf(0)).size());
    }
  }
}

/// Which keys are looked for: all of them in random order, a thousand again and again, or such that are not there.
enum Which { kAll, kHot, kMissing };

template <typename Table>
void BM_Get(benchmark::State& state) {
  static Rows rows;
  Table table(rows);
  for (uint64_t i = 0; i < kKeys; ++i) table.Put(KeyOf(i), rows.Of(i, KeyOf(i)));
  const Which which = static_cast<Which>(state.range(0));
  for (auto _ : state) {
    Times times(kGets);
    for (uint64_t i = 0; i < kGets; ++i) {
      const uint64_t random = Mix(i + 77);
      const Key key = KeyOf(which == kAll ? random % kKeys : which == kHot ? random % kHotKeys : kKeys + random % kKeys);
      times.Time([&] { SHEAF_CHECK(table.Get(key) == (which != kMissing)); });
    }
    times.Report(state);
  }
}

#define SHEAF_BOTH(table)                                                 \
  BENCHMARK(BM_Put<table>)->Iterations(1)->Unit(benchmark::kMillisecond); \
  BENCHMARK(BM_Get<table>)                                                \
      ->ArgName("all_hot_missing")                                        \
      ->Arg(kAll)                                                         \
      ->Arg(kHot)                                                         \
      ->Arg(kMissing)                                                     \
      ->Iterations(1)                                                     \
      ->Unit(benchmark::kMillisecond)
SHEAF_BOTH(Sheaf);
SHEAF_BOTH(TbbMap);
SHEAF_BOTH(TbbHashMap);
SHEAF_BOTH(RocksMemtable);

/// Reading what was written just now, from the chunk that is being filled.
void BM_PutThenGet(benchmark::State& state) {
  for (auto _ : state) {
    Rows rows;
    Sheaf table(rows);
    Times times(kKeys);
    for (uint64_t i = 0; i < kKeys; ++i) {
      const Key key = KeyOf(i);
      table.Put(key, rows.Of(i, key));
      times.Time([&] { SHEAF_CHECK(table.Get(key)); });
    }
    times.Report(state);
  }
}
BENCHMARK(BM_PutThenGet)->Iterations(1)->Unit(benchmark::kMillisecond);

/// A view, and a scan of a hundred rows, each after ten overwrites in a table of a million.
void BM_ViewAfterWrites(benchmark::State& state) {
  for (auto _ : state) {
    Rows rows;
    Sheaf table(rows);
    for (uint64_t i = 0; i < kKeys; ++i) table.Put(KeyOf(i), rows.Of(i, KeyOf(i)));
    Times times(1000);
    for (uint64_t i = 0; i < 1000; ++i) {
      for (uint64_t w = 0; w < 10; ++w) table.Put(KeyOf(Mix(i * 10 + w) % kKeys), rows.Of(i, KeyOf(Mix(i * 10 + w) % kKeys)));
      times.Time([&] { benchmark::DoNotOptimize(table->ViewAt(Lsn(table.lsn())).source); });
    }
    times.Report(state);
  }
}
BENCHMARK(BM_ViewAfterWrites)->Iterations(1)->Unit(benchmark::kMillisecond);

void BM_ScanAfterWrites(benchmark::State& state) {
  for (auto _ : state) {
    Rows rows;
    Sheaf table(rows);
    for (uint64_t i = 0; i < kKeys; ++i) table.Put(KeyOf(i), rows.Of(i, KeyOf(i)));
    Times times(1000), first(1);
    first.Time([&] { benchmark::DoNotOptimize(table->Scan("", Lsn(table.lsn()))); });
    for (uint64_t i = 0; i < 1000; ++i) {
      for (uint64_t w = 0; w < 10; ++w) table.Put(KeyOf(kKeys + i * 10 + w), rows.Of(i, KeyOf(kKeys + i * 10 + w)));
      const Key from = KeyOf(i);
      times.Time([&] {
        const auto cursor = table->Scan(View(from), Lsn(table.lsn()));
        std::string_view key;
        KeyedHit hit;
        for (int row = 0; row < 100 && cursor->Next(&key, &hit); ++row) benchmark::DoNotOptimize(hit.row);
      });
    }
    first.Report(state);
    const double first_ns = state.counters["max"];
    times.Report(state);
    state.counters["first_ns"] = first_ns;
  }
}
BENCHMARK(BM_ScanAfterWrites)->Iterations(1)->Unit(benchmark::kMillisecond);

/// Batches of a thousand rows, by row.
void BM_AddBatch(benchmark::State& state) {
  constexpr int64_t kRows = 1000;
  Rows rows;
  std::vector<std::string> held;
  std::vector<std::string_view> views;
  columns::KeyColumn unused;
  for (uint64_t i = 0; i < kRows; ++i) held.emplace_back(rows.Of(i, KeyOf(i)));
  for (const std::string& row : held) views.push_back(row);
  const auto batch = rows.codec()->ToBatch(views, arrow::default_memory_pool()).ValueOrDie();
  for (auto _ : state) {
    state.PauseTiming();
    Sheaf table(rows);
    std::vector<columns::KeyColumn> keys(kKeys / kRows);
    for (uint64_t i = 0; i < kKeys; ++i) keys[i / kRows].Add(View(KeyOf(i)));
    state.ResumeTiming();
    for (size_t i = 0; i < keys.size(); ++i) {
      table->AddBatch(Lsn(i + 1), batch, keys[i], 100'000);
      table->Publish(Lsn(i + 1));
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kKeys));
}
BENCHMARK(BM_AddBatch)->Iterations(3)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sheaf::memtable

BENCHMARK_MAIN();
