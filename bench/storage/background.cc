/// What compaction takes beside a steady stream of writes, and what the writes feel of it: puts at a fixed rate into a keyed table,
/// keys at random out of as many as 10 seconds bring, beside RocksDB: same rows, same rate, same memtable, engines one after the
/// other in fresh folders. Prints one JSON object.
///
///   background FOLDER [SECONDS [PUTS_A_SECOND]]      default 60 s, 30,000 puts a second of 16 + 104 bytes, memtable 8 MiB
///
/// "compaction_cpu_share": processor time of merges over that of all cores, from the first put to the last. Sheaf counts it itself
/// (`sheaf_compaction_cpu_microseconds_total`); of RocksDB it is that of the threads that it names "rocksdb:low". "rate": puts done over
/// puts wanted. Latencies are of puts in the log, not synced, in µs.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/log.h"
#include "core/metrics.h"
#include "key_value.h"

namespace sheaf::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMemtableBytes = size_t{8} << 20;

double SheafCompactionSeconds() {
  uint64_t us = 0;
  for (const char* work : {"merge", "cold"}) {
    us += Metrics().AddCounter("sheaf_compaction_cpu_microseconds_total", "", {{"work", work}}).value();
  }
  return static_cast<double>(us) / 1e6;
}

/// Of this process's threads whose name begins with "rocksdb:low".
double RocksDbCompactionSeconds() {
  double ns = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (!name.starts_with("rocksdb:low")) continue;
    double on_cpu = 0;
    std::ifstream(task.path() / "schedstat") >> on_cpu;
    ns += on_cpu;
  }
  return ns / 1e9;
}

void RunOnce(KeyValue* engine, double seconds, double rate, bool ours, bool last) {
  const auto compaction_seconds = ours ? SheafCompactionSeconds : RocksDbCompactionSeconds;
  const double cpu_before = compaction_seconds();
  std::mt19937_64 random(3);
  const auto keys = static_cast<uint64_t>(rate * 10);
  const std::string value(104, 'v');
  std::vector<int64_t> ns;
  ns.reserve(static_cast<size_t>(seconds * rate));
  const auto begin = Clock::now();
  const auto now_s = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  while (now_s() < seconds) {
    const auto due = static_cast<size_t>(now_s() * rate);
    while (ns.size() < due) {
      const std::string key = KeyOf(random() % keys);
      const auto start = Clock::now();
      engine->Put(key, value, false);
      ns.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
    }
    ::usleep(200);
  }
  const double took = now_s();
  const double cores = std::max(1u, std::thread::hardware_concurrency());
  const double share = (compaction_seconds() - cpu_before) / (took * cores);
  const double done = static_cast<double>(ns.size()) / (took * rate);
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double part) {
    return static_cast<double>(ns[static_cast<size_t>(part * static_cast<double>(ns.size() - 1))]) / 1e3;
  };
  std::printf("\"%s\": {\"compaction_cpu_share\": %.4f, \"rate\": %.3f, \"put_p50_us\": %.1f, \"put_p99_us\": %.1f, "
              "\"put_max_us\": %.0f}%s",
              engine->name(), share, done, at(0.5), at(0.99), at(1), last ? "" : ", ");
  std::fprintf(stderr, "%s: compaction %.1f %% of the cores\n", engine->name(), share * 100);
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: background FOLDER [SECONDS [PUTS_A_SECOND]]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  const double seconds = argc > 2 ? std::atof(argv[2]) : 60, rate = argc > 3 ? std::atof(argv[3]) : 30'000;
  if (seconds <= 0 || rate <= 0) return 2;
  const EngineLimits limits{.memtable_bytes = kMemtableBytes};
  std::printf("{");
  for (const bool ours : {true, false}) {
    const std::string folder = std::string(argv[1]) + (ours ? "/sheaf" : "/rocksdb");
    {
      const auto engine = ours ? OpenSheaf(folder, limits) : OpenRocksDb(folder, limits);
      RunOnce(engine.get(), seconds, rate, ours, !ours);
    }
    std::filesystem::remove_all(folder);
  }
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
