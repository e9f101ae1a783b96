/// Single-row and batched writes and reads by key, beside RocksDB, LMDB and SQLite: same rows, same order, same durability,
/// engines alternating, every repetition in fresh folders. Prints one JSON object.
///
///   keyed_comparison FOLDER [REPETITIONS [ROWS]]      default 3 repetitions, 300,000 rows of 16 + 104 bytes
///
/// "unsynced": the row is in the engine's log when Put() returns, without a sync (LMDB has no such log: each put is
/// a transaction that is not synced; of SQLite 1,000 puts share one). "durable": fdatasync before Put() returns. Reads touch
/// every byte of the value. Latencies in µs.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/log.h"
#include "key_value.h"

namespace sheaf::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kValueBytes = 104;
constexpr int kWriters = 64;
constexpr int kDurablePuts = 600;
constexpr size_t kBatchRows = 1000;
constexpr int kBatches = 300;
constexpr int kSenders = 8;
constexpr int64_t kReads = 200'000;
constexpr int64_t kManyWritersNs = 1'000'000'000;

int64_t NowNs() { return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count(); }

std::string ValueOf(uint64_t i) {
  std::string value(kValueBytes, 'v');
  std::snprintf(value.data(), 24, "%020llu", static_cast<unsigned long long>(i));
  value[20] = ' ';
  return value;
}

using Figures = std::map<std::string, double>;

void AddLatencies(const std::string& name, std::vector<int64_t> ns, Figures* figures) {
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double share) {
    return static_cast<double>(ns[std::min(ns.size() - 1, static_cast<size_t>(share * static_cast<double>(ns.size())))]) / 1e3;
  };
  (*figures)[name + "_p50_us"] = at(0.5);
  (*figures)[name + "_p99_us"] = at(0.99);
  (*figures)[name + "_max_us"] = static_cast<double>(ns.back()) / 1e3;
}

/// What the device itself takes for a 4 KiB write and an fdatasync into a file that has all its blocks.
class DeviceProbe {
 public:
  DeviceProbe(const std::string& folder, int count) : path_(folder + "/probe"), page_(4096, 'x') {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT, 0644);
    for (int i = 0; file_ >= 0 && i < count; ++i) {
      if (::pwrite(file_, page_.data(), page_.size(), 4096L * i) != 4096) std::exit(1);
    }
    if (file_ < 0 || ::fsync(file_) != 0) std::exit(1);
  }
  ~DeviceProbe() {
    ::close(file_);
    std::filesystem::remove(path_);
  }
  int64_t SyncNs(int i) {
    page_[0] = static_cast<char>(i);
    const int64_t start = NowNs();
    if (::pwrite(file_, page_.data(), page_.size(), 4096L * i) != 4096 || ::fdatasync(file_) != 0) std::exit(1);
    return NowNs() - start;
  }

 private:
  const std::string path_;
  std::vector<char> page_;
  int file_ = -1;
};

void Reads(const std::string& name, KeyValue* engine, uint64_t rows, bool there, Figures* figures) {
  std::mt19937_64 random(5);
  std::vector<int64_t> ns;
  ns.reserve(kReads);
  for (int64_t i = 0; i < kReads; ++i) {
    const std::string key = KeyOf((there ? 0 : uint64_t{1} << 40) + random() % rows);
    const int64_t start = NowNs();
    const int64_t sum = engine->Get(key);
    ns.push_back(NowNs() - start);
    if ((sum >= 0) != there) {
      std::fprintf(stderr, "%s: a wrong answer\n", engine->name());
      std::exit(1);
    }
  }
  AddLatencies(name, std::move(ns), figures);
}

