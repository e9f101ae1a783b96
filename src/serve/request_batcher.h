/// Joins small OTLP requests of one signal that come at about the same time, to be decoded and logged together.
///
/// Most of what a request of a few records costs is the batch that it would be: columns, messages in the log, a piece of the memtable
/// that every scan looks at. Requests that come while others are being decoded wait for no longer than that and are then one batch;
/// where so many come that decoding each alone would keep the workers busy for half of the time, they wait a little longer
/// (columns::AdaptiveBatcher says how long, within a latency target). On an idle server a request waits for nothing.
///
/// There is no thread in here: the workers that bring requests decode them. One that finds enough others at work leaves its request to
/// them and is free; the last one at work stays until nothing waits, and sleeps where something is to wait.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "columns/batcher.h"
#include "core/metrics.h"
#include "core/mutex.h"
#include "io/clock.h"
#include "serve/otlp_receiver.h"

namespace sheaf::serve {

/// A request that waits, and how it is answered.
struct WaitingRequest {
  std::unique_ptr<Body> body;
  IngestAnswer answer;
};

struct RequestBatcherOptions {
  int64_t latency_target_ns = 5'000'000;   // From a request's arrival until it is in the log's queue. 0: requests are not joined.
  int64_t batch_bytes_max = 256 << 10;     // Of requests in a batch.
  int workers_max = 1;                     // Workers that decode at once. One less than there are, so that one is left to gather.
};

/// Thread-safe. Nothing may wait in it when it goes: every Add() has returned, which is so once its transport is shut down.
class RequestBatcher {
 public:
  /// Decodes requests, hands them to the log, and answers each, now or later. Runs without a lock, on several threads at once.
  using Work = std::function<void(std::vector<WaitingRequest>)>;

  /// Borrows `clock`. `signal` names the metrics.
  RequestBatcher(const std::string& signal, const RequestBatcherOptions& options, io::Clock* clock, Work work);

  /// Takes a request, and works on requests for as long as that is this thread's turn.
  void Add(WaitingRequest request) SHEAF_EXCLUDES(mutex_);

  columns::BatchReport Report() const SHEAF_EXCLUDES(mutex_);

 private:
  using Queue = columns::BatchQueue<WaitingRequest>;
  void WorkOff() SHEAF_EXCLUDES(mutex_);
  /// The next batch, waiting for it where it is this worker's to wait; empty where others see to the rest.
  columns::Batch<WaitingRequest> Next() SHEAF_REQUIRES(mutex_);
  void ShowChoice() SHEAF_REQUIRES(mutex_);

  /// What a batcher chose, and why.
  struct BatcherMetrics {
    explicit BatcherMetrics(const std::string& signal);
    std::array<Counter*, columns::kBatchReasons> batches;
    std::array<Gauge*, columns::kWaitReasons> wait_reasons;  // 1 for the one that holds.
    Counter* requests;
    Gauge *wait_us, *batch_bytes, *requests_per_second, *flush_us;
  };

  const RequestBatcherOptions options_;
  io::Clock* const clock_;  // Borrowed.
  const Work work_;
  const BatcherMetrics metrics_;
  mutable Mutex mutex_;
  CondVar due_;
  Queue queue_ SHEAF_GUARDED_BY(mutex_);
  int workers_ SHEAF_GUARDED_BY(mutex_) = 0;         // In WorkOff(). At least one while something waits.
  bool one_sleeps_ SHEAF_GUARDED_BY(mutex_) = false;  // Of them, until the next batch is due.
};

}  // namespace sheaf::serve
