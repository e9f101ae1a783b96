"""More than the server can take, of everything: requests, connections, slow readers, slow senders, a disk that hangs. It refuses what
it cannot hold, so that clients try again, keeps to its memory, and serves whoever behaves.

SHEAF_OVERLOAD_SECONDS sets how long the overload of four times lasts (default 10), SHEAF_SEED replays a run.
"""

import contextlib
import os
import queue
import random
import resource
import socket
import struct
import subprocess
import threading
import time

import grpc
import pytest
import requests
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import frames
import otlp_samples
from good_client import GoodClient

MIB = 1 << 20
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LIMITS = {  # Component of sheaf.memory (but the log's queue, which is part of "ingest"), its setting and how many MiB.
    "requests": ("SHEAF_LIMITS_MEMORY_BYTES", 4), "decode": ("SHEAF_LIMITS_DECODE_MEMORY_BYTES", 24),
    "recent_rows": ("SHEAF_STORAGE_INGEST_MEMORY_BYTES", 16), "query": ("SHEAF_QUERY_MEMORY_BYTES", 64),
    "cold_read": ("SHEAF_QUERY_COLD_READ_MEMORY_BYTES", 16), "compaction": ("SHEAF_STORAGE_COMPACTION_MEMORY_BYTES", 32),
    "log_queue": ("SHEAF_STORAGE_LOG_QUEUE_BYTES", 4), "granule_cache": ("SHEAF_STORAGE_GRANULE_CACHE_BYTES", 8)}
SMALL = {**{name: f"{mib}MiB" for name, mib in LIMITS.values()}, "SHEAF_STORAGE_MEMTABLE_BYTES": "4MiB",
         "SHEAF_STORAGE_LOG_SEGMENT_BYTES": "4MiB", "SHEAF_LIMITS_RETRY_AFTER_MS": "100", "SHEAF_STORAGE_SNAPSHOT_INTERVAL_MS": "0",
         "SHEAF_LOG_LEVEL": "error"}


