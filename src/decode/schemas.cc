#include "decode/schemas.h"

#include <array>
#include <utility>

namespace sheaf::decode {
namespace {

using TypePtr = std::shared_ptr<arrow::DataType>;

struct Field {
  const char* name;
  TypePtr type;
  bool nullable = false;
};

arrow::FieldVector ToFields(const std::vector<Field>& fields) {
  arrow::FieldVector out;
  out.reserve(fields.size());
  for (const Field& f : fields) out.push_back(arrow::field(f.name, f.type, f.nullable));
  return out;
}

TypePtr Dict() { return arrow::dictionary(arrow::int32(), arrow::utf8()); }
TypePtr EnvelopeDict() { return arrow::dictionary(arrow::int32(), arrow::binary()); }
TypePtr Time() { return arrow::timestamp(arrow::TimeUnit::NANO); }
TypePtr TraceId() { return arrow::fixed_size_binary(16); }
TypePtr SpanId() { return arrow::fixed_size_binary(8); }
TypePtr ListOf(TypePtr type) { return arrow::list(arrow::field("item", std::move(type), false)); }
TypePtr StructList(const std::vector<Field>& fields) { return ListOf(arrow::struct_(ToFields(fields))); }

std::vector<Field> TraceFields() {
  const TypePtr events = StructList({{"time", Time()},
                                     {"name", Dict()},
                                     {"attributes", AttributesType()},
                                     {"dropped_attributes_count", arrow::uint32()}});
  const TypePtr links = StructList({{"trace_id", TraceId()},
                                    {"span_id", SpanId()},
                                    {"trace_state", arrow::utf8()},
                                    {"flags", arrow::uint32()},
                                    {"attributes", AttributesType()},
                                    {"dropped_attributes_count", arrow::uint32()}});
  return {{"trace_id", TraceId()},
          {"span_id", SpanId()},
          {"parent_span_id", SpanId(), true},
          {"trace_state", arrow::utf8()},
          {"flags", arrow::uint32()},
          {"name", Dict()},
          {"kind", Dict()},
          {"start_time", Time()},
          {"end_time", Time()},
          {"duration_ns", arrow::int64()},
          {"status_code", Dict()},
          {"status_message", arrow::utf8()},
          {"has_status", arrow::boolean()},
          {"service_name", Dict()},
          {"attributes", AttributesType()},
          {"dropped_attributes_count", arrow::uint32()},
          {"events", events},
          {"dropped_events_count", arrow::uint32()},
          {"links", links},
          {"dropped_links_count", arrow::uint32()},
          {"resource", EnvelopeDict()},
          {"scope", EnvelopeDict()},
          {"original", arrow::binary(), true}};
}

std::vector<Field> LogFields() {
  return {{"time", Time()},
          {"observed_time", Time()},
          {"trace_id", TraceId(), true},
          {"span_id", SpanId(), true},
          {"flags", arrow::uint32()},
          {"severity_number", arrow::int32()},
          {"severity_text", Dict()},
          {"event_name", Dict()},
          {"body", arrow::utf8(), true},
          {"body_value", arrow::binary(), true},
          {"service_name", Dict()},
          {"attributes", AttributesType()},
          {"dropped_attributes_count", arrow::uint32()},
          {"resource", EnvelopeDict()},
          {"scope", EnvelopeDict()},
          {"original", arrow::binary(), true}};
}

std::vector<Field> PointValueFields(Signal signal) {
  const TypePtr counts = ListOf(arrow::uint64());
  const Field temporality = {"aggregation_temporality", Dict()};
  switch (signal) {
    case Signal::kGauge:
      return {{"value", arrow::float64(), true}, {"value_int", arrow::int64(), true}};
    case Signal::kSum:
      return {{"value", arrow::float64(), true}, {"value_int", arrow::int64(), true}, temporality, {"is_monotonic", arrow::boolean()}};
    case Signal::kHistogram:
      return {{"count", arrow::uint64()},      {"sum", arrow::float64(), true},
              {"min", arrow::float64(), true}, {"max", arrow::float64(), true},
              {"bucket_counts", counts},       {"explicit_bounds", ListOf(arrow::float64())},
              temporality};
    case Signal::kExponentialHistogram:
      return {{"count", arrow::uint64()},
              {"sum", arrow::float64(), true},
              {"min", arrow::float64(), true},
              {"max", arrow::float64(), true},
              {"scale", arrow::int32()},
              {"zero_count", arrow::uint64()},
              {"zero_threshold", arrow::float64()},
              {"has_positive", arrow::boolean()},
              {"positive_offset", arrow::int32()},
              {"positive_bucket_counts", counts},
              {"has_negative", arrow::boolean()},
              {"negative_offset", arrow::int32()},
              {"negative_bucket_counts", counts},
              temporality};
    default:
      return {{"count", arrow::uint64()},
              {"sum", arrow::float64()},
              {"quantile_values", StructList({{"quantile", arrow::float64()}, {"value", arrow::float64()}})}};
  }
}

std::vector<Field> MetricFields(Signal signal) {
  std::vector<Field> fields = {{"metric_name", Dict()},    {"unit", Dict()},
                               {"time", Time()},           {"start_time", Time()},
                               {"flags", arrow::uint32()}, {"service_name", Dict()},
                               {"attributes", AttributesType()}};
  if (signal != Signal::kSummary) {
    fields.push_back({"exemplars", StructList({{"time", Time()},
                                               {"value", arrow::float64(), true},
                                               {"value_int", arrow::int64(), true},
                                               {"trace_id", TraceId(), true},
                                               {"span_id", SpanId(), true},
                                               {"attributes", AttributesType()}})});
  }
  fields.insert(fields.end(), {{"resource", EnvelopeDict()},
                               {"scope", EnvelopeDict()},
                               {"metric", EnvelopeDict()},
                               {"original", arrow::binary(), true}});
  for (Field& f : PointValueFields(signal)) fields.push_back(std::move(f));
  return fields;
}

std::shared_ptr<arrow::Schema> MakeSchema(Signal signal) {
  switch (signal) {
    case Signal::kTraces:
      return arrow::schema(ToFields(TraceFields()));
    case Signal::kLogs:
      return arrow::schema(ToFields(LogFields()));
    default:
      return arrow::schema(ToFields(MetricFields(signal)));
  }
}

}  // namespace

const char* SignalTable(Signal signal) {
  static constexpr std::array<const char*, kSignals> kNames = {
      "traces", "logs", "metrics_gauge", "metrics_sum", "metrics_histogram", "metrics_exponential_histogram", "metrics_summary"};
  return kNames[static_cast<size_t>(signal)];
}

const std::shared_ptr<arrow::DataType>& AttributesType() {
  static const TypePtr type =
      StructList({{"key", Dict()}, {"type", arrow::uint8()}, {"num", arrow::int64()}, {"val", arrow::binary()}});
  return type;
}

const std::shared_ptr<arrow::Schema>& SignalSchema(Signal signal) {
  static const std::array<std::shared_ptr<arrow::Schema>, kSignals> schemas = [] {
    std::array<std::shared_ptr<arrow::Schema>, kSignals> all;
    for (int i = 0; i < kSignals; ++i) all[static_cast<size_t>(i)] = MakeSchema(static_cast<Signal>(i));
    return all;
  }();
  return schemas[static_cast<size_t>(signal)];
}

}  // namespace sheaf::decode
