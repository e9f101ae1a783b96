/// Rows of the otel.metrics_… tables to UNIVARIATE_METRICS, the tables of data points, exemplars and their attributes.

#include <utility>

#include "decode/otap_signal_writers.h"
#include "decode/record_id.h"

namespace sheaf::decode {
namespace {

using wire::OtapPayload;

constexpr OtapColumnRule kMetricColumns[] = {
    {OtapField::kId, "id", OtapForm::kU16, kOtapAlways},
    {OtapField::kMetricType, "metric_type", OtapForm::kU8, kOtapAlways},
    {OtapField::kName, "name", OtapForm::kText, kOtapAlways | kOtapDictionary},
    {OtapField::kDescription, "description", OtapForm::kText, kOtapDictionary},
    {OtapField::kUnit, "unit", OtapForm::kText, kOtapDictionary},
    {OtapField::kTemporality, "aggregation_temporality", OtapForm::kI32},
    {OtapField::kIsMonotonic, "is_monotonic", OtapForm::kBool},
};
constexpr auto kMetricRules = OtapRootRules(kMetricColumns);

/// What all data points have; then those of each kind.
#define POINT_COLUMNS                                                                                                      \
  {OtapField::kId, "id", OtapForm::kU32, kOtapOptional}, {OtapField::kParentId, "parent_id", OtapForm::kU16, kOtapAlways}, \
      {OtapField::kStartTime, "start_time_unix_nano", OtapForm::kTime},                                                    \
      {OtapField::kTime, "time_unix_nano", OtapForm::kTime, kOtapAlways}, {                                                \
    OtapField::kFlags, "flags", OtapForm::kU32                                                                             \
  }
#define HISTOGRAM_COLUMNS                                                                                \
  {OtapField::kCount, "count", OtapForm::kU64}, {OtapField::kSum, "sum", OtapForm::kF64, kOtapOptional}, \
      {OtapField::kMin, "min", OtapForm::kF64, kOtapOptional}, {                                         \
    OtapField::kMax, "max", OtapForm::kF64, kOtapOptional                                                \
  }

constexpr OtapColumnRule kNumberRules[] = {
    POINT_COLUMNS,
    {OtapField::kIntValue, "int_value", OtapForm::kI64, kOtapOptional},
    {OtapField::kDoubleValue, "double_value", OtapForm::kF64, kOtapOptional},
};
constexpr OtapColumnRule kHistogramRules[] = {
    POINT_COLUMNS,
    HISTOGRAM_COLUMNS,
    {OtapField::kBucketCounts, "bucket_counts", OtapForm::kU64List},
    {OtapField::kExplicitBounds, "explicit_bounds", OtapForm::kF64List},
};
constexpr OtapColumnRule kExponentialRules[] = {
    POINT_COLUMNS,
    HISTOGRAM_COLUMNS,
    {OtapField::kScale, "scale", OtapForm::kI32},
    {OtapField::kZeroCount, "zero_count", OtapForm::kU64},
    {OtapField::kZeroThreshold, "zero_threshold", OtapForm::kF64},
    {OtapField::kPositive, "positive", OtapForm::kStruct},
    {OtapField::kPositiveOffset, "offset", OtapForm::kI32, kOtapAlways | kOtapChild},
    {OtapField::kPositiveCounts, "bucket_counts", OtapForm::kU64List, kOtapAlways | kOtapChild},
    {OtapField::kNegative, "negative", OtapForm::kStruct},
    {OtapField::kNegativeOffset, "offset", OtapForm::kI32, kOtapAlways | kOtapChild},
    {OtapField::kNegativeCounts, "bucket_counts", OtapForm::kU64List, kOtapAlways | kOtapChild},
};
constexpr OtapColumnRule kSummaryRules[] = {
    POINT_COLUMNS,
    {OtapField::kCount, "count", OtapForm::kU64},
    {OtapField::kSum, "sum", OtapForm::kF64},
    {OtapField::kQuantiles, "quantile", OtapForm::kQuantileList},
};
#undef POINT_COLUMNS
#undef HISTOGRAM_COLUMNS

constexpr OtapColumnRule kExemplarRules[] = {
    {OtapField::kId, "id", OtapForm::kU32, kOtapOptional},
    {OtapField::kParentId, "parent_id", OtapForm::kU32, kOtapAlways},
    {OtapField::kTime, "time_unix_nano", OtapForm::kTime},
    {OtapField::kIntValue, "int_value", OtapForm::kI64, kOtapOptional},
    {OtapField::kDoubleValue, "double_value", OtapForm::kF64, kOtapOptional},
    {OtapField::kSpanId, "span_id", OtapForm::kFixed8, kOtapAlways},
    {OtapField::kTraceId, "trace_id", OtapForm::kFixed16, kOtapAlways},
};

/// OTel-Arrow's numbers of metric types.
uint8_t MetricTypeOf(Signal signal) {
  switch (signal) {
    case Signal::kGauge: return 1;
    case Signal::kSum: return 2;
    case Signal::kHistogram: return 3;
    case Signal::kExponentialHistogram: return 4;
    default: return 5;
  }
}

/// `value` and `value_int` of points or exemplars: what was an integer is sent as one.
void CopyValues(const OtapArrays& values, const OtapArrays& ints, const OtapRuns& rows, OtapTableWriter* table) {
  CopyOptional<double>(values, rows, &(*table)[OtapField::kDoubleValue]);
  CopyOptional<int64_t>(ints, rows, &(*table)[OtapField::kIntValue]);
  uint8_t* is_double = (*table)[OtapField::kDoubleValue].Presence();
  auto* doubles = (*table)[OtapField::kDoubleValue].ZeroedValues<double>();
  const uint8_t* is_int = (*table)[OtapField::kIntValue].Presence();
  for (int64_t i = 0; i < rows.rows(); ++i) {
    if (is_int[i] == 0) continue;
    is_double[i] = 0;
    doubles[i] = 0;
  }
}

/// One kind of data points, with their attributes and exemplars.
class PointWriter {
 public:
  struct Types {
    OtapPayload points, attributes, exemplars, exemplar_attributes;
  };
  PointWriter(const Types& types, std::span<const OtapColumnRule> rules)
      : points(types.points, rules),
        attributes(types.attributes, 4),
        exemplars(types.exemplars, kExemplarRules),
        exemplar_attributes(types.exemplar_attributes, 4),
        has_exemplars_(types.points != OtapPayload::kSummaryPoints) {}

