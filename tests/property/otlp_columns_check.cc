#include "property/otlp_columns_check.h"

#include <arrow/api.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"

namespace sheaf::property {
namespace {

namespace otlp = opentelemetry::proto;
using decode::Signal;
using google::protobuf::Message;

template <typename Resource>
void SetEnvelope(const Resource& resource, FlatRecord* flat) {
  for (const auto& attribute : resource.resource().attributes()) {
    if (attribute.key() != "service.name") continue;
    flat->service_is_text = attribute.value().has_string_value();
    flat->service_name = attribute.value().string_value();
    break;
  }
}

/// A copy without the repeated field `records`, serialised.
template <typename Envelope>
std::string Without(Envelope envelope, const char* records) {
  envelope.GetReflection()->ClearField(&envelope, envelope.GetDescriptor()->FindFieldByName(records));
  return envelope.SerializeAsString();
}

bool IsZero(const std::string& id) { return id.find_first_not_of('\0') == std::string::npos; }

bool IsRejected(const otlp::trace::v1::Span& span) {
  return span.trace_id().size() != 16 || IsZero(span.trace_id()) || span.span_id().size() != 8 || IsZero(span.span_id()) ||
         (!span.parent_span_id().empty() && span.parent_span_id().size() != 8);
}

/// Appends the points of one data member; `data` is a mutable copy inside `metric`.
template <typename Data>
void AddPoints(Signal signal, FlatRecord flat, otlp::metrics::v1::Metric metric, Data* data, std::vector<FlatRecord>* out) {
  const auto points = data->data_points();
  data->clear_data_points();
  flat.signal = signal;
  flat.metric = metric.SerializeAsString();
  flat.metric_name = metric.name();
  flat.unit = metric.unit();
  for (const auto& point : points) {
    FlatRecord one{signal,           flat.resource, flat.scope,       flat.metric,       flat.service_name, flat.service_is_text,
                   flat.metric_name, flat.unit,     flat.temporality, flat.is_monotonic, {}};
    one.record.reset(point.New());
    one.record->CopyFrom(point);
    out->push_back(std::move(one));
  }
}

void FlattenMetric(const otlp::metrics::v1::Metric& from, FlatRecord flat, std::vector<FlatRecord>* out) {
  using Metric = otlp::metrics::v1::Metric;
  Metric metric = from;
  // The metric is serialised without its points: AddPoints gets the member of a copy, emptied first.
  switch (from.data_case()) {
    case Metric::kGauge: {
      auto points = *metric.mutable_gauge();
      metric.mutable_gauge()->clear_data_points();
      return AddPoints(Signal::kGauge, std::move(flat), metric, &points, out);
    }
    case Metric::kSum: {
      auto points = *metric.mutable_sum();
      metric.mutable_sum()->clear_data_points();
      flat.temporality = points.aggregation_temporality();
      flat.is_monotonic = points.is_monotonic();
      return AddPoints(Signal::kSum, std::move(flat), metric, &points, out);
    }
    case Metric::kHistogram: {
      auto points = *metric.mutable_histogram();
      metric.mutable_histogram()->clear_data_points();
      flat.temporality = points.aggregation_temporality();
      return AddPoints(Signal::kHistogram, std::move(flat), metric, &points, out);
    }
    case Metric::kExponentialHistogram: {
      auto points = *metric.mutable_exponential_histogram();
      metric.mutable_exponential_histogram()->clear_data_points();
      flat.temporality = points.aggregation_temporality();
      return AddPoints(Signal::kExponentialHistogram, std::move(flat), metric, &points, out);
    }
    case Metric::kSummary: {
      auto points = *metric.mutable_summary();
      metric.mutable_summary()->clear_data_points();
      return AddPoints(Signal::kSummary, std::move(flat), metric, &points, out);
    }
    default:
      return;
  }
}

class RowCheck {
 public:
  RowCheck(const arrow::StructArray& rows, int64_t row) : rows_(rows), row_(row) {}

