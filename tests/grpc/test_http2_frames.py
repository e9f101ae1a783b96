"""HTTP/2 and gRPC frame by frame: malformed messages, floods, slowness, drains."""

import contextlib
import gzip
import signal
import struct
import time

import pytest
import zstandard

from frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, GRPC_FIELDS, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
                    WINDOW_UPDATE, PREFACE, Peer, block, call, data_frames, fields, frame, headers, message)

PROTOCOL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 1, 7, 11


def grpc_status(answer):
    return answer if isinstance(answer, str) else answer[0].get("grpc-status")


TEXT = b"telemetry " * 6000


@pytest.mark.parametrize("name", ["zstd", "zstdarrow1", "zstdarrow10"])
def test_zstd_messages_are_inflated(demo, name):
    assert call(demo, fields(grpc_encoding=name), message(zstandard.compress(TEXT), True))[1][5:] == TEXT


def test_zstd_of_unknown_size_is_inflated(demo):
    body = zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)
    assert call(demo, fields(grpc_encoding="zstd"), message(body, True))[1][5:] == TEXT


BOMB = bytes(1 << 30)


@pytest.mark.parametrize("request_fields, body, status", [
    (fields(grpc_encoding="zstd"), message(zstandard.compress(BOMB), True), "8"),
    (fields(grpc_encoding="zstd"), message(zstandard.ZstdCompressor(write_content_size=False).compress(BOMB), True), "8"),
    (fields(grpc_encoding="gzip"), message(gzip.compress(BOMB, 9), True), "8"),
    (fields(grpc_encoding="gzip"), message(gzip.compress(TEXT)[:-20], True), "13"),
    (fields(grpc_encoding="gzip"), message(gzip.compress(TEXT) + b"x", True), "13"),
    (fields(grpc_encoding="zstd"), message(zstandard.compress(TEXT)[:-5], True), "13"),
    (fields(grpc_encoding="zstd"), message(b"garbage!", True), "13"),
    (fields(grpc_encoding="snappy"), message(b"x", True), "12"),
    (GRPC_FIELDS, message(b"x", True), "13"),
    (GRPC_FIELDS, b"\x02" + message(b"x")[1:], "13"),
    (GRPC_FIELDS, message(b"a") + message(b"b"), "12"),
    (GRPC_FIELDS, b"", "12"),
    (GRPC_FIELDS, b"\0\0\0", "13"),
    (GRPC_FIELDS, message(b"abc")[:-1], "13"),
    (GRPC_FIELDS, b"\0\xff\xff\xff\xff", "8"),
    (fields(grpc_timeout="5x"), message(b""), "3"),
    (fields(grpc_timeout="123456789S"), message(b""), "3"),
    (fields(grpc_timeout="99999999H"), message(b""), "0"),
    (fields(path="/demo.Echo/Nope"), message(b""), "12"),
    (fields(content_type="application/grpc+proto"), message(b""), "0"),
    (fields(pad="a" * 9000), message(b""), "0"),
    (fields(**{f"k{i}": "v" * 1000 for i in range(14)}), message(b""), "0"),
])
def test_each_message_gets_its_status(demo, request_fields, body, status):
    assert grpc_status(call(demo, request_fields, body)) == status


@pytest.mark.parametrize("request_fields, status", [
    (fields(content_type=None), "415"), (fields(content_type="application/json"), "415"), (fields(content_type="application/grpcx"), "415"),
    (fields(method="GET", content_type=None), "405")])
def test_what_is_not_grpc_is_refused_in_http_terms(demo, request_fields, status):
    assert call(demo, request_fields, message(b""))[0][":status"] == status


def test_length_of_4_gib_is_refused_before_its_bytes(demo):
    assert grpc_status(call(demo, GRPC_FIELDS, b"\0\xff\xff\xff\xff", end=False)) == "8"


