/// Every logical column of every telemetry table shows what was sent.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

constexpr char kResource[] = R"("resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}],)"
    R"("droppedAttributesCount":3},"schemaUrl":"https://r")";
constexpr char kScope[] = R"("scope":{"name":"lib","version":"1.2","attributes":[{"key":"s",)"
    R"("value":{"intValue":"5"}}],"droppedAttributesCount":4},"schemaUrl":"https://s")";
constexpr char kAttribute[] = R"("attributes":[{"key":"a","value":{"doubleValue":2}}])";

/// What resource and scope look like in every table.
constexpr char kResourceAndScopeShown[] =
    R"("resource_attributes":{"service.name":"cart"},"resource_dropped_attributes_count":3,"resource_schema_url":"https://r",)"
    R"("scope_name":"lib","scope_version":"1.2","scope_attributes":{"s":"5"},"scope_dropped_attributes_count":4,)"
    R"("scope_schema_url":"https://s",)";

std::string Shown(decode::Signal signal, const std::string& json) {
  MemoryDatabase database;
  database.Add(signal, BatchFromOtlpJson(signal, json));
  auto engine = Engine::Open(&database, {.threads = 1});
  if (!engine.ok()) return engine.status().ToString();
  auto text = RunToText(engine->get(), {.sql = std::string("SELECT * FROM otel.") + decode::SignalTable(signal)}, Format::kNdjson);
  return text.ok() ? *text : text.status().ToString();
}

std::string Metric(const std::string& data) {
  return std::string(R"({"resourceMetrics":[{)") + kResource + R"(,"scopeMetrics":[{)" + kScope +
         R"(,"metrics":[{"name":"m","description":"what","unit":"ms","metadata":[{"key":"k",)"
         R"("value":{"stringValue":"v"}}],)" + data + "}]}]}]}";
}

constexpr char kPoint[] = R"("startTimeUnixNano":"1700000000000000000","timeUnixNano":"1700000000000000001","flags":1,)";
const std::string kMetricShown =
    std::string(R"({"metric_name":"m","description":"what","unit":"ms","metadata":{"k":"v"},)"
        R"("time":"2023-11-14T22:13:20.000000001Z",)"
                R"("start_time":"2023-11-14T22:13:20.000000000Z","flags":1,"service_name":"cart","attributes":{"a":"2"},)") +
    kResourceAndScopeShown;
constexpr char kExemplar[] =
    R"("exemplars":[{"timeUnixNano":"1700000000000000002","asInt":"9","traceId":"4bf92f3577b34da6a3ce929d0e0e4736",)"
    R"("spanId":"00f067aa0ba902b7",)"
    R"("filteredAttributes":[{"key":"x","value":{"boolValue":false}}]}])";
constexpr char kExemplarShown[] =
    R"("exemplars":[{"time":"2023-11-14T22:13:20.000000002Z","value":9,"value_int":9,)"
    R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",)"
    R"("span_id":"00f067aa0ba902b7","attributes":{"x":"false"}}],)";

TEST(LogicalColumns, OfTraces) {
  const std::string shown = Shown(decode::Signal::kTraces, std::string(R"({"resourceSpans":[{)") + kResource + R"(,)"
      R"("scopeSpans":[{)" + kScope + R"(,"spans":[
      {"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","parentSpanId":"00f067aa0ba902b8",
       "traceState":"x=1","flags":257,
       "name":"GET","kind":2,"startTimeUnixNano":"1700000000000000001","endTimeUnixNano":"1700000000000000101",
       "attributes":[{"key":"list","value":{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"b"}]}}},
                     {"key":"bytes","value":{"bytesValue":"AP8="}},
                     {"key":"none","value":{}}],"droppedAttributesCount":1,
       "events":[{"timeUnixNano":"1700000000000000050","name":"e","attributes":[{"key":"k",
       "value":{"stringValue":"v"}}],"droppedAttributesCount":2}],
       "droppedEventsCount":5,
       "links":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002","traceState":"y","flags":1,
                 "attributes":[{"key":"l","value":{"intValue":"-1"}}],"droppedAttributesCount":6}],"droppedLinksCount":7,
       "status":{"code":2,"message":"bad"}}]}]}]})");
  EXPECT_EQ(shown, std::string(R"({"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7",)"
      R"("parent_span_id":"00f067aa0ba902b8",)"
                               R"("trace_state":"x=1","flags":257,"name":"GET","kind":"SERVER",)"
                               R"("start_time":"2023-11-14T22:13:20.000000001Z",)"
                               R"("end_time":"2023-11-14T22:13:20.000000101Z","duration_ns":100,"status_code":"ERROR",)"
                               R"("status_message":"bad",)"
                               R"("service_name":"cart","attributes":{"list":"[1,\"b\"]","bytes":"AP8=","none":null},)") +
                       kResourceAndScopeShown +
                       R"("dropped_attributes_count":1,"events":[{"time":"2023-11-14T22:13:20.000000050Z","name":"e",)"
                       R"("attributes":{"k":"v"},)"
                       R"("dropped_attributes_count":2}],"dropped_events_count":5,)"
                       R"("links":[{"trace_id":"00000000000000000000000000000001",)"
                       R"("span_id":"0000000000000002","trace_state":"y","flags":1,"attributes":{"l":"-1"},)"
                       R"("dropped_attributes_count":6}],)"
                       R"("dropped_links_count":7})"
                       "\n");
}

