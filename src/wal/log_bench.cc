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
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "io/folder_testing.h"
#include "io/posix.h"
#include "wal/log_testing.h"

namespace sheaf::wal {
namespace {

OpenedLog OpenIn(const std::string& folder) {
  LogOptions options;
  options.directory = io::Join(folder, "wal");
  return OpenLog(io::PosixFileSystem(), io::SystemClock(), options).ValueOrDie();
}

/// A file to sync by hand.
class BareFile {
 public:
  explicit BareFile(const std::string& folder)
      : file_(io::PosixFileSystem()->Open(io::Join(folder, "bare"), io::OpenMode::kCreate).ValueOrDie()), page_(4096) {
    if (!file_->Allocate(kBytes).ok() || !file_->Sync().ok()) std::abort();
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
  OpenedLog opened = OpenIn(folder.path());
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
    for (size_t i = 0; i < in_flight; ++i) futures.push_back(AppendLater(opened.log.get(), MakeEntry(payload)));
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
    ->ArgNames({"payload_bytes", "in_flight"})
    ->Args({256, 1})
    ->Args({4 << 10, 1})
    ->Args({64 << 10, 1})
    ->Args({256, 16})
    ->UseRealTime();

void BM_Throughput(benchmark::State& state) {
  const io::TemporaryFolder folder;
  OpenedLog opened = OpenIn(folder.path());
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
    ->ArgNames({"payload_bytes", "in_flight"})
    ->Args({256, 1'000})
    ->Args({4 << 10, 500})
    ->Args({64 << 10, 200})
    ->Args({1 << 20, 32})
    ->UseRealTime();

}  // namespace
}  // namespace sheaf::wal

BENCHMARK_MAIN();
