"""Our own client of Flight: `sheaf sql --url grpc://`, and rows put through a network that breaks.

SHEAF_FLIGHT_PUTS (default 3000) makes the latter longer: 100000 is the claim.
"""

import json
import os
import pathlib
import random
import subprocess

import pytest

from cutting_proxy import CuttingProxy

BUILD = pathlib.Path(os.environ.get("SHEAF_BUILD_DIR", pathlib.Path(__file__).resolve().parents[2] / "build" / "debug"))


def sql(program, server, text, *flags):
    return program.run("sql", "--url", f"grpc://{server.ports['flight']}", "--format", "ndjson", *flags, text)


def rows(program, server, text):
    done = sql(program, server, text)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_statements_run_by_flight(server, program):
    rows(program, server, "CREATE TABLE pairs (k BIGINT PRIMARY KEY, v VARCHAR); INSERT INTO pairs VALUES (1, 'one'), (2, 'two')")
    assert rows(program, server, "SELECT * FROM pairs ORDER BY k") == [{"k": 1, "v": "one"}, {"k": 2, "v": "two"}]
    assert rows(program, server, "SELECT count(*) AS n FROM range(1000000)") == [{"n": 1_000_000}]
    assert len(rows(program, server, "SELECT range AS n, repeat('x', 100) AS text FROM range(200000)")) == 200_000


@pytest.mark.parametrize("text, message", [("SELECT nothing FROM nowhere", "nowhere"), ("SELEC 1", "SELEC"),
                                           ("COPY pairs TO '/tmp/x'", "COPY")])
def test_errors_are_the_servers(server, program, text, message):
    done = sql(program, server, text)
    assert done.returncode == 1 and message.lower() in done.stderr.lower()


def test_server_that_is_not_there_is_told(program):
    done = program.run("sql", "--url", "grpc://127.0.0.1:9", "SELECT 1")
    assert done.returncode == 1 and "127.0.0.1:9" in done.stderr


def put(address, table, batches, rows_of_batch, streams=1, codec="none", timeout=600):
    done = subprocess.run([BUILD / "bin" / "flight_put", f"grpc://{address}", table, str(batches), str(rows_of_batch), str(streams), codec],
                          capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_rows_are_put_with_every_compression(server, codec):
    server.rows(f"CREATE TABLE put_{codec} (batch BIGINT, n BIGINT)")
    figures = put(server.ports["flight"], f"main.put_{codec}", 20, 500, 2, codec)
    assert (figures["sent_rows"], figures["retries"]) == (10_000, 0)
    assert server.value(f"SELECT count(*) FROM put_{codec}") == 10_000
    assert server.value(f"SELECT sum(n) FROM put_{codec}") == 20 * sum(range(500))


@pytest.mark.timeout(600 + int(os.environ.get("SHEAF_FLIGHT_PUTS", "3000")) // 20)
def test_each_batch_is_there_once_though_connections_are_cut(server):
    puts = int(os.environ.get("SHEAF_FLIGHT_PUTS", "3000"))
    seed = int(os.environ.get("SHEAF_SEED", random.SystemRandom().randrange(1 << 32)))
    server.rows("CREATE TABLE once (batch BIGINT, n BIGINT)")
    proxy = CuttingProxy(server.ports["flight"], 20_000, seed)
    try:
        figures = put(proxy.address, "main.once", puts, 1, streams=4, timeout=300 + puts / 20)
    finally:
        proxy.close()
    print(f"seed {seed}: {puts} puts, {proxy.cuts} cuts, {figures}")
    assert proxy.cuts > puts / 200 and figures["batches_sent_again"] > 0, "too little was cut to show anything"
    assert figures["sent_batches"] == puts
    assert server.value("SELECT count(*) FROM once") == puts
    assert server.value("SELECT count(DISTINCT batch) FROM once") == puts
