/// When the settings that depend on the machine help: read-ahead of scans, preallocation of the log, direct I/O and a processor
/// of its own for the log's thread. Each against its absence, in turns, in one process. Prints one JSON object; times in ms or
/// µs, medians.
///
///   tuning FOLDER [REPETITIONS]      default 7 repetitions; FOLDER is on the device that matters
///
/// cold_scan: two statements over parts whose pages were dropped from memory before each run, with 0, 4 and 16 granules ahead,
/// beside reading the same files from end to end with 1 MiB a call. sync: 4 KiB written and fdatasync'ed to a file that grows,
/// one that was preallocated and one that was written before. log: single durable rows from two threads, and from one while as
/// many threads as there are processors compute, with the log's thread bound and not.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <arrow/api.h>

#include "../must.h"
#include "core/log.h"
#include "sheaf/database.h"

namespace sheaf::bench {
namespace {

namespace fs = std::filesystem;

double Seconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double At(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

std::shared_ptr<Database> OpenAt(const std::string& folder, const OpenOptions& options) {
  auto opened = Database::Open(folder, options);
  if (!opened.ok()) Must(opened.status());
  return *opened;
}

std::vector<std::string> PartsIn(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".arrow") files.push_back(entry.path().string());
  }
  return files;
}

/// Of files that nobody has mapped.
void DropFromMemory(const std::vector<std::string>& files) {
  for (const std::string& path : files) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0 || ::fdatasync(file) != 0 || ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) Must(Status::IOError(path));
    ::close(file);
  }
}

int64_t ReadThrough(const std::vector<std::string>& files) {
  std::vector<char> buffer(1 << 20);
  int64_t total = 0;
  for (const std::string& path : files) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;
    while ((got = ::read(file, buffer.data(), buffer.size())) > 0) total += got;
    ::close(file);
  }
  return total;
}

void ColdScans(const std::string& folder, int repetitions) {
  const std::string data = folder + "/scan";
  OpenOptions options;
  options.memtable_bytes = 64 << 20;
  {
    auto database = OpenAt(data, options);
    std::string columns;
    for (int c = 0; c < 16; ++c) columns += ", (hash(i + " + std::to_string(c) + ") % 1000000)::BIGINT AS c" + std::to_string(c);
    Must(database->Execute("CREATE TABLE t AS SELECT i" + columns + " FROM range(0) AS r(i)"));
    for (int slice = 0; slice < 16; ++slice) {
      const std::string from = std::to_string(slice * 500'000), to = std::to_string((slice + 1) * 500'000);
      Must(database->Execute("INSERT INTO t SELECT i" + columns + " FROM range(" + from + ", " + to + ") AS r(i)"));
    }
    Must(database->Flush());
  }
  const auto files = PartsIn(data);
  std::string all = "SELECT count(*)";
  for (int c = 0; c < 16; ++c) all += ", sum(c" + std::to_string(c) + ")";
  const std::vector<std::pair<std::string, std::string>> statements = {{"all_columns", all + " FROM t"},
                                                                       {"one_column", "SELECT sum(c7) FROM t"}};
  std::printf("\"cold_scan\": {\"bytes\": %lld", static_cast<long long>(ReadThrough(files)));
  std::vector<double> read;
  for (const auto& [name, sql] : statements) {
    const std::vector<int> ahead = {0, 4, 16};
    std::vector<std::vector<double>> times(ahead.size());
    for (int repetition = 0; repetition < repetitions; ++repetition) {
      for (size_t i = 0; i < ahead.size(); ++i) {
        DropFromMemory(files);
        options.read_ahead_granules = ahead[i];
        auto database = OpenAt(data, options);
        times[i].push_back(Seconds([&] {
          auto rows = database->Sql(sql);
          if (!rows.ok()) Must(rows.status());
          if (auto table = (*rows)->ToTable(); !table.ok()) Must(table.status());
        }));
      }
      DropFromMemory(files);
      read.push_back(Seconds([&] { ReadThrough(files); }));
    }
    for (size_t i = 0; i < ahead.size(); ++i) {
      std::printf(", \"%s_ahead_%d_ms\": [%.1f, %.1f, %.1f]", name.c_str(), ahead[i], At(times[i], 0.5) * 1e3,
                  At(times[i], 0) * 1e3, At(times[i], 1) * 1e3);
    }
  }
  std::printf(", \"files_read_through_ms\": [%.1f, %.1f, %.1f]}", At(read, 0.5) * 1e3, At(read, 0) * 1e3, At(read, 1) * 1e3);
}

