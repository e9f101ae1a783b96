"""OTLP messages for tests, made with the official protobuf classes."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

START_NS = 1_700_000_000_000_000_000


def any_value(value):
    result = AnyValue()
    if isinstance(value, bool):
        result.bool_value = value
    elif isinstance(value, int):
        result.int_value = value
    elif isinstance(value, float):
        result.double_value = value
    elif isinstance(value, bytes):
        result.bytes_value = value
    elif isinstance(value, str):
        result.string_value = value
    elif isinstance(value, (list, tuple)):
        result.array_value.values.extend(any_value(item) for item in value)
    elif isinstance(value, dict):
        result.kvlist_value.values.extend(key_values(value))
    return result


def key_values(attributes):
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


EVERY_TYPE = {"text": "grün", "empty": "", "yes": True, "no": False, "int": -42, "big": 2**63 - 1, "double": 0.1, "whole": 3.0,
              "bytes": b"\x00\xff\x10", "list": ["a", 1, True, 2.5], "map": {"inner": {"deep": [1, 2]}, "n": 1}}


def traces(spans, service="shop", resource=None, scope="tests"):
    request = ExportTraceServiceRequest()
    part = request.resource_spans.add()
    part.resource.attributes.extend(key_values({"service.name": service, **(resource or {})}))
    inner = part.scope_spans.add()
    inner.scope.name = scope
    inner.spans.extend(spans)
    return request


def span(trace_id, span_id, name="op", parent=b"", start_ns=START_NS, duration_ns=1_000_000, **attributes):
    from opentelemetry.proto.trace.v1.trace_pb2 import Span
    return Span(trace_id=trace_id, span_id=span_id, parent_span_id=parent, name=name, kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=start_ns, end_time_unix_nano=start_ns + duration_ns, attributes=key_values(attributes))


def full_span(trace_id, span_id):
    """A span with every field set."""
    result = span(trace_id, span_id, "full", parent=b"\x01" * 8, **EVERY_TYPE)
    result.trace_state = "vendor=1,other=2"
    result.flags = 0x301
    result.dropped_attributes_count, result.dropped_events_count, result.dropped_links_count = 3, 4, 5
    result.status.code, result.status.message = 2, "it broke"
    for i in range(3):
        event = result.events.add(time_unix_nano=START_NS + i, name=f"event {i}", dropped_attributes_count=i)
        event.attributes.extend(key_values({"n": i, **(EVERY_TYPE if i == 1 else {})}))
    for i in range(2):
        link = result.links.add(trace_id=bytes([i + 1]) * 16, span_id=bytes([i + 1]) * 8, trace_state="l=1", flags=1,
                                dropped_attributes_count=7)
        link.attributes.extend(key_values({"why": "retry"}))
    return result


def full_traces():
    request = traces([full_span(b"\xab" * 16, b"\xcd" * 8)], resource={"host.name": "node-1", **EVERY_TYPE})
    part = request.resource_spans[0]
    part.schema_url = "https://opentelemetry.io/schemas/1.37.0"
    part.resource.dropped_attributes_count = 2
    scope_part = part.scope_spans[0]
    scope_part.schema_url = "https://example.org/scope"
    scope_part.scope.version = "2.1"
    scope_part.scope.dropped_attributes_count = 1
    scope_part.scope.attributes.extend(key_values({"s": "t", "n": 5}))
    return request


def full_logs():
    request = ExportLogsServiceRequest()
    part = request.resource_logs.add(schema_url="https://example.org/logs")
    part.resource.attributes.extend(key_values({"service.name": "logger", "k": [1, "x"]}))
    inner = part.scope_logs.add()
    inner.scope.name, inner.scope.version = "log-scope", "9"
    for i, body in enumerate(["plain text", {"user": "u1", "items": [1, 2.5, "x"]}, ["a", 1], 42, True, 1.25, b"\x01\x02"]):
        record = inner.log_records.add(time_unix_nano=START_NS + i, observed_time_unix_nano=START_NS + 100 + i, severity_number=9 + i % 4,
                                       severity_text="INFO", flags=1, event_name="event" if i == 1 else "", dropped_attributes_count=i)
        record.body.CopyFrom(any_value(body))
        record.attributes.extend(key_values({"i": i, **(EVERY_TYPE if i == 0 else {})}))
        if i % 2 == 0:
            record.trace_id, record.span_id = bytes([i + 1]) * 16, bytes([i + 1]) * 8
    return request


def full_metrics():
    request = ExportMetricsServiceRequest()
    part = request.resource_metrics.add(schema_url="https://example.org/metrics")
    part.resource.attributes.extend(key_values({"service.name": "meter"}))
    inner = part.scope_metrics.add()
    inner.scope.name = "meter-scope"
    times = {"start_time_unix_nano": START_NS, "time_unix_nano": START_NS + 5_000}

    def metric(name, unit):
        result = inner.metrics.add(name=name, unit=unit, description=f"about {name}")
        result.metadata.extend(key_values({"origin": "test"}))
        return result

    def exemplar(point):
        example = point.exemplars.add(time_unix_nano=START_NS + 9, as_double=0.75, trace_id=b"\x0e" * 16, span_id=b"\x0f" * 8)
        example.filtered_attributes.extend(key_values({"worker": 3}))

    gauge = metric("memory", "By").gauge
    for value in (2**63 - 1, -5):
        point = gauge.data_points.add(as_int=value, **times)
        point.attributes.extend(key_values(EVERY_TYPE))
        exemplar(point)
    gauge.data_points.add(as_double=1.5, flags=1, **times)
    total = metric("requests", "1").sum
    total.aggregation_temporality, total.is_monotonic = 2, True
    exemplar(total.data_points.add(as_int=7, **times))
    delta = metric("revenue", "EUR").sum
    delta.aggregation_temporality = 1
    delta.data_points.add(as_double=19.99, **times)
    histogram = metric("latency", "s").histogram
    histogram.aggregation_temporality = 1
    exemplar(histogram.data_points.add(count=6, sum=3.5, min=0.1, max=2.0, bucket_counts=[1, 2, 3], explicit_bounds=[0.5, 1.0], **times))
    histogram.data_points.add(count=0, **times)
    exponential = metric("latency.exp", "s").exponential_histogram
    exponential.aggregation_temporality = 2
    point = exponential.data_points.add(count=10, sum=4.0, min=-1.0, max=3.0, scale=-2, zero_count=1, zero_threshold=1e-9, **times)
    point.positive.offset, point.negative.offset = -3, 2
    point.positive.bucket_counts.extend([1, 0, 5])
    point.negative.bucket_counts.extend([3])
    exemplar(point)
    summary = metric("rpc", "ms").summary
    point = summary.data_points.add(count=4, sum=10.0, **times)
    for quantile, value in ((0.5, 1.0), (0.99, 7.5)):
        point.quantile_values.add(quantile=quantile, value=value)
    return request
