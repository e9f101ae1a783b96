/// The physical Arrow schemas of the ready telemetry tables: what the log, the memtable and parts hold.
///
/// SQL shows the columns of contract.md; `query` derives them from these. The principles:
/// - One row is one span, log record or metric data point. Ids are fixed_size_binary; times are
///   timestamp[ns] without a zone (the UTC nanoseconds, as the 64 bits that OTLP sent).
/// - Text that repeats is dictionary<int32, utf8>. Enums are text in a dictionary too, with the names of
///   the contract ("SERVER"); a number that OTLP does not define stays as its decimal text ("17").
/// - What repeats for many rows stays as OTLP bytes in a dictionary<int32, binary>: `resource` holds a
///   ResourceSpans/ResourceLogs/ResourceMetrics message without its scopes (resource, schema_url,
///   unknown fields), `scope` a Scope… message without its records, `metric` a Metric message without
///   its data points (but with its data oneof, temporality and monotonicity). attributes.h parses them.
/// - `has_status`, `has_positive`, `has_negative` tell a message that is there but empty from one that is
///   not, as protobuf does. Like resource, scope, metric, body_value and original they are physical only.
/// - Attributes are list<struct{key: dictionary<int32, utf8>, type: uint8, num: int64, val: binary}>;
///   `type` is the AnyValue field number (0 empty, 1 string, 2 bool, 3 int, 4 double, 5 array,
///   6 kvlist, 7 bytes), `num` an int, a bool or a double's bits, `val` the bytes of a string or bytes
///   value, or the OTLP bytes of an ArrayValue or KeyValueList. See attributes.h.
/// - `original`: NULL, or the record's whole OTLP message where the columns could not say everything in
///   it (unknown fields at any depth, text that is not UTF-8 and was repaired for its column, an absent
///   AnyValue…). Encoding a row back to OTLP uses it instead of the columns.
///
/// Every record batch carries its own dictionaries, so a log record can be read alone.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include <arrow/type.h>

namespace sheaf::decode {

enum class Signal { kTraces, kLogs, kGauge, kSum, kHistogram, kExponentialHistogram, kSummary };
inline constexpr int kSignals = 7;

/// "traces", "logs", "metrics_gauge", …: the table's name in schema `otel`.
const char* SignalTable(Signal signal);

/// Returns the physical schema. The object is made once and shared.
const std::shared_ptr<arrow::Schema>& SignalSchema(Signal signal);

/// The type of an attributes column, shared by all of them.
const std::shared_ptr<arrow::DataType>& AttributesType();

// traces: trace_id fsb[16], span_id fsb[8], parent_span_id fsb[8]?, trace_state utf8, flags uint32, name dict,
//   kind dict, start_time ts[ns], end_time ts[ns], duration_ns int64, status_code dict, status_message utf8, has_status bool,
//   service_name dict, attributes, dropped_attributes_count uint32,
//   events list<struct{time ts[ns], name dict, attributes, dropped_attributes_count uint32}>, dropped_events_count uint32,
//   links list<struct{trace_id fsb[16], span_id fsb[8], trace_state utf8, flags uint32, attributes,
//   dropped_attributes_count uint32}>, dropped_links_count uint32, resource dict<binary>, scope dict<binary>, original binary?
// logs: time ts[ns], observed_time ts[ns], trace_id fsb[16]?, span_id fsb[8]?, flags uint32, severity_number int32,
//   severity_text dict, event_name dict, body utf8? (text; structured bodies as JSON), body_value binary? (AnyValue bytes
//   where there is a body that is not text; empty bytes for a body without a value, whose `body` is NULL), service_name dict,
//   attributes, dropped_attributes_count uint32, resource, scope, original
// metrics (all): metric_name dict, unit dict, time ts[ns], start_time ts[ns], flags uint32, service_name dict, attributes,
//   exemplars list<struct{time ts[ns], value double?, value_int int64?, trace_id fsb[16]?, span_id fsb[8]?, attributes}>
//   (not on summary), resource, scope, metric dict<binary>, original; then
//   gauge: value double?, value_int int64?
//   sum: the same, aggregation_temporality dict, is_monotonic bool
//   histogram: count uint64, sum double?, min double?, max double?, bucket_counts list<uint64>, explicit_bounds list<double>,
//     aggregation_temporality dict
//   exponential_histogram: count, sum?, min?, max?, scale int32, zero_count uint64, zero_threshold double,
//     has_positive bool, positive_offset int32, positive_bucket_counts list<uint64>, has_negative bool, negative_offset int32,
//     negative_bucket_counts list<uint64>, aggregation_temporality dict
//   summary: count uint64, sum double, quantile_values list<struct{quantile double, value double}>

}  // namespace sheaf::decode
