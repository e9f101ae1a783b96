/// How long a database takes to open after a kill, by what its log holds: single rows, and batches of 1,000, beside RocksDB: same
/// rows, memtables so large that everything is still in the log. Prints one JSON object.
///
///   recovery FOLDER [ROWS [REPETITIONS]]      default 4,000,000 rows of 16 + 104 bytes, 3 repetitions
///
/// Another process writes the rows, syncs, and ends without closing. "open_s": until the first read is answered. "gb_per_s": the rows'
/// own bytes over that; "gb_per_cpu_s": over the processor time of all threads. The log is in the page cache.

#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "core/log.h"
#include "key_value.h"

namespace sheaf::bench {
namespace {

constexpr uint64_t kBatchRows = 1000;
constexpr double kRowBytes = 16 + 104;

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

std::unique_ptr<KeyValue> OpenEngine(bool ours, const std::string& folder) {
  const EngineLimits limits{.memtable_bytes = size_t{4} << 30};
  return ours ? OpenSheaf(folder, limits) : OpenRocksDb(folder, limits);
}

/// What the writing process does; it ends as if it had been killed.
[[noreturn]] void Write(bool ours, const std::string& folder, uint64_t rows, uint64_t per_write) {
  const auto engine = OpenEngine(ours, folder);
  const std::string value(104, 'v');
  Pairs pairs;
  for (uint64_t i = 0; i < rows; ++i) {
    const bool last = i + 1 == rows;
    if (per_write == 1) {
      engine->Put(KeyOf(i), value, last);
      continue;
    }
    pairs.emplace_back(KeyOf(i), value);
    if (pairs.size() < per_write && !last) continue;
    engine->PutBatch(pairs, last);
    pairs.clear();
  }
  ::_exit(0);
}

void WriteElsewhere(bool ours, const std::string& folder, uint64_t rows, uint64_t per_write) {
  std::vector<std::string> words = {"recovery", "--write", ours ? "sheaf" : "rocksdb", folder, std::to_string(rows),
                                    std::to_string(per_write)};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t writer = 0;
  int status = 0;
  if (::posix_spawn(&writer, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ) != 0 ||
      ::waitpid(writer, &status, 0) != writer || status != 0) {
    std::fprintf(stderr, "the writer failed\n");
    std::exit(1);
  }
}

void Measure(bool ours, const std::string& folder, uint64_t rows, uint64_t per_write, int repetitions, bool last) {
  std::vector<double> open_s, cpu_s;
  for (int i = 0; i < repetitions; ++i) {
    std::filesystem::remove_all(folder);
    WriteElsewhere(ours, folder, rows, per_write);
    const double cpu_before = CpuSeconds();
    const auto begin = std::chrono::steady_clock::now();
    const auto engine = OpenEngine(ours, folder);
    const int64_t sum = engine->Get(KeyOf(rows - 1));
    open_s.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    cpu_s.push_back(CpuSeconds() - cpu_before);
    if (sum != 104 * 'v' || engine->Get(KeyOf(rows / 2)) != sum) {
      std::fprintf(stderr, "%s: rows are lost\n", engine->name());
      std::exit(1);
    }
  }
  std::filesystem::remove_all(folder);
  std::sort(open_s.begin(), open_s.end());
  std::sort(cpu_s.begin(), cpu_s.end());
  const double gb = static_cast<double>(rows) * kRowBytes / 1e9;
  const size_t middle = open_s.size() / 2;
  std::printf("\"%s_%s\": {\"open_s\": %.2f, \"min_s\": %.2f, \"max_s\": %.2f, \"gb_per_s\": %.3f, \"gb_per_cpu_s\": %.3f}%s",
              ours ? "sheaf" : "rocksdb", per_write == 1 ? "single" : "batches", open_s[middle], open_s.front(), open_s.back(),
              gb / open_s[middle], gb / cpu_s[middle], last ? "" : ", ");
  std::fprintf(stderr, "%s, %llu rows a write: %.2f s\n", ours ? "sheaf" : "rocksdb", static_cast<unsigned long long>(per_write),
               open_s[middle]);
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: recovery FOLDER [ROWS [REPETITIONS]]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  if (argc == 6 && std::string(argv[1]) == "--write") {
    Write(std::string(argv[2]) == "sheaf", argv[3], std::strtoull(argv[4], nullptr, 10), std::strtoull(argv[5], nullptr, 10));
  }
  const uint64_t rows = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 4'000'000;
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 3;
  if (rows == 0 || repetitions < 1) return 2;
  std::printf("{");
  for (const uint64_t per_write : {uint64_t{1}, kBatchRows}) {
    for (const bool ours : {true, false}) {
      Measure(ours, std::string(argv[1]) + "/recovery", rows, per_write, repetitions, per_write > 1 && !ours);
    }
  }
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