  void Start(const OtapWriteContext& context) {
    rows_.Clear();
    parents_.clear();
    attributes.Start(context.memory, context.dictionary_bytes_max);
    exemplar_attributes.Start(context.memory, context.dictionary_bytes_max);
  }
  /// Rows of a metric. Metrics come in order of their ids.
  void Add(int32_t source, int64_t begin, int64_t n, uint32_t metric) {
    rows_.Add(source, begin, n);
    parents_.insert(parents_.end(), static_cast<size_t>(n), metric);
  }

  Status Fill(std::span<const TableBatch> batches, const OtapWriteContext& context) {
    points.Start(context.memory, rows_.rows(), context.dictionary_bytes_max);
    exemplar_rows_.Clear();
    if (rows_.rows() > 0) {
      auto* parents = points[OtapField::kParentId].Values<uint16_t>();
      for (size_t i = 0; i < parents_.size(); ++i)
        parents[i] = static_cast<uint16_t>(parents_[i] - (i > 0 ? parents_[i - 1] : 0));
      SHEAF_RETURN_NOT_OK(FillPoints(batches));
      attributes.Fill();
      FillValues(batches);
    }
    return FillExemplars(batches, context);
  }

  OtapTableWriter points;
  OtapAttributeWriter attributes;
  OtapTableWriter exemplars;
  OtapAttributeWriter exemplar_attributes;

 private:
  template <typename T>
  void Numbers(std::span<const TableBatch> batches, OtapField field, const char* name) {
    CopyNumbers<T>(ColumnsOf(batches, name), rows_, points[field].Values<T>());
  }