/// Durable puts a second of 64 threads, each with one at a time.
double ManyByThread(KeyValue* engine, uint64_t first) {
  std::atomic<int64_t> done{0};
  std::vector<std::thread> threads;
  const int64_t begin = NowNs();
  for (uint64_t t = 0; t < kWriters; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; NowNs() - begin < kManyWritersNs; ++i) {
        engine->Put(KeyOf(first + t * 10'000'000 + i), ValueOf(i), true);
        done.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(done.load()) / (static_cast<double>(NowNs() - begin) / 1e9);
}

/// 64 senders that put their next row when they are told that the last one is on disk, without a thread each: as an event loop or
/// coroutines do. 0 where the engine has no such interface.
double ManyByCallback(KeyValue* engine, uint64_t first) {
  std::atomic<int64_t> done{0}, running{0};
  const int64_t begin = NowNs();
  std::function<bool(uint64_t, uint64_t)> put = [&](uint64_t sender, uint64_t i) {
    return engine->PutAsync(KeyOf(first + sender * 10'000'000 + i), ValueOf(i), [&put, &done, &running, begin, sender, i] {
      done.fetch_add(1, std::memory_order_relaxed);
      if (NowNs() - begin < kManyWritersNs) {
        put(sender, i + 1);
      } else {
        running.fetch_sub(1);
      }
    });
  };
  for (uint64_t sender = 0; sender < kWriters; ++sender) {
    running.fetch_add(1);
    if (!put(sender, 0)) return 0;
  }
  while (running.load() > 0) ::usleep(1000);
  return static_cast<double>(done.load()) / (static_cast<double>(NowNs() - begin) / 1e9);
}

Figures RunOnce(KeyValue* engine, uint64_t rows, const std::string& folder) {
  Figures figures;
  std::vector<int64_t> ns;
  ns.reserve(rows);
  const int64_t begin = NowNs();
  for (uint64_t i = 0; i < rows; ++i) {
    const std::string key = KeyOf(i), value = ValueOf(i);
    const int64_t start = NowNs();
    engine->Put(key, value, false);
    ns.push_back(NowNs() - start);
  }
  figures["put_unsynced_per_s"] = static_cast<double>(rows) / (static_cast<double>(NowNs() - begin) / 1e9);
  AddLatencies("put_unsynced", std::move(ns), &figures);
  Reads("get_recent", engine, rows, true, &figures);

  // One writer, and the device by itself, in turns: after a pause a device may take longer than back to back.
  DeviceProbe device(folder, kDurablePuts);
  std::vector<int64_t> device_ns;
  ns.clear();
  for (int i = 0; i < kDurablePuts; ++i) {
    const std::string key = KeyOf(rows + static_cast<uint64_t>(i)), value = ValueOf(1);
    device_ns.push_back(device.SyncNs(i));
    const int64_t start = NowNs();
    engine->Put(key, value, true);
    ns.push_back(NowNs() - start);
  }
  int64_t total = 0;
  for (const int64_t one : ns) total += one;
  const double one_per_s = kDurablePuts / (static_cast<double>(total) / 1e9);
  figures["put_durable_1_per_s"] = one_per_s;
  AddLatencies("put_durable_1", std::move(ns), &figures);
  AddLatencies("device_sync", std::move(device_ns), &figures);
  figures["put_durable_1_over_device"] = figures["put_durable_1_p50_us"] / figures["device_sync_p50_us"];

  figures["put_durable_64_per_s"] = ManyByThread(engine, rows * 4);
  figures["put_durable_64_over_1"] = figures["put_durable_64_per_s"] / one_per_s;
  if (const double by_callback = ManyByCallback(engine, uint64_t{1} << 50); by_callback > 0) {
    figures["put_durable_64_by_callback_per_s"] = by_callback;
    figures["put_durable_64_by_callback_over_1"] = by_callback / one_per_s;
  }

  std::vector<Pairs> batches(kBatches);
  for (int b = 0; b < kBatches; ++b) {
    for (size_t i = 0; i < kBatchRows; ++i) {
      batches[static_cast<size_t>(b)].emplace_back(KeyOf(rows * 9 + static_cast<uint64_t>(b) * kBatchRows + i), ValueOf(i));
    }
  }
  const int64_t batch_begin = NowNs();
  for (const Pairs& pairs : batches) engine->PutBatch(pairs, true);
  figures["batch_durable_rows_per_s"] =
      static_cast<double>(kBatches) * kBatchRows / (static_cast<double>(NowNs() - batch_begin) / 1e9);

  // The same from several senders, with other keys.
  for (Pairs& pairs : batches) {
    for (auto& [key, value] : pairs) key = KeyOf(std::hash<std::string>()(key) | uint64_t{1} << 63);
  }
  std::vector<std::thread> senders;
  const int64_t senders_begin = NowNs();
  for (int t = 0; t < kSenders; ++t) {
    senders.emplace_back([&, t] {
      for (size_t b = static_cast<size_t>(t); b < batches.size(); b += kSenders) engine->PutBatch(batches[b], true);
    });
  }
  for (std::thread& sender : senders) sender.join();
  figures["batch_durable_8_rows_per_s"] =
      static_cast<double>(kBatches) * kBatchRows / (static_cast<double>(NowNs() - senders_begin) / 1e9);

  engine->Settle();
  Reads("get_settled", engine, rows, true, &figures);
  Reads("get_missing", engine, rows, false, &figures);

  // Half writes, half reads, beside each other, over rows in files and new ones.
  std::vector<int64_t> read_ns;
  std::atomic<bool> finished{false};
  std::thread writer([&] {
    std::mt19937_64 random(9);
    for (uint64_t i = 0; i < rows; ++i) engine->Put(KeyOf(random() % rows), ValueOf(i), false);
    finished = true;
  });
  std::mt19937_64 random(11);
  while (!finished.load()) {
    const std::string key = KeyOf(random() % rows);
    const int64_t start = NowNs();
    if (engine->Get(key) < 0) std::exit(1);
    read_ns.push_back(NowNs() - start);
  }
  writer.join();
  AddLatencies("get_mixed", std::move(read_ns), &figures);
  return figures;
}

void Print(const std::map<std::string, std::vector<Figures>>& all) {
  std::printf("{");
  const char* comma = "";
  for (const auto& [engine, runs] : all) {
    std::printf("%s\"%s\": {", comma, engine.c_str());
    const char* inner = "";
    for (const auto& [name, unused] : runs.front()) {
      std::vector<double> values;
      for (const Figures& run : runs) values.push_back(run.at(name));
      std::sort(values.begin(), values.end());
      std::printf("%s\"%s\": {\"median\": %.3f, \"min\": %.3f, \"max\": %.3f}", inner, name.c_str(), values[values.size() / 2],
                  values.front(), values.back());
      inner = ", ";
    }
    std::printf("}");
    comma = ", ";
  }
  std::printf("}\n");
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: keyed_comparison FOLDER [REPETITIONS [ROWS]]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  const int repetitions = argc > 2 ? std::atoi(argv[2]) : 3;
  const uint64_t rows = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 300'000;
  const std::vector<std::pair<const char*, std::function<std::unique_ptr<KeyValue>(const std::string&, const EngineLimits&)>>>
      engines = {{"sheaf", OpenSheaf}, {"rocksdb", OpenRocksDb}, {"lmdb", OpenLmdb}, {"sqlite", OpenSqlite}};
  std::map<std::string, std::vector<Figures>> all;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    for (const auto& [name, open] : engines) {
      const std::string folder = std::string(argv[1]) + "/" + name + std::to_string(repetition);
      {
        const auto engine = open(folder, EngineLimits{});
        all[name].push_back(RunOnce(engine.get(), rows, argv[1]));
      }
      std::filesystem::remove_all(folder);
      std::fprintf(stderr, "%s %d/%d\n", name, repetition + 1, repetitions);
    }
  }
  Print(all);
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
