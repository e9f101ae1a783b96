"""Peers that mean harm, on every port of the real program: what they send is refused, costs little, and disturbs nobody else."""

import contextlib
import gzip
import io
import itertools
import json
import os
import pathlib
import random
import socket
import struct
import threading
import time
import zlib

import hpack
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

import frames
from frames import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame
from good_client import GoodClient

MIB, GIB = 1 << 20, 1 << 30
SECRET = "the-secret-that-nobody-may-read-6c1f"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What stands around the data directory: a secret beside it and in it, which no answer may hold."""
    place = tmp_path_factory.mktemp("hostile")
    for path in (place / "secret.txt", place / "secret.csv", place / "data" / "secret.txt"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"a,b\n{SECRET},1\n")
    (place / "secret.json").write_text(json.dumps({"a": SECRET}))
    pq.write_table(pa.table({"a": [SECRET]}), place / "secret.parquet")
    return place


@pytest.fixture(scope="module")
def target(program, place):
    from sheaf_server import Server
    # What AddressSanitizer keeps of freed memory would count as growth.
    environment = {"ASAN_OPTIONS": program.environment["ASAN_OPTIONS"] + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=16",
                   "SHEAF_SECRET": SECRET}
    server = Server(program, place / "data", place / "log", environment=environment).start()
    server.rows("CREATE TABLE t (k VARCHAR PRIMARY KEY, v VARCHAR)")
    server.rows(f"CREATE TABLE wide ({', '.join(f'c{i} VARCHAR' for i in range(60))})")
    with GoodClient(server):  # Everything has run once before its memory is measured.
        time.sleep(1)
    yield server
    server.stop()


class Costs:
    """`with Costs(server) as costs:` measures the server's time and the most memory above what it had."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        pathlib.Path(f"/proc/{self.server.pid()}/clear_refs").write_text("5")  # The peak starts anew.
        self.before_bytes, self.before_s = self.server.resident_bytes(), self.server.cpu_seconds()
        return self

    def __exit__(self, *_):
        self.cpu_s = self.server.cpu_seconds() - self.before_s
        self.grown_bytes = self.server.resident_bytes("VmHWM") - self.before_bytes

    def __str__(self):
        return f"{self.cpu_s * 1000:.0f} ms, {self.grown_bytes / MIB:+.1f} MiB"


# --- Bombs: small on the wire, huge inside ---

def deflate_blocks(size):
    """Raw deflate of that many zeros (a multiple of 64 MiB, or less than that) that can be followed by more."""
    step = min(size, 64 * MIB)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(bytes(step)) + packer.flush(zlib.Z_FULL_FLUSH)) * (size // step)


def gzip_bomb(size):
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflate_blocks(size) + b"\x03\0" + bytes(8)


def deflate_bomb(size):
    return b"\x78\xda" + deflate_blocks(size) + b"\x03\0" + bytes(4)


def zstd_bomb(size):
    """Blocks that say "128 KiB of this byte", as small as zstd can be; no size in front."""
    block = struct.pack("<I", (131072 << 3) | (1 << 1))[:3] + b" "
    return b"\x28\xb5\x2f\xfd\x00\x68" + block * (size >> 17) + b"\x01\0\0"


def lying_zstd_bomb(size):
    """The same, which claims its size in front."""
    block = struct.pack("<I", (131072 << 3) | (1 << 1))[:3] + b" "
    return b"\x28\xb5\x2f\xfd\xc0\x68" + struct.pack("<Q", size) + block * (size >> 17) + b"\x01\0\0"


INFLATED = {  # Encodings by name, each as 10 KB or less and as what becomes 10 GiB.
    "gzip": (gzip_bomb, 10 * MIB), "x-gzip": (gzip_bomb, 10 * MIB), "deflate": (deflate_bomb, 10 * MIB),
    "zstd": (zstd_bomb, 320 * MIB), "zstd of a size": (lying_zstd_bomb, 320 * MIB)}
HTTP_PLACES = [
    *[("otlp-http", f"/v1/{signal}", media) for signal in ("traces", "logs", "metrics")
      for media in ("application/x-protobuf", "application/json")],
    *[("http", "/v1/tables/main.t", media) for media in ("application/x-ndjson", "text/csv", "application/vnd.apache.parquet",
                                                         "application/vnd.apache.arrow.stream")],
    ("http", "/v1/sql", "text/plain"), ("http", "/v1/sql", "application/json"), ("http", "/v1/snapshots", "application/json")]


def check_costs(server, costs, cpu_ms, wire_bytes):
    factor = 4 if server.sanitized() else 1
    assert costs.cpu_s * 1000 < cpu_ms * factor, str(costs)
    assert costs.grown_bytes < 96 * MIB + wire_bytes, str(costs)


@pytest.mark.parametrize("encoding", INFLATED)
def test_bombs_over_http_are_too_large(target, encoding):
    """413 and no Retry-After, on every path that takes a body; 100 ms for 10 KB, and less than 96 MiB."""
    make, small = INFLATED[encoding]
    for size, cpu_ms, places in ((small, 100, HTTP_PLACES), (10 * GIB, 400, HTTP_PLACES[::6])):
        bomb = make(size)
        assert len(bomb) < 11_000 or size == 10 * GIB
        worst = None
        for port, path, media in places:
            headers = {"Content-Type": media, "Content-Encoding": encoding.split()[0]}
            with Costs(target) as costs:
                answer = requests.post(target.url(port, path), data=bomb, headers=headers, timeout=30)
            assert answer.status_code == 413, (port, path, media, answer.status_code, answer.content[:300])
            assert "Retry-After" not in answer.headers
            check_costs(target, costs, cpu_ms, len(bomb))
            worst = max(worst or costs, costs, key=lambda each: each.cpu_s)
        print(f"{encoding}: {len(bomb):,} bytes for {size / MIB:,.0f} MiB on {len(places)} paths, worst {worst}")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "zstdarrow1", "zstd of a size"])
