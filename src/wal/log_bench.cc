/// What one durable append costs, beside what the device charges for a sync: 4 KiB written and fdatasync'ed
/// into a preallocated file of the same folder, in turns with the appends, in the same run.
///
/// Read ratio_p50: the log's own part of the latency; aim at 1.3 or less with one sender. The folder is under
/// $TMPDIR: point it at the device that matters. With many senders read items_per_second: one sync carries
/// all that waits.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <future>
#include <numeric>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "core/check.h"
#include "io/folder_testing.h"
#include "io/posix.h"
#include "wal/format.h"
#include "wal/log_testing.h"
#include "wal/recovery.h"

namespace sheaf::wal {
namespace {

OpenedLog OpenIn(const std::string& folder, bool direct_io = false) {
  LogOptions options;
  options.direct_io = direct_io;
  options.directory = io::Join(folder, "wal");
  return OpenLog(io::PosixFileSystem(), io::SystemClock(), options).ValueOrDie();
}

/// A file to sync by hand.
class BareFile {
 public:
  explicit BareFile(const std::string& folder)
      : file_(io::PosixFileSystem()->Open(io::Join(folder, "bare"), io::OpenMode::kCreate).ValueOrDie()), page_(4096) {
    // All of it was written once: what was only preallocated takes longer.
    for (int64_t at = 0; at < kBytes; at += 4096) SHEAF_CHECK(file_->WriteAt(at, page_).ok());
    SHEAF_CHECK(file_->Sync().ok());
  }
  bool WriteAndSync() {
    offset_ = (offset_ + 4096) % kBytes;
    return file_->WriteAt(offset_, page_).ok() && file_->SyncData().ok();
  }

