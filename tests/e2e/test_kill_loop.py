"""H4: the server is killed (kill -9) at random moments while clients send. After every restart each acknowledged batch
is there once, and no batch is there in part. Memtables are small and sealed often, so that kills fall into sealing,
manifests and the log's truncation too.

SHEAF_KILLS sets how many (default 100), SHEAF_SEED replays a run's timing and data.
"""

import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

SUPPORT = pathlib.Path(__file__).resolve().parent.parent / "support"
WORKERS = 2
SETTINGS = {"SHEAF_STORAGE_MEMTABLE_BYTES": "1MiB", "SHEAF_STORAGE_SEAL_AGE_MS": "400", "SHEAF_STORAGE_LOG_SEGMENT_BYTES": "1MiB",
            "SHEAF_STORAGE_COLD_AFTER_MS": "2000", "SHEAF_LOG_LEVEL": "warn"}


class Oracle:
    """What was acknowledged, and what must therefore be there."""

    def __init__(self, path):
        self.path = path

    def acknowledged(self):
        lines = self.path.read_text().split("\n")[:-1] if self.path.exists() else []  # The last may be half written.
        return {name: int(spans) for name, spans in (line.split() for line in lines)}

    def wait_for_more(self, than, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.acknowledged()) <= than:
            assert time.monotonic() < deadline, f"nothing was acknowledged for {seconds} s"
            time.sleep(0.01)

    def check(self, server, acknowledged):
        """`acknowledged` was read before the server was asked: more may have come since."""
        found = {row["name"]: row for row in server.rows(
            "SELECT name, count(*) AS rows, count(DISTINCT span_id) AS spans, max(CAST(attributes['spans'] AS BIGINT)) AS told "
            "FROM otel.traces GROUP BY name")}
        lost = [name for name in acknowledged if name not in found]
        partial = [row for row in found.values() if row["rows"] < row["told"]]
        twice = [row for row in found.values() if row["rows"] > row["told"] or row["spans"] != row["rows"]]
        assert not lost, f"{len(lost)} acknowledged batches are lost: {lost[:10]}"
        assert not partial, f"{len(partial)} batches are there in part: {partial[:10]}"
        assert not twice, f"{len(twice)} batches are there more than once: {twice[:10]}"
        return len(found)


@pytest.mark.timeout(600)
def test_every_acknowledged_batch_survives_kills(make_server, tmp_path):
    kills = int(os.environ.get("SHEAF_KILLS", "100"))
    seed = int(os.environ.get("SHEAF_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}; replay: SHEAF_SEED={seed} SHEAF_KILLS={kills} ./dev test kills")
    chance = random.Random(seed)
    oracle = Oracle(tmp_path / "acknowledged")
    server = make_server(environment=SETTINGS).start()
    client = subprocess.Popen([sys.executable, SUPPORT / "kill_loop_client.py", server.ports["otlp-grpc"], oracle.path, str(seed),
                               str(WORKERS)], cwd=SUPPORT)
    slowest_start = 0
    try:
        kill, begin, acknowledged = 0, time.monotonic(), {}
        for kill in range(kills):
            oracle.wait_for_more(len(acknowledged))  # The client found the server again: kills fall into its sending.
            time.sleep(chance.uniform(0.0, 0.4) ** 2 + chance.choice((0.0, 0.0, 0.0, 0.3)))
            server.kill()
            acknowledged = oracle.acknowledged()
            restart = time.monotonic()
            server.start()
            slowest_start = max(slowest_start, time.monotonic() - restart)
            batches = oracle.check(server, acknowledged)
            assert client.poll() is None, f"the client ended with {client.returncode}"
    except AssertionError as failure:
        raise AssertionError(f"kill {kill}, seed {seed}, data in {server.data}: {failure}") from failure
    finally:
        client.kill()
        client.wait()
    acknowledged = oracle.acknowledged()
    print(f"{kills} kills in {time.monotonic() - begin:.0f} s, {len(acknowledged)} batches acknowledged, {batches} found at last, "
          f"slowest start {slowest_start:.1f} s")
    assert len(acknowledged) >= kills, "too little was sent for this test to mean anything"
    server.stop()
    server.start()
    oracle.check(server, acknowledged)
    assert server.value("SELECT count(*) FROM sheaf.parts") > 0, "no kill can have fallen into sealing"
