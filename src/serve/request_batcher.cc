#include "serve/request_batcher.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace sheaf::serve {
namespace {

constexpr int64_t kRequestsMax = 1024;          // In a batch.
constexpr int64_t kWaitingBytesMax = 16 << 20;  // Waiting and being decoded; the transport bounds what requests hold altogether.
/// Of the processor time of the workers that decode: below it, nothing waits but for them.
constexpr double kBusyShare = 0.5;

columns::AdaptiveBatcher::Options PolicyOf(const RequestBatcherOptions& options) {
  return {.bounds = {.min = {1, 1}, .wait_ns = options.latency_target_ns, .max = {kRequestsMax, options.batch_bytes_max}},
          .latency_target_ns = std::max<int64_t>(options.latency_target_ns, 1),
          .memory_bytes_max = kWaitingBytesMax,
          .busy_share = kBusyShare,
          .flushers = options.workers_max};
}

}  // namespace

RequestBatcher::BatcherMetrics::BatcherMetrics(const std::string& signal) {
  MetricRegistry& all = Metrics();
  for (size_t i = 0; i < columns::kBatchReasons; ++i) {
    const std::string reason(columns::BatchReasonName(static_cast<columns::BatchReason>(i)));
    batches[i] = &all.AddCounter("sheaf_batcher_batches_total", "Batches of requests, by why they waited no longer.",
                                 {{"signal", signal}, {"reason", reason}});
  }
  for (size_t i = 0; i < columns::kWaitReasons; ++i) {
    const std::string reason(columns::WaitReasonName(static_cast<columns::WaitReason>(i)));
    wait_reasons[i] = &all.AddGauge("sheaf_batcher_wait_reason", "1 for why requests wait as long as they do.",
                                    {{"signal", signal}, {"reason", reason}});
  }
  const Labels labels = {{"signal", signal}};
  requests = &all.AddCounter("sheaf_batcher_requests_total", "Requests in batches.", labels);
  wait_us = &all.AddGauge("sheaf_batcher_wait_microseconds", "Longest that a request waits for others now.", labels);
  batch_bytes = &all.AddGauge("sheaf_batcher_batch_bytes", "Bytes of requests with which a batch waits no longer now.", labels);
  requests_per_second = &all.AddGauge("sheaf_batcher_requests_per_second", "Requests that arrive, as measured lately.", labels);
  flush_us = &all.AddGauge("sheaf_batcher_flush_microseconds", "Processor time that a batch takes to decode and to log, whatever its size.",
                           labels);
}

RequestBatcher::RequestBatcher(const std::string& signal, const RequestBatcherOptions& options, io::Clock* clock, Work work)
    : options_(options), clock_(clock), work_(std::move(work)), metrics_(signal), queue_(PolicyOf(options)) {}

void RequestBatcher::Add(WaitingRequest request) {
  const auto bytes = static_cast<int64_t>(request.body->bytes().size());
  if (options_.latency_target_ns == 0 || bytes > options_.batch_bytes_max / 2) {  // Large enough by itself.
    std::vector<WaitingRequest> alone;
    alone.push_back(std::move(request));
    return work_(std::move(alone));
  }
  {
    const MutexLock lock(&mutex_);
    const int64_t now_ns = clock_->MonotonicNs();
    queue_.Add(std::move(request), {.rows = 1, .bytes = bytes}, now_ns);
    if (workers_ >= options_.workers_max) {
      if (one_sleeps_ && queue_.batcher().Due(now_ns) != columns::BatchReason::kNone) due_.NotifyOne();
      return;
    }
    ++workers_;
  }
  WorkOff();
}

columns::Batch<WaitingRequest> RequestBatcher::Next() {
  for (;;) {
    const int64_t now_ns = clock_->MonotonicNs();
    columns::Batch<WaitingRequest> batch = queue_.Take(now_ns);
    if (!batch.items.empty() || queue_.empty() || one_sleeps_) return batch;
    one_sleeps_ = true;
    due_.WaitFor(&mutex_, std::chrono::nanoseconds(queue_.batcher().DeadlineNs() - now_ns));
    one_sleeps_ = false;
  }
}

void RequestBatcher::WorkOff() {
  columns::BatchSize size;
  int64_t begin_cpu_ns = 0;
  for (;;) {
    columns::Batch<WaitingRequest> batch;
    {
      const MutexLock lock(&mutex_);
      if (size.rows > 0) {
        // Not the time it took: on a busy machine that is mostly other threads' work, which larger batches do not lessen.
        queue_.batcher().Flushed(size, io::ThreadCpuNs() - begin_cpu_ns, clock_->MonotonicNs());
        ShowChoice();
      }
      batch = Next();
      if (batch.items.empty()) {
        --workers_;
        return;
      }
      begin_cpu_ns = io::ThreadCpuNs();
    }
    size = batch.size;
    metrics_.batches[static_cast<size_t>(batch.reason)]->Add();
    metrics_.requests->Add(batch.items.size());
    work_(std::move(batch.items));
  }
}

void RequestBatcher::ShowChoice() {
  const columns::BatchReport report = queue_.batcher().Report(clock_->MonotonicNs());
  metrics_.wait_us->Set(report.limits.wait_ns / 1'000);
  metrics_.batch_bytes->Set(report.limits.min.bytes);
  metrics_.requests_per_second->Set(static_cast<int64_t>(report.items_per_second));
  metrics_.flush_us->Set(static_cast<int64_t>(report.flush_ns_fixed / 1'000));
  for (size_t i = 0; i < columns::kWaitReasons; ++i) {
    metrics_.wait_reasons[i]->Set(i == static_cast<size_t>(report.wait_reason) ? 1 : 0);
  }
}

columns::BatchReport RequestBatcher::Report() const {
  const MutexLock lock(&mutex_);
  return queue_.batcher().Report(clock_->MonotonicNs());
}

}  // namespace sheaf::serve