  std::shared_ptr<arrow::Array> Column(const char* name) const {
    auto column = rows_.GetFieldByName(name);
    EXPECT_TRUE(column) << name;
    return column;
  }
  bool IsNull(const char* name) const { return Column(name)->IsNull(row_); }
  template <typename T>
  T Number(const char* name) const {
    return Column(name)->data()->GetValues<T>(1)[row_];
  }
  bool Bool(const char* name) const { return static_cast<const arrow::BooleanArray&>(*Column(name)).Value(row_); }
  std::string Text(const char* name) const {
    auto column = Column(name);
    if (column->IsNull(row_)) return "";
    switch (column->type_id()) {
      case arrow::Type::DICTIONARY: {
        const auto& d = static_cast<const arrow::DictionaryArray&>(*column);
        return static_cast<const arrow::BinaryArray&>(*d.dictionary()).GetString(d.GetValueIndex(row_));
      }
      case arrow::Type::FIXED_SIZE_BINARY:
        return static_cast<const arrow::FixedSizeBinaryArray&>(*column).GetString(row_);
      default:
        return static_cast<const arrow::BinaryArray&>(*column).GetString(row_);
    }
  }
  /// The items of a list of structs, and where the row's stand.
  std::pair<int64_t, int64_t> Range(const char* name) const {
    const auto column = Column(name);
    const auto& list = static_cast<const arrow::ListArray&>(*column);
    return {list.value_offset(row_), list.value_offset(row_ + 1)};
  }
  std::shared_ptr<arrow::Array> Items(const char* name) const { return static_cast<const arrow::ListArray&>(*Column(name)).values(); }
  RowCheck Item(const char* name, int64_t i) const { return {static_cast<const arrow::StructArray&>(*Items(name)), i}; }

  template <typename Repeated>
  void ExpectAttributes(const char* name, const Repeated& attributes) const {
    const auto [begin, end] = Range(name);
    ASSERT_EQ(end - begin, attributes.size());
    for (int64_t i = begin; i < end; ++i) {
      const RowCheck item = Item(name, i);
      const auto& want = attributes[static_cast<int>(i - begin)];
      EXPECT_EQ(item.Text("key"), want.key());
      using V = otlp::common::v1::AnyValue;
      const V& value = want.value();
      const int type = value.value_case() == V::kStringValueStrindex ? 0 : static_cast<int>(value.value_case());
      ASSERT_EQ(int{item.Number<uint8_t>("type")}, type);
      const int64_t num = item.Number<int64_t>("num");
      const std::string val = item.Text("val");
      switch (value.value_case()) {
        case V::kStringValue:
          EXPECT_EQ(val, value.string_value());
          break;
        case V::kBoolValue:
          EXPECT_EQ(num, value.bool_value());
          break;
        case V::kIntValue:
          EXPECT_EQ(num, value.int_value());
          break;
        case V::kDoubleValue: {
          const double v = value.double_value();
          EXPECT_EQ(std::memcmp(&num, &v, 8), 0);
          break;
        }
        case V::kBytesValue:
          EXPECT_EQ(val, value.bytes_value());
          break;
        case V::kArrayValue:
          ExpectNested(val, value.array_value());
          break;
        case V::kKvlistValue:
          ExpectNested(val, value.kvlist_value());
          break;
        default:
          EXPECT_TRUE(val.empty());
      }
    }
  }

 private:
  static void ExpectNested(const std::string& bytes, const Message& want) {
    std::unique_ptr<Message> got(want.New());
    google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
    input.SetRecursionLimit(1000);
    ASSERT_TRUE(got->ParseFromCodedStream(&input));
    EXPECT_EQ(got->SerializeAsString(), want.SerializeAsString());
  }

