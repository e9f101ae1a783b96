"""SIGTERM while clients send: what was acknowledged is there, the exit code is 0, and it takes at most 25 s."""

import signal
import subprocess
import threading
import time

import grpc
import pytest
import requests

import otlp_grpc
import otlp_samples


class Sender(threading.Thread):
    """Sends numbered batches until it is refused or told to end; remembers what was acknowledged."""

    def __init__(self, server, how, number):
        super().__init__(daemon=True)
        self.server, self.how, self.number = server, how, number
        self.acknowledged, self.ending = [], threading.Event()

    def run(self):
        send = self.send_grpc if self.how == "grpc" else self.send_http
        with self.server.channel() as channel, requests.Session() as session:
            sequence = 0
            while not self.ending.is_set():
                name = f"{self.how}-{self.number}-{sequence}"
                sequence += 1
                ids = self.number.to_bytes(4, "big") + sequence.to_bytes(4, "big")
                request = otlp_samples.traces([otlp_samples.span(ids + bytes([1, i]) * 4, ids[:7] + bytes([i + 1]), name)
                                               for i in range(30)])
                if not send(channel, session, request):
                    return
                self.acknowledged.append(name)

    @staticmethod
    def send_grpc(channel, _, request):
        try:
            otlp_grpc.stub(channel, "traces").Export(request, timeout=30)
            return True
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
            return False

    def send_http(self, _, session, request):
        try:
            answer = session.post(self.server.url("otlp-http", "/v1/traces"), data=request.SerializeToString(),
                                  headers={"Content-Type": "application/x-protobuf"}, timeout=30)
        except requests.exceptions.ConnectionError:
            return False
        assert answer.status_code in (200, 503), answer.content
        return answer.status_code == 200


def test_stop_under_load_keeps_what_was_acknowledged(server):
    senders = [Sender(server, how, number) for number, how in enumerate(["grpc", "grpc", "http", "http"])]
    for sender in senders:
        sender.start()
    deadline = time.monotonic() + 30
    while any(len(sender.acknowledged) < 20 for sender in senders) and time.monotonic() < deadline:
        time.sleep(0.01)
    begin = time.monotonic()
    server.stop()
    stopped = time.monotonic() - begin
    for sender in senders:
        sender.ending.set()
        sender.join(timeout=30)
        assert not sender.is_alive()
    acknowledged = {name for sender in senders for name in sender.acknowledged}
    assert len(acknowledged) >= 80
    server.start()
    found = {row["name"]: row["n"] for row in server.rows("SELECT name, count(*) AS n FROM otel.traces GROUP BY name")}
    assert not acknowledged - found.keys()
    assert set(found.values()) == {30}
    print(f"stopped in {stopped:.1f} s, {len(acknowledged)} batches")


def test_stop_does_not_wait_for_idle_clients(server):
    """Clients of all three ports keep their connections open, as they do between requests."""
    took = []
    for _ in range(3):  # The fastest counts: the machine may have other things to do.
        with server.channel() as channel:
            otlp_grpc.stub(channel, "traces").Export(otlp_samples.full_traces(), timeout=30)
            server.otlp_http("traces", otlp_samples.full_traces())
            assert server.count("traces") > 0
            begin = time.monotonic()
            server.stop()
            took.append(time.monotonic() - begin)
        server.start()
    assert min(took) < 1, took


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stop_seals_into_parts(server, how):
    server.otlp_http("traces", otlp_samples.full_traces())
    server.process.send_signal(how)
    server.wait_stopped()
    server.start()
    assert server.value("SELECT sum(rows) FROM sheaf.parts") == 1


def test_second_signal_ends_at_once(server):
    """A client that never finishes its request keeps the first stop waiting for its grace."""
    import socket
    host, port = server.ports["otlp-http"].rsplit(":", 1)
    with socket.create_connection((host, int(port))) as half:
        half.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\nabc")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        try:
            code = server.process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            pytest.fail("a second SIGTERM did not end the server")
    server._forget()
    assert code in (0, 130) and time.monotonic() - begin < 3
    server.start()


def test_directory_is_held_by_one_process(server, make_server, program):
    second = make_server(data=server.data)
    second.start(wait=False)
    assert second.process.wait(timeout=30) == 1
    second._forget()
    assert str(server.data) in second.log_path.read_text()
    done = program.run("sql", "--data", server.data, "SELECT 1")
    assert done.returncode == 1 and str(server.data) in done.stderr


def test_port_in_use_is_named(server, program, tmp_path):
    taken = server.ports["http"]
    done = program.run("serve", "--data", tmp_path / "other", "--port-otlp-grpc", "0", "--port-otlp-http", "0", "--port-flight", "0",
                       "--port-http", taken.rsplit(":", 1)[1])
    assert done.returncode == 1 and taken in done.stderr and "ready" not in done.stdout
