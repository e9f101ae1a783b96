"""OTLP as the specification has it, over HTTP and gRPC: encodings, partial success, and every way to be refused."""

import gzip
import json
import socket
import subprocess

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
import zstandard
from google.protobuf import json_format
from google.rpc import code_pb2, status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from grpc_status import rpc_status

import otlp_grpc
import otlp_rows
import otlp_samples

TRACE = b"\x11" * 16


def good_and_bad():
    """Two good spans and four that cannot be kept."""
    span = otlp_samples.span
    return otlp_samples.traces([span(TRACE, b"\x01" * 8), span(b"\x00" * 16, b"\x02" * 8), span(TRACE, b"\x00" * 8),
                                span(TRACE, b"\x03" * 7), span(b"\x11" * 15, b"\x04" * 8), span(TRACE, b"\x05" * 8)])


def one(name="op"):
    return otlp_samples.traces([otlp_samples.span(TRACE, b"\x01" * 8, name)])


def otlp_json(request):
    """OTLP's JSON: protobuf's, but ids are hex and enums are numbers."""
    message = json_format.MessageToDict(request, use_integers_for_enums=True)

    def fix(node, original):
        for key, value in node.items():
            if key in ("traceId", "spanId", "parentSpanId"):
                field = {"traceId": "trace_id", "spanId": "span_id", "parentSpanId": "parent_span_id"}[key]
                node[key] = getattr(original, field).hex()
            elif isinstance(value, dict):
                fix(value, getattr(original, original.DESCRIPTOR.fields_by_camelcase_name[key].name))
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                for item, inner in zip(value, getattr(original, original.DESCRIPTOR.fields_by_camelcase_name[key].name)):
                    fix(item, inner)
    fix(message, request)
    return json.dumps(message).encode()


@pytest.mark.parametrize("encoding,compress", [(None, bytes), ("gzip", gzip.compress), ("zstd", zstandard.compress)])
@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_encodings(server, form, encoding, compress):
    for signal_name, request in (("traces", otlp_samples.full_traces()), ("logs", otlp_samples.full_logs()),
                                 ("metrics", otlp_samples.full_metrics())):
        body = request.SerializeToString() if form == "protobuf" else otlp_json(request)
        media = "application/x-protobuf" if form == "protobuf" else "application/json"
        answer = server.otlp(signal_name, compress(body), media, encoding)
        assert answer.status_code == 200, answer.content
        assert answer.headers["Content-Type"].split(";")[0] == media
        if form == "json":
            assert answer.json() in ({}, {"partialSuccess": {}})
        else:
            assert otlp_grpc.response_of(signal_name).FromString(answer.content) == otlp_grpc.response_of(signal_name)()
    wanted, = otlp_rows.span_rows(otlp_samples.full_traces())
    got, = otlp_rows.plain_rows(server.sql("SELECT * FROM otel.traces"))
    assert not otlp_rows.differences(got, wanted, "traces")
    assert server.count("logs") == 7 and server.count("metrics_gauge") == 3 and server.count("metrics_summary") == 1


def check_partial(answer):
    assert answer.partial_success.rejected_spans == 4
    assert answer.partial_success.error_message


@pytest.mark.parametrize("how", ["http", "json", "grpc"])
def test_bad_spans_are_left_out_and_told(server, how):
    request = good_and_bad()
    if how == "http":
        answer = server.otlp("traces", request.SerializeToString())
        assert answer.status_code == 200
        check_partial(ExportTraceServiceResponse.FromString(answer.content))
    elif how == "json":
        answer = server.otlp("traces", otlp_json(request), "application/json")
        assert answer.status_code == 200
        partial = answer.json()["partialSuccess"]
        assert int(partial["rejectedSpans"]) == 4 and partial["errorMessage"]
    else:
        with server.channel() as channel:
            check_partial(otlp_grpc.stub(channel, "traces").Export(request, timeout=10))
    assert {row["span_id"].hex() for row in server.rows("SELECT span_id FROM otel.traces")} == {"01" * 8, "05" * 8}