  const arrow::StructArray& rows_;
  const int64_t row_;
};

std::string EnumText(const google::protobuf::EnumDescriptor* type, int number, const std::string& prefix) {
  const auto* value = type->FindValueByNumber(number);
  return value == nullptr ? std::to_string(number) : value->name().substr(prefix.size());
}

std::string ValidId(const std::string& id, size_t size) { return id.size() == size && !IsZero(id) ? id : ""; }

void ExpectSpan(const otlp::trace::v1::Span& span, const RowCheck& row) {
  EXPECT_EQ(row.Text("trace_id"), span.trace_id());
  EXPECT_EQ(row.Text("span_id"), span.span_id());
  EXPECT_EQ(row.Text("parent_span_id"), ValidId(span.parent_span_id(), 8));
  EXPECT_EQ(row.Text("trace_state"), span.trace_state());
  EXPECT_EQ(row.Number<uint32_t>("flags"), span.flags());
  EXPECT_EQ(row.Text("name"), span.name());
  EXPECT_EQ(row.Text("kind"), EnumText(otlp::trace::v1::Span::SpanKind_descriptor(), span.kind(), "SPAN_KIND_"));
  EXPECT_EQ(row.Number<uint64_t>("start_time"), span.start_time_unix_nano());
  EXPECT_EQ(row.Number<uint64_t>("end_time"), span.end_time_unix_nano());
  EXPECT_EQ(row.Number<uint64_t>("duration_ns"), span.end_time_unix_nano() - span.start_time_unix_nano());
  EXPECT_EQ(row.Text("status_code"), EnumText(otlp::trace::v1::Status::StatusCode_descriptor(), span.status().code(), "STATUS_CODE_"));
  EXPECT_EQ(row.Text("status_message"), span.status().message());
  EXPECT_EQ(row.Bool("has_status"), span.has_status());
  row.ExpectAttributes("attributes", span.attributes());
  EXPECT_EQ(row.Number<uint32_t>("dropped_attributes_count"), span.dropped_attributes_count());
  EXPECT_EQ(row.Number<uint32_t>("dropped_events_count"), span.dropped_events_count());
  EXPECT_EQ(row.Number<uint32_t>("dropped_links_count"), span.dropped_links_count());
  const auto events = row.Range("events");
  ASSERT_EQ(events.second - events.first, span.events_size());
  for (int i = 0; i < span.events_size(); ++i) {
    const RowCheck event = row.Item("events", events.first + i);
    EXPECT_EQ(event.Number<uint64_t>("time"), span.events(i).time_unix_nano());
    EXPECT_EQ(event.Text("name"), span.events(i).name());
    event.ExpectAttributes("attributes", span.events(i).attributes());
    EXPECT_EQ(event.Number<uint32_t>("dropped_attributes_count"), span.events(i).dropped_attributes_count());
  }
  const auto links = row.Range("links");
  ASSERT_EQ(links.second - links.first, span.links_size());
  for (int i = 0; i < span.links_size(); ++i) {
    const auto& want = span.links(i);
    const RowCheck link = row.Item("links", links.first + i);
    EXPECT_EQ(link.Text("trace_id"), want.trace_id().size() == 16 ? want.trace_id() : std::string(16, '\0'));
    EXPECT_EQ(link.Text("span_id"), want.span_id().size() == 8 ? want.span_id() : std::string(8, '\0'));
    EXPECT_EQ(link.Text("trace_state"), want.trace_state());
    EXPECT_EQ(link.Number<uint32_t>("flags"), want.flags());
    link.ExpectAttributes("attributes", want.attributes());
    EXPECT_EQ(link.Number<uint32_t>("dropped_attributes_count"), want.dropped_attributes_count());
  }
}

void ExpectLog(const otlp::logs::v1::LogRecord& log, const RowCheck& row) {
  EXPECT_EQ(row.Number<uint64_t>("time"), log.time_unix_nano());
  EXPECT_EQ(row.Number<uint64_t>("observed_time"), log.observed_time_unix_nano());
  EXPECT_EQ(row.Text("trace_id"), ValidId(log.trace_id(), 16));
  EXPECT_EQ(row.Text("span_id"), ValidId(log.span_id(), 8));
  EXPECT_EQ(row.Number<uint32_t>("flags"), log.flags());
  EXPECT_EQ(row.Number<int32_t>("severity_number"), log.severity_number());
  EXPECT_EQ(row.Text("severity_text"), log.severity_text());
  EXPECT_EQ(row.Text("event_name"), log.event_name());
  EXPECT_EQ(row.Number<uint32_t>("dropped_attributes_count"), log.dropped_attributes_count());
  row.ExpectAttributes("attributes", log.attributes());
  using V = otlp::common::v1::AnyValue;
  switch (log.body().value_case()) {
    case V::kStringValue:
      EXPECT_EQ(row.Text("body"), log.body().string_value());
      EXPECT_TRUE(row.IsNull("body_value"));
      break;
    case V::kIntValue:
      EXPECT_EQ(row.Text("body"), std::to_string(log.body().int_value()));
      EXPECT_FALSE(row.IsNull("body_value"));
      break;
    case V::kBoolValue:
      EXPECT_EQ(row.Text("body"), log.body().bool_value() ? "true" : "false");
      break;
    case V::kStringValueStrindex:
    case V::VALUE_NOT_SET:
      EXPECT_TRUE(row.IsNull("body"));
      EXPECT_EQ(row.IsNull("body_value"), !log.has_body());
      break;
    default:
      EXPECT_FALSE(row.IsNull("body"));
      EXPECT_FALSE(row.IsNull("body_value"));
  }
}

template <typename T>
void ExpectSameBits(T got, T want, const char* what) {
  EXPECT_EQ(std::memcmp(&got, &want, sizeof(T)), 0) << what << ": " << got << " instead of " << want;
}

void ExpectOptional(const RowCheck& row, const char* name, bool has, double want) {
  EXPECT_EQ(row.IsNull(name), !has) << name;
  if (has) ExpectSameBits(row.Number<double>(name), want, name);
}

/// A number data point or an exemplar.
template <typename Point>
void ExpectNumber(const Point& point, const RowCheck& row) {
  EXPECT_EQ(row.IsNull("value_int"), !point.has_as_int());
  if (point.has_as_int()) {
    EXPECT_EQ(row.Number<int64_t>("value_int"), point.as_int());
    EXPECT_EQ(row.Number<double>("value"), static_cast<double>(point.as_int()));
  } else {
    ExpectOptional(row, "value", point.has_as_double(), point.as_double());
  }
}

template <typename Repeated>
void ExpectNumbers(const RowCheck& row, const char* name, const Repeated& want) {
  const auto [begin, end] = row.Range(name);
  ASSERT_EQ(end - begin, want.size()) << name;
  using T = typename Repeated::value_type;
  const T* values = row.Items(name)->data()->template GetValues<T>(1);
  EXPECT_TRUE(want.empty() || std::memcmp(values + begin, want.data(), sizeof(T) * static_cast<size_t>(want.size())) == 0) << name;
}

template <typename Point>
void ExpectPoint(const Point& point, const RowCheck& row) {
  EXPECT_EQ(row.Number<uint64_t>("time"), point.time_unix_nano());
  EXPECT_EQ(row.Number<uint64_t>("start_time"), point.start_time_unix_nano());
  EXPECT_EQ(row.Number<uint32_t>("flags"), point.flags());
  row.ExpectAttributes("attributes", point.attributes());
}

template <typename Point>
void ExpectExemplars(const Point& point, const RowCheck& row) {
  const auto exemplars = row.Range("exemplars");
  ASSERT_EQ(exemplars.second - exemplars.first, point.exemplars_size());
  for (int i = 0; i < point.exemplars_size(); ++i) {
    const auto& want = point.exemplars(i);
    const RowCheck exemplar = row.Item("exemplars", exemplars.first + i);
    EXPECT_EQ(exemplar.Number<uint64_t>("time"), want.time_unix_nano());
    EXPECT_EQ(exemplar.Text("trace_id"), ValidId(want.trace_id(), 16));
    EXPECT_EQ(exemplar.Text("span_id"), ValidId(want.span_id(), 8));
    ExpectNumber(want, exemplar);
    exemplar.ExpectAttributes("attributes", want.filtered_attributes());
  }
}

void ExpectMetric(const FlatRecord& flat, const RowCheck& row) {
  EXPECT_EQ(row.Text("metric_name"), flat.metric_name);
  EXPECT_EQ(row.Text("unit"), flat.unit);
  if (flat.signal != Signal::kGauge && flat.signal != Signal::kSummary) {
    EXPECT_EQ(row.Text("aggregation_temporality"),
              EnumText(otlp::metrics::v1::AggregationTemporality_descriptor(), flat.temporality, "AGGREGATION_TEMPORALITY_"));
  }
  if (flat.signal == Signal::kSum) {
    EXPECT_EQ(row.Bool("is_monotonic"), flat.is_monotonic);
  }
  if (const auto* number = dynamic_cast<const otlp::metrics::v1::NumberDataPoint*>(flat.record.get())) {
    ExpectPoint(*number, row);
    ExpectExemplars(*number, row);
    ExpectNumber(*number, row);
  } else if (const auto* h = dynamic_cast<const otlp::metrics::v1::HistogramDataPoint*>(flat.record.get())) {
    ExpectPoint(*h, row);
    ExpectExemplars(*h, row);
    EXPECT_EQ(row.Number<uint64_t>("count"), h->count());
    ExpectOptional(row, "sum", h->has_sum(), h->sum());
    ExpectOptional(row, "min", h->has_min(), h->min());
    ExpectOptional(row, "max", h->has_max(), h->max());
    ExpectNumbers(row, "bucket_counts", h->bucket_counts());
    ExpectNumbers(row, "explicit_bounds", h->explicit_bounds());
  } else if (const auto* e = dynamic_cast<const otlp::metrics::v1::ExponentialHistogramDataPoint*>(flat.record.get())) {
    ExpectPoint(*e, row);
    ExpectExemplars(*e, row);
    EXPECT_EQ(row.Number<uint64_t>("count"), e->count());
    ExpectOptional(row, "sum", e->has_sum(), e->sum());
    ExpectOptional(row, "min", e->has_min(), e->min());
    ExpectOptional(row, "max", e->has_max(), e->max());
    EXPECT_EQ(row.Number<int32_t>("scale"), e->scale());
    EXPECT_EQ(row.Number<uint64_t>("zero_count"), e->zero_count());
    ExpectSameBits(row.Number<double>("zero_threshold"), e->zero_threshold(), "zero_threshold");
    EXPECT_EQ(row.Bool("has_positive"), e->has_positive());
    EXPECT_EQ(row.Number<int32_t>("positive_offset"), e->positive().offset());
    ExpectNumbers(row, "positive_bucket_counts", e->positive().bucket_counts());
    EXPECT_EQ(row.Bool("has_negative"), e->has_negative());
    EXPECT_EQ(row.Number<int32_t>("negative_offset"), e->negative().offset());
    ExpectNumbers(row, "negative_bucket_counts", e->negative().bucket_counts());
  } else {
    const auto& s = dynamic_cast<const otlp::metrics::v1::SummaryDataPoint&>(*flat.record);
    ExpectPoint(s, row);
    EXPECT_EQ(row.Number<uint64_t>("count"), s.count());
    ExpectSameBits(row.Number<double>("sum"), s.sum(), "sum");
    const auto quantiles = row.Range("quantile_values");
    ASSERT_EQ(quantiles.second - quantiles.first, s.quantile_values_size());
    for (int i = 0; i < s.quantile_values_size(); ++i) {
      const RowCheck item = row.Item("quantile_values", quantiles.first + i);
      ExpectSameBits(item.Number<double>("quantile"), s.quantile_values(i).quantile(), "quantile");
      ExpectSameBits(item.Number<double>("value"), s.quantile_values(i).value(), "value");
    }
  }
}

}  // namespace

std::string FlatRecord::ToString() const {
  std::string out;
  for (const std::string& part : {resource, scope, metric, record->SerializeAsString()}) {
    out += std::to_string(part.size()) + ":" + part + ";";
  }
  return out;
}

std::vector<FlatRecord> Flatten(const Message& request, int64_t* rejected) {
  std::vector<FlatRecord> out;
  *rejected = 0;
  if (const auto* traces = dynamic_cast<const otlp::collector::trace::v1::ExportTraceServiceRequest*>(&request)) {
    for (const auto& resource : traces->resource_spans()) {
      for (const auto& scope : resource.scope_spans()) {
        for (const auto& span : scope.spans()) {
          if (IsRejected(span)) {
            ++*rejected;
            continue;
          }
          FlatRecord flat{Signal::kTraces, Without(resource, "scope_spans"), Without(scope, "spans"), "", "", true, "", "", 0, false, {}};
          SetEnvelope(resource, &flat);
          flat.record = std::make_unique<otlp::trace::v1::Span>(span);
          out.push_back(std::move(flat));
        }
      }
    }
  } else if (const auto* logs = dynamic_cast<const otlp::collector::logs::v1::ExportLogsServiceRequest*>(&request)) {
    for (const auto& resource : logs->resource_logs()) {
      for (const auto& scope : resource.scope_logs()) {
        for (const auto& log : scope.log_records()) {
          FlatRecord flat{Signal::kLogs, Without(resource, "scope_logs"), Without(scope, "log_records"), "", "", true, "",
                          "", 0, false, {}};
          SetEnvelope(resource, &flat);
          flat.record = std::make_unique<otlp::logs::v1::LogRecord>(log);
          out.push_back(std::move(flat));
        }
      }
    }
  } else {
    const auto& metrics = dynamic_cast<const otlp::collector::metrics::v1::ExportMetricsServiceRequest&>(request);
    for (const auto& resource : metrics.resource_metrics()) {
      for (const auto& scope : resource.scope_metrics()) {
        for (const auto& metric : scope.metrics()) {
          FlatRecord flat{Signal::kGauge, Without(resource, "scope_metrics"), Without(scope, "metrics"), "", "", true, "",
                          "", 0, false, {}};
          SetEnvelope(resource, &flat);
          FlattenMetric(metric, std::move(flat), &out);
        }
      }
    }
  }
  return out;
}

void ExpectSameColumns(const FlatRecord& record, const arrow::RecordBatch& batch, int64_t row) {
  const auto rows = batch.ToStructArray().ValueOrDie();
  const RowCheck check(*rows, row);
  if (record.service_is_text) {
    EXPECT_EQ(check.Text("service_name"), record.service_name);
  }
  if (const auto* span = dynamic_cast<const otlp::trace::v1::Span*>(record.record.get())) {
    ExpectSpan(*span, check);
  } else if (const auto* log = dynamic_cast<const otlp::logs::v1::LogRecord*>(record.record.get())) {
    ExpectLog(*log, check);
  } else {
    ExpectMetric(record, check);
  }
}

}  // namespace sheaf::property
