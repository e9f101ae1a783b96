/// How long a database takes to open after a kill, by what its log holds: single rows, batches of 1,000, and such batches of a table
/// without a key ("append"), beside RocksDB: same rows, memtables so large that everything is still in the log. Prints one JSON object.
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
#include <utility>
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

/// What is opened: whose, and how rows come.
struct Case {
  const char* name;
  bool ours;
  bool keyed;
  uint64_t per_write;
};
constexpr Case kCases[] = {{"sheaf_single", true, true, 1},
                           {"rocksdb_single", false, true, 1},
                           {"sheaf_batches", true, true, kBatchRows},
                           {"rocksdb_batches", false, true, kBatchRows},
                           {"sheaf_append", true, false, kBatchRows}};

std::unique_ptr<KeyValue> OpenEngine(const Case& what, const std::string& folder) {
  const EngineLimits limits{.memtable_bytes = size_t{4} << 30, .keyed = what.keyed};
  return what.ours ? OpenSheaf(folder, limits) : OpenRocksDb(folder, limits);
}

/// What the writing process does; it ends as if it had been killed.
[[noreturn]] void Write(const Case& what, const std::string& folder, uint64_t rows) {
  const auto engine = OpenEngine(what, folder);
  const std::string value(104, 'v');
  Pairs pairs;
  for (uint64_t i = 0; i < rows; ++i) {
    const bool last = i + 1 == rows;
    if (what.per_write == 1) {
      engine->Put(KeyOf(i), value, last);
      continue;
    }
    pairs.emplace_back(KeyOf(i), value);
    if (pairs.size() < what.per_write && !last) continue;
    engine->PutBatch(pairs, last);
    pairs.clear();
  }
  ::_exit(0);
}

void WriteElsewhere(const Case& what, const std::string& folder, uint64_t rows) {
  std::vector<std::string> words = {"recovery", "--write", what.name, folder, std::to_string(rows)};
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

void Measure(const Case& what, const std::string& folder, uint64_t rows, int repetitions) {
  std::vector<double> open_s, cpu_s;
  for (int i = 0; i < repetitions; ++i) {
    std::filesystem::remove_all(folder);
    WriteElsewhere(what, folder, rows);
    const double cpu_before = CpuSeconds();
    const auto begin = std::chrono::steady_clock::now();
    const auto engine = OpenEngine(what, folder);
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
  std::printf("\"%s\": {\"open_s\": %.2f, \"min_s\": %.2f, \"max_s\": %.2f, \"gb_per_s\": %.3f, \"gb_per_cpu_s\": %.3f}", what.name,
              open_s[middle], open_s.front(), open_s.back(), gb / open_s[middle], gb / cpu_s[middle]);
  std::fprintf(stderr, "%s: %.2f s\n", what.name, open_s[middle]);
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: recovery FOLDER [ROWS [REPETITIONS]]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  if (argc == 5 && std::string(argv[1]) == "--write") {
    for (const Case& what : kCases) {
      if (what.name == std::string(argv[2])) Write(what, argv[3], std::strtoull(argv[4], nullptr, 10));
    }
    return 2;
  }
  const uint64_t rows = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 4'000'000;
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 3;
  if (rows == 0 || repetitions < 1) return 2;
  const char* before = "{";
  for (const Case& what : kCases) {
    std::printf("%s", std::exchange(before, ", "));
    Measure(what, std::string(argv[1]) + "/recovery", rows, repetitions);
  }
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