@pytest.fixture
def seed():
    seed = int(os.environ.get("SHEAF_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    return seed


@pytest.fixture
def small_server(make_server, program):
    # What AddressSanitizer keeps of freed memory is not the server's.
    asan = program.environment["ASAN_OPTIONS"] + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=16"
    return make_server(environment={**SMALL, "ASAN_OPTIONS": asan}).start()


@pytest.fixture(autouse=True)
def descriptors():
    """The tests' own sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- Four times the load ---

NAME = "NAME00000000"
SPANS = 200


def batch_template():
    """A batch of 256 KB whose spans are all called NAME; made once, so that the client is faster than the server."""
    chance = random.Random(1)
    spans = [otlp_samples.span(chance.randbytes(16), chance.randbytes(8), NAME, filler=chance.randbytes(550).hex(), told=SPANS)
             for _ in range(SPANS)]
    return otlp_samples.traces(spans).SerializeToString()


class Exporter:
    """An exporter by OTLP's rules: it sends what it is given until it is acknowledged, waits as it is told to, and drops nothing."""

    def __init__(self, server, workers):
        self.server, self.template = server, batch_template()
        self.waiting = queue.Queue()   # Names; what never left the client cannot be lost.
        self.sent, self.acknowledged, self.wrong = set(), set(), []
        self.attempts = self.refused = 0
        self.slowest_s = 0.0
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(i,), daemon=True) for i in range(workers)]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        options = [("grpc.use_local_subchannel_pool", 1)]  # A connection of its own, as a client elsewhere would have.
        with grpc.insecure_channel(self.server.ports["otlp-grpc"], options) as channel, requests.Session() as session:
            while not self.stopping.is_set():
                with contextlib.suppress(queue.Empty):
                    name = self.waiting.get(timeout=0.05)
                    self.deliver(name, channel if number % 4 else None, session)

    def deliver(self, name, channel, session):
        body = self.template.replace(NAME.encode(), name.encode())
        began = time.monotonic()
        with self.lock:
            self.sent.add(name)
        while (wait_s := self.by_grpc(channel, body) if channel else self.by_http(session, body)) is not None:
            with self.lock:
                self.refused += 1
            time.sleep(wait_s * random.uniform(1, 1.5))
        with self.lock:
            self.acknowledged.add(name)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def by_grpc(self, channel, body):
        """None where it was taken, else how long to wait."""
        with self.lock:
            self.attempts += 1
        try:
            assert channel.unary_unary(EXPORT)(body, timeout=60) == b""
        except grpc.RpcError as error:
            status = rpc_status.from_call(error)
            info = error_details_pb2.RetryInfo()
            if error.code() == grpc.StatusCode.UNAVAILABLE and status and status.details and status.details[0].Unpack(info):
                return info.retry_delay.seconds + info.retry_delay.nanos / 1e9
            self.wrong.append(f"{error.code()} {error.details()}")
            return 0.1
        return None

    def by_http(self, session, body):
        with self.lock:
            self.attempts += 1
        try:
            answer = session.post(self.server.url("otlp-http", "/v1/traces"), data=body, timeout=60,
                                  headers={"Content-Type": "application/x-protobuf"})
        except requests.exceptions.ConnectionError:  # Answered and closed before all was sent: retryable by the specification.
            return 0.1
        if answer.status_code == 200:
            return None
        if answer.status_code != 503 or "Retry-After" not in answer.headers:
            self.wrong.append(f"{answer.status_code} {answer.content[:200]}")
        return float(answer.headers.get("Retry-After", 0.1))

    def finish(self):
        """Delivers what it began to send."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=90)
            assert not thread.is_alive(), "a batch was not taken for 90 s after the overload"


def memory_of(server):
    return {row["component"]: row for row in server.rows("SELECT component, current_bytes, peak_bytes, limit_bytes FROM sheaf.memory")}


def test_four_times_the_load_loses_nothing_and_keeps_to_its_memory(small_server, seed):
    """0 batches lost; every component within its limit and a tenth; and the process within their sum and a tenth."""
    server, seconds = small_server, float(os.environ.get("SHEAF_OVERLOAD_SECONDS", "10"))
    before_bytes = peak_bytes = server.resident_bytes("RssAnon")  # Without files that are mapped: the system may drop those.
    exporter = Exporter(server, workers=64)

    def name(i):
        return f"{i:012d}"

    began, count = time.monotonic(), 0
    while time.monotonic() - began < 2:  # What it takes: a few at once, always some waiting.
        if exporter.waiting.qsize() + len(exporter.sent) - len(exporter.acknowledged) < 4:
            exporter.waiting.put(name(count))
            count += 1
        time.sleep(0.001)
    rate = len(exporter.acknowledged) / (time.monotonic() - began)
    assert rate > 0
    taken_before, began, offered = len(exporter.acknowledged), time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        for _ in range(int(4 * rate * elapsed) - offered):
            exporter.waiting.put(name(count))
            count, offered = count + 1, offered + 1
        peak_bytes = max(peak_bytes, server.resident_bytes("RssAnon"))
        time.sleep(0.01)
    taken = len(exporter.acknowledged) - taken_before
    exporter.finish()
    memory = memory_of(server)
    budget_bytes = sum(mib for _, mib in LIMITS.values()) * MIB
    factor = 1.5 if server.sanitized() else 1.1
    print(f"takes {rate:.1f} batches of {len(exporter.template) >> 10} KiB/s; offered {offered / seconds:.1f}/s for {seconds:.0f} s, "
          f"taken {taken / seconds:.1f}/s; {exporter.attempts} attempts, {exporter.refused} refused, the slowest batch "
          f"{exporter.slowest_s:.1f} s; process {before_bytes / MIB:.0f} MiB, at most {peak_bytes / MIB:.0f} (with mapped files "
          f"{server.resident_bytes('VmHWM') / MIB:.0f}), budget {budget_bytes / MIB:.0f} (factor {factor})")
    for component, use in memory.items():
        print(f"  {component}: peak {(use['peak_bytes'] or use['current_bytes']) / MIB:.1f} of {(use['limit_bytes'] or 0) / MIB:.0f} MiB")
        # What has no limit of its own follows from others: payloads of recent rows and of those in the queue, memtables being sealed.
        limit_bytes = use["limit_bytes"] or {"ingest": 20 * MIB, "seal": 16 * MIB, "memtable": 16 * MIB}.get(component)
        if limit_bytes:
            assert (use["peak_bytes"] or use["current_bytes"]) <= 1.1 * limit_bytes, use
    assert not exporter.wrong, f"{len(exporter.wrong)} refusals do not let the client try again: {exporter.wrong[:5]}"
    assert exporter.refused > 0 and offered >= 3.5 * rate * seconds, "this was no overload"
    assert taken >= 0.3 * rate * seconds, "under overload it takes much less than it could"
    assert peak_bytes - before_bytes <= factor * budget_bytes
    assert exporter.sent == exporter.acknowledged
    for restarted in (False, True):
        if restarted:
            server.kill()
            server.start()
        found = {row["name"]: row["rows"] for row in server.rows("SELECT name, count(*) AS rows FROM otel.traces GROUP BY name")}
        lost = exporter.acknowledged - found.keys()
        assert not lost, f"{len(lost)} of {len(exporter.acknowledged)} acknowledged batches are lost: {sorted(lost)[:10]}"
        assert all(rows % SPANS == 0 for rows in found.values()), "a batch is there in part"
        twice = sum(rows > SPANS for rows in found.values())
    print(f"{len(found)} batches there, {twice} more than once")


# --- Readers that do not read ---

def test_slow_readers_cost_little_and_hold_up_nobody(small_server):
    """Large results that nobody reads: memory does not grow with them, other statements run, and who leaves stops his statement."""
    server = small_server
    before_bytes, readers = server.resident_bytes(), []
    sql = b"SELECT range AS n, repeat('x', 100) AS filler FROM range(50000000)"
    with contextlib.ExitStack() as stack:
        for i in range(6):
            sock = stack.enter_context(server.connect("http"))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            if i % 2:
                sock.sendall(b"POST /v1/sql?format=ndjson HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" %
                             (len(sql), sql))
            else:
                fields = [(":method", "POST"), (":scheme", "http"), (":path", "/v1/sql?format=ndjson"), (":authority", "x")]
                sock.sendall(frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0, struct.pack(">HI", 4, 1000)) +
                             frames.headers(1, fields) + frames.data_frames(1, sql))
            assert sock.recv(100)
            readers.append(sock)
        with GoodClient(server) as good:
            deadline = time.monotonic() + 30
            running = "SELECT count(*) FROM sheaf.queries WHERE state = 'running' AND sql LIKE '%50000000%' AND sql NOT LIKE '%queries%'"
            while server.value(running) < 6:
                assert time.monotonic() < deadline
            time.sleep(3)
            grown_bytes = server.resident_bytes() - before_bytes
        print(f"6 slow readers: {grown_bytes / MIB:+.1f} MiB; good client: {len(good.seconds)} requests, "
              f"p99 {good.percentile(0.99) * 1000:.0f} ms")
        assert not good.failures, good.failures[:5]
        assert grown_bytes < 160 * MIB
    began = time.monotonic()
    while server.value(running) > 0:
        assert time.monotonic() - began < 10, "statements of clients that left still run"
        time.sleep(0.02)
    print(f"all stopped {time.monotonic() - began:.2f} s after their clients left")


# --- Connections ---

def test_a_flood_of_connections_leaves_descriptors_and_room_for_others(make_server):
    """With 512 descriptors: 2,400 connections from three addresses; the log, parts and a client from elsewhere get theirs."""
    server = make_server(wrapper=["prlimit", "--nofile=512:512"], environment={"SHEAF_STORAGE_SEAL_AGE_MS": "200"}).start()
    most, held, sealed = 0, [], server.value("SELECT count(*) FROM sheaf.parts")
    with contextlib.ExitStack() as stack:
        for i in range(2400):
            with contextlib.suppress(OSError):
                held.append(stack.enter_context(server.connect(("otlp-grpc", "otlp-http", "http")[i % 3], f"127.0.0.{2 + i % 3}")))
                held[-1].setblocking(False)
        with GoodClient(server, fresh=True) as good:
            until = time.monotonic() + 3
            while time.monotonic() < until:
                most = max(most, server.descriptors())
                time.sleep(0.05)
        open_ones = sum(not has_ended(sock) for sock in held)
        sealed = server.value("SELECT count(*) FROM sheaf.parts") - sealed
    print(f"{len(held)} connections made, {open_ones} of them held; {most} descriptors of 512 in use; good client: "
          f"{len(good.seconds)} requests, {len(good.failures)} failed; {sealed} parts sealed meanwhile")
    assert not good.failures, good.failures[:5]
    assert len(good.seconds) >= 9 and most <= 512 - 64 and sealed > 0
    assert 64 <= open_ones <= 512
    assert "Too many open files" not in server.log_tail(1 << 20)


def has_ended(sock):
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


SLOW_STARTS = [b"", b"P", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-A", frames.PREFACE[:10], b"POST /v1/traces HTTP/1.1\r\nHo",
               frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0) + frames.frame(frames.HEADERS, 0, 1, frames.block(frames.GRPC_FIELDS)),
               b"POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\nSELECT "]
DRIPS = [0, 1, 1, 0, 1, 0, 1]  # Whether one byte a second follows; a preface or header block goes on with none that would fit.


def test_slow_loris(server, seed):
    """2,000 connections that send a byte a second: a good client does not feel them, and all are done with within ten seconds and a bit."""
    with GoodClient(server) as alone:
        time.sleep(3)
    socks = []
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        for i in range(2000):
            port = ("otlp-http", "http")[i % 2] if i % 7 != 5 else "otlp-grpc"
            sock = stack.enter_context(server.connect(port, f"127.0.0.{2 + i % 2}"))
            sock.setblocking(False)
            sock.send(SLOW_STARTS[i % 7])
            socks.append(sock)
        opened_s = time.monotonic() - began
        open_ones = [i for i in range(2000) if not has_ended(socks[i])]
        assert len(open_ones) >= 1900 or opened_s > 8, "the server did not hold them: this shows nothing"
        closed_s = {}
        with GoodClient(server) as good:
            while open_ones and time.monotonic() - began < opened_s + 30:
                for i in list(open_ones):
                    if still_open(socks[i], DRIPS[i % 7]):
                        continue
                    open_ones.remove(i)
                    closed_s[i % 7] = time.monotonic() - began - opened_s
                time.sleep(0.8)
    last = ", ".join(f"{closed_s[kind]:.1f}" for kind in sorted(closed_s))
    print(f"2,000 opened in {opened_s:.1f} s, {len(open_ones)} never closed, the last of each kind closed {last} s after; good client: p99 "
          f"{good.percentile(0.99) * 1000:.0f} ms of {len(good.seconds)} requests, alone {alone.percentile(0.99) * 1000:.0f} ms of "
          f"{len(alone.seconds)}")
    assert not good.failures, good.failures[:5]
    assert not open_ones, {i % 7 for i in open_ones}
    assert max(closed_s.values()) < 20
    assert good.percentile(0.99) < 2 * alone.percentile(0.99) + 0.3


def still_open(sock, drip):
    """An answer that the request was too slow (408) is an end as well; the connection follows ten seconds later."""
    try:
        while piece := sock.recv(1 << 16):
            if piece.startswith(b"HTTP/1.1 408"):
                return False
        return False
    except BlockingIOError:
        pass
    except ConnectionError:
        return False
    if drip:
        try:
            sock.send(b"a")
        except BlockingIOError:
            pass
        except ConnectionError:
            return False
    return True


def test_clients_that_vanish_leave_nothing_behind(server, seed):
    """Requests cut off at any byte, by a reset or a close: no memory, connection or statement stays, and no batch is there in part."""
    chance = random.Random(seed)
    body = otlp_samples.traces([otlp_samples.span(b"\x01" * 16, bytes([i + 1]) * 8, "vanished", filler="x" * 3000) for i in range(40)])
    raw = body.SerializeToString()
    sql = b"SELECT count(*) FROM range(3000000000) a WHERE a.range % 7 = 1"
    grpc_fields = frames.fields(path=EXPORT)
    shapes = [
        ("otlp-http", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n%s" %
         (len(raw), raw)),
        ("otlp-grpc", frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0) + frames.headers(1, grpc_fields) +
         frames.data_frames(1, frames.message(raw))),
        ("http", b"POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(sql), sql))]
    with GoodClient(server) as good:
        for i in range(400):
            port, data = shapes[i % 3]
            cut = len(data) if chance.random() < 0.3 else chance.randrange(len(data))
            with contextlib.suppress(OSError), server.connect(port) as sock:
                if chance.random() < 0.7:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # Closes with a reset.
                sock.sendall(data[:cut])
    deadline = time.monotonic() + 20
    while (left := left_behind(server)) and time.monotonic() < deadline:
        time.sleep(0.1)
    print(f"400 clients vanished; left behind: {left or 'nothing'}; good client: {len(good.seconds)} requests, "
          f"p99 {good.percentile(0.99) * 1000:.0f} ms")
    assert not left, left
    assert not good.failures, good.failures[:5]
    rows = server.value("SELECT count(*) FROM otel.traces WHERE name = 'vanished'")
    assert rows % 40 == 0 and rows > 0


def left_behind(server):
    """What is still held though nobody is there."""
    left = {}
    if (bytes_held := memory_of(server)["requests"]["current_bytes"]) > 4096:  # This statement's own.
        left["bytes of requests"] = bytes_held
    if (running := server.value("SELECT count(*) FROM sheaf.queries WHERE state = 'running' AND sql LIKE '%3000000000%' AND "
                                "sql NOT LIKE '%queries%'")) > 0:
        left["statements"] = running
    if (connections := server.metric("sheaf_connections")) > 2:  # Of the session that asks.
        left["connections"] = connections
    return left


# --- A disk that hangs ---

def test_a_disk_that_hangs_is_waited_for_and_not_drowned(small_server, seed):
    """Each fdatasync takes ten seconds (strace delays it): what is over the log's queue is refused within two, retryably; memory stays,
    reads go on, and all that was sent is there afterwards."""
    server = small_server
    exporter = Exporter(server, workers=40)
    exporter.waiting.put(f"{0:012d}")
    deadline = time.monotonic() + 30
    while not exporter.acknowledged:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    before_bytes, acknowledged_before = server.resident_bytes(), len(exporter.acknowledged)
    hang = subprocess.Popen(["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fdatasync", "-e",
                             "inject=fdatasync:delay_enter=10000000", "-p", str(server.pid())], stdin=subprocess.DEVNULL)
    try:
        time.sleep(1)
        began, first_refusal_s, slowest_read_s, names = time.monotonic(), None, 0.0, 1
        while (elapsed := time.monotonic() - began) < 10:
            while exporter.waiting.qsize() < 10:
                exporter.waiting.put(f"{names:012d}")
                names += 1
            if first_refusal_s is None and exporter.refused > 0:
                first_refusal_s = elapsed
            read_s = time.monotonic()
            assert server.count("traces") >= SPANS
            slowest_read_s = max(slowest_read_s, time.monotonic() - read_s)
            time.sleep(0.05)
        refused, grown_bytes = exporter.refused, server.resident_bytes() - before_bytes
        hung = len(exporter.acknowledged) - acknowledged_before
    finally:
        hang.terminate()
        hang.wait(timeout=30)
    exporter.finish()
    print(f"10 s of a hanging disk: {hung} batches acknowledged, {refused} refusals, the first after {first_refusal_s or -1:.2f} s, "
          f"{grown_bytes / MIB:+.1f} MiB, slowest read {slowest_read_s:.2f} s; {len(exporter.acknowledged)} acknowledged at last")
    assert not exporter.wrong, exporter.wrong[:5]
    assert first_refusal_s is not None and first_refusal_s < 2
    assert grown_bytes < 64 * MIB * (2 if server.sanitized() else 1)
    assert exporter.sent == exporter.acknowledged
    server.kill()
    server.start()
    found = {row["name"]: row["rows"] for row in server.rows("SELECT name, count(*) AS rows FROM otel.traces GROUP BY name")}
    assert not exporter.acknowledged - found.keys() and all(rows % SPANS == 0 for rows in found.values())