  Status FillPoints(std::span<const TableBatch> batches) {
    Numbers<uint64_t>(batches, OtapField::kTime, "time");
    Numbers<uint64_t>(batches, OtapField::kStartTime, "start_time");
    Numbers<uint32_t>(batches, OtapField::kFlags, "flags");
    std::vector<ListView> lists(batches.size());
    for (size_t i = 0; has_exemplars_ && i < batches.size(); ++i) {
      if (const auto column = batches[i].batch->GetColumnByName("exemplars")) lists[i] = ListView(*column);
    }
    return FillIds<uint32_t>(ColumnsOf(batches, "attributes"), rows_, &attributes, &points[OtapField::kId],
                             [&](int32_t source, int64_t row, uint32_t id) {
                               if (!has_exemplars_) return false;
                               const ListView& list = lists[static_cast<size_t>(source)];
                               exemplar_rows_.Add(source, list, row, id);
                               return list.begin(row) < list.end(row);
                             });
  }

  void FillValues(std::span<const TableBatch> batches) {
    switch (points.type()) {
      case OtapPayload::kNumberPoints:
        return CopyValues(ColumnsOf(batches, "value"), ColumnsOf(batches, "value_int"), rows_, &points);
      case OtapPayload::kHistogramPoints:
        FillHistogram(batches);
        CopyLists(ColumnsOf(batches, "bucket_counts"), rows_, &points[OtapField::kBucketCounts]);
        return CopyLists(ColumnsOf(batches, "explicit_bounds"), rows_, &points[OtapField::kExplicitBounds]);
      case OtapPayload::kExponentialHistogramPoints: return FillExponentialHistogram(batches);
      default:
        Numbers<uint64_t>(batches, OtapField::kCount, "count");
        Numbers<uint64_t>(batches, OtapField::kSum, "sum");
        return CopyQuantiles(ColumnsOf(batches, "quantile_values"), rows_, &points[OtapField::kQuantiles]);
    }
  }

  void FillHistogram(std::span<const TableBatch> batches) {
    Numbers<uint64_t>(batches, OtapField::kCount, "count");
    CopyOptional<uint64_t>(ColumnsOf(batches, "sum"), rows_, &points[OtapField::kSum]);
    CopyOptional<uint64_t>(ColumnsOf(batches, "min"), rows_, &points[OtapField::kMin]);
    CopyOptional<uint64_t>(ColumnsOf(batches, "max"), rows_, &points[OtapField::kMax]);
  }

  void FillExponentialHistogram(std::span<const TableBatch> batches) {
    FillHistogram(batches);
    Numbers<int32_t>(batches, OtapField::kScale, "scale");
    Numbers<uint64_t>(batches, OtapField::kZeroCount, "zero_count");
    Numbers<uint64_t>(batches, OtapField::kZeroThreshold, "zero_threshold");
    CopyBools(ColumnsOf(batches, "has_positive"), rows_, points[OtapField::kPositive].Presence());
    Numbers<int32_t>(batches, OtapField::kPositiveOffset, "positive_offset");
    CopyLists(ColumnsOf(batches, "positive_bucket_counts"), rows_, &points[OtapField::kPositiveCounts]);
    CopyBools(ColumnsOf(batches, "has_negative"), rows_, points[OtapField::kNegative].Presence());
    Numbers<int32_t>(batches, OtapField::kNegativeOffset, "negative_offset");
    CopyLists(ColumnsOf(batches, "negative_bucket_counts"), rows_, &points[OtapField::kNegativeCounts]);
  }

