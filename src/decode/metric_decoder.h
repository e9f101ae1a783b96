/// Metrics to rows of the five otel.metrics_… tables, one row a data point.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "decode/decoder.h"
#include "decode/point_columns.h"

namespace sheaf::decode {

/// What the Metric around a data point says.
struct MetricFacts {
  int32_t temporality = 0;
  bool is_monotonic = false;
};

/// Points of a gauge or a sum.
class NumberPoints {
 public:
  explicit NumberPoints(Signal signal) : signal_(signal), temporality_(TemporalityNames()) {}
  void Start(RequestMemory* memory);
  bool Point(std::string_view message, const MetricFacts& facts, const Envelopes& envelopes, RequestContext* context);
  std::shared_ptr<arrow::RecordBatch> Finish();
  void Trim(int64_t bytes_max);
  const PointColumns& points() const { return points_; }

 private:
  const Signal signal_;  // kGauge or kSum.
  PointColumns points_;
  OptionalColumn<double> value_;
  OptionalColumn<int64_t> value_int_;
  EnumColumn temporality_;
  BitColumn is_monotonic_;
};

class HistogramPoints {
 public:
  HistogramPoints() : temporality_(TemporalityNames()) {}
  void Start(RequestMemory* memory);
  bool Point(std::string_view message, const MetricFacts& facts, const Envelopes& envelopes, RequestContext* context);
  std::shared_ptr<arrow::RecordBatch> Finish();
  void Trim(int64_t bytes_max);
  const PointColumns& points() const { return points_; }

 private:
  PointColumns points_;
  Column<uint64_t> count_;
  OptionalColumn<double> sum_, min_, max_;
  NumberListColumn bucket_counts_, explicit_bounds_;
  EnumColumn temporality_;
};

class ExponentialHistogramPoints {
 public:
  ExponentialHistogramPoints() : temporality_(TemporalityNames()) {}
  void Start(RequestMemory* memory);
  bool Point(std::string_view message, const MetricFacts& facts, const Envelopes& envelopes, RequestContext* context);
  std::shared_ptr<arrow::RecordBatch> Finish();
  void Trim(int64_t bytes_max);
  const PointColumns& points() const { return points_; }

 private:
  /// One side's Buckets message.
  struct BucketColumns {
    BitColumn present;
    Column<int32_t> offset;
    NumberListColumn counts;
    void Start(RequestMemory* memory, int64_t rows);
    void Reserve(int64_t rows);
    bool Read(std::string_view message, int32_t* offset_value, RequestContext* context);
    void Trim(int64_t bytes_max);
  };
  PointColumns points_;
  Column<uint64_t> count_, zero_count_;
  OptionalColumn<double> sum_, min_, max_;
  Column<int32_t> scale_;
  Column<double> zero_threshold_;
  BucketColumns positive_, negative_;
  EnumColumn temporality_;
};

class SummaryPoints {
 public:
  void Start(RequestMemory* memory);
  bool Point(std::string_view message, const MetricFacts& facts, const Envelopes& envelopes, RequestContext* context);
  std::shared_ptr<arrow::RecordBatch> Finish();
  void Trim(int64_t bytes_max);
  const PointColumns& points() const { return points_; }

 private:
  bool ReadQuantile(std::string_view message, RequestContext* context);

  PointColumns points_;
  Column<uint64_t> count_;
  Column<double> sum_;
  Column<int32_t> quantile_offsets_;
  Column<double> quantile_, quantile_value_;
  int64_t quantiles_ = 0;
};

/// Not thread-safe. Start(), Metric() for each, Finish().
class MetricDecoder {
 public:
  MetricDecoder() : gauge_(Signal::kGauge), sum_(Signal::kSum) {}
  void Start(RequestMemory* memory);
  /// Adds the data points of one Metric message; sets the metric's part of `envelopes`. Returns false
  /// where the request must fail.
  bool Metric(std::string_view message, Envelopes* envelopes, RequestContext* context);
  bool TextIsUtf8() const;
  int64_t rows() const;
  /// The tables that got rows.
  std::vector<TableBatch> Finish();
  void Trim(int64_t bytes_max);

 private:
  bool Point(uint32_t kind, std::string_view message, const MetricFacts& facts, const Envelopes& envelopes, RequestContext* context);

  // Started when a request first needs them: most requests have few types of metrics.
  template <typename Points>
  Points* Started(Signal signal, Points* points);
  std::array<bool, kSignals> started_{};
  RequestMemory* memory_ = nullptr;  // Borrowed.
  NumberPoints gauge_, sum_;
  HistogramPoints histogram_;
  ExponentialHistogramPoints exponential_histogram_;
  SummaryPoints summary_;
};

}  // namespace sheaf::decode