void Syncs(const std::string& folder) {
  constexpr int kSyncs = 300;
  const std::vector<char> page(4096, 'x');
  const char* const kinds[] = {"grows", "preallocated", "written_before"};
  int files[3];
  for (int kind = 0; kind < 3; ++kind) {
    files[kind] = ::open((folder + "/" + kinds[kind]).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (files[kind] < 0) Must(Status::IOError(kinds[kind]));
    if (kind > 0 && ::posix_fallocate(files[kind], 0, kSyncs * 4096) != 0) Must(Status::IOError("posix_fallocate"));
    for (int i = 0; kind == 2 && i < kSyncs; ++i) {
      if (::pwrite(files[kind], page.data(), page.size(), i * 4096) != 4096) Must(Status::IOError("pwrite"));
    }
    if (::fsync(files[kind]) != 0) Must(Status::IOError("fsync"));
  }
  std::vector<double> times[3];
  for (int i = 0; i < kSyncs; ++i) {
    for (int kind = 0; kind < 3; ++kind) {
      times[kind].push_back(Seconds([&] {
        if (::pwrite(files[kind], page.data(), page.size(), i * 4096) != 4096 || ::fdatasync(files[kind]) != 0)
          Must(Status::IOError("sync"));
      }));
    }
  }
  std::printf(", \"sync\": {");
  for (int kind = 0; kind < 3; ++kind) {
    std::printf("%s\"%s_p50_p99_us\": [%.0f, %.0f]", kind == 0 ? "" : ", ", kinds[kind], At(times[kind], 0.5) * 1e6,
                At(times[kind], 0.99) * 1e6);
    ::close(files[kind]);
  }
  std::printf("}");
}

std::shared_ptr<arrow::RecordBatch> OneRow(int64_t key) {
  arrow::Int64Builder keys;
  arrow::StringBuilder values;
  if (!keys.Append(key).ok() || !values.Append(std::string(104, 'v')).ok()) std::abort();
  return arrow::RecordBatch::Make(
      arrow::schema({arrow::field("key", arrow::int64(), false), arrow::field("value", arrow::utf8())}), 1,
      {keys.Finish().ValueOrDie(), values.Finish().ValueOrDie()});
}

/// P50 and P99 of durable rows in µs.
struct Latency {
  std::vector<double> p50, p99;
};

void Rows(const std::string& folder, const OpenOptions& options, int senders, int busy, Latency* out) {
  constexpr int kRows = 1000;
  fs::remove_all(folder + "/log");
  auto database = OpenAt(folder + "/log", options);
  Must(database->Execute("CREATE TABLE t (key BIGINT PRIMARY KEY, value VARCHAR)"));
  std::atomic<bool> stop{false};
  std::vector<std::thread> others, threads;
  for (int i = 0; i < busy; ++i) {
    others.emplace_back([&] {
      volatile uint64_t x = 1;
      while (!stop.load(std::memory_order_relaxed)) x = x * 6364136223846793005u + 1;
    });
  }
  std::vector<std::vector<double>> times(static_cast<size_t>(senders));
  for (int sender = 0; sender < senders; ++sender) {
    threads.emplace_back([&, sender] {
      IngestOptions durable;
      durable.when = Ingested::kDurable;
      for (int i = 0; i < kRows / senders; ++i) {
        const auto row = OneRow(sender * kRows + i);
        times[static_cast<size_t>(sender)].push_back(Seconds([&] {
          if (const auto done = database->Ingest("t", row, durable); !done.ok()) Must(done.status());
        }));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  stop = true;
  for (auto& thread : others) thread.join();
  std::vector<double> all;
  for (const auto& mine : times) all.insert(all.end(), mine.begin(), mine.end());
  out->p50.push_back(At(all, 0.5) * 1e6);
  out->p99.push_back(At(all, 0.99) * 1e6);
}

void Logs(const std::string& folder, int repetitions) {
  struct Case {
    const char* name;
    OpenOptions options;
    int senders, busy;
  };
  OpenOptions plain, direct, bound;
  direct.log_direct_io = true;
  bound.log_cpu = static_cast<int>(std::thread::hardware_concurrency()) - 1;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const std::vector<Case> cases = {{"two_senders", plain, 2, 0},
                                   {"two_senders_direct", direct, 2, 0},
                                   {"two_senders_bound", bound, 2, 0},
                                   {"busy_machine", plain, 2, cores},
                                   {"busy_machine_bound", bound, 2, cores}};
  std::vector<Latency> latencies(cases.size());
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    for (size_t i = 0; i < cases.size(); ++i) Rows(folder, cases[i].options, cases[i].senders, cases[i].busy, &latencies[i]);
  }
  std::printf(", \"log\": {");
  for (size_t i = 0; i < cases.size(); ++i) {
    std::printf("%s\"%s_p50_p99_us\": [%.0f, %.0f]", i == 0 ? "" : ", ", cases[i].name, At(latencies[i].p50, 0.5),
                At(latencies[i].p99, 0.5));
  }
  std::printf("}");
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: tuning FOLDER [REPETITIONS]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  const int repetitions = argc > 2 ? std::atoi(argv[2]) : 7;
  fs::create_directories(argv[1]);
  std::printf("{");
  ColdScans(argv[1], repetitions);
  Syncs(argv[1]);
  Logs(argv[1], repetitions);
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