def test_nothing_to_take_is_fine(server):
    for signal_name in ("traces", "logs", "metrics"):
        for body, media in ((b"", "application/x-protobuf"), (b"{}", "application/json")):
            assert server.otlp(signal_name, body, media).status_code == 200


PROTOBUF, JSON = "application/x-protobuf", "application/json"
REFUSED = [
    # name, method, path, content type, encoding, body, status
    ("torn protobuf", "POST", "/v1/traces", "application/x-protobuf", None, one().SerializeToString()[:-1], 400),
    ("no protobuf", "POST", "/v1/logs", "application/x-protobuf", None, b"\xff" * 20, 400),
    ("no json", "POST", "/v1/metrics", "application/json", None, b'{"resourceMetrics": [', 400),
    ("no gzip", "POST", "/v1/traces", "application/x-protobuf", "gzip", b"plain", 400),
    ("torn gzip", "POST", "/v1/traces", "application/x-protobuf", "gzip", gzip.compress(one().SerializeToString())[:-6], 400),
    ("no zstd", "POST", "/v1/metrics", "application/x-protobuf", "zstd", b"plain", 400),
    ("no gzip of json", "POST", "/v1/logs", "application/json; charset=utf-8", "gzip", b"{}", 400),
    ("unknown encoding of json", "POST", "/v1/logs", "application/json", "br", b"{}", 415),
    ("unknown media type", "POST", "/v1/traces", "text/plain", None, b"x", 415),
    ("unknown encoding", "POST", "/v1/traces", "application/x-protobuf", "br", b"x", 415),
    ("unknown path", "POST", "/v1/profiles", "application/x-protobuf", None, b"", 404),
    ("wrong method", "GET", "/v1/traces", None, None, b"", 405),
    ("wrong method put", "PUT", "/v1/logs", "application/x-protobuf", None, b"", 405),
    ("too large", "POST", "/v1/traces", "application/x-protobuf", None, b"\x00" * (3 << 20), 413),
    ("too large in json", "POST", "/v1/logs", "application/json", None, b" " * (3 << 20), 413),
    ("too large inflated", "POST", "/v1/traces", "application/x-protobuf", "gzip", gzip.compress(b"\x00" * (3 << 20)), 413),
    ("too large inflated json", "POST", "/v1/traces", "application/json", "zstd", zstandard.compress(b" " * (3 << 20)), 413),
]


@pytest.fixture(scope="module")
def refusing(program, tmp_path_factory):
    from sheaf_server import Server
    folder = tmp_path_factory.mktemp("refusing")
    server = Server(program, folder / "data", folder / "log", environment={"SHEAF_LIMITS_MESSAGE_BYTES": "1MiB"}).start()
    yield server
    server.stop()


def ask_http1(address, method, path, headers, body):
    """Status, headers (lower case) and body. Unlike requests, curl reads the answer that comes before its body is sent."""
    flags = [flag for name, value in headers.items() for flag in ("-H", f"{name}: {value}")]
    command = ["curl", "-s", "-S", "-i", "-m", "20", "--http1.1", "-X", method, "-H", "Expect:", "--data-binary", "@-", *flags]
    done = subprocess.run([*command, f"http://{address}{path}"], input=body, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    head, separator, rest = done.stdout.partition(b"\r\n\r\n")
    assert separator, (done.returncode, done.stdout, done.stderr)
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), rest


def ask_http2(address, method, path, headers, body):
    """The same; sends no more of the body than the first window. (curl 7 drops an answer that overtakes its body.)"""
    host, port = address.rsplit(":", 1)
    h2_connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        h2_connection.initiate_connection()
        pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", address)]
        fields = [(name.lower(), value) for name, value in headers.items() if value] + [("content-length", str(len(body)))]
        h2_connection.send_headers(1, pseudo + fields, end_stream=not body)
        for start in range(0, min(len(body), 49152), 16384):
            piece = body[start:start + 16384]
            h2_connection.send_data(1, piece, end_stream=start + len(piece) == len(body))
        connection.sendall(h2_connection.data_to_send())
        answer_headers, answer = {}, b""
        while True:
            received = connection.recv(65536)
            assert received, "the connection ended before the answer"
            for event in h2_connection.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    answer_headers = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    answer += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return int(answer_headers[":status"]), answer_headers, answer
                assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event


