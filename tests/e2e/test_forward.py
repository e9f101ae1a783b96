"""`sheaf forward`: what is sent to it arrives at its target, whatever dies in between.

SHEAF_FORWARD_KILLS (default 6) and SHEAF_FORWARD_SPANS (default 60000) make the kill loop longer: 50 and 5000000 is the claim.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import time
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

import otlp_samples
from sheaf_forward import Forwarder

SUPPORT = pathlib.Path(__file__).resolve().parent.parent / "support"
SPANS_OF_BATCH = 500


@pytest.fixture
def make_forwarder(program, tmp_path):
    made = []

    def make(*targets, arguments=()):
        made.append(Forwarder(program, tmp_path / "queue", tmp_path / "forward.log", targets, arguments))
        return made[-1]

    yield make
    for forwarder in made:
        if forwarder.running:
            forwarder.stop()


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s"
        time.sleep(0.05)


def spans(*names):
    return otlp_samples.traces([otlp_samples.span(bytes([1] * 16), i.to_bytes(8, "big"), name) for i, name in enumerate(names, 1)])


@pytest.mark.parametrize("target", ["grpc://{otlp-grpc}", "http://{otlp-http}", "otap://{otlp-grpc}"])
def test_all_signals_arrive_over_both_protocols(server, make_forwarder, target):
    forwarder = make_forwarder(target.format(**server.ports), arguments=["--flush-interval", "20"]).start()
    forwarder.otlp_grpc("traces", spans("one", "two"))
    forwarder.otlp_http("traces", spans("three"))
    answer = forwarder.otlp("logs", json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "said"}}]}]}]}),
                            content_type="application/json")
    assert (answer.status_code, answer.json()) == (200, {})
    point = {"timeUnixNano": "1", "asInt": "7"}
    assert forwarder.otlp("metrics", json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "m", "gauge": {"dataPoints": [point, point]}}]}]}]}), content_type="application/json").status_code == 200
    wait_until(lambda: forwarder.metric("sheaf_export_sent_rows_total") == 6)
    assert sorted(row["name"] for row in server.rows("SELECT name FROM otel.traces")) == ["one", "three", "two"]
    assert server.value("SELECT body FROM otel.logs") == "said"
    assert server.count("metrics_gauge") == 2
    assert forwarder.metric("sheaf_export_queued_requests") == 0
    assert forwarder.session.get(forwarder.url(path="/readyz"), timeout=10).status_code == 200
    forwarder.stop()
    figures = json.loads(forwarder.last_lines()[-1])
    assert (figures["sent_rows"], figures["queued_rows"], figures["perhaps_twice_rows"]) == (6, 0, 0)


def test_malformed_requests_are_refused_and_not_queued(server, make_forwarder):
    forwarder = make_forwarder(f"grpc://{server.ports['otlp-grpc']}").start()
    answer = forwarder.otlp("traces", b"\x0a\x7fcut")
    assert answer.status_code == 400 and b"malformed" in answer.content
    assert forwarder.otlp("traces", b"").status_code == 200
    assert forwarder.metric("sheaf_export_queued_requests") == 0


def test_what_a_target_refuses_does_not_hold_up_the_rest(server, make_forwarder):
    forwarder = make_forwarder(f"grpc://{server.ports['otlp-grpc']}", arguments=["--flush-interval", "300"]).start()
    bad_inside = b"\x0a\x06\x12\x04\x12\x02\x0a\x7f"  # A span whose trace id is cut off: its outer messages are fine.
    assert forwarder.otlp("traces", bad_inside).status_code == 200
    forwarder.otlp_grpc("traces", spans("good"))
    wait_until(lambda: server.count("traces") == 1)
    wait_until(lambda: forwarder.metric("sheaf_export_refused_rows_total") == 1)
    assert "event=export.refused" in forwarder.log_tail()


def test_queue_waits_for_a_target_that_is_not_there(make_server, make_forwarder):
    server = make_server().start()
    server.stop()
    forwarder = make_forwarder(f"grpc://{server.ports['otlp-grpc']}", arguments=["--stop-timeout", "0"]).start()
    forwarder.otlp_grpc("traces", spans("early"))
    forwarder.stop()
    assert json.loads(forwarder.last_lines()[-1])["queued_rows"] == 1
    forwarder.start()
    server.start()
    wait_until(lambda: forwarder.metric("sheaf_export_queued_requests") == 0)
    assert [row["name"] for row in server.rows("SELECT name FROM otel.traces")] == ["early"]


def test_full_queue_asks_senders_to_wait(make_forwarder):
    forwarder = make_forwarder("grpc://127.0.0.1:9", arguments=["--max-queue-bytes", str(1 << 20), "--stop-timeout", "0"]).start()
    body = otlp_samples.traces([otlp_samples.span(b"t" * 16, b"s" * 8, "x" * 300_000)]).SerializeToString()
    answers = [forwarder.otlp("traces", body) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 503]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_files_are_sent(server, program, tmp_path):
    path = tmp_path / "spans.pb"
    path.write_bytes(spans("a", "b").SerializeToString())
    done = program.run("forward", "--to", f"http://{server.ports['otlp-http']}", "--queue", tmp_path / "queue", "--table", "traces",
                       "--json", path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent_rows"] == 2
    assert server.count("traces") == 2


@pytest.mark.parametrize("address, message", [("flight://127.0.0.1:1", "OTLP and OTel-Arrow only"), ("127.0.0.1:4317", "write grpc://")])
def test_targets_that_are_none_are_told(program, tmp_path, address, message):
    done = program.run("forward", "--to", address, "--queue", tmp_path / "queue")
    assert done.returncode == 1 and message in done.stderr


@pytest.mark.parametrize("flags", [["--header", "secret"], ["--header", "content-length: 7"], ["--header-file", "{file}"]])
def test_headers_that_are_none_are_told_and_not_shown(program, tmp_path, flags):
    path = tmp_path / "headers"
    path.write_text("x-fine: 1\n\nbad name: secret\n")
    done = program.run("forward", "--to", "grpc://127.0.0.1:9", "--queue", tmp_path / "queue", *[flag.format(file=path) for flag in flags])
    assert done.returncode == 2 and "header" in done.stderr and "secret;" not in done.stderr and "name: " not in done.stderr


class Peer(trace_service_pb2_grpc.TraceServiceServicer):
    """grpcio as the receiving side: says UNAVAILABLE first, then leaves out a span."""

    def __init__(self):
        self.requests = []

    def Export(self, request, context):
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        if len(self.requests) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        partial = trace_service_pb2.ExportTracePartialSuccess(rejected_spans=1, error_message="one is bad")
        return trace_service_pb2.ExportTraceServiceResponse(partial_success=partial)


def test_another_implementation_takes_what_is_sent(make_forwarder, tmp_path):
    peer, receiver = Peer(), grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(peer, receiver)
    port = receiver.add_insecure_port("127.0.0.1:0")
    receiver.start()
    # grpcio has no zstd: the forwarder finds out, and goes on without.
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer token-of-the-peer\n")
    forwarder = make_forwarder(f"grpc://127.0.0.1:{port}", arguments=["--compression", "zstd", "--header-file", headers]).start()
    forwarder.otlp_grpc("traces", spans("x", "y"))
    wait_until(lambda: forwarder.metric("sheaf_export_sent_rows_total") == 1)
    assert forwarder.metric("sheaf_export_rejected_rows_total") == 1
    assert peer.metadata["authorization"] == "Bearer token-of-the-peer" and "token-of-the-peer" not in forwarder.log_tail()
    assert [span.name for span in peer.requests[-1].resource_spans[0].scope_spans[0].spans] == ["x", "y"]
    receiver.stop(0)
    forwarder.stop()


@pytest.fixture
def certificate(tmp_path):
    """One that signs itself, for 127.0.0.1; its key lies beside it."""
    path = tmp_path / "server.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "server.key", "-out", path],
                   check=True, capture_output=True)
    return path


@pytest.mark.parametrize("target", ["grpcs://{otlp-grpc}", "https://{otlp-http}", "otap+tls://{otlp-grpc}"])
def test_targets_with_tls_are_known_by_their_certificate(make_server, make_forwarder, certificate, target):
    server = make_server(environment={"SHEAF_TLS_CERTIFICATE": str(certificate),
                                      "SHEAF_TLS_KEY": str(certificate.with_name("server.key"))}).start()
    address = target.format(**server.ports)
    stranger = make_forwarder(address, arguments=["--stop-timeout", "0"]).start()
    stranger.otlp_grpc("traces", spans("secret"))
    wait_until(lambda: "certificate verify failed" in stranger.log_tail())
    stranger.stop()
    forwarder = make_forwarder(address, arguments=["--ca-file", certificate]).start()
    wait_until(lambda: forwarder.metric("sheaf_export_sent_rows_total") == 1)
    assert forwarder.metric("sheaf_export_perhaps_twice_rows_total") == 0
    forwarder.stop()


def acknowledged(path):
    return path.read_text().split("\n")[:-1] if path.exists() else []


@pytest.mark.timeout(600 + 60 * int(os.environ.get("SHEAF_FORWARD_KILLS", "6")))
def test_nothing_is_lost_when_either_side_is_killed(make_server, make_forwarder, tmp_path):
    kills, wanted = int(os.environ.get("SHEAF_FORWARD_KILLS", "6")), int(os.environ.get("SHEAF_FORWARD_SPANS", "60000"))
    seed = int(os.environ.get("SHEAF_SEED", random.SystemRandom().randrange(1 << 32)))
    chance, path = random.Random(seed), tmp_path / "acknowledged"
    server = make_server(environment={"SHEAF_LOG_LEVEL": "warn"}).start()
    forwarder = make_forwarder(f"grpc://{server.ports['otlp-grpc']}", arguments=["--flush-interval", "20", "--batch-rows", "2000"]).start()
    began = time.monotonic()
    client = subprocess.Popen([sys.executable, SUPPORT / "forward_client.py", forwarder.ports["otlp-grpc"], path, str(wanted),
                               str(SPANS_OF_BATCH), "4"], cwd=SUPPORT)
    of = {"server": 0, "forwarder": 0}
    try:
        for kill in range(kills):  # Spread over the whole of the sending.
            wait_until(lambda: len(acknowledged(path)) * SPANS_OF_BATCH >= wanted * (kill + chance.random()) / (kills + 1), 300)
            which = chance.choice(["server", "forwarder"])
            of[which] += 1
            victim = server if which == "server" else forwarder
            victim.kill()
            time.sleep(chance.uniform(0, 0.3))
            victim.start()
        assert client.wait(timeout=600) == 0
    finally:
        client.kill()
        client.wait()
    wait_until(lambda: forwarder.metric("sheaf_export_queued_requests") == 0, 300)
    seconds = time.monotonic() - began
    # In ten portions: with sanitizers a statement over millions of rows takes longer than one may.
    found = {row["name"]: row for digit in range(10) for row in server.rows(
        "SELECT name, count(*) AS n, count(DISTINCT span_id) AS spans FROM otel.traces WHERE name LIKE ? GROUP BY name", [f"%{digit}"])}
    names, twice = acknowledged(path), sum(row["n"] - row["spans"] for row in found.values())
    sent_again = forwarder.rows_sent_again()
    print(f"seed {seed}: {of} kills, {len(names) * SPANS_OF_BATCH} spans acknowledged and delivered in {seconds:.0f} s, "
          f"{twice} there twice of {sent_again} sent again after their answer was lost")
    lost = [name for name in names if name not in found or found[name]["spans"] != SPANS_OF_BATCH]
    assert not lost, f"{len(lost)} acknowledged batches are lost or there in part: {lost[:10]}"
    assert not [row for row in found.values() if row["spans"] != SPANS_OF_BATCH], "a batch is there in part"
    assert twice <= sent_again
    assert forwarder.metric("sheaf_export_refused_rows_total") == forwarder.metric("sheaf_export_rejected_rows_total") == 0
    server.stop(seconds=240)  # Sealing millions of rows takes a while with sanitizers.
