"""Many small requests at once, which the server joins: each has its own answer, and what was acknowledged survives kill -9."""

import http.client
import json
import random
import threading
import time

SENDERS, KILLS = 12, 6


def request(name):
    span = {"traceId": random.randbytes(16).hex(), "spanId": random.randbytes(8).hex(), "name": name}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


class Sender(threading.Thread):
    """Sends spans with names of its own, one a request, until it is told to stop or the server goes away."""

    def __init__(self, server, name):
        super().__init__()
        self.address, self.prefix, self.sent, self.acknowledged, self.wrong = server.ports["otlp-http"], name, 0, [], None
        self.stop = threading.Event()

    def run(self):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        while self.wrong is None and not self.stop.is_set():
            name = f"{self.prefix}.{self.sent}"
            self.sent += 1
            broken = self.sent % 50 == 0  # Its neighbours must not suffer.
            body, content_type = (b"\xff\xff", "application/x-protobuf") if broken else (request(name), "application/json")
            try:
                connection.request("POST", "/v1/traces", body=body, headers={"content-type": content_type})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return
            if answer.status != (400 if broken else 200):
                self.wrong = answer.status
            elif not broken:
                self.acknowledged.append(name)


def test_joined_requests_survive_kills_each_once(make_server, tmp_path):
    server = make_server(data=tmp_path / "data", environment={"SHEAF_STORAGE_SEAL_AGE_MS": "500", "SHEAF_LOG_LEVEL": "warn"}).start()
    acknowledged = []
    for kill in range(KILLS):
        senders = [Sender(server, f"{kill}.{i}") for i in range(SENDERS)]
        for sender in senders:
            sender.start()
        deadline = time.monotonic() + 60
        while min(len(sender.acknowledged) for sender in senders) < 20:
            assert time.monotonic() < deadline, "senders are not answered"
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.3))
        server.kill()
        for sender in senders:
            sender.join()
            assert sender.wrong is None
            acknowledged += sender.acknowledged
        server.start()
        found = [row["name"] for row in server.rows("SELECT name FROM otel.traces")]
        assert len(found) == len(set(found)), "a span is there twice"
        lost = set(acknowledged) - set(found)
        assert not lost, f"{len(lost)} acknowledged spans are lost: {sorted(lost)[:10]}"


def test_many_senders_make_fewer_batches_than_requests(server):
    senders = [Sender(server, f"s{i}") for i in range(SENDERS)]
    for sender in senders:
        sender.start()
    time.sleep(3)
    for sender in senders:
        sender.stop.set()
    for sender in senders:
        sender.join()
        assert sender.wrong is None and sender.acknowledged
    assert server.count("traces") == sum(len(sender.acknowledged) for sender in senders)
    requests = server.metric("sheaf_batcher_requests_total")
    assert requests == sum(sender.sent for sender in senders)
    assert server.metric("sheaf_batcher_batches_total") < requests, "some came while others were being decoded"