 private:
  static constexpr int64_t kBytes = int64_t{64} << 20;
  const std::unique_ptr<io::File> file_;
  const std::vector<std::byte> page_;
  int64_t offset_ = 0;
};

double Percentile(std::vector<double>* values, double share) {
  if (values->empty()) return 0;
  const auto at = values->begin() + static_cast<int64_t>(share * static_cast<double>(values->size() - 1));
  std::nth_element(values->begin(), at, values->end());
  return *at;
}

double MicrosecondsSince(int64_t start_ns) { return static_cast<double>(io::SystemClock()->MonotonicNs() - start_ns) * 1e-3; }

void BM_AppendBesideBareSync(benchmark::State& state) {
  const io::TemporaryFolder folder;
  OpenedLog opened = OpenIn(folder.path(), state.range(2) != 0);
  BareFile bare(folder.path());
  const std::string payload(static_cast<size_t>(state.range(0)), 'x');
  const auto in_flight = static_cast<size_t>(state.range(1));
  std::vector<double> device_us, log_us;
  for (auto _ : state) {
    const int64_t device_start_ns = io::SystemClock()->MonotonicNs();
    if (!bare.WriteAndSync()) return state.SkipWithError("sync failed");
    device_us.push_back(MicrosecondsSince(device_start_ns));
    const int64_t log_start_ns = io::SystemClock()->MonotonicNs();
    std::vector<std::future<Result<Lsn>>> futures;
    if (in_flight == 1 && !AppendAndWait(opened.log.get(), MakeEntry(payload)).ok()) return state.SkipWithError("append failed");
    for (size_t i = 0; in_flight > 1 && i < in_flight; ++i) futures.push_back(AppendLater(opened.log.get(), MakeEntry(payload)));
    for (auto& future : futures) {
      if (!future.get().ok()) return state.SkipWithError("append failed");
    }
    log_us.push_back(MicrosecondsSince(log_start_ns));
  }
  state.counters["device_p50_us"] = Percentile(&device_us, 0.5);
  state.counters["device_p99_us"] = Percentile(&device_us, 0.99);
  state.counters["log_p50_us"] = Percentile(&log_us, 0.5);
  state.counters["log_p99_us"] = Percentile(&log_us, 0.99);
  state.counters["ratio_p50"] = Percentile(&log_us, 0.5) / Percentile(&device_us, 0.5);
}
BENCHMARK(BM_AppendBesideBareSync)
    ->ArgNames({"payload_bytes", "in_flight", "direct"})
    ->Args({256, 1, 0})
    ->Args({256, 1, 1})
    ->Args({4 << 10, 1, 0})
    ->Args({64 << 10, 1, 0})
    ->Args({64 << 10, 1, 1})
    ->Args({256, 16, 0})
    ->UseRealTime();

void BM_Throughput(benchmark::State& state) {
  const io::TemporaryFolder folder;
  OpenedLog opened = OpenIn(folder.path(), state.range(2) != 0);
  const Entry entry = MakeEntry(std::string(static_cast<size_t>(state.range(0)), 'x'));
  const auto in_flight = static_cast<size_t>(state.range(1));
  std::deque<std::future<Result<Lsn>>> futures;
  for (auto _ : state) {
    futures.push_back(AppendLater(opened.log.get(), entry));
    if (futures.size() < in_flight) continue;
    if (!futures.front().get().ok()) return state.SkipWithError("append failed");
    futures.pop_front();
    if (state.iterations() % 1024 == 0 && !opened.log->TruncateThrough(opened.log->durable_lsn()).ok()) {
      return state.SkipWithError("truncate failed");
    }
  }
  if (!opened.log->Close().ok()) return state.SkipWithError("close failed");
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Throughput)
    ->ArgNames({"payload_bytes", "in_flight", "direct"})
    ->Args({256, 1'000, 0})
    ->Args({4 << 10, 500, 0})
    ->Args({64 << 10, 200, 0})
    ->Args({1 << 20, 32, 0})
    ->Args({1 << 20, 32, 1})
    ->UseRealTime();

/// Runs `step` for about `ms`; returns how often a second it ran.
template <typename Step>
double RateOf(int64_t ms, Step step) {
  const int64_t start_ns = io::SystemClock()->MonotonicNs();
  int64_t count = 0, took_ns = 0;
  while (took_ns < ms * 1'000'000) {
    step();
    ++count;
    took_ns = io::SystemClock()->MonotonicNs() - start_ns;
  }
  return static_cast<double>(count) / static_cast<double>(took_ns) * 1e9;
}

/// `writers` threads, each of which waits for its answer before it appends again.
double BlockingRate(Log* log, const Entry& entry, int writers, int64_t ms) {
  std::vector<double> rates(static_cast<size_t>(writers));
  std::vector<std::thread> threads;
  for (double& rate : rates) {
    threads.emplace_back([&] { rate = RateOf(ms, [&] { SHEAF_CHECK(AppendAndWait(log, entry).ok()); }); });
  }
  for (std::thread& thread : threads) thread.join();
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

/// One thread that keeps `in_flight` appends going; answers come by callback.
double AsynchronousRate(Log* log, const Entry& entry, int in_flight, int64_t ms) {
  std::counting_semaphore<> free(in_flight);
  const double rate = RateOf(ms, [&] {
    free.acquire();
    SHEAF_CHECK(log->Append(entry, [&](const Result<Lsn>& lsn) {
      SHEAF_CHECK(lsn.ok());
      free.release();
    }).ok());
  });
  for (int i = 0; i < in_flight; ++i) free.acquire();
  return rate;
}

/// How much one sync carries when many wait: rates of one writer and of many, and of the bare device, in turns.
void BM_ManyWriters(benchmark::State& state) {
  const io::TemporaryFolder folder;
  OpenedLog opened = OpenIn(folder.path());
  BareFile bare(folder.path());
  const Entry entry = MakeEntry(std::string(200, 'x'));
  const auto writers = static_cast<int>(state.range(0));
  constexpr int64_t kTurnMs = 250;
  std::vector<double> device, one, blocking, asynchronous;
  for (auto _ : state) {
    device.push_back(RateOf(kTurnMs, [&] { SHEAF_CHECK(bare.WriteAndSync()); }));
    one.push_back(BlockingRate(opened.log.get(), entry, 1, kTurnMs));
    blocking.push_back(BlockingRate(opened.log.get(), entry, writers, kTurnMs));
    asynchronous.push_back(AsynchronousRate(opened.log.get(), entry, writers, kTurnMs));
  }
  const double one_rate = Percentile(&one, 0.5);
  state.counters["device_syncs_s"] = Percentile(&device, 0.5);
  state.counters["one_s"] = one_rate;
  state.counters["blocking_s"] = Percentile(&blocking, 0.5);
  state.counters["async_s"] = Percentile(&asynchronous, 0.5);
  state.counters["blocking_ratio"] = Percentile(&blocking, 0.5) / one_rate;
  state.counters["async_ratio"] = Percentile(&asynchronous, 0.5) / one_rate;
}
BENCHMARK(BM_ManyWriters)->ArgName("writers")->Arg(64)->Iterations(9)->UseRealTime();

/// Reading a log back from the page cache with all checks; the callback does nothing. Read bytes_per_second
/// against cpu_time (of all threads): what a core does.
void BM_Replay(benchmark::State& state) {
  const io::TemporaryFolder folder;
  LogOptions options;
  options.directory = io::Join(folder.path(), "wal");
  const auto payload_bytes = state.range(0), per_block = state.range(1);
  const Entry entry = MakeEntry(std::string(static_cast<size_t>(payload_bytes), 'x'));
  {
    OpenedLog opened = OpenLog(io::PosixFileSystem(), io::SystemClock(), options).ValueOrDie();
    for (int64_t bytes = 0; bytes < (int64_t{512} << 20); bytes += per_block * EntryEnd(0, 0, payload_bytes) + 64) {
      Entry buffered = entry;
      buffered.buffered = true;
      for (int64_t i = 0; i < per_block; ++i) SHEAF_CHECK(opened.log->Append(buffered, [](const Result<Lsn>&) {}).ok());
      SHEAF_CHECK(opened.log->SyncThrough(opened.log->visible_lsn()).ok());
    }
    SHEAF_CHECK(opened.log->Close().ok());
  }
  int64_t bytes = 0, entries = 0;
  for (auto _ : state) {
    const auto found = Recover(io::PosixFileSystem(), options, Lsn(0), Lsn(0), [&](const LoggedEntry&) { return ++entries, Status::OK(); });
    if (!found.ok()) return state.SkipWithError("recovery failed");
    for (const Segment& segment : found->segments) bytes += segment.end_offset;
  }
  state.SetBytesProcessed(bytes);
  state.SetItemsProcessed(entries);
}
BENCHMARK(BM_Replay)
    ->ArgNames({"payload_bytes", "per_block"})
    ->Args({64 << 10, 64})
    ->Args({4 << 10, 256})
    ->Args({200, 4'000})
    ->MeasureProcessCPUTime()
    ->UseRealTime();

/// What a sender pays for one buffered entry: its own thread's time in Append(), answer included. The log's
/// thread writes them meanwhile; when it cannot keep up, the sender waits (not counted, see `throttled`).
void BM_BufferedAppend(benchmark::State& state) {
  const io::TemporaryFolder folder;
  OpenedLog opened = OpenIn(folder.path());
  Entry model = MakeEntry(std::string(static_cast<size_t>(state.range(0)), 'x'));
  model.buffered = true;
  const int64_t pause_ns = state.range(1) > 0 ? 1'000'000'000 / state.range(1) : 0;
  std::vector<double> us;
  us.reserve(10'000'000);
  uint64_t throttled = 0, answered = 0;
  int64_t next_ns = io::SystemClock()->MonotonicNs();
  for (auto _ : state) {
    next_ns = std::max(next_ns + pause_ns, io::SystemClock()->MonotonicNs() - 1'000'000);
    while (io::SystemClock()->MonotonicNs() < next_ns) {
    }
    Entry entry = model;
    const int64_t start_ns = io::SystemClock()->MonotonicNs();
    const Status accepted = opened.log->Append(std::move(entry), [&](Result<Lsn> lsn) { answered += lsn.ok() ? 1 : 0; });
    const double took_us = MicrosecondsSince(start_ns);
    if (accepted.ok()) {
      us.push_back(took_us);
      continue;
    }
    ++throttled;
    if (!opened.log->SyncThrough(opened.log->visible_lsn()).ok()) return state.SkipWithError("sync failed");
    if (!opened.log->TruncateThrough(opened.log->durable_lsn()).ok()) return state.SkipWithError("truncate failed");
  }
  if (answered != us.size()) return state.SkipWithError("an entry was not answered at once");
  state.counters["p50_us"] = Percentile(&us, 0.5);
  state.counters["p99_us"] = Percentile(&us, 0.99);
  state.counters["p999_us"] = Percentile(&us, 0.999);
  state.counters["throttled"] = static_cast<double>(throttled);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_BufferedAppend)->ArgNames({"payload_bytes", "per_second"})->Args({200, 0})->Args({200, 200'000})->UseRealTime();

}  // namespace
}  // namespace sheaf::wal

BENCHMARK_MAIN();