def test_bombs_over_grpc_are_too_large(target, encoding):
    """RESOURCE_EXHAUSTED without details: with RetryInfo a client would send the same again."""
    make, small = INFLATED[encoding.replace("arrow1", "")]
    for size, cpu_ms in ((small, 100), (10 * GIB, 400)):
        bomb = frames.message(make(size), compressed=True)
        fields = frames.fields(path=EXPORT, grpc_encoding=encoding.split()[0])
        with Costs(target) as costs:
            answer = upload(target, fields, bomb)
        assert answer["grpc-status"] == "8", answer
        assert "grpc-status-details-bin" not in answer
        check_costs(target, costs, cpu_ms, len(bomb))
        print(f"{encoding}: {len(bomb):,} bytes for {size / MIB:,.0f} MiB, {costs}")


def upload(server, fields, body):
    """The answer's headers and trailers; sends as far as the server's windows let it."""
    import h2.config
    import h2.connection
    import h2.events
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False))
    client.initiate_connection()
    client.send_headers(1, fields)
    found, sent, ended = {}, 0, False
    with server.connect("otlp-grpc") as sock:
        sock.sendall(client.data_to_send())
        while not ended:
            while sent < len(body) and (window := min(client.local_flow_control_window(1), client.max_outbound_frame_size)):
                piece = body[sent:sent + window]
                sent += len(piece)
                client.send_data(1, piece, end_stream=sent == len(body))
            sock.sendall(client.data_to_send())
            received = sock.recv(65536)
            assert received, "the connection ended before the answer"
            for event in client.receive_data(received):
                if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    found.update(event.headers)
                ended = ended or isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated))
    return found