@pytest.mark.parametrize("request_fields", [fields(te="x"), fields(Bad="x"), fields(connection="close"), fields(path=None),
                                            fields(method=None),
                                            GRPC_FIELDS + [(":path", "/again")]])
def test_malformed_requests_are_reset(demo, request_fields):
    assert call(demo, request_fields, message(b"")) == "RST 1"


def test_too_many_header_bytes_are_refused(demo):
    with Peer(demo) as peer:
        data = block(GRPC_FIELDS + [(f"k{i}", "v" * 1000) for i in range(20)])
        peer.send(frame(HEADERS, 0, 1, data[:16000]) + frame(CONTINUATION, END_HEADERS, 1, data[16000:]) + data_frames(1, message(b"")))
        assert grpc_status(peer.answer()) == "8"
    with Peer(demo, "http") as peer:
        request = [(":method", "GET"), (":scheme", "http"), (":path", "/hello"), (":authority", "x")]
        data = block(request + [(f"k{i}", "v" * 1000) for i in range(20)])
        peer.send(frame(HEADERS, END_STREAM, 1, data[:16000]) + frame(CONTINUATION, END_HEADERS, 1, data[16000:]))
        assert peer.answer()[0][":status"] == "431"


def test_one_byte_data_frames_are_put_together(demo):
    with Peer(demo) as peer:
        peer.send(headers(1, GRPC_FIELDS) + data_frames(1, message(b"byte by byte"), size=1))
        assert peer.answer()[1][5:] == b"byte by byte"


def test_peer_with_a_window_of_one_byte_gets_its_answer(demo):
    with Peer(demo, settings=struct.pack(">HI", 4, 1)) as peer:
        peer.send(headers(1, GRPC_FIELDS) + data_frames(1, message(b"abc")))
        body = b""
        while len(body) < 8:
            kind, _, stream, payload = peer.read()
            if kind == DATA and stream == 1:
                body += payload
                peer.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)))
        assert body == message(b"abc")


def test_ping_is_answered(demo):
    with Peer(demo) as peer:
        peer.send(frame(PING, 0, 0, b"12345678"))
        while (got := peer.read())[0] != PING:
            pass
        assert got == (PING, ACK, 0, b"12345678")


def still_serves(demo):
    return grpc_status(call(demo, GRPC_FIELDS, message(b"alive"))) == "0"


def reset_batch(i):
    request = block(fields(path="/demo.Echo/Sleep"))
    ids = range(2 * i * 100 + 1, 2 * (i + 1) * 100, 2)
    return b"".join(frame(HEADERS, END_HEADERS, n, request) + frame(DATA, END_STREAM, n, message(b"1")) +
                    frame(RST_STREAM, 0, n, struct.pack(">I", 8)) for n in ids)


def made_to_reset_batch(i):
    request = block(GRPC_FIELDS)
    ids = range(2 * i * 100 + 1, 2 * (i + 1) * 100, 2)
    return b"".join(frame(HEADERS, END_HEADERS, n, request) + frame(WINDOW_UPDATE, 0, n, struct.pack(">I", 0)) for n in ids)


FLOODS = {
    "rapid reset": reset_batch,
    "made you reset": made_to_reset_batch,
    "ping": lambda i: frame(PING, 0, 0, b"12345678") * 1000,
    "settings": lambda i: frame(SETTINGS, 0, 0) * 1000,
    "empty data": lambda i: (headers(1, GRPC_FIELDS) if i == 0 else b"") + frame(DATA, 0, 1) * 1000,
    "priority": lambda i: frame(PRIORITY, 0, 1, b"\0\0\0\0\x03") * 1000,
    "continuation": lambda i: ((frame(HEADERS, 0, 1, block(GRPC_FIELDS)) if i == 0 else b"") +
                               frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 100) * 100),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_the_connection_and_nothing_else(demo, name):
    before = demo.cpu_seconds()
    with Peer(demo) as peer:
        with contextlib.suppress(ConnectionError, TimeoutError):
            for i in range(500):
                peer.send(FLOODS[name](i))
        assert peer.ending() in (PROTOCOL_ERROR, ENHANCE_YOUR_CALM, None)  # A reset of the connection may overtake its GOAWAY.
        assert demo.cpu_seconds() - before < 5
    assert still_serves(demo)


