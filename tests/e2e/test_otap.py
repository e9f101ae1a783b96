"""OTel-Arrow streams of the Go library, live and replayed: the same rows as their OTLP twins, a status for each batch. And streams of
ours, read by that library."""

import json
import os
import pathlib
import queue
import struct
import subprocess

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import otlp_grpc
from sheaf_forward import Forwarder

PEER = pathlib.Path(__file__).resolve().parent.parent / "peers" / "otap-go"
METHODS = {"traces": "/opentelemetry.proto.experimental.arrow.v1.ArrowTracesService/ArrowTraces",
           "logs": "/opentelemetry.proto.experimental.arrow.v1.ArrowLogsService/ArrowLogs",
           "metrics": "/opentelemetry.proto.experimental.arrow.v1.ArrowMetricsService/ArrowMetrics"}
REQUESTS = {"traces": ExportTraceServiceRequest, "logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest}
TABLES = {"traces": ["traces"], "logs": ["logs"],
          "metrics": [f"metrics_{kind}" for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary")]}


def make_batch_classes():
    """BatchArrowRecords (as far as tests write it) and BatchStatus."""
    file = descriptor_pb2.FileDescriptorProto(name="otap.proto", package="otap", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in (("ArrowPayload", [("schema_id", 1, kinds.TYPE_STRING), ("type", 2, kinds.TYPE_INT32),
                                           ("record", 3, kinds.TYPE_BYTES)]),
                         ("BatchStatus", [("batch_id", 1, kinds.TYPE_INT64), ("status_code", 2, kinds.TYPE_INT32),
                                          ("status_message", 3, kinds.TYPE_STRING)]),
                         ("BatchArrowRecords", [("batch_id", 1, kinds.TYPE_INT64)])):
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            message.field.add(name=field, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    message.field.add(name="arrow_payloads", number=2, type=kinds.TYPE_MESSAGE, type_name=".otap.ArrowPayload",
                      label=kinds.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName("otap." + name))
            for name in ("BatchArrowRecords", "BatchStatus")}


MESSAGES = make_batch_classes()


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    program = tmp_path_factory.mktemp("otap") / "otap-go"
    subprocess.run(["go", "build", "-mod=mod", "-o", program, "."], cwd=PEER, check=True, timeout=280)
    return program


@pytest.fixture(scope="session")
def twins(peer, tmp_path_factory):
    """Streams and their OTLP: schema resets, dictionary deltas, every type of attribute, compressed buffers inside."""
    folder = tmp_path_factory.mktemp("twins")
    subprocess.run([peer, "twins", folder, "4", "30"], check=True, timeout=60)
    return {signal: [pieces(folder / f"{signal}.{form}") for form in ("otap", "otlp")] for signal in METHODS}


def pieces(path):
    data, at, out = path.read_bytes(), 0, []
    while at < len(data):
        size, = struct.unpack_from("<I", data, at)
        out.append(data[at + 4:at + 4 + size])
        at += 4 + size
    return out


def statuses(server, signal, batches, compression=None):
    """Sends a stream and returns its BatchStatus messages."""
    with grpc.insecure_channel(server.ports["otlp-grpc"]) as channel:
        call = channel.stream_stream(METHODS[signal], request_serializer=None, response_deserializer=MESSAGES["BatchStatus"].FromString)
        return list(call(iter(batches), timeout=60, compression=compression))


def canonical(value):
    """The order of attributes, events, links and exemplars does not show, nor attributes without a value: the Go library sends none."""
    if isinstance(value, list):
        items = [canonical(item) for item in value]
        return sorted(items, key=repr) if items and isinstance(items[0], dict) else items
    if isinstance(value, dict):
        return {k: canonical(v) for k, v in sorted(value.items()) if v is not None}
    return value


def table_rows(server, table):
    answer = server.session.post(server.url(path="/v1/sql"), data=f"SELECT * FROM otel.{table}".encode(),
                                 headers={"Accept": "application/x-ndjson"}, timeout=60)
    assert answer.status_code == 200, answer.text
    rows = [json.loads(line) for line in answer.text.splitlines()]
    # Nor does it send the metadata of metrics.
    return sorted(repr(canonical({k: v for k, v in row.items() if k != "metadata"})) for row in rows)


def assert_same_rows(left, right, signals=METHODS):
    for signal in signals:
        for table in TABLES[signal]:
            got, want = table_rows(left, table), table_rows(right, table)
            assert len(want) > 0 and len(got) == len(want), table
            for a, b in zip(got, want):
                assert a == b, table


def send_otlp(server, twins):
    for signal, (_, requests) in twins.items():
        for request in requests:
            otlp_grpc.stub(server.channel(), signal).Export(REQUESTS[signal].FromString(request), timeout=30)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_replayed_streams_give_the_rows_of_their_twins(make_server, twins, tmp_path, compression):
    arrow, plain = make_server(tmp_path / "arrow").start(), make_server(tmp_path / "plain").start()
    for signal, (batches, _) in twins.items():
        got = statuses(arrow, signal, batches, compression)
        assert sorted((status.batch_id, status.status_code) for status in got) == [(i, 0) for i in range(len(batches))], got
    send_otlp(plain, twins)
    assert_same_rows(arrow, plain)


@pytest.mark.parametrize("variables", [{}, {"OTAP_ZSTD": "1"}, {"OTAP_CODEC": "gzip"}, {"OTAP_CODEC": "zstdarrow3"}],
                         ids=["plain", "zstd_inside", "gzip_outside", "zstdarrow_outside"])
def test_live_streams_give_the_rows_of_their_twins(make_server, peer, twins, tmp_path, variables):
    arrow, plain = make_server(tmp_path / "arrow").start(), make_server(tmp_path / "plain").start()
    bridge = subprocess.Popen([peer, "bridge", arrow.ports["otlp-grpc"]], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, **variables})
    try:
        address = bridge.stdout.readline().strip()
        with grpc.insecure_channel(address) as channel:
            for signal, (_, requests) in twins.items():
                for request in requests:
                    otlp_grpc.stub(channel, signal).Export(REQUESTS[signal].FromString(request), timeout=30, wait_for_ready=True)
    finally:
        bridge.kill()
        bridge.wait()
        bridge.stdout.close()
    send_otlp(plain, twins)
    assert_same_rows(arrow, plain)


def write_pieces(path, messages):
    path.write_bytes(b"".join(struct.pack("<I", len(message)) + message for message in messages))


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_streams_of_ours_are_read_by_the_go_library(make_server, peer, twins, tmp_path, codec):
    encode = pathlib.Path(os.environ["SHEAF_BUILD_DIR"]) / "bin" / "otap_encode"
    there, here = make_server(tmp_path / "there").start(), make_server(tmp_path / "here").start()
    back = {}
    for signal, (_, requests) in twins.items():
        # Some twice: what is sent again is in the dictionaries already.
        write_pieces(tmp_path / f"{signal}.otlp", requests + requests[:1])
        subprocess.run([encode, signal, tmp_path / f"{signal}.otlp", tmp_path / f"{signal}.otap", codec], check=True, timeout=60)
        subprocess.run([peer, "sink", signal, tmp_path / f"{signal}.otap", tmp_path / f"{signal}.back"], check=True, timeout=60)
        back[signal] = (None, pieces(tmp_path / f"{signal}.back"))
        assert len(back[signal][1]) == len(requests) + 1
    send_otlp(there, back)
    send_otlp(here, {signal: (batches, requests + requests[:1]) for signal, (batches, requests) in twins.items()})
    assert_same_rows(there, here)


@pytest.mark.parametrize("arguments", [[], ["--compression", "none", "--metric-metadata"]], ids=["zstd", "plain"])
def test_what_is_forwarded_as_otel_arrow_gives_the_rows_of_its_twins(make_server, program, twins, tmp_path, arguments):
    arrow, plain = make_server(tmp_path / "arrow").start(), make_server(tmp_path / "plain").start()
    forwarder = Forwarder(program, tmp_path / "queue", tmp_path / "forward.log", [f"otap://{arrow.ports['otlp-grpc']}"],
                          ["--flush-interval", "20", "--stop-timeout", "60000", *arguments]).start()
    send_otlp(forwarder, twins)
    forwarder.stop()
    figures = json.loads(forwarder.last_lines()[-1])
    assert figures["queued_rows"] == figures["refused_rows"] == figures["rejected_rows"] == figures["perhaps_twice_rows"] == 0, figures
    send_otlp(plain, twins)
    assert_same_rows(arrow, plain)
    assert figures["sent_rows"] == sum(len(table_rows(plain, table)) for tables in TABLES.values() for table in tables)


def test_a_wrong_batch_is_told_and_the_stream_goes_on(server, twins):
    batches = twins["traces"][0]
    wrong = MESSAGES["BatchArrowRecords"](batch_id=99)
    wrong.arrow_payloads.add(schema_id="x", type=40, record=b"not arrow")
    unknown = MESSAGES["BatchArrowRecords"](batch_id=98)
    unknown.arrow_payloads.add(schema_id="y", type=77, record=b"")
    got = statuses(server, "traces", [batches[0], unknown.SerializeToString(), wrong.SerializeToString()])
    got.sort(key=lambda status: status.batch_id)  # They come as they are ready.
    assert [(status.batch_id, status.status_code) for status in got] == [(0, 0), (98, 3), (99, 3)]
    assert "payload type 77 in a stream of traces" in got[1].status_message and "SPANS" in got[2].status_message
    assert server.count("traces") > 0


def test_acknowledged_batches_survive_a_kill(make_server, twins, tmp_path):
    server = make_server(tmp_path / "data").start()
    batches = twins["traces"][0]
    assert all(status.status_code == 0 for status in statuses(server, "traces", batches))
    before = table_rows(server, "traces")
    server.kill()
    server.start()
    assert table_rows(server, "traces") == before


def test_a_server_that_stops_ends_its_streams(make_server, tmp_path):
    server = make_server(tmp_path / "data").start()
    with grpc.insecure_channel(server.ports["otlp-grpc"]) as channel:
        call = channel.stream_stream(METHODS["logs"], request_serializer=None, response_deserializer=None)
        open_end = queue.Queue()
        stream = call(iter(open_end.get, None), timeout=60)
        grpc.channel_ready_future(channel).result(timeout=10)
        open_end.put(MESSAGES["BatchArrowRecords"](batch_id=5).SerializeToString())
        assert MESSAGES["BatchStatus"].FromString(next(stream)).batch_id == 5
        server.stop()
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        open_end.put(None)
