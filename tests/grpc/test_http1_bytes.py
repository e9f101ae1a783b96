"""HTTP/1.1 byte by byte: what ordinary clients never send."""

import re
import socket
import threading
import time

import pytest


def exchange(demo, data, listener="http", timeout=10):
    """Sends `data` and returns all that comes until the server closes or is silent for a second after an answer."""
    with demo.connect(listener) as sock:
        sock.sendall(data)
        sock.settimeout(timeout)
        got = b""
        try:
            while piece := sock.recv(1 << 16):
                got += piece
                sock.settimeout(1)
        except TimeoutError:
            pass
        return got


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer else None


def request(*fields, line=b"POST /echo HTTP/1.1", body=b"", host=True):
    return b"\r\n".join([line, *([b"Host: x"] if host else []), *fields, b"", b""]) + body


@pytest.mark.parametrize("data, want", [
    (request(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    (request(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"0\r\n\r\n"), 400),
    (request(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 501),
    (request(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    (request(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), 501),
    (request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    (request(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), 400),
    (request(b"Transfer-Encoding: chunked", line=b"POST /echo HTTP/1.0", body=b"0\r\n\r\n"), 400),
    (request(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), 400),
    (request(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), 400),
    (request(b"Content-Length: 3, 3", body=b"abc"), 400),
    (request(b"Content-Length: +3", body=b"abc"), 400),
    (request(b"Content-Length: -1"), 400),
    (request(b"Content-Length: 0x3", body=b"abc"), 400),
    (request(b"Content-Length: 99999999999999999999999"), 400),
    (request(b"Content-Length: 999999999999"), 413),
    (request(b"Host: y"), 400),
    (request(host=False), 400),
    (request(b"Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
    (request(b"Transfer-Encoding: chunked", body=b"3\r\nabcXX\r\n0\r\n\r\n"), 400),
    (request(b"Transfer-Encoding: chunked", body=b"fffffffffffffffff\r\n"), 400),
    (request(b"Bad Name: x"), 400),
    (request(b"X: a\0b"), 400),
    (request(b"X: a\nContent-Length: 5", body=b"hello"), 400),
    (request(b"Expect: a miracle"), 417),
    (request(line=b"POST /echo HTTP/3.0"), 505),
    (request(line=b"POST  /echo HTTP/1.1"), 400),
    (request(line=b"POST /echo"), 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (request(*[b"X-%d: %s" % (i, b"v" * 1000) for i in range(40)]), 431),
    (request(line=b"GET /" + b"a" * 40000 + b" HTTP/1.1"), 431),
])
def test_ambiguous_or_malformed_requests_are_refused_and_the_connection_closed(demo, data, want):
    answer = exchange(demo, data)
    assert status(answer) == want
    assert b"connection: close" in answer
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1


@pytest.mark.parametrize("target", [b"echo", b"/%zz", b"/%0", b"/a%00b"])
def test_malformed_target_is_refused(demo, target):
    assert status(exchange(demo, request(b"Content-Length: 0", line=b"POST " + target + b" HTTP/1.1"))) == 400


def test_pipelined_requests_are_answered_in_order(demo):
    bodies = [b"first", b"second", b"", b"fourth"]
    answer = exchange(demo, b"".join(request(b"Content-Length: %d" % len(body), body=body) for body in bodies))
    assert [part.split(b"\r\n\r\n", 1)[1] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]] == bodies


def test_many_pipelined_requests_do_not_pile_up(demo):
    with demo.connect("http") as sock:
        sock.settimeout(20)
        count = 2000
        sender = sock.dup()
        thread = threading.Thread(target=lambda: sender.sendall(request(line=b"GET /hello HTTP/1.1") * count))
        thread.start()
        got = b""
        while got.count(b"hello\n") < count:
            piece = sock.recv(1 << 16)
            assert piece
            got += piece
        thread.join()
        sender.close()


def test_byte_by_byte_is_understood(demo):
    data = request(b"Transfer-Encoding: chunked", b"Connection: close", body=b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nTrailer: z\r\n\r\n")
    with demo.connect("http") as sock:
        for i in range(len(data)):
            sock.sendall(data[i:i + 1])
        got = b""
        while piece := sock.recv(1 << 16):
            got += piece
    assert status(got) == 200 and got.endswith(b"hello!")


def test_http_1_0_closes_after_its_answer_and_streams_without_chunks(demo):
    answer = exchange(demo, b"GET /stream?100000 HTTP/1.0\r\n\r\n")
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"chunked" not in head and b"connection: close" in head and body == b"s" * 100000


def test_http_1_0_sees_an_aborted_answer_as_a_reset(demo):
    """Its body has no other end than that of the connection, which must not look like the usual one."""
    with pytest.raises(ConnectionResetError):
        exchange(demo, b"GET /abort HTTP/1.0\r\n\r\n")


def test_half_closed_client_gets_its_answer(demo):
    with demo.connect("http") as sock:
        sock.sendall(request(b"Content-Length: 2", body=b"hi"))
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while piece := sock.recv(1 << 16):
            got += piece
    assert got.endswith(b"\r\n\r\nhi")


def test_refused_expectation_gets_no_continue(make_demo):
    demo = make_demo(message_bytes_max=10)
    answer = exchange(demo, request(b"Content-Length: 100", b"Expect: 100-continue"))
    assert status(answer) == 413 and b"100 Continue" not in answer


def test_http_1_on_the_grpc_port_is_told_so(demo):
    answer = exchange(demo, request(b"Content-Length: 0"), listener="grpc")
    assert status(answer) == 415 and b"gRPC" in answer


class TestSlowness:
    def closes_within(self, sock, seconds):
        began = time.monotonic()
        sock.settimeout(seconds + 5)
        try:
            while sock.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return time.monotonic() - began < seconds

    def test_slow_header_is_cut_off(self, make_demo):
        demo = make_demo(header_timeout_ms=300, handshake_timeout_ms=300)
        for start in (b"", b"P", b"POST /echo HTTP/1.1\r\nHo"):
            with demo.connect("http") as sock:
                sock.sendall(start)
                assert self.closes_within(sock, 4)

    def test_dripping_body_is_answered_408(self, make_demo):
        demo = make_demo(upload_grace_ms=300)
        answer = exchange(demo, request(b"Content-Length: 1000", body=b"x" * 10))
        assert status(answer) == 408

    def test_idle_connection_is_closed(self, make_demo):
        demo = make_demo(idle_timeout_ms=300)
        with demo.connect("http") as sock:
            sock.sendall(request(line=b"GET /hello HTTP/1.1"))
            assert self.closes_within(sock, 4)

    def test_client_that_does_not_read_is_dropped_and_its_handler_freed(self, make_demo):
        demo = make_demo(write_timeout_ms=500)
        with demo.connect("http") as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(request(line=b"GET /stream?100000000 HTTP/1.1"))
            deadline = time.monotonic() + 10
            # Only the request that asks is then still open.
            while b'requests_open{listener="http"} 1\n' not in exchange(demo, request(line=b"GET /metrics HTTP/1.0")):
                assert time.monotonic() < deadline

    @pytest.mark.parametrize("limits, sources, extra_source", [
        ({"connections_per_address_max": 5}, ["127.0.0.1"] * 5, "127.0.0.1"),
        ({"connections_max": 3}, ["127.0.0.1", "127.0.0.2", "127.0.0.3"], "127.0.0.4"),
    ])
    def test_connections_are_limited_by_address_and_in_all(self, make_demo, limits, sources, extra_source):
        demo = make_demo(**limits)
        socks = [demo.connect("http", source) for source in sources]
        with demo.connect("http", extra_source) as extra:
            extra.settimeout(5)
            try:
                assert extra.recv(1) == b""
            except ConnectionResetError:
                pass
        for sock in socks:
            sock.sendall(request(line=b"GET /hello HTTP/1.1"))
            assert status(sock.recv(1000)) == 200
            sock.close()
