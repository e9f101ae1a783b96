"""Materialised views through a server that is killed: each is what its query answers, before and after, and clients cannot change the
definitions behind its back."""

import random
import threading
import time

import pytest
import requests

VIEWS = {
    "by_service": "SELECT service_name, count(*) AS spans, count(*) FILTER (WHERE status_code = 'ERROR') AS errors, "
                  "max(duration_ns) AS slowest FROM otel.traces GROUP BY service_name",
    "spending": "SELECT region, count(*) AS trades, sum(amount) AS paid, count(DISTINCT buyer) AS buyers "
                "FROM purchases p JOIN buyers b ON p.buyer = b.id GROUP BY region",
    "regions": "SELECT region, count(*) AS n FROM buyers GROUP BY region",
}


def check(server, seconds=20):
    """A view is behind its tables by some milliseconds: it must get there."""
    deadline = time.monotonic() + seconds
    for name, query in VIEWS.items():
        while True:
            view, wanted = server.rows(f"FROM {name} ORDER BY ALL"), server.rows(f"FROM ({query}) ORDER BY ALL")
            if view == wanted:
                break
            assert time.monotonic() < deadline, f"{name} is {view}, its query answers {wanted}"


def write(server, chance):
    buyers = ", ".join(f"({chance.randrange(30)}, '{chance.choice('NSEW')}')" for _ in range(5))
    purchases = ", ".join(f"({chance.randrange(30)}, {chance.randrange(1000)})" for _ in range(50))
    server.sql(f"INSERT INTO buyers VALUES {buyers}")
    server.sql(f"INSERT INTO purchases VALUES {purchases}")
    server.sql(f"DELETE FROM buyers WHERE id = {chance.randrange(30)}")


def test_views_are_what_their_queries_answer_after_kills(make_server):
    server = make_server(environment={"SHEAF_STORAGE_MEMTABLE_BYTES": "1MiB", "SHEAF_STORAGE_SEAL_AGE_MS": "300"}).start()
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    server.sql("CREATE TABLE buyers (id INTEGER PRIMARY KEY, region VARCHAR)")
    server.sql("CREATE TABLE purchases (buyer INTEGER, amount BIGINT)")
    for name, query in VIEWS.items():
        server.sql(f"CREATE MATERIALIZED VIEW {name} AS {query}")
    for _ in range(4):
        for _ in range(5):
            write(server, chance)
        check(server)
        server.kill()
        server.start()
        check(server)
    assert server.value("SELECT count(*) FROM sheaf.views WHERE state = 'fresh'") == len(VIEWS)


def test_readers_never_see_half_of_an_entry(server):
    server.sql("CREATE TABLE pairs (side VARCHAR, amount BIGINT)")
    server.sql("CREATE MATERIALIZED VIEW sides AS SELECT side, sum(amount) AS total FROM pairs GROUP BY side")
    ending = threading.Event()

    def send():
        while not ending.is_set():
            server.sql("INSERT INTO pairs VALUES ('left', 1), ('right', 1)")

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    deadline, seen = time.monotonic() + 3, set()
    while time.monotonic() < deadline:
        totals = [row["total"] for row in server.rows("FROM sides")]
        assert len(set(totals)) <= 1, totals
        seen.update(totals)
    ending.set()
    sender.join(30)
    assert len(seen) > 5, "the view did not move"


def test_definitions_are_not_written_by_clients(server):
    server.sql("CREATE TABLE t (a INTEGER)")
    server.sql("CREATE MATERIALIZED VIEW v AS SELECT sum(a) AS s FROM t")
    row = '{"kind": "materialized view", "schema_name": "main", "name": "w", "definition": "SELECT 1", "created_at": 0}\n'
    answer = requests.post(server.url(path="/v1/tables/sheaf.definitions"), data=row, timeout=30,
                           headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 403, answer.text
    for sql in ("DELETE FROM sheaf.definitions", "DROP TABLE sheaf.definitions", "SELECT * FROM sheaf_view('main.v')"):
        with pytest.raises(AssertionError):
            server.sql(sql)
    assert server.rows("FROM v") == [{"s": None}]
