"""H4: the server is killed (kill -9) while clients send: at random moments, and at each failpoint of the sources, where it
kills itself. After every restart each acknowledged batch is there once, no batch is there in part, and each row of a keyed
table is of a version from the last that was acknowledged on. Memtables are small and sealed often, so that kills fall into
sealing, merging, manifests, snapshots and the log's truncation too.

SHEAF_KILLS sets how many kills at random moments (default 105), SHEAF_FAILPOINT_ROUNDS how often each failpoint is used (default
1); SHEAF_SEED replays a run's timing and data.
"""

import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SUPPORT = ROOT / "tests" / "support"
KILLS_OF_A_HISTORY = 150
WORKERS = 2
SETTINGS = {"SHEAF_STORAGE_MEMTABLE_BYTES": "1MiB", "SHEAF_STORAGE_SEAL_AGE_MS": "400", "SHEAF_STORAGE_LOG_SEGMENT_BYTES": "1MiB",
            "SHEAF_STORAGE_COLD_AFTER_MS": "2000", "SHEAF_STORAGE_ARCHIVE_LOG": "on", "SHEAF_LOG_LEVEL": "warn"}
# Reached only while the server stops in good order.
AT_STOP = ("store.close_begun", "store.log_closing", "store.closed", "wal.last_segment_cut", "wal.commit_written", "wal.commit_synced")
# Not by this load: without an archive; when a part is damaged or expires; at the end of snapshots that are dropped; and within a
# millisecond of a power cut. The crash images (src/store/crash_images_test.cc) go through these places.
ELSEWHERE = ("wal.segment_removed", "store.part_set_aside", "store.expiry_begun", "store.snapshot_unmarked_again")


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


class KeyedOracle:
    """What kill_loop_sql_client.py sent and got acknowledged."""

    def __init__(self, path):
        self.path = path

    def read(self):
        """Of each key all values that were sent, None before the first, and the place of the last acknowledged one."""
        keys = {}
        for line in self.path.read_text().split("\n")[:-1] if self.path.exists() else []:
            sign, key, value = line.split()
            sent, acknowledged = keys.get(int(key), ([None], 0))
            if sign == "?":
                sent.append(int(value))
            else:
                acknowledged = sent.index(int(value))
            keys[int(key)] = sent, acknowledged
        return keys

    def check(self, server, before):
        """`before`: what was read before the server started again; more may have come since."""
        table = server.value("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'main' AND table_name = 'kept'")
        if table == 0:
            assert all(acknowledged == 0 for _, acknowledged in before.values()), "a table with acknowledged rows is gone"
            return
        rows = server.rows("SELECT id, value FROM main.kept")
        found = {row["id"]: row["value"] for row in rows}
        assert len(found) == len(rows), "a key is there twice"
        now = self.read()  # Later than the rows, so all that was sent until then is in it.
        for key, (_, acknowledged) in before.items():
            may = now[key][0][acknowledged:]
            gone = key not in found and any(value is None or value < 0 for value in may)
            assert gone or found.get(key) in may, f"row {key} is {found.get(key)}; it may be {may}"