  Status FillExemplars(std::span<const TableBatch> batches, const OtapWriteContext& context) {
    const OtapRuns& rows = exemplar_rows_.rows;
    exemplars.Start(context.memory, rows.rows(), context.dictionary_bytes_max);
    if (rows.rows() == 0) return Status::OK();
    const OtapArrays lists = ColumnsOf(batches, "exemplars");
    CopyNumbers<uint64_t>(ItemFieldsOf(lists, 0), rows, exemplars[OtapField::kTime].Values<uint64_t>());
    CopyValues(ItemFieldsOf(lists, 1), ItemFieldsOf(lists, 2), rows, &exemplars);
    // The Go library refuses exemplars without ids: none is all zero.
    std::vector<uint8_t> present(static_cast<size_t>(rows.rows()));
    CopyOptional<TraceIdBytes>(ItemFieldsOf(lists, 3), rows, present.data(),
                               exemplars[OtapField::kTraceId].Values<TraceIdBytes>());
    CopyOptional<SpanIdBytes>(ItemFieldsOf(lists, 4), rows, present.data(), exemplars[OtapField::kSpanId].Values<SpanIdBytes>());
    FillExemplarParents();
    SHEAF_RETURN_NOT_OK(FillIds<uint32_t>(ItemFieldsOf(lists, 5), rows, &exemplar_attributes, &exemplars[OtapField::kId],
                                          [](int32_t, int64_t, uint32_t) { return false; }));
    exemplar_attributes.Fill();
    return Status::OK();
  }

  /// Parents are differences where the value is that of the last row that had one; without a value always.
  void FillExemplarParents() {
    const uint8_t* is_int = exemplars[OtapField::kIntValue].Presence();
    const uint8_t* is_double = exemplars[OtapField::kDoubleValue].Presence();
    const auto* ints = exemplars[OtapField::kIntValue].ZeroedValues<int64_t>();
    const auto* doubles = exemplars[OtapField::kDoubleValue].ZeroedValues<double>();
    int64_t last = -1;
    exemplar_rows_.FillParents<uint32_t>(&exemplars[OtapField::kParentId], [&](int64_t i) {
      if (is_int[i] == 0 && is_double[i] == 0) return true;
      const int64_t before = std::exchange(last, i);
      if (before < 0 || is_int[before] != is_int[i]) return false;
      return is_int[i] != 0 ? ints[before] == ints[i] : doubles[before] == doubles[i];
    });
  }

  const bool has_exemplars_;
  OtapRuns rows_;
  std::vector<uint32_t> parents_;  // The ids of their metrics.
  OtapChildren exemplar_rows_;
};

class MetricWriter : public OtapSignalWriter {
 public:
  MetricWriter() {
    Own({&metrics_});
    OwnEnvelopes();
    Own({&metadata_});
    for (PointWriter* kind : Kinds()) {
      Own({&kind->points, &kind->exemplars});
      Own({&kind->attributes, &kind->exemplar_attributes});
    }
  }

  Status Fill(std::span<const TableBatch> batches, const OtapWriteContext& context) override {
    envelopes_.Order(batches, true, context.memory, context.dictionary_bytes_max);
    metrics_.Start(context.memory, static_cast<int64_t>(envelopes_.groups().size()), context.dictionary_bytes_max);
    metadata_.Start(context.memory, context.dictionary_bytes_max);
    SHEAF_RETURN_NOT_OK(envelopes_.Fill(false, &metrics_));
    SHEAF_RETURN_NOT_OK(FillMetrics(batches, context.metric_metadata));
    metadata_.Fill();
    for (PointWriter* kind : Kinds()) kind->Start(context);
    Distribute(batches);
    for (PointWriter* kind : Kinds()) SHEAF_RETURN_NOT_OK(kind->Fill(batches, context));
    return Status::OK();
  }

 private:
  std::array<PointWriter*, 4> Kinds() { return {&numbers_, &histograms_, &exponentials_, &summaries_}; }

  PointWriter& KindOf(Signal signal) {
    switch (signal) {
      case Signal::kGauge:
      case Signal::kSum: return numbers_;
      case Signal::kHistogram: return histograms_;
      case Signal::kExponentialHistogram: return exponentials_;
      default: return summaries_;
    }
  }

