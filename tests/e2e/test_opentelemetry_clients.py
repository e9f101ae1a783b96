"""Real OpenTelemetry clients: telemetrygen (Go) and the Python SDK, over gRPC and HTTP. What they sent is what SQL
shows: at once, after a clean restart, and after kill -9."""

import subprocess

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

import otlp_rows

TRACES, CHILDREN, LOGS, POINTS = 40, 3, 75, 20
METRIC_TABLES = {"Gauge": "metrics_gauge", "Sum": "metrics_sum", "Histogram": "metrics_histogram",
                 "ExponentialHistogram": "metrics_exponential_histogram"}


def telemetrygen(peers, server, signal_name, how, *flags):
    address = server.ports["otlp-http" if how == "http" else "otlp-grpc"]
    command = [peers / "go" / "telemetrygen" / "telemetrygen", signal_name, "--otlp-insecure", "--otlp-endpoint", address, "--rate", "0",
               "--service", f"gen-{how}", "--telemetry-attributes", 'color="red"', "--telemetry-attributes", "size=7", *flags]
    if how == "http":
        command += ["--otlp-http", "--otlp-http-url-path", f"/v1/{signal_name}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, done.stdout.decode()[-3000:]


def restart_and_check(server, check):
    """The same answer from the memtable, from the log after kill -9, and from parts after a clean stop."""
    check()
    server.kill()
    server.start()
    check()
    server.stop()
    server.start()
    check()


@pytest.mark.parametrize("how", ["grpc", "http"])
def test_telemetrygen(server, peers, how):
    telemetrygen(peers, server, "traces", how, "--traces", str(TRACES), "--child-spans", str(CHILDREN), "--span-links", "2",
                 "--status-code", "Error")
    telemetrygen(peers, server, "logs", how, "--logs", str(LOGS), "--severity-text", "Warn", "--severity-number", "13", "--body", "hello",
                 "--trace-id", "ae87dadd90e9935a4bc9660628efd569", "--span-id", "5828fa4960140870")
    for kind in METRIC_TABLES:
        telemetrygen(peers, server, "metrics", how, "--metrics", str(POINTS), "--metric-type", kind)
    service = f"gen-{how}"

    def check():
        where = f"service_name = '{service}'"
        assert server.count("traces", where) == TRACES * (1 + CHILDREN)
        row, = server.rows(f"""SELECT count(DISTINCT trace_id) AS traces, count(DISTINCT span_id) AS spans,
            count(*) FILTER (parent_span_id IS NULL) AS roots, count(*) FILTER (len(links) = 2) AS linked,
            count(*) FILTER (len(links) = 0 AND parent_span_id IS NULL) AS unlinked,
            count(*) FILTER (status_code = 'ERROR') AS errors, count(*) FILTER (attributes['color'] = 'red') AS red,
            count(*) FILTER (attributes['size'] = '7') AS sized,
            count(*) FILTER (resource_attributes['service.name'] = '{service}') AS named,
            count(*) FILTER (end_time - start_time > INTERVAL 0 SECONDS AND duration_ns > 0) AS timed
            FROM otel.traces WHERE {where}""")
        total = TRACES * (1 + CHILDREN)
        # Links lead to spans made before, so the first has none.
        assert row == {"traces": TRACES, "spans": total, "roots": TRACES, "linked": total - 1, "unlinked": 1, "errors": total, "red": total,
                       "sized": total, "named": total, "timed": total}
        linked_to = server.value(f"""SELECT count(*) FROM (SELECT unnest(links) AS link FROM otel.traces WHERE {where}) l
            JOIN otel.traces t ON t.trace_id = l.link.trace_id AND t.span_id = l.link.span_id WHERE t.{where}""")
        assert linked_to == 2 * (total - 1)
        orphans = server.value(f"""SELECT count(*) FROM otel.traces c LEFT JOIN otel.traces p
            ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id
            WHERE c.{where} AND c.parent_span_id IS NOT NULL AND p.span_id IS NULL""")
        assert orphans == 0
        assert server.value(f"""SELECT count(*) FROM otel.logs WHERE {where} AND body = 'hello' AND severity_text = 'Warn'
            AND severity_number = 13 AND trace_id = 'ae87dadd90e9935a4bc9660628efd569' AND span_id = '5828FA4960140870'
            AND attributes['color'] = 'red'""") == LOGS
        for table in METRIC_TABLES.values():
            assert server.count(table, f"{where} AND attributes['color'] = 'red'") == POINTS, table

    restart_and_check(server, check)


class Recording:
    """Stands between the SDK and its exporter: keeps what is exported as the official message, and passes it on."""

    def __init__(self, exporter, encode, ok):
        self.exporter, self.encode, self.ok, self.requests = exporter, encode, ok, []

    def export(self, items, *args, **kwargs):
        self.requests.append(self.encode(items))
        result = self.exporter.export(items, *args, **kwargs)
        assert result is self.ok, result
        return result

    def shutdown(self, *args, **kwargs):
        self.exporter.shutdown()

    def force_flush(self, *args, **kwargs):
        return True


def exporters(server, how):
    if how == "grpc":
        options = {"endpoint": server.url("otlp-grpc"), "insecure": True}
        return GrpcSpanExporter(**options), GrpcLogExporter(**options), GrpcMetricExporter(**options)
    base = server.url("otlp-http")
    return (HttpSpanExporter(endpoint=f"{base}/v1/traces", compression=Compression.Gzip),
            HttpLogExporter(endpoint=f"{base}/v1/logs", compression=Compression.Gzip),
            HttpMetricExporter(endpoint=f"{base}/v1/metrics"))


RESOURCE = Resource({"service.name": "sdk", "text": "é", "number": 7, "ratio": 0.25, "flag": True, "list": ("a", "b")})


def emit_spans(exporter):
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("sdk-tracer", "1.2.3", "https://example.org/schema", attributes={"scope": "attribute"})
    with tracer.start_as_current_span("parent", kind=trace.SpanKind.SERVER,
                                      attributes={"text": "x", "int": 2**62, "double": 1e-300, "bool": False, "texts": ["a", ""],
                                                  "ints": [1, -1], "doubles": [0.5, 2.0], "bools": [True, False]}) as parent:
        parent.add_event("event", {"n": 1, "list": [1, 2]}, timestamp=1_700_000_000_000_000_123)
        link = trace.Link(parent.get_span_context(), {"why": "link"})
        for i, kind in enumerate(trace.SpanKind):
            with tracer.start_as_current_span(f"child {i}", kind=kind, links=[link]) as child:
                child.set_status(trace.StatusCode.ERROR if i % 2 else trace.StatusCode.OK, "broken" if i % 2 else None)
                if i == 2:
                    child.record_exception(ValueError("a message"))
    provider.shutdown()


def emit_logs(exporter):
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("sdk-logger", "4", "https://example.org/logs", attributes={"scope": True})
    for i, body in enumerate(["text", {"map": {"inner": [1, 2]}, "n": 1}, ["a", 2, 3.5], 5, 0.5, True]):
        logger.emit(timestamp=1_700_000_000_000_000_000 + i, observed_timestamp=1_700_000_000_000_001_000 + i, body=body,
                    severity_number=SeverityNumber(1 + 4 * (i % 6)), severity_text=f"S{i}", event_name=f"event.{i}" if i % 2 else None,
                    attributes={"i": i, "nested": {"a": ["b", "c"], "m": {"n": 1}}, "bytes": b"\x00\x01"})
    provider.shutdown()


def emit_metrics(exporter):
    delta = {kind: AggregationTemporality.DELTA for kind in (Counter, Histogram)}
    reader = InMemoryMetricReader(preferred_temporality=delta)
    view = View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())
    provider = MeterProvider([reader], resource=RESOURCE, views=[view])
    meter = provider.get_meter("sdk-meter", "5", "https://example.org/metrics", attributes={"scope": 1.5})
    meter.create_counter("counter", "1", "counts").add(3, {"k": "v"})
    meter.create_counter("counter.double").add(0.1)
    meter.create_up_down_counter("up_down").add(-4, {"list": ("x", "y")})
    meter.create_gauge("gauge").set(2.5, {"n": 1})
    meter.create_observable_gauge("observable.gauge", [lambda _: [Observation(7, {"o": True})]])
    meter.create_observable_counter("observable.counter", [lambda _: [Observation(8)]])
    meter.create_observable_up_down_counter("observable.up_down", [lambda _: [Observation(-9)]])
    plain, exponential = meter.create_histogram("histogram", "s"), meter.create_histogram("exponential", "s")
    for value in (0.0, 0.3, 5, 80, 12_000):
        plain.record(value, {"h": 1})
        exponential.record(value)
    data = reader.get_metrics_data()
    assert exporter.export(data) is MetricExportResult.SUCCESS
    provider.shutdown()