class Run:
    """A server that is killed again and again, two clients, and what must be there."""

    def __init__(self, make_server, tmp_path, seed):
        self.seed, self.chance = seed, random.Random(seed)
        self.batches, self.rows = Oracle(tmp_path / "acknowledged"), KeyedOracle(tmp_path / "rows")
        self.server = make_server(data=tmp_path / "data", environment=dict(SETTINGS)).start()
        arguments = {"kill_loop_client.py": [self.server.ports["otlp-grpc"], self.batches.path, str(seed), str(WORKERS)],
                     "kill_loop_sql_client.py": [self.server.ports["http"], self.rows.path, str(seed)]}
        self.clients = [subprocess.Popen([sys.executable, SUPPORT / name, *given], cwd=SUPPORT) for name, given in arguments.items()]
        self.acknowledged, self.slowest_start, self.kills, self.found = {}, 0, 0, 0

    def restart(self):
        """After the server has died: starts it and checks everything."""
        self.acknowledged, before = self.batches.acknowledged(), self.rows.read()
        began = time.monotonic()
        self.server.start()
        self.slowest_start = max(self.slowest_start, time.monotonic() - began)
        self.found = self.batches.check(self.server, self.acknowledged)
        self.rows.check(self.server, before)
        for client in self.clients:
            assert client.poll() is None, f"a client ended with {client.returncode}"

    def die_at(self, name, count):
        """Restarts with the failpoint set and waits for the death there; False where it did not come in time."""
        if self.server.running:
            self.server.kill()
        self.server.environment["SHEAF_FAILPOINT"] = f"{name}:{count}"
        self.server.start(wait=False)
        process, deadline = self.server.process, time.monotonic() + 8
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
            if name in AT_STOP and self.server.lines.qsize() >= 4:  # It is ready.
                time.sleep(0.3)
                process.send_signal(signal.SIGTERM)
                deadline = time.monotonic() + 20
                process.wait(timeout=20)
        died = process.poll() == -signal.SIGKILL
        if process.poll() is None:
            self.server.kill()
        else:
            self.server._forget()
        del self.server.environment["SHEAF_FAILPOINT"]
        self.kills += 1
        return died

    def kill_at_random(self):
        self.batches.wait_for_more(len(self.acknowledged))  # The client found the server again: kills fall into its sending.
        time.sleep(self.chance.uniform(0.0, 0.4) ** 2 + self.chance.choice((0.0, 0.0, 0.0, 0.3)))
        self.server.kill()
        self.kills += 1

    def end(self):
        for client in self.clients:
            client.kill()
            client.wait()


def failpoints():
    names = set()
    for path in (ROOT / "src").rglob("*.cc"):
        if "test" not in path.name:
            names.update(re.findall(r'Failpoint\("([a-z._]+)"\)', path.read_text()))
    assert len(names) >= 40, names
    return sorted(names - set(ELSEWHERE))


@pytest.mark.timeout(1800 + 10 * int(os.environ.get("SHEAF_KILLS", "0")) + 600 * int(os.environ.get("SHEAF_FAILPOINT_ROUNDS", "0")))
def test_every_acknowledged_write_survives_kills(make_server, tmp_path):
    kills, rounds = int(os.environ.get("SHEAF_KILLS", "105")), int(os.environ.get("SHEAF_FAILPOINT_ROUNDS", "1"))
    seed = int(os.environ.get("SHEAF_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}; replay: SHEAF_SEED={seed} SHEAF_KILLS={kills} SHEAF_FAILPOINT_ROUNDS={rounds} ./dev test kills")
    # Each start looks at all batches of its history, so that a long one would take ever longer.
    histories = max(1, kills // KILLS_OF_A_HISTORY, rounds)
    for number in range(histories):
        folder = tmp_path / str(number)
        folder.mkdir()
        tell_history(make_server, folder, seed + number, share(kills, histories, number), share(rounds, histories, number))


def share(whole, parts, number):
    return whole * (number + 1) // parts - whole * number // parts


def tell_history(make_server, tmp_path, seed, kills, rounds):
    run, begin, where, missed = Run(make_server, tmp_path, seed), time.monotonic(), "at the start", []
    try:
        for kill in range(kills):
            where = f"random kill {kill}"
            run.kill_at_random()
            run.restart()
        for name in failpoints() * rounds:
            where = f"failpoint {name}"
            died = any(run.die_at(name, count) for count in (run.chance.choice((1, 2)), 1))
            run.restart()
            missed += [] if died else [name]
    except AssertionError as failure:
        raise AssertionError(f"{where}, seed {seed}, data in {run.server.data}: {failure}") from failure
    finally:
        run.end()
    acknowledged = run.batches.acknowledged()
    print(f"{run.kills} kills in {time.monotonic() - begin:.0f} s, {len(failpoints())} failpoints, "
          f"{len(acknowledged)} batches acknowledged, {run.found} found at last, slowest start {run.slowest_start:.1f} s")
    assert not missed, f"failpoints that were not reached: {missed}"
    assert len(acknowledged) >= kills, "too little was sent for this test to mean anything"
    run.server.stop()
    run.server.start()
    run.batches.check(run.server, acknowledged)
    assert run.server.value("SELECT count(*) FROM sheaf.parts") > 0, "no kill can have fallen into sealing"
    run.server.stop()