def arrow_bomb(codec):
    """40 batches of 1,000 texts, 256 MiB each: 10 GiB."""
    offsets = pa.py_buffer(struct.pack("<1001i", *range(0, 256 * MIB + 1, 256 * MIB // 1000)[:1001]))
    column = pa.Array.from_buffers(pa.string(), 1000, [None, offsets, pa.py_buffer(bytes(256 * MIB))])
    batch = pa.record_batch([column], names=["v"])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_batch(batch)
        first = sink.tell()
        writer.write_batch(batch)
        second = sink.tell()
    whole = sink.getvalue()
    return whole[:first] + whole[first:second] * 39 + whole[second:]


def parquet_bomb():
    """10,240 rows that are all the one text of a dictionary, which has 1 MiB: 10 GiB."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 10240, pa.int32()), pa.array(["x" * MIB]))
    sink = io.BytesIO()
    pq.write_table(pa.table({"v": column}), sink, compression="zstd", dictionary_pagesize_limit=16 * MIB, store_schema=False)
    return sink.getvalue()


def wide_lines():
    """Lines without a value: each becomes a row of all the columns that a table has."""
    return b"{}\n" * 2_000_000


CONTAINERS = {
    "arrow, zstd": (lambda: arrow_bomb("zstd"), "application/vnd.apache.arrow.stream", "main.t"),
    "arrow, lz4": (lambda: arrow_bomb("lz4"), "application/vnd.apache.arrow.stream", "main.t"),
    "parquet, one text 10,240 times": (parquet_bomb, "application/vnd.apache.parquet", "main.t"),
    "ndjson, nothing in each line": (wide_lines, "application/x-ndjson", "main.wide"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_files_that_inflate_by_themselves_are_too_large(target, name):
    """Arrow streams and Parquet files carry compression of their own, which the transport knows nothing of."""
    make, media, table = CONTAINERS[name]
    body = make()
    with Costs(target) as costs:
        answer = requests.post(target.url(path=f"/v1/tables/{table}"), data=body, headers={"Content-Type": media}, timeout=60)
    print(f"{name}: {len(body):,} bytes, {costs}")
    assert answer.status_code == 413, (answer.status_code, answer.content[:500])
    assert "Retry-After" not in answer.headers
    assert costs.grown_bytes < 64 * MIB + 4 * len(body) + 96 * MIB


def varint(value):
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def parquet_of_many_columns(chunks):
    """A footer whose one row group has that many column chunks of three bytes each; an object of hundreds of bytes for each."""
    root = b"\x48\x04root\x15\x02\0"                              # SchemaElement {4: name, 5: num_children}
    leaf = b"\x15\x0c\x25\0\x18\x01v\0"                           # SchemaElement {1: BYTE_ARRAY, 3: REQUIRED, 4: name}
    columns = b"\x19\xfc" + varint(chunks) + b"\x26\0\0" * chunks  # 1: list of ColumnChunk {2: file_offset}
    group = columns + b"\x16\0\x16\0\0"                           # 2: total_byte_size, 3: num_rows
    footer = b"\x15\x02\x19\x2c" + root + leaf + b"\x16\0\x19\x1c" + group + b"\0"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


@pytest.mark.parametrize("chunks", [80_000, 1_000_000, 20_000_000])
def test_parquet_footers_cost_little(target, chunks):
    """Thrift objects are in no pool: what a footer may say is limited before it is read."""
    body = parquet_of_many_columns(chunks)
    with Costs(target) as costs:
        answer = requests.post(target.url(path="/v1/tables/main.t"), data=body, timeout=60,
                               headers={"Content-Type": "application/vnd.apache.parquet"})
    print(f"{chunks} column chunks, {len(body):,} bytes: {answer.status_code}, {costs}")
    assert answer.status_code == 413 or chunks == 80_000, answer.content[:300]  # So many may be meant well.
    assert costs.grown_bytes < 96 * MIB + len(body)


@pytest.mark.parametrize("name, path, media, body", [
    ("sql, parentheses", "/v1/sql", "text/plain", b"SELECT " + b"(" * 400_000 + b"1" + b")" * 400_000),
    ("sql, brackets", "/v1/sql", "text/plain", b"SELECT " + b"[" * 500_000),
    ("sql, sums", "/v1/sql", "text/plain", b"SELECT 1" + b"+1" * 500_000),
    ("sql, nots", "/v1/sql", "text/plain", b"SELECT " + b"NOT " * 250_000 + b"true"),
    ("sql, minus", "/v1/sql", "text/plain", b"SELECT " + b"- " * 500_000 + b"1"),
    ("sql, sub-queries", "/v1/sql", "text/plain", b"SELECT * FROM " + b"(SELECT * FROM " * 60_000 + b"traces" + b")" * 60_000),
    ("sql, unions", "/v1/sql", "text/plain", b"SELECT 1" + b" UNION SELECT 1" * 60_000),
    ("sql, joins", "/v1/sql", "text/plain", b"SELECT 1 FROM range(2)" + b", range(2)" * 100),
    ("sql, ands", "/v1/sql", "text/plain", b"SELECT 1 FROM range(2) WHERE range > 0" + b" AND range > 0" * 60_000),
    ("sql, withs", "/v1/sql", "text/plain", ("WITH a0 AS (SELECT 1 AS x)" + "".join(
        f", a{i} AS NOT MATERIALIZED (SELECT l.x FROM a{i - 1} l, a{i - 1} r)" for i in range(1, 41)) +
        " SELECT count(y) FROM a40").encode()),
    ("sql, casts", "/v1/sql", "text/plain", b"SELECT 1" + b"::INT" * 200_000),
    ("sql, list types", "/v1/sql", "text/plain", b"SELECT NULL::INT" + b"[]" * 500_000),
    ("sql, struct types", "/v1/sql", "text/plain", b"SELECT NULL::" + b"STRUCT(a " * 100_000 + b"INT" + b")" * 100_000),
    ("sql, json text", "/v1/sql", "text/plain", b"SELECT ('" + b"[" * 400_000 + b"]" * 400_000 + b"'::JSON -> 0)::INT"),
    ("sql, list text", "/v1/sql", "text/plain", b"SELECT '" + b"[" * 400_000 + b"]" * 400_000 + b"'::INT[][]"),
    ("json of a statement", "/v1/sql", "application/json", b'{"sql": "SELECT 1", "params": ' + b"[" * 900_000),
    ("json of a snapshot", "/v1/snapshots", "application/json", b'{"id": ' * 1_000_000),
    ("ndjson", "/v1/tables/main.t", "application/x-ndjson", b'{"v": ' * 1_000_000),
    ("ndjson lists", "/v1/tables/main.t", "application/x-ndjson", b'{"v": ' + b"[" * 4_000_000 + b"]" * 4_000_000 + b"}"),
], ids=lambda value: value if isinstance(value, str) and "/" not in value else "")
def test_deep_nesting_is_refused(target, name, path, media, body):
    """No recursion follows what a stranger nests: neither a parser's, nor that of the checks on a parsed statement. What would take
    for ever to plan is refused before."""
    with Costs(target) as costs:
        answer = requests.post(target.url(path=path), data=body, headers={"Content-Type": media}, timeout=60)
    print(f"{name}: {len(body):,} bytes, {answer.status_code}, {costs}")
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.content[:300])
    assert costs.grown_bytes < 256 * MIB and costs.cpu_s < 5, str(costs)
    assert target.running and target.value("SELECT 1") == 1


WRONG_ROWS = {
    "csv, all wrong": (b"k,v\n" + b"a,b,c\n" * 2_000_000, "text/csv"),
    "csv, a quote that is never closed": (b"k,v\n" + b"a,\"" + b"x\n" * 4_000_000, "text/csv"),
    "csv, one field of many lines": (b"k,v\n\"" + b"\n" * 8_000_000 + b"\",1,2\n", "text/csv"),
    "csv, a head line of many columns": (b"c," * 2_000_000 + b"\n1\n", "text/csv"),
    "ndjson, all wrong": (b'{"v": 1}\n' * 1_000_000, "application/x-ndjson"),
    "ndjson, one row of many members": (b"{" + b'"v":1,' * 1_500_000 + b'"v":1}', "application/x-ndjson"),
    "ndjson, never closed": (b'{"v": "x\n' * 1_000_000, "application/x-ndjson"),
    "ndjson, no objects": (b"1\n" * 5_000_000, "application/x-ndjson"),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_looking_for_wrong_rows_costs_little(target, name):
    """Documents of up to 10 MB whose rows are all wrong: the answer names the first ones, and the search ends."""
    body, media = WRONG_ROWS[name]
    with Costs(target) as costs:
        answer = requests.post(target.url(path="/v1/tables/main.t"), data=body, headers={"Content-Type": media}, timeout=120)
    print(f"{name}: {len(body):,} bytes, {answer.status_code}, {len(answer.content):,} bytes back, {costs}")
    assert answer.status_code in (400, 413), answer.content[:300]
    assert len(answer.content) < 64 << 10
    assert costs.grown_bytes < 192 * MIB + 4 * len(body), str(costs)
    assert costs.cpu_s < (60 if target.sanitized() else 6), str(costs)


WRONG_PARAMETERS = {
    "many of an array": "[" + "[" + "1," * 500_000 + "1]" + "]", "many texts": "[" + '["a"' + ',"b"' * 300_000 + "]]",
    "many": "[" + "1," * 500_000 + "1]", "a long type": json.dumps([{"type": "INT" + "[]" * 100_000, "value": 1}]),
    "long digits": json.dumps([{"type": "DECIMAL(38,0)", "value": "9" * 1_000_000}]),
    "a long exponent": '[{"type": "DECIMAL(38,0)", "value": "1e999999999"}]',
    "a year": '[{"type": "TIMESTAMP_NS", "value": "99999-01-01"}]',
    "long base64": json.dumps([{"type": "BLOB", "value": "A" * 1_000_001}]),
}


@pytest.mark.parametrize("name", WRONG_PARAMETERS)
def test_parameters_that_no_statement_needs_are_refused(target, name):
    params = WRONG_PARAMETERS[name]
    with Costs(target) as costs:
        answer = requests.post(target.url(path="/v1/sql"), data='{"sql": "SELECT ?", "params": ' + params + "}", timeout=60,
                               headers={"Content-Type": "application/json"})
    print(f"{name}: {answer.status_code}, {costs}")
    assert answer.status_code in (400, 413), (answer.status_code, answer.content[:300])
    assert len(answer.content) < 8 << 10 and costs.grown_bytes < 192 * MIB and costs.cpu_s < 5, str(costs)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://", "://", "x" * 10_000, "http://127.0.0.1", "\xff",
                                    "http://a\tb", "*"])
def test_pages_of_elsewhere_change_nothing(target, origin):
    """A browser sends such a request without asking first; only its Origin tells."""
    sent = origin.encode("latin-1")
    with target.connect("http") as sock:
        sock.sendall(b"POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nConnection: close\r\nOrigin: " + sent +
                     b"\r\nContent-Length: 26\r\n\r\nCREATE TABLE csrf (a INTE)")
        sock.settimeout(20)
        answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    assert int(answer.split(b" ", 2)[1]) in (400, 403), answer[:300]
    assert b"access-control" not in answer
    assert not target.rows("SELECT 1 FROM information_schema.tables WHERE table_name = 'csrf'")


# --- Floods: more of something than anybody needs ---

def grpc_fields(**changes):
    return frames.fields(path=EXPORT, **changes)


def http_fields():
    return [(":method", "POST"), (":scheme", "http"), (":path", "/v1/sql"), (":authority", "x")]


def streams(i):
    """A hundred stream numbers, others at each i."""
    return range(200 * i + 1, 200 * i + 201, 2)


def rapid_reset(fields, i):
    return b"".join(frames.headers(n, fields) + frame(RST_STREAM, 0, n, struct.pack(">I", 8)) for n in streams(i))


def made_you_reset(fields, i):
    return b"".join(frames.headers(n, fields) + frame(WINDOW_UPDATE, 0, n, bytes(4)) for n in streams(i))


def te_and_large_headers(fields, i):
    """The shape of CVE-2023-1428: a wrong `te` beside more than 8 KiB of headers."""
    fields = [field for field in fields if field[0] != "te"] + [("te", "x"), ("pad", "v" * 9000)]
    return b"".join(frames.headers(n, fields, end=True) for n in streams(i))


def hpack_bomb(fields, i):
    """An entry of 4,000 bytes goes into the table once, and each byte behind names it again."""
    entry = b"\x40\x01k" + frames.integer(4000, 7) + b"v" * 4000 if i == 0 else b""
    return b"".join(frame(HEADERS, END_HEADERS | END_STREAM, n, (entry if n == 1 else b"") + frames.block(fields) + b"\xbe" * 12_000)
                    for n in list(streams(i))[:20])


def continuation(fields, i):
    start = frame(HEADERS, 0, 1, frames.block(fields)) if i == 0 else b""
    return start + frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 1000) * 50


def empty_continuation(fields, i):
    return (frame(HEADERS, 0, 1, frames.block(fields)) if i == 0 else b"") + frame(CONTINUATION, 0, 1) * 2000


def table_resizes(fields, i):
    return b"".join(frame(HEADERS, END_HEADERS | END_STREAM, n, b"\x20\x3f\xe1\x1f" * 2000 + frames.block(fields)) for n in streams(i))


CHUNKED = b"POST /v1/sql HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOODS = {
    "rapid reset": rapid_reset, "made you reset": made_you_reset, "te x": te_and_large_headers, "hpack bomb": hpack_bomb,
    "continuation": continuation, "empty continuation": empty_continuation, "table resizes": table_resizes,
    "ping": lambda fields, i: frame(PING, 0, 0, b"12345678") * 1000,
    "settings": lambda fields, i: frame(SETTINGS, 0, 0) * 1000,
    "settings of a small table": lambda fields, i: frame(SETTINGS, 0, 0, struct.pack(">HIHI", 1, 0, 1, 4096) * 50) * 20,
    "headers without end": lambda fields, i: (b"GET / HTTP/1.1\r\nHost: x\r\n" if i == 0 else b"") + b"a: b\r\n" * 2000,
    "a line without end": lambda fields, i: (b"GET /" if i == 0 else b"") + b"a" * 16384,
    "empty lines": lambda fields, i: b"\r\n" * 8000,
    "chunks of one byte": lambda fields, i: (CHUNKED if i == 0 else b"") + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 16,
}
HTTP1 = ("headers without end", "a line without end", "empty lines", "chunks of one byte")


class Flooder(threading.Thread):
    """Sends one flood, on a new connection whenever the last has ended, until it is told to end."""

    def __init__(self, server, port, name):
        super().__init__(daemon=True)
        self.server, self.port, self.name_of_flood = server, port, name
        self.ending, self.connections, self.bytes = threading.Event(), 0, 0

    def run(self):
        fields = grpc_fields() if self.port == "otlp-grpc" else http_fields()
        hello = b"" if self.name_of_flood in HTTP1 else frames.PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0)
        while not self.ending.is_set():
            with contextlib.suppress(OSError), self.server.connect(self.port, "127.0.0.2") as sock:
                sock.settimeout(0.5)  # Nobody reads here: the server may stop reading, too.
                self.connections += 1
                sock.sendall(hello)
                for i in itertools.count():
                    if self.ending.is_set():
                        break
                    data = FLOODS[self.name_of_flood](fields, i)
                    sock.sendall(data)
                    self.bytes += len(data)


@pytest.mark.parametrize("name", FLOODS)
def test_floods_disturb_nobody(target, name):
    """The process lives, its memory stays, and a good client beside the flood has every request answered."""
    flooders = [Flooder(target, port, name) for port in ("otlp-grpc", "otlp-http", "http")]
    with Costs(target) as costs, GoodClient(target) as good:
        for flooder in flooders:
            flooder.start()
        time.sleep(1.2)
        for flooder in flooders:
            flooder.ending.set()
        for flooder in flooders:
            flooder.join(timeout=30)
    sent, connections = sum(flooder.bytes for flooder in flooders), sum(flooder.connections for flooder in flooders)
    print(f"{name}: {sent / MIB:.1f} MiB on {connections} connections; good client: {len(good.seconds)} requests, "
          f"p99 {good.percentile(0.99) * 1000:.0f} ms; {costs}")
    assert not good.failures, good.failures[:5]
    assert len(good.seconds) >= 3 and sent > 0
    assert costs.grown_bytes < 96 * MIB, str(costs)
    assert costs.cpu_s < (4 if target.sanitized() else 1.2), str(costs)  # Of some two seconds: the flood did not take all of it.


# --- Paths and names that lead elsewhere ---

def wandering_paths(chance):
    """Some hundred strings of what leads out of a directory, in the ways in which it is written."""
    ups = ["../", "..\\", "%2e%2e/", "%2e%2e%2f", "..%2f", "..%5c", "%252e%252e%252f", "..%c0%af", "%c0%ae%c0%ae/",
           "%e0%80%ae%e0%80%ae/", "..;/", ".../", "....//", "%uff0e%uff0e/", "/", "//", "./", "%2f", "%5c"]
    ends = ["secret.txt", "secret.csv", "data/secret.txt", "CURRENT", "etc/passwd", "proc/self/environ", "secret.txt%00",
            "secret.txt%00.csv", "secret.txt\0", "secret%2etxt", "secret.txt.", "SECRET.TXT", "secret.txt?x", "secret.txt#x",
            "secret.txt%20", "x" * 5000]
    for up, end in itertools.product(ups, ends):
        yield up * chance.choice((1, 2, 3, 8)) + end


def raw_request(server, port, method, target, body=b"", media="text/csv"):
    """An answer to a target that no client library would send as it is; empty where the server just closed."""
    with server.connect(port) as sock:
        head = (f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {media}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            sock.sendall(head.encode("latin-1", "replace") + body)
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(1 << 16):
                got += piece
    return got


def everything_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "data/" not in str(path.relative_to(folder))}


def test_no_path_leads_to_a_file(target, place):
    """Paths of requests name tables and snapshots, never files: nothing is read, and nothing is written outside."""
    seed = int(os.environ.get("SHEAF_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    paths = list(wandering_paths(chance))
    before, statuses = everything_in(place), {}
    for path in paths:
        places = (
                ("http", "GET", "/" + path, b"", "text/csv"), ("otlp-http", "POST", "/v1/" + path, b"", "x/y"),
                ("http", "GET", f"/v1/tables/{path}/rows/x", b"", "x/y"), ("http", "GET", f"/v1/tables/main.t/rows/{path}", b"", "x/y"),
                ("http", "POST", f"/v1/tables/{path}", b"k,v\n1,2\n", "text/csv"),
                ("http", "POST", f"/v1/tables/main.{path}", b"k,v\n1,2\n", "text/csv"),
                ("http", "POST", "/v1/snapshots", json.dumps({"id": path}).encode(), "application/json"))
        for port, method, target_path, body, media in chance.sample(places, 3):
            answer = raw_request(target, port, method, target_path, body, media)
            assert SECRET.encode() not in answer and b"root:" not in answer, (method, target_path)
            status = int(answer.split(b" ", 2)[1]) if answer else 0
            statuses[status] = statuses.get(status, 0) + 1
            assert status == 0 or 400 <= status < 500, (method, target_path, answer[:300])
    print(f"{len(paths)} paths in 3 of 7 places each: answers {statuses}")
    assert len(paths) >= 300 and everything_in(place) == before
    assert (place / "secret.txt").read_text().startswith("a,b")


READS = [
    "SELECT * FROM read_csv('{0}')", "SELECT * FROM read_csv_auto(['{0}'])", "SELECT * FROM read_text('{0}')",
    "SELECT * FROM read_blob('{0}')", "SELECT * FROM read_parquet('{0}')", "SELECT * FROM parquet_scan('{0}')",
    "SELECT * FROM read_json('{0}')", "SELECT * FROM read_json_objects('{0}')", "SELECT * FROM read_ndjson_auto('{0}')",
    "SELECT * FROM '{0}'", 'SELECT * FROM "{0}"', "FROM '{0}' SELECT a", "DESCRIBE '{0}'", "SUMMARIZE '{0}'",
    "SELECT * FROM glob('{0}*')", "SELECT * FROM sniff_csv('{0}')", "SELECT * FROM parquet_metadata('{0}')",
    "SELECT * FROM parquet_file_metadata('{0}')", "CREATE TABLE stolen AS SELECT * FROM read_text('{0}')",
    "CREATE TABLE stolen AS FROM '{0}'", "INSERT INTO t(k) SELECT content FROM read_text('{0}')", "COPY t FROM '{0}'",
    "ATTACH '{0}' AS stolen", "ATTACH '{0}' (READ_ONLY)", "IMPORT DATABASE '{0}'", "LOAD '{0}'", "INSTALL '{0}'",
    "SELECT (SELECT content FROM read_text('{0}'))", "WITH f AS (FROM read_text('{0}')) SELECT * FROM f",
    "VALUES ((SELECT content FROM read_text('{0}')))", "SELECT * FROM query_table('{0}')", "SELECT * FROM query('FROM ''{0}''')",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{0}')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{0}'')'))", "SET file_search_path = '{0}'",
    "PRAGMA import_database('{0}')", "CALL read_text('{0}')", "UPDATE t SET v = (SELECT content FROM read_text('{0}'))",
    "DELETE FROM t USING read_text('{0}') f WHERE f.content LIKE '%'",
    "CREATE TABLE stolen (a VARCHAR DEFAULT (SELECT content FROM read_text('{0}')))",
    "ALTER TABLE t ADD COLUMN stolen VARCHAR DEFAULT (SELECT content FROM read_text('{0}'))", "PIVOT (FROM read_text('{0}')) ON content",
    "MERGE INTO t USING (SELECT content FROM read_text('{0}')) f ON t.k = f.content WHEN NOT MATCHED THEN INSERT VALUES (f.content, 'x')",
    "INSERT INTO t VALUES ('a', 'b') RETURNING (SELECT content FROM read_text('{0}'))",
    "SELECT * FROM t LIMIT (SELECT size FROM read_text('{0}'))", "SELECT COLUMNS(c -> c = (SELECT content FROM read_text('{0}'))) FROM t",
    "SELECT * REPLACE ((SELECT content FROM read_text('{0}')) AS v) FROM t",
    "CREATE TABLE stolen (a VARCHAR, b VARCHAR GENERATED ALWAYS AS ((SELECT content FROM read_text('{0}'))))",
    "CREATE TABLE stolen (a VARCHAR CHECK (a = (SELECT content FROM read_text('{0}'))))",
]
WRITES = [
    "COPY t TO '{0}'", "COPY (SELECT 1) TO '{0}' (FORMAT parquet)", "COPY t TO '{0}' (FORMAT csv, PARTITION_BY (k))",
    "EXPORT DATABASE '{0}'", "ATTACH '{0}' AS made", "EXPLAIN ANALYZE COPY (SELECT 1) TO '{0}'", "SET temp_directory = '{0}'",
    "SET secret_directory = '{0}'", "SET extension_directory = '{0}'", "SET log_query_path = '{0}'", "PRAGMA profile_output = '{0}'",
    "SET profiling_output = '{0}'", "SET GLOBAL home_directory = '{0}'", "CALL enable_logging(storage = 'file', storage_path = '{0}')",
    "CREATE PERSISTENT SECRET s (TYPE s3)", 'CREATE TABLE "{0}" (a INT PRIMARY KEY)', 'CREATE TABLE main."{0}" AS SELECT 1 AS a',
    'CREATE TABLE "{0}"."t" (a INT)', 'CREATE SCHEMA "{0}"', "PRAGMA create_fts_index('{0}', 'k', 'v')",
    "CREATE TABLE made AS FROM read_csv('{0}')", "USE '{0}'",
]
OTHERS = [
    "SELECT getenv('SHEAF_SECRET')", "SELECT * FROM duckdb_settings()", "SELECT current_setting('temp_directory')", "INSTALL httpfs",
    "LOAD httpfs", "SET enable_external_access = true", "SET lock_configuration = false", "RESET lock_configuration",
    "SET allow_unsigned_extensions = true", "SET autoload_known_extensions = true", "PRAGMA enable_profiling", "SET threads = 64",
    "SET memory_limit = '1TB'", "SET custom_user_agent = 'x'", "FROM 'http://127.0.0.1:1/x.csv'", "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM duckdb_secrets()", "SELECT * FROM duckdb_logs()", "SET allowed_directories = ['/']",
    "SET allowed_paths = ['/etc/passwd']",
]


def test_no_statement_leads_to_a_file(target, place):
    """SQL of clients reads and writes tables; files, settings, environment and network stay out of reach, however they are written."""
    def spellings(name):
        yield str(place / name)
        yield "file://" + str(place / name)
        yield os.path.relpath(place / name)
        yield str(place / "data" / ".." / name)
        yield f"/proc/self/root{place / name}"
    reads = [each for name in ("secret.txt", "secret.csv", "secret.json", "secret.parquet") for each in spellings(name)]
    reads += [str(place / "data" / "secret.txt"), "/proc/self/environ", str(place / "secret.*")]
    writes = [each for name in ("made.csv", "made") for each in spellings(name)]
    seed = int(os.environ.get("SHEAF_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    chance, statements = random.Random(seed), list(OTHERS)
    for forms, paths, count in ((READS, reads, 8), (WRITES, writes, 5)):
        statements += [form.format(path) for form in forms for path in [paths[0], *chance.sample(paths[1:], count - 1)]]
    before, allowed = everything_in(place), []
    with requests.Session() as session:
        for sql in statements:
            answer = session.post(target.url(path="/v1/sql"), data=sql.encode(), timeout=30)
            assert SECRET not in answer.text, sql
            if answer.status_code == 200:
                allowed.append(sql)
            else:
                assert 400 <= answer.status_code < 500, (sql, answer.status_code, answer.text[:300])
    print(f"{len(statements)} statements, {len(allowed)} allowed")
    assert not allowed, allowed[:10]
    assert everything_in(place) == before and len(statements) >= 400
    assert not target.rows("SELECT * FROM t WHERE k LIKE '%secret%' OR v LIKE '%secret%'")


# --- Who may listen where ---

def own_address():
    """An address of this machine that others can reach, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # Sends nothing.
        return probe.getsockname()[0]
    return "192.0.2.1"


@pytest.mark.parametrize("how", ["flag", "environment", "file"])
def test_no_public_address_without_authentication(program, tmp_path, how):
    """Refused before anything is opened: no port, no directory. TLS alone says who the server is, not who the client is."""
    addresses = ["0.0.0.0", "::", "[::]", "0", "::ffff:127.0.0.1", "127.evil.example", own_address()]
    for address in addresses if how == "flag" else addresses[:1]:
        data, arguments = tmp_path / "data", []
        environment = {"SHEAF_TLS_CERTIFICATE": "x", "SHEAF_TLS_KEY": "x"} if address == "::" else {}
        if how == "flag":
            arguments = ["--bind", address]
        elif how == "environment":
            environment["SHEAF_SERVER_BIND"] = address
        else:
            (tmp_path / "sheaf.toml").write_text(f'[server]\nbind = "{address}"\n')
            arguments = ["--config", tmp_path / "sheaf.toml"]
        done = program.run("serve", "--data", data, "--port-otlp-grpc", "0", "--port-otlp-http", "0", "--port-flight", "0",
                           "--port-http", "0", *arguments,
                           environment=environment, timeout=20)
        assert done.returncode in (1, 2) and done.stdout == "", (address, done.returncode, done.stdout)
        assert "refusing to listen" in done.stderr and address in done.stderr, (address, done.stderr)
        assert not data.exists(), address