TEST(LogicalColumns, OfLogs) {
  const std::string shown = Shown(decode::Signal::kLogs, std::string(R"({"resourceLogs":[{)") + kResource + R"(,)"
      R"("scopeLogs":[{)" + kScope + R"(,"logRecords":[
      {"timeUnixNano":"1700000000000000001","observedTimeUnixNano":"1700000000000000002","severityNumber":9,
       "severityText":"INFO",
       "body":{"stringValue":"hello"},)" + kAttribute + R"(,"droppedAttributesCount":1,"flags":1,
       "traceId":"4bf92f3577b34da6a3ce929d0e0e4736",
       "spanId":"00f067aa0ba902b7","eventName":"ev"},
      {"body":{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}}]}}}]}]}]})");
  EXPECT_EQ(shown, std::string(R"({"time":"2023-11-14T22:13:20.000000001Z","observed_time":"2023-11-14T22:13:20.000000002Z",)"
                               R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7",)"
                               R"("flags":1,"severity_number":9,)"
                               R"("severity_text":"INFO","event_name":"ev","body":"hello","service_name":"cart",)"
                               R"("attributes":{"a":"2"},)") +
                       kResourceAndScopeShown + R"("dropped_attributes_count":1})" "\n" +
                       R"({"time":"1970-01-01T00:00:00.000000000Z","observed_time":"1970-01-01T00:00:00.000000000Z",)"
                       R"("trace_id":null,"span_id":null,)"
                       R"("flags":0,"severity_number":0,"severity_text":"","event_name":"","body":"{\"k\":1}",)"
                       R"("service_name":"cart","attributes":{},)" +
                       kResourceAndScopeShown + R"("dropped_attributes_count":0})" "\n");
}

TEST(LogicalColumns, OfGauges) {
  const std::string shown = Shown(decode::Signal::kGauge,
      Metric(std::string(R"("gauge":{"dataPoints":[{)") + kPoint + kAttribute + R"(,"asInt":"9007199254740993",)" + kExemplar + "}]}"));
  EXPECT_EQ(shown, kMetricShown + kExemplarShown + R"("value":9007199254740992,"value_int":9007199254740993})" "\n");
}

TEST(LogicalColumns, OfSums) {
  const std::string shown = Shown(decode::Signal::kSum,
      Metric(std::string(R"("sum":{"dataPoints":[{)")
             + kPoint + kAttribute + R"(,"asDouble":1.5}],"aggregationTemporality":2,"isMonotonic":true})"));
  EXPECT_EQ(shown, kMetricShown + R"("exemplars":[],"value":1.5,"value_int":null,)"
      R"("aggregation_temporality":"CUMULATIVE","is_monotonic":true})" "\n");
}

TEST(LogicalColumns, OfHistograms) {
  const std::string shown = Shown(decode::Signal::kHistogram,
      Metric(std::string(R"("histogram":{"dataPoints":[{)") + kPoint + kAttribute +
      R"(,"count":"3","sum":6.5,"min":1,"max":4,"bucketCounts":["1","2"],"explicitBounds":[2.5]}],)"
      R"("aggregationTemporality":1})"));
  EXPECT_EQ(shown, kMetricShown + R"("exemplars":[],"count":3,"sum":6.5,"min":1,"max":4,"bucket_counts":[1,2],)"
      R"("explicit_bounds":[2.5],)"
                                  R"("aggregation_temporality":"DELTA"})" "\n");
}

TEST(LogicalColumns, OfExponentialHistograms) {
  const std::string shown = Shown(decode::Signal::kExponentialHistogram,
      Metric(std::string(R"("exponentialHistogram":{"dataPoints":[{)") + kPoint + kAttribute +
      R"(,"count":"3","sum":6.5,"scale":-2,"zeroCount":"1","positive":{"offset":1,"bucketCounts":["1","2"]},)"
      R"("negative":{"offset":-1,"bucketCounts":["4"]},)"
      R"("zeroThreshold":0.5}],"aggregationTemporality":2})"));
  EXPECT_EQ(shown, kMetricShown + R"("exemplars":[],"count":3,"sum":6.5,"min":null,"max":null,"scale":-2,)"
      R"("zero_count":1,"zero_threshold":0.5,)"
                                  R"("positive_offset":1,"positive_bucket_counts":[1,2],"negative_offset":-1,)"
                                  R"("negative_bucket_counts":[4],)"
                                  R"("aggregation_temporality":"CUMULATIVE"})" "\n");
}

TEST(LogicalColumns, OfSummaries) {
  const std::string shown = Shown(decode::Signal::kSummary, Metric(std::string(R"("summary":{"dataPoints":[{)") + kPoint + kAttribute +
      R"(,"count":"3","sum":6.5,"quantileValues":[{"quantile":0.5,"value":2}]}]})"));
  EXPECT_EQ(shown, kMetricShown + R"("count":3,"sum":6.5,"quantile_values":[{"quantile":0.5,"value":2}]})" "\n");
}

}  // namespace
}  // namespace sheaf::query