def test_streams_open_at_once_on_a_connection_are_limited(demo):
    ping = frame(PING, 0, 0, b"12345678")
    with Peer(demo) as peer:
        peer.send(b"".join(headers(n, GRPC_FIELDS) for n in range(1, 257, 2)) + ping)  # 128 that wait for their messages.
        while (got := peer.read())[0] != PING:
            assert got[0] in (SETTINGS, WINDOW_UPDATE)
        peer.send(headers(257, GRPC_FIELDS))
        assert peer.answer(257) in (f"GOAWAY {PROTOCOL_ERROR}", f"RST {REFUSED_STREAM}")
    assert still_serves(demo)


def test_promised_messages_cost_nothing(demo):
    before = demo.resident_bytes()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(demo)) for _ in range(10)]
        for peer in peers:  # 1,000 streams that promise 16 MiB each and send one byte.
            peer.send(b"".join(headers(n, GRPC_FIELDS) + frame(DATA, 0, n, b"\0\1\0\0\0x") for n in range(1, 201, 2)))
        for _ in range(10):
            assert still_serves(demo)
        assert demo.resident_bytes() - before < 192 << 20


class TestSlowness:
    def test_half_a_preface_is_cut_off(self, make_demo):
        demo = make_demo(handshake_timeout_ms=300)
        with demo.connect("grpc") as sock:
            sock.sendall(PREFACE[:10])
            assert sock.recv(10) == b""

    def test_connection_without_settings_is_cut_off(self, make_demo):
        demo = make_demo(handshake_timeout_ms=300)
        with demo.connect("grpc") as sock:
            sock.sendall(PREFACE)
            sock.settimeout(5)
            while sock.recv(1000):
                pass

    def test_half_a_header_block_is_cut_off(self, make_demo):
        demo = make_demo(header_timeout_ms=300)
        with Peer(demo) as peer:
            peer.send(frame(HEADERS, 0, 1, block(GRPC_FIELDS)))
            began = time.monotonic()
            peer.ending()
            assert time.monotonic() - began < 5

    def test_dripping_message_ends_its_call_only(self, make_demo):
        demo = make_demo(upload_grace_ms=300)
        with Peer(demo) as peer:
            peer.send(headers(1, GRPC_FIELDS) + frame(DATA, 0, 1, message(b"x" * 1000)[:100]))
            assert grpc_status(peer.answer(1)) == "4"
            peer.send(headers(3, GRPC_FIELDS) + data_frames(3, message(b"next")))
            assert grpc_status(peer.answer(3)) == "0"

    def test_peer_that_answers_no_ping_is_dropped(self, make_demo):
        demo = make_demo(keepalive_interval_ms=300, keepalive_timeout_ms=300)
        with Peer(demo) as peer:
            began = time.monotonic()
            peer.ending()
            assert time.monotonic() - began < 5

    def test_answer_that_nobody_reads_is_given_up(self, make_demo):
        demo = make_demo(write_timeout_ms=300)
        with Peer(demo, settings=struct.pack(">HI", 4, 0)) as peer:
            peer.send(headers(1, fields(path="/demo.Echo/Large")) + data_frames(1, message(b"100000")))
            assert peer.answer() == "RST 8"
            peer.send(headers(3, fields(path="/demo.Echo/Nope")) + data_frames(3, message(b"")))
            assert grpc_status(peer.answer(3)) == "12"

    def test_answer_that_is_read_byte_by_byte_is_given_up(self, make_demo):
        """Each byte is progress, but a handler would wait for ever."""
        demo = make_demo(write_timeout_ms=500)
        with Peer(demo, settings=struct.pack(">HI", 4, 1)) as peer:
            peer.send(headers(1, fields(path="/demo.Echo/Large")) + data_frames(1, message(b"100000")))
            deadline, taken = time.monotonic() + 10, 0
            while (got := peer.read())[0] != RST_STREAM:
                assert time.monotonic() < deadline
                if got[0] == DATA:
                    taken += 1
                    time.sleep(0.05)
                    peer.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)))
            assert taken > 3, "it was read until then"

    def test_idle_connection_is_told_to_go(self, make_demo):
        demo = make_demo(idle_timeout_ms=300)
        with Peer(demo) as peer:
            assert peer.ending() == 0


