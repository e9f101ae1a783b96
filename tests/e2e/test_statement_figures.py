"""What the server tells of statements, and that it answers what nobody changed from memory; from its settings to /metrics and its log."""

import threading
import time

import requests

SUM = "SELECT count(*) AS n, sum(v) AS s FROM numbers"


def test_repeated_statements_are_answered_from_memory_until_their_table_changes(make_server):
    server = make_server().start()
    server.rows("CREATE TABLE numbers (v BIGINT)")
    server.rows("CREATE TABLE other (v BIGINT)")
    server.rows("INSERT INTO numbers SELECT range FROM range(200000)")
    first = server.rows(SUM)
    deadline = time.monotonic() + 30
    while server.metric("sheaf_query_cache_hits_total") == 0:  # An answer is kept where it took 2 ms.
        assert server.rows(SUM) == first
        assert time.monotonic() < deadline
    server.rows("INSERT INTO other VALUES (1)")
    hits = server.metric("sheaf_query_cache_hits_total")
    assert server.rows(SUM) == first
    assert server.metric("sheaf_query_cache_hits_total") == hits + 1
    assert server.value("SELECT count(*) FROM sheaf.queries WHERE cache_hit AND state = 'done'") == hits + 1
    server.rows("INSERT INTO numbers VALUES (1)")
    assert server.rows(SUM) == [{"n": first[0]["n"] + 1, "s": first[0]["s"] + 1}]


def test_slow_statements_are_logged_and_profiles_set_defaults(make_server):
    server = make_server(environment={"SHEAF_QUERY_SLOW_MS": "1", "SHEAF_QUERY_PROFILE": "low-latency"}).start()
    settings = {row["name"]: row["value"] for row in server.rows("SELECT name, value FROM sheaf.settings")}
    assert (settings["query.threads"], settings["query.concurrent_queries_max"]) == ("1", "64")
    server.rows("SELECT count(*) AS n FROM range(3000000) WHERE range % 7 = 3")
    assert "event=query.slow" in server.log_tail(20000)
    assert "FROM range(3000000)" in server.log_tail(20000)
    assert server.metric("sheaf_query_slow_total") >= 1
    assert server.metric('sheaf_query_seconds_count{kind="select"}') >= 2


def test_running_scans_do_not_keep_look_ups_waiting(make_server):
    server = make_server(environment={"SHEAF_QUERY_CONCURRENT_MAX": "2", "SHEAF_QUERY_TIMEOUT_MS": "60000"}).start()
    server.rows("CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT)")
    server.rows("INSERT INTO accounts SELECT range, range FROM range(1000)")
    scan = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"

    def run():
        requests.post(server.url("http", "/v1/sql"), json={"sql": scan, "timeout_ms": 20000}, timeout=60)

    threads = [threading.Thread(target=run) for _ in range(3)]  # Two run, one waits.
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 15
    while server.metric("sheaf_query_queue_length") < 1:
        assert time.monotonic() < deadline
    for key in range(20):
        assert server.rows(f"SELECT balance FROM accounts WHERE id = {key}") == [{"balance": key}]
    assert server.metric("sheaf_query_queue_length") == 1, "the scans were over before the look-ups"
    for thread in threads:
        thread.join()