  /// A row for each group: its metric.
  Status FillMetrics(std::span<const TableBatch> batches, bool metadata) {
    auto* ids = metrics_[OtapField::kId].Values<uint16_t>();
    auto* types = metrics_[OtapField::kMetricType].Values<uint8_t>();
    auto* temporality = metrics_[OtapField::kTemporality].Values<int32_t>(true);
    auto* monotonic = metrics_[OtapField::kIsMonotonic].Values<uint8_t>(true);
    for (size_t i = 0; i < envelopes_.groups().size(); ++i) {
      OtapGroup& group = envelopes_.groups()[i];
      const TableBatch& table = batches[static_cast<size_t>(group.table)];
      ids[i] = i > 0;
      types[i] = MetricTypeOf(table.signal);
      const std::string_view bytes = envelopes_.metric(group);
      SHEAF_ASSIGN_OR_RETURN(const MetricEnvelope metric, ParseMetricEnvelope(bytes));
      bool exact = MetricIsExact(bytes) && (metadata || metric.metadata.empty());
      metrics_[OtapField::kName].Put(metadata_.Repaired(metric.name, &exact));
      metrics_[OtapField::kDescription].Put(metadata_.Repaired(metric.description, &exact));
      metrics_[OtapField::kUnit].Put(metadata_.Repaired(metric.unit, &exact));
      for (size_t j = 0; metadata && j < metric.metadata.size(); ++j) {
        SHEAF_RETURN_NOT_OK(metadata_.Add(static_cast<uint32_t>(i), metric.metadata[j], &exact));
      }
      group.inexact |= !exact;
      if (const auto column = table.batch->GetColumnByName("aggregation_temporality")) {
        const std::string_view name = DictionaryView(*column)[group.first_row];
        if (!TemporalityNames().Parse(name, &temporality[i]))
          return MakeError(ErrorKind::kInvalid, "column aggregation_temporality: '{}' is neither a name nor a number", name);
      }
      if (const auto column = table.batch->GetColumnByName("is_monotonic")) monotonic[i] = BoolView(*column)[group.first_row];
    }
    return Status::OK();
  }

  /// Gives rows to the tables of their kinds.
  void Distribute(std::span<const TableBatch> batches) {
    auto run = envelopes_.rows().runs().begin();
    int64_t taken = 0;  // Of the run.
    for (size_t i = 0; i < envelopes_.groups().size(); ++i) {
      const OtapGroup& group = envelopes_.groups()[i];
      PointWriter& kind = KindOf(batches[static_cast<size_t>(group.table)].signal);
      for (int64_t left = group.rows; left > 0;) {
        const int64_t n = std::min(left, run->n - taken);
        kind.Add(run->source, run->begin + taken, n, static_cast<uint32_t>(i));
        left -= n;
        taken += n;
        if (taken < run->n) continue;
        ++run;
        taken = 0;
      }
    }
  }

  OtapTableWriter metrics_{OtapPayload::kMetrics, kMetricRules};
  OtapAttributeWriter metadata_{OtapPayload::kMetricAttrs, 2};
  PointWriter numbers_{{OtapPayload::kNumberPoints, OtapPayload::kNumberPointAttrs, OtapPayload::kNumberExemplars,
                        OtapPayload::kNumberExemplarAttrs},
                       kNumberRules};
  PointWriter histograms_{{OtapPayload::kHistogramPoints, OtapPayload::kHistogramPointAttrs, OtapPayload::kHistogramExemplars,
                           OtapPayload::kHistogramExemplarAttrs},
                          kHistogramRules};
  PointWriter exponentials_{{OtapPayload::kExponentialHistogramPoints, OtapPayload::kExponentialHistogramPointAttrs,
                             OtapPayload::kExponentialHistogramExemplars, OtapPayload::kExponentialHistogramExemplarAttrs},
                            kExponentialRules};
  PointWriter summaries_{{OtapPayload::kSummaryPoints, OtapPayload::kSummaryPointAttrs, {}, {}}, kSummaryRules};
};

}  // namespace

std::unique_ptr<OtapSignalWriter> MakeOtapMetricWriter() { return std::make_unique<MetricWriter>(); }

}  // namespace sheaf::decode