def test_slow_handlers_hold_back_a_peer_instead_of_refusing_it(make_demo):
    """One connection may hold 8 MiB; 24 MiB of requests all get through while handlers take their time."""
    demo = make_demo(connection_memory_bytes_max=8 << 20, workers=1)
    with Peer(demo) as peer:
        window = 65535
        count = 24
        pending = b"".join(headers(n, fields(path="/demo.Echo/Echo")) + data_frames(n, message(bytes(1 << 20)))
                           for n in range(1, 2 * count, 2))
        assert len(pending) > window
        statuses = drive(peer, pending, count)
        assert statuses == ["0"] * count


def drive(peer, pending, count):
    """Sends `pending` frame by frame as far as flow control allows; returns the statuses of `count` streams."""
    connection, streams, statuses, initial = 65535, {}, [], 65535
    while len(statuses) < count:
        while pending:
            size = int.from_bytes(pending[:3], "big")
            kind, stream = pending[3], int.from_bytes(pending[5:9], "big")
            if kind == DATA:
                if size > min(connection, streams.get(stream, 0) + initial):
                    break
                connection -= size
                streams[stream] = streams.get(stream, 0) - size
            peer.send(pending[:9 + size])
            pending = pending[9 + size:]
        kind, flags, stream, payload = peer.read()
        if kind == SETTINGS and not flags & ACK:
            for i in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[i:i + 6])
                initial = value if name == 4 else initial
        elif kind == WINDOW_UPDATE:
            credit = int.from_bytes(payload, "big")
            if stream == 0:
                connection += credit
            else:
                streams[stream] = streams.get(stream, 0) + credit
        elif kind == DATA and payload:
            peer.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
        elif kind == HEADERS:
            decoded = dict(peer.decoder.decode(payload))
            if flags & END_STREAM:
                statuses.append(decoded.get("grpc-status"))
        elif kind in (GOAWAY, RST_STREAM) and any(payload[-4:]):
            return statuses + [f"{kind} {payload.hex()}"]
    return statuses


def test_drain_lets_open_streams_finish_and_takes_no_new_ones(make_demo):
    demo = make_demo()
    with Peer(demo) as peer:
        peer.send(headers(1, fields(path="/demo.Echo/Sleep")) + data_frames(1, message(b"1000")))
        time.sleep(0.3)  # The handler must have begun.
        demo.signal(signal.SIGTERM)
        last, answered = None, None
        while (got := peer.read()) is not None:
            kind, flags, stream, payload = got
            if kind == GOAWAY:
                last = int.from_bytes(payload[:4], "big")
            if kind == HEADERS:
                found = dict(peer.decoder.decode(payload))
                if flags & END_STREAM:
                    answered = found["grpc-status"]
        assert (last, answered) == (1, "0")


def test_drain_gives_up_on_streams_that_never_end(make_demo):
    demo = make_demo()
    with Peer(demo) as peer:
        peer.send(headers(1, fields(path="/demo.Echo/Sleep")) + frame(DATA, 0, 1, message(b"1")[:-1]))
        peer.send(frame(PING, 0, 0, b"12345678"))
        while peer.read()[0] != PING:
            pass
        began = time.monotonic()
        demo.signal(signal.SIGTERM)
        peer.ending()
        assert time.monotonic() - began < 8
