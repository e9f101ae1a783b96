/// Counters, gauges and histograms that modules write and `serve` prints as Prometheus text.
///
/// A metric is made once (a static or a member) and then updated without locks:
///   static Counter& rows = Metrics().AddCounter("sheaf_ingest_rows_total", "Rows accepted.", {{"signal", "traces"}});
///   rows.Add(batch->num_rows());
/// Names follow Prometheus: unit last, `_total` on counters, seconds and bytes as base units.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/mutex.h"

namespace sheaf {

using Labels = std::vector<std::pair<std::string, std::string>>;

/// Only goes up.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

/// Goes up and down.
class Gauge {
 public:
  void Set(int64_t v) { value_.store(v, std::memory_order_relaxed); }
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

/// Durations, in buckets from 10 µs to 10 s (1-2-5 steps), then infinity.
class Histogram {
 public:
  static constexpr size_t kBuckets = 19;
  /// Upper bound of bucket i, in seconds.
  static double Bound(size_t i);
  void Observe(double seconds);
  /// Counts per bucket (not cumulative; the last is the overflow), and the sum in seconds.
  std::array<uint64_t, kBuckets + 1> counts() const;
  double sum() const;

 private:
  std::array<std::atomic<uint64_t>, kBuckets + 1> counts_{};
  std::atomic<uint64_t> sum_ns_{0};
};

/// All metrics of the process. Thread-safe. References stay valid for the life of the registry.
class MetricRegistry {
 public:
  Counter& AddCounter(const std::string& name, const std::string& help, Labels labels = {}) SHEAF_EXCLUDES(mutex_);
  Gauge& AddGauge(const std::string& name, const std::string& help, Labels labels = {}) SHEAF_EXCLUDES(mutex_);
  Histogram& AddHistogram(const std::string& name, const std::string& help, Labels labels = {}) SHEAF_EXCLUDES(mutex_);

  /// Prometheus text format 0.0.4 of everything registered, in order of name.
  std::string ToText() const SHEAF_EXCLUDES(mutex_);

 private:
  struct Entry {
    std::string name, help;
    Labels labels;
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
  };
  Entry& FindOrAdd(const std::string& name, const std::string& help, Labels labels) SHEAF_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::vector<std::unique_ptr<Entry>> entries_ SHEAF_GUARDED_BY(mutex_);
};

/// The registry of this process.
MetricRegistry& Metrics();

}  // namespace sheaf