CODES = {400: code_pb2.INVALID_ARGUMENT, 404: code_pb2.NOT_FOUND, 405: code_pb2.UNIMPLEMENTED, 413: code_pb2.RESOURCE_EXHAUSTED,
         415: code_pb2.INVALID_ARGUMENT}


@pytest.mark.parametrize("ask", [ask_http1, ask_http2], ids=["http1", "http2"])
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_refused_over_http_with_a_status_in_the_type_of_the_request(refusing, case, ask):
    _, method, path, media, encoding, body, status = case
    # Without a Content-Type, curl would name one of its own.
    headers = {"Content-Type": media or "", **({"Content-Encoding": encoding} if encoding else {})}
    got, answer_headers, answer = ask(refusing.ports["otlp-http"], method, path, headers, body)
    assert got == status, answer
    if media == PROTOBUF:
        assert answer_headers["content-type"] == PROTOBUF
        told = status_pb2.Status.FromString(answer)
        assert told.message and told.code == CODES[status] and not told.details
    else:
        assert answer_headers["content-type"] == JSON
        told = json.loads(answer)
        assert told["message"] and told["code"] == CODES[status]
    assert "retry-after" not in answer_headers
    assert status != 405 or "post" in answer_headers["allow"].lower()


@pytest.mark.parametrize("encoding,body", [(None, lambda n: b"\x00" * n), ("gzip", lambda n: gzip.compress(b"\x00" * n)),
                                           ("zstd", lambda n: zstandard.compress(b"\x00" * n))], ids=["plain", "gzip", "zstd"])
def test_too_large_over_http(refusing, encoding, body):
    # A server may answer and close before it has read what it will not take; requests may then see only the reset.
    import requests
    try:
        answer = refusing.otlp("traces", body(3 << 20), encoding=encoding)
    except requests.exceptions.ConnectionError:
        assert encoding is None
    else:
        assert answer.status_code == 413
        assert "Retry-After" not in answer.headers
    assert refusing.otlp("traces", b"").status_code == 200


def export_raw(channel, body, method="/opentelemetry.proto.collector.trace.v1.TraceService/Export", **options):
    return channel.unary_unary(method)(body, timeout=20, **options)


def test_refused_over_grpc(refusing):
    with refusing.channel() as channel:
        with pytest.raises(grpc.RpcError) as malformed:
            export_raw(channel, b"\xff\xff\xff")
        assert malformed.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as unknown:
            export_raw(channel, b"", "/opentelemetry.proto.collector.trace.v1.TraceService/Import")
        assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as large:
            export_raw(channel, b"\x00" * (3 << 20))
        assert large.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(large.value)  # RetryInfo would tell the client to send the same again.
        assert status is None or not status.details
        assert export_raw(channel, one().SerializeToString()) == b""
    assert code_pb2.RESOURCE_EXHAUSTED == 8


def test_grpc_compression(server):
    with server.channel() as channel:
        for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
            assert export_raw(channel, one().SerializeToString(), compression=compression) == b""
    assert server.count("traces") == 2


def test_health(server):
    for path in ("/healthz", "/readyz"):
        assert server.session.get(server.url(path=path), timeout=10).status_code == 200
    with server.channel() as channel:
        for service in (b"", b"opentelemetry.proto.collector.trace.v1.TraceService"):
            request = b"\x0a" + bytes([len(service)]) + service if service else b""
            assert channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=10) == b"\x08\x01"


def test_unknown_fields_are_ignored_in_json_and_kept_in_protobuf(server):
    message = json.loads(otlp_json(one("known")))
    message["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["somethingNew"] = {"x": [1]}
    assert server.otlp("traces", json.dumps(message).encode(), "application/json").status_code == 200
    request = one("future")
    raw = ExportTraceServiceRequest.FromString(request.SerializeToString() + b"\xf8\x07\x01")
    assert server.otlp("traces", raw.SerializeToString()).status_code == 200
    assert {row["name"] for row in server.rows("SELECT name FROM otel.traces")} == {"known", "future"}