def compare(server, table, wanted, keys):
    rows = otlp_rows.plain_rows(server.sql(f"SELECT * FROM otel.{table} WHERE service_name = 'sdk'"))
    got = {tuple(row[key] for key in keys): row for row in rows}
    assert len(got) == len(wanted), table
    found = [line for want in wanted
             for line in otlp_rows.differences(got[tuple(want[key] for key in keys)], want, f"{table} {want[keys[0]]}")]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("how", ["grpc", "http"])
def test_python_sdk(server, how):
    spans, logs, metrics = exporters(server, how)
    spans = Recording(spans, encode_spans, SpanExportResult.SUCCESS)
    logs = Recording(logs, encode_logs, LogRecordExportResult.SUCCESS)
    metrics = Recording(metrics, encode_metrics, MetricExportResult.SUCCESS)
    emit_spans(spans)
    emit_logs(logs)
    emit_metrics(metrics)
    span_rows = [row for request in spans.requests for row in otlp_rows.span_rows(request)]
    log_rows = [row for request in logs.requests for row in otlp_rows.log_rows(request)]
    metric_rows = [pair for request in metrics.requests for pair in otlp_rows.metric_rows(request)]
    assert (len(span_rows), len(log_rows), len(metric_rows)) == (6, 6, 9)

    def check():
        compare(server, "traces", span_rows, ["span_id"])
        compare(server, "logs", log_rows, ["time"])
        for table in {table for table, _ in metric_rows}:
            compare(server, table, [row for name, row in metric_rows if name == table], ["metric_name"])

    restart_and_check(server, check)
