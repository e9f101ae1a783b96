"""A client that does nothing wrong, beside others that do: it writes by gRPC and HTTP and reads by SQL, and counts how that goes."""

import threading
import time

import grpc
import requests

import otlp_grpc
import otlp_samples


class GoodClient(threading.Thread):
    """`with GoodClient(server) as good:` runs it; afterwards `failures` must be empty. It opens new connections for each
    round if `fresh`. It comes from 127.0.0.1: who reaches limits by address does so from another."""

    def __init__(self, server, fresh=False, pause_s=0.002):
        super().__init__(daemon=True)
        self.server, self.fresh, self.pause_s = server, fresh, pause_s
        self.failures, self.seconds = [], []
        self.ending = threading.Event()
        self.session = requests.Session()
        self.span = otlp_samples.traces([otlp_samples.span(b"\x77" * 16, b"\x66" * 8, "good")])
        self.body = self.span.SerializeToString()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join(timeout=60)
        self.session.close()
        assert not self.is_alive(), "the good client hangs"

    def run(self):
        channel = self.server.channel()
        while not self.ending.is_set():
            if self.fresh:
                channel.close()
                channel = self.server.channel()
                self.session.close()
            for ask in (lambda: self.by_grpc(channel), self.by_http, self.by_sql):
                began = time.monotonic()
                try:
                    ask()
                except Exception as failure:  # Whatever it is, it should not have been.
                    self.failures.append(f"{type(failure).__name__}: {failure}"[:500])
                self.seconds.append(time.monotonic() - began)
            time.sleep(self.pause_s)
        channel.close()

    def by_grpc(self, channel):
        otlp_grpc.stub(channel, "traces").Export(self.span, timeout=30)

    def by_http(self):
        answer = self.session.post(self.server.url("otlp-http", "/v1/traces"), data=self.body, timeout=30,
                                   headers={"Content-Type": "application/x-protobuf"})
        assert answer.status_code == 200, answer.content

    def by_sql(self):
        answer = self.session.post(self.server.url(path="/v1/sql"), data=b"SELECT 42 AS answer", timeout=30)
        assert answer.status_code == 200 and b"42" in answer.content, answer.content

    def percentile(self, share):
        """Of the times that requests took so far, in seconds."""
        times = sorted(self.seconds)
        return times[min(int(len(times) * share), len(times) - 1)]

