"""Every field of every signal, sent with the official classes, comes out of SQL equal: at once, after a clean
restart (then it lies in parts), and after kill -9 (then it is replayed from the log)."""

import pytest

import otlp_rows
import otlp_samples


@pytest.mark.parametrize("how", ["http", "grpc"])
def test_every_field_survives(server, how):
    send = server.otlp_grpc if how == "grpc" else server.otlp_http
    send("traces", otlp_samples.full_traces())
    send("logs", otlp_samples.full_logs())
    send("metrics", otlp_samples.full_metrics())
    otlp_rows.check_full(server)
    server.kill()
    server.start()
    otlp_rows.check_full(server)
    server.stop()
    server.start()
    otlp_rows.check_full(server)
    server.kill()
    server.start()
    otlp_rows.check_full(server)
