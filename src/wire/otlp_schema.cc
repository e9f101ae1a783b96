#include "wire/otlp_schema.h"

namespace sheaf::wire {
namespace {

using enum FieldKind;
using enum FieldRule;

constexpr EnumName kSpanKind[] = {
    {"SPAN_KIND_UNSPECIFIED", 0}, {"SPAN_KIND_INTERNAL", 1}, {"SPAN_KIND_SERVER", 2}, {"SPAN_KIND_CLIENT", 3},
    {"SPAN_KIND_PRODUCER", 4}, {"SPAN_KIND_CONSUMER", 5},
};

constexpr EnumName kStatusCode[] = {
    {"STATUS_CODE_UNSET", 0}, {"STATUS_CODE_OK", 1}, {"STATUS_CODE_ERROR", 2},
};

constexpr EnumName kSeverityNumber[] = {
    {"SEVERITY_NUMBER_UNSPECIFIED", 0}, {"SEVERITY_NUMBER_TRACE", 1}, {"SEVERITY_NUMBER_TRACE2", 2},
    {"SEVERITY_NUMBER_TRACE3", 3}, {"SEVERITY_NUMBER_TRACE4", 4}, {"SEVERITY_NUMBER_DEBUG", 5}, {"SEVERITY_NUMBER_DEBUG2", 6},
    {"SEVERITY_NUMBER_DEBUG3", 7}, {"SEVERITY_NUMBER_DEBUG4", 8}, {"SEVERITY_NUMBER_INFO", 9}, {"SEVERITY_NUMBER_INFO2", 10},
    {"SEVERITY_NUMBER_INFO3", 11}, {"SEVERITY_NUMBER_INFO4", 12}, {"SEVERITY_NUMBER_WARN", 13}, {"SEVERITY_NUMBER_WARN2", 14},
    {"SEVERITY_NUMBER_WARN3", 15}, {"SEVERITY_NUMBER_WARN4", 16}, {"SEVERITY_NUMBER_ERROR", 17},
    {"SEVERITY_NUMBER_ERROR2", 18}, {"SEVERITY_NUMBER_ERROR3", 19}, {"SEVERITY_NUMBER_ERROR4", 20},
    {"SEVERITY_NUMBER_FATAL", 21}, {"SEVERITY_NUMBER_FATAL2", 22}, {"SEVERITY_NUMBER_FATAL3", 23},
    {"SEVERITY_NUMBER_FATAL4", 24},
};

constexpr EnumName kAggregationTemporality[] = {
    {"AGGREGATION_TEMPORALITY_UNSPECIFIED", 0}, {"AGGREGATION_TEMPORALITY_DELTA", 1},
    {"AGGREGATION_TEMPORALITY_CUMULATIVE", 2},
};

/// Declares every message first, since AnyValue and its lists hold each other.
struct Messages {
  static const MessageSchema
      any_value, array_value, key_value_list, key_value, instrumentation_scope, entity_ref, resource, resource_spans,
      scope_spans, event, link, span, status, resource_logs, scope_logs, log_record, resource_metrics, scope_metrics,
      metric, gauge, sum, histogram, exponential_histogram, summary, number_data_point, histogram_data_point, buckets,
      exponential_histogram_data_point, value_at_quantile, summary_data_point, exemplar, export_trace_service_request,
      export_logs_service_request, export_metrics_service_request;
};

constexpr FieldSchema kAnyValueFields[] = {
    {"stringValue", "string_value", 1, kString, kOneof},
    {"boolValue", "bool_value", 2, kBool, kOneof},
    {"intValue", "int_value", 3, kInt64, kOneof},
    {"doubleValue", "double_value", 4, kDouble, kOneof},
    {"arrayValue", "array_value", 5, kMessage, kOneof, &Messages::array_value},
    {"kvlistValue", "kvlist_value", 6, kMessage, kOneof, &Messages::key_value_list},
    {"bytesValue", "bytes_value", 7, kBytes, kOneof},
    {"stringValueStrindex", "string_value_strindex", 8, kInt32, kOneof},
};
constinit const MessageSchema Messages::any_value = {"AnyValue", kAnyValueFields};

constexpr FieldSchema kArrayValueFields[] = {
    {"values", "values", 1, kMessage, kRepeated, &Messages::any_value},
};
constinit const MessageSchema Messages::array_value = {"ArrayValue", kArrayValueFields};

constexpr FieldSchema kKeyValueListFields[] = {
    {"values", "values", 1, kMessage, kRepeated, &Messages::key_value},
};
constinit const MessageSchema Messages::key_value_list = {"KeyValueList", kKeyValueListFields};

constexpr FieldSchema kKeyValueFields[] = {
    {"key", "key", 1, kString},
    {"value", "value", 2, kMessage, kPlain, &Messages::any_value},
    {"keyStrindex", "key_strindex", 3, kInt32},
};
constinit const MessageSchema Messages::key_value = {"KeyValue", kKeyValueFields};

constexpr FieldSchema kInstrumentationScopeFields[] = {
    {"name", "name", 1, kString},
    {"version", "version", 2, kString},
    {"attributes", "attributes", 3, kMessage, kRepeated, &Messages::key_value},
    {"droppedAttributesCount", "dropped_attributes_count", 4, kUInt32},
};
constinit const MessageSchema Messages::instrumentation_scope = {"InstrumentationScope", kInstrumentationScopeFields};

constexpr FieldSchema kEntityRefFields[] = {
    {"schemaUrl", "schema_url", 1, kString},
    {"type", "type", 2, kString},
    {"idKeys", "id_keys", 3, kString, kRepeated},
    {"descriptionKeys", "description_keys", 4, kString, kRepeated},
};
constinit const MessageSchema Messages::entity_ref = {"EntityRef", kEntityRefFields};

constexpr FieldSchema kResourceFields[] = {
    {"attributes", "attributes", 1, kMessage, kRepeated, &Messages::key_value},
    {"droppedAttributesCount", "dropped_attributes_count", 2, kUInt32},
    {"entityRefs", "entity_refs", 3, kMessage, kRepeated, &Messages::entity_ref},
};
constinit const MessageSchema Messages::resource = {"Resource", kResourceFields};

constexpr FieldSchema kResourceSpansFields[] = {
    {"resource", "resource", 1, kMessage, kPlain, &Messages::resource},
    {"scopeSpans", "scope_spans", 2, kMessage, kRepeated, &Messages::scope_spans},
    {"schemaUrl", "schema_url", 3, kString},
};
constinit const MessageSchema Messages::resource_spans = {"ResourceSpans", kResourceSpansFields};

constexpr FieldSchema kScopeSpansFields[] = {
    {"scope", "scope", 1, kMessage, kPlain, &Messages::instrumentation_scope},
    {"spans", "spans", 2, kMessage, kRepeated, &Messages::span},
    {"schemaUrl", "schema_url", 3, kString},
};
constinit const MessageSchema Messages::scope_spans = {"ScopeSpans", kScopeSpansFields};

constexpr FieldSchema kEventFields[] = {
    {"timeUnixNano", "time_unix_nano", 1, kFixed64},
    {"name", "name", 2, kString},
    {"attributes", "attributes", 3, kMessage, kRepeated, &Messages::key_value},
    {"droppedAttributesCount", "dropped_attributes_count", 4, kUInt32},
};
constinit const MessageSchema Messages::event = {"Event", kEventFields};

constexpr FieldSchema kLinkFields[] = {
    {"traceId", "trace_id", 1, kId},
    {"spanId", "span_id", 2, kId},
    {"traceState", "trace_state", 3, kString},
    {"attributes", "attributes", 4, kMessage, kRepeated, &Messages::key_value},
    {"droppedAttributesCount", "dropped_attributes_count", 5, kUInt32},
    {"flags", "flags", 6, kFixed32},
};
constinit const MessageSchema Messages::link = {"Link", kLinkFields};

constexpr FieldSchema kSpanFields[] = {
    {"traceId", "trace_id", 1, kId},
    {"spanId", "span_id", 2, kId},
    {"traceState", "trace_state", 3, kString},
    {"parentSpanId", "parent_span_id", 4, kId},
    {"flags", "flags", 16, kFixed32},
    {"name", "name", 5, kString},
    {"kind", "kind", 6, kEnum, kPlain, nullptr, kSpanKind},
    {"startTimeUnixNano", "start_time_unix_nano", 7, kFixed64},
    {"endTimeUnixNano", "end_time_unix_nano", 8, kFixed64},
    {"attributes", "attributes", 9, kMessage, kRepeated, &Messages::key_value},
    {"droppedAttributesCount", "dropped_attributes_count", 10, kUInt32},
    {"events", "events", 11, kMessage, kRepeated, &Messages::event},
    {"droppedEventsCount", "dropped_events_count", 12, kUInt32},
    {"links", "links", 13, kMessage, kRepeated, &Messages::link},
    {"droppedLinksCount", "dropped_links_count", 14, kUInt32},
    {"status", "status", 15, kMessage, kPlain, &Messages::status},
};
constinit const MessageSchema Messages::span = {"Span", kSpanFields};

constexpr FieldSchema kStatusFields[] = {
    {"message", "message", 2, kString},
    {"code", "code", 3, kEnum, kPlain, nullptr, kStatusCode},
};
constinit const MessageSchema Messages::status = {"Status", kStatusFields};

constexpr FieldSchema kResourceLogsFields[] = {
    {"resource", "resource", 1, kMessage, kPlain, &Messages::resource},
    {"scopeLogs", "scope_logs", 2, kMessage, kRepeated, &Messages::scope_logs},
    {"schemaUrl", "schema_url", 3, kString},
};
constinit const MessageSchema Messages::resource_logs = {"ResourceLogs", kResourceLogsFields};

constexpr FieldSchema kScopeLogsFields[] = {
    {"scope", "scope", 1, kMessage, kPlain, &Messages::instrumentation_scope},
    {"logRecords", "log_records", 2, kMessage, kRepeated, &Messages::log_record},
    {"schemaUrl", "schema_url", 3, kString},
};
constinit const MessageSchema Messages::scope_logs = {"ScopeLogs", kScopeLogsFields};

constexpr FieldSchema kLogRecordFields[] = {
    {"timeUnixNano", "time_unix_nano", 1, kFixed64},
    {"observedTimeUnixNano", "observed_time_unix_nano", 11, kFixed64},
    {"severityNumber", "severity_number", 2, kEnum, kPlain, nullptr, kSeverityNumber},
    {"severityText", "severity_text", 3, kString},
    {"body", "body", 5, kMessage, kPlain, &Messages::any_value},
    {"attributes", "attributes", 6, kMessage, kRepeated, &Messages::key_value},
    {"droppedAttributesCount", "dropped_attributes_count", 7, kUInt32},
    {"flags", "flags", 8, kFixed32},
    {"traceId", "trace_id", 9, kId},
    {"spanId", "span_id", 10, kId},
    {"eventName", "event_name", 12, kString},
};
constinit const MessageSchema Messages::log_record = {"LogRecord", kLogRecordFields};

constexpr FieldSchema kResourceMetricsFields[] = {
    {"resource", "resource", 1, kMessage, kPlain, &Messages::resource},
    {"scopeMetrics", "scope_metrics", 2, kMessage, kRepeated, &Messages::scope_metrics},
    {"schemaUrl", "schema_url", 3, kString},
};
constinit const MessageSchema Messages::resource_metrics = {"ResourceMetrics", kResourceMetricsFields};

constexpr FieldSchema kScopeMetricsFields[] = {
    {"scope", "scope", 1, kMessage, kPlain, &Messages::instrumentation_scope},
    {"metrics", "metrics", 2, kMessage, kRepeated, &Messages::metric},
    {"schemaUrl", "schema_url", 3, kString},
};
constinit const MessageSchema Messages::scope_metrics = {"ScopeMetrics", kScopeMetricsFields};

constexpr FieldSchema kMetricFields[] = {
    {"name", "name", 1, kString},
    {"description", "description", 2, kString},
    {"unit", "unit", 3, kString},
    {"gauge", "gauge", 5, kMessage, kOneof, &Messages::gauge},
    {"sum", "sum", 7, kMessage, kOneof, &Messages::sum},
    {"histogram", "histogram", 9, kMessage, kOneof, &Messages::histogram},
    {"exponentialHistogram", "exponential_histogram", 10, kMessage, kOneof, &Messages::exponential_histogram},
    {"summary", "summary", 11, kMessage, kOneof, &Messages::summary},
    {"metadata", "metadata", 12, kMessage, kRepeated, &Messages::key_value},
};
constinit const MessageSchema Messages::metric = {"Metric", kMetricFields};

constexpr FieldSchema kGaugeFields[] = {
    {"dataPoints", "data_points", 1, kMessage, kRepeated, &Messages::number_data_point},
};
constinit const MessageSchema Messages::gauge = {"Gauge", kGaugeFields};

constexpr FieldSchema kSumFields[] = {
    {"dataPoints", "data_points", 1, kMessage, kRepeated, &Messages::number_data_point},
    {"aggregationTemporality", "aggregation_temporality", 2, kEnum, kPlain, nullptr, kAggregationTemporality},
    {"isMonotonic", "is_monotonic", 3, kBool},
};
constinit const MessageSchema Messages::sum = {"Sum", kSumFields};

constexpr FieldSchema kHistogramFields[] = {
    {"dataPoints", "data_points", 1, kMessage, kRepeated, &Messages::histogram_data_point},
    {"aggregationTemporality", "aggregation_temporality", 2, kEnum, kPlain, nullptr, kAggregationTemporality},
};
constinit const MessageSchema Messages::histogram = {"Histogram", kHistogramFields};

constexpr FieldSchema kExponentialHistogramFields[] = {
    {"dataPoints", "data_points", 1, kMessage, kRepeated, &Messages::exponential_histogram_data_point},
    {"aggregationTemporality", "aggregation_temporality", 2, kEnum, kPlain, nullptr, kAggregationTemporality},
};
constinit const MessageSchema Messages::exponential_histogram = {"ExponentialHistogram", kExponentialHistogramFields};

constexpr FieldSchema kSummaryFields[] = {
    {"dataPoints", "data_points", 1, kMessage, kRepeated, &Messages::summary_data_point},
};
constinit const MessageSchema Messages::summary = {"Summary", kSummaryFields};

constexpr FieldSchema kNumberDataPointFields[] = {
    {"attributes", "attributes", 7, kMessage, kRepeated, &Messages::key_value},
    {"startTimeUnixNano", "start_time_unix_nano", 2, kFixed64},
    {"timeUnixNano", "time_unix_nano", 3, kFixed64},
    {"asDouble", "as_double", 4, kDouble, kOneof},
    {"asInt", "as_int", 6, kSFixed64, kOneof},
    {"exemplars", "exemplars", 5, kMessage, kRepeated, &Messages::exemplar},
    {"flags", "flags", 8, kUInt32},
};
constinit const MessageSchema Messages::number_data_point = {"NumberDataPoint", kNumberDataPointFields};

constexpr FieldSchema kHistogramDataPointFields[] = {
    {"attributes", "attributes", 9, kMessage, kRepeated, &Messages::key_value},
    {"startTimeUnixNano", "start_time_unix_nano", 2, kFixed64},
    {"timeUnixNano", "time_unix_nano", 3, kFixed64},
    {"count", "count", 4, kFixed64},
    {"sum", "sum", 5, kDouble, kOptional},
    {"bucketCounts", "bucket_counts", 6, kFixed64, kRepeated},
    {"explicitBounds", "explicit_bounds", 7, kDouble, kRepeated},
    {"exemplars", "exemplars", 8, kMessage, kRepeated, &Messages::exemplar},
    {"flags", "flags", 10, kUInt32},
    {"min", "min", 11, kDouble, kOptional},
    {"max", "max", 12, kDouble, kOptional},
};
constinit const MessageSchema Messages::histogram_data_point = {"HistogramDataPoint", kHistogramDataPointFields};

constexpr FieldSchema kBucketsFields[] = {
    {"offset", "offset", 1, kSInt32},
    {"bucketCounts", "bucket_counts", 2, kUInt64, kRepeated},
};
constinit const MessageSchema Messages::buckets = {"Buckets", kBucketsFields};

constexpr FieldSchema kExponentialHistogramDataPointFields[] = {
    {"attributes", "attributes", 1, kMessage, kRepeated, &Messages::key_value},
    {"startTimeUnixNano", "start_time_unix_nano", 2, kFixed64},
    {"timeUnixNano", "time_unix_nano", 3, kFixed64},
    {"count", "count", 4, kFixed64},
    {"sum", "sum", 5, kDouble, kOptional},
    {"scale", "scale", 6, kSInt32},
    {"zeroCount", "zero_count", 7, kFixed64},
    {"positive", "positive", 8, kMessage, kPlain, &Messages::buckets},
    {"negative", "negative", 9, kMessage, kPlain, &Messages::buckets},
    {"flags", "flags", 10, kUInt32},
    {"exemplars", "exemplars", 11, kMessage, kRepeated, &Messages::exemplar},
    {"min", "min", 12, kDouble, kOptional},
    {"max", "max", 13, kDouble, kOptional},
    {"zeroThreshold", "zero_threshold", 14, kDouble},
};
constinit const MessageSchema Messages::exponential_histogram_data_point =
    {"ExponentialHistogramDataPoint", kExponentialHistogramDataPointFields};

constexpr FieldSchema kValueAtQuantileFields[] = {
    {"quantile", "quantile", 1, kDouble},
    {"value", "value", 2, kDouble},
};
constinit const MessageSchema Messages::value_at_quantile = {"ValueAtQuantile", kValueAtQuantileFields};

constexpr FieldSchema kSummaryDataPointFields[] = {
    {"attributes", "attributes", 7, kMessage, kRepeated, &Messages::key_value},
    {"startTimeUnixNano", "start_time_unix_nano", 2, kFixed64},
    {"timeUnixNano", "time_unix_nano", 3, kFixed64},
    {"count", "count", 4, kFixed64},
    {"sum", "sum", 5, kDouble},
    {"quantileValues", "quantile_values", 6, kMessage, kRepeated, &Messages::value_at_quantile},
    {"flags", "flags", 8, kUInt32},
};
constinit const MessageSchema Messages::summary_data_point = {"SummaryDataPoint", kSummaryDataPointFields};

constexpr FieldSchema kExemplarFields[] = {
    {"filteredAttributes", "filtered_attributes", 7, kMessage, kRepeated, &Messages::key_value},
    {"timeUnixNano", "time_unix_nano", 2, kFixed64},
    {"asDouble", "as_double", 3, kDouble, kOneof},
    {"asInt", "as_int", 6, kSFixed64, kOneof},
    {"spanId", "span_id", 4, kId},
    {"traceId", "trace_id", 5, kId},
};
constinit const MessageSchema Messages::exemplar = {"Exemplar", kExemplarFields};

constexpr FieldSchema kExportTraceServiceRequestFields[] = {
    {"resourceSpans", "resource_spans", 1, kMessage, kRepeated, &Messages::resource_spans},
};
constinit const MessageSchema Messages::export_trace_service_request =
    {"ExportTraceServiceRequest", kExportTraceServiceRequestFields};

constexpr FieldSchema kExportLogsServiceRequestFields[] = {
    {"resourceLogs", "resource_logs", 1, kMessage, kRepeated, &Messages::resource_logs},
};
constinit const MessageSchema Messages::export_logs_service_request =
    {"ExportLogsServiceRequest", kExportLogsServiceRequestFields};

constexpr FieldSchema kExportMetricsServiceRequestFields[] = {
    {"resourceMetrics", "resource_metrics", 1, kMessage, kRepeated, &Messages::resource_metrics},
};
constinit const MessageSchema Messages::export_metrics_service_request =
    {"ExportMetricsServiceRequest", kExportMetricsServiceRequestFields};

}  // namespace

const MessageSchema& OtlpRequestSchema(OtlpRequest kind) {
  switch (kind) {
    case OtlpRequest::kTraces: return Messages::export_trace_service_request;
    case OtlpRequest::kLogs: return Messages::export_logs_service_request;
    case OtlpRequest::kMetrics: break;
  }
  return Messages::export_metrics_service_request;
}

int FindField(const MessageSchema& message, std::string_view name, int hint) {
  const int fields = static_cast<int>(message.fields.size());
  if (hint < fields && message.fields[static_cast<size_t>(hint)].json_name == name) return hint;
  for (int i = 0; i < fields; ++i) {
    const FieldSchema& field = message.fields[static_cast<size_t>(i)];
    if (field.json_name == name || field.proto_name == name) return i;
  }
  return -1;
}

int FindField(const MessageSchema& message, uint32_t number) {
  for (size_t i = 0; i < message.fields.size(); ++i) {
    if (message.fields[i].number == number) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace sheaf::wire
