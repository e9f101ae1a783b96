"""Every field of every signal, sent with the official classes, comes out of SQL equal: at once, after a clean
restart (then it lies in parts), and after kill -9 (then it is replayed from the log)."""

import pytest

import otlp_rows
import otlp_samples


def check(server, table, wanted, order):
    got = otlp_rows.plain_rows(server.sql(f"SELECT * FROM otel.{table} ORDER BY {order}"))
    assert len(got) == len(wanted), f"{table}: {len(got)} rows instead of {len(wanted)}"
    found = [line for i, want in enumerate(wanted) for line in otlp_rows.differences(got[i], want, f"{table}[{i}]")]
    assert not found, "\n".join(found)


def check_all(server):
    check(server, "traces", list(otlp_rows.span_rows(otlp_samples.full_traces())), "start_time")
    check(server, "logs", list(otlp_rows.log_rows(otlp_samples.full_logs())), "time")
    tables = {}
    for table, row in otlp_rows.metric_rows(otlp_samples.full_metrics()):
        tables.setdefault(table, []).append(row)
    assert len(tables) == 5
    for table, rows in tables.items():
        value = "value" if table in ("metrics_gauge", "metrics_sum") else "count"
        check(server, table, sorted(rows, key=lambda row: (row["metric_name"], row[value])), f"metric_name, {value}")


@pytest.mark.parametrize("how", ["http", "grpc"])
def test_every_field_survives(server, how):
    send = server.otlp_grpc if how == "grpc" else server.otlp_http
    send("traces", otlp_samples.full_traces())
    send("logs", otlp_samples.full_logs())
    send("metrics", otlp_samples.full_metrics())
    check_all(server)
    server.kill()
    server.start()
    check_all(server)
    server.stop()
    server.start()
    check_all(server)
    server.kill()
    server.start()
    check_all(server)
