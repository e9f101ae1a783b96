"""A real disk that runs full 20 times while clients write: a tmpfs of 48 MiB, on which a ballast file takes the room.

Reads go on; writes are refused so that clients try again; once there is room, writes go on within 5 seconds without a restart; and
nothing that was acknowledged is lost, nothing is there in part or twice: at every fill, at the end, and after a restart.

SHEAF_FILLS sets how often (default 20, half of them in each of two ways), SHEAF_SEED replays a run's sizes and times.
"""

import os
import random
import threading
import time

import grpc
import pytest
import requests
from grpc_status import rpc_status

import otlp_grpc
import otlp_samples
from small_disk import SmallDisk

DISK_BYTES = 48 << 20
RESUME_SECONDS = 5
SETTINGS = {"SHEAF_STORAGE_MEMTABLE_BYTES": "1MiB", "SHEAF_STORAGE_SEAL_AGE_MS": "500", "SHEAF_STORAGE_LOG_SEGMENT_BYTES": "1MiB",
            "SHEAF_STORAGE_COLD_AFTER_MS": "1000", "SHEAF_STORAGE_SNAPSHOT_INTERVAL_MS": "0", "SHEAF_LIMITS_RETRY_AFTER_MS": "100",
            "SHEAF_LOG_LEVEL": "error"}


class Writer(threading.Thread):
    """Sends numbered batches, each once; remembers which were acknowledged and how the others were refused."""

    def __init__(self, server, how, seed):
        super().__init__(daemon=True)
        self.server, self.how, self.chance = server, how, random.Random(f"{seed}/{how}")
        self.acknowledged, self.refusals, self.wrong = {}, 0, []
        self.last_acknowledged_s = 0.0
        self.ending = threading.Event()

    def run(self):
        send = {"grpc": self.by_grpc, "http": self.by_http, "table": self.by_table}[self.how]
        sequence = 0
        with self.server.channel() as self.channel, requests.Session() as self.session:
            while not self.ending.is_set():
                name, rows = f"{self.how}-{sequence}", self.chance.choice((1, 5, 20, 50))
                sequence += 1
                if send(name, rows):
                    self.acknowledged[name] = rows
                    self.last_acknowledged_s = time.monotonic()
                else:
                    self.refusals += 1
                    time.sleep(0.05)

    def request(self, name, rows):
        return otlp_samples.traces([
            otlp_samples.span(self.chance.randbytes(16), self.chance.randbytes(8), name, told=rows, filler=self.chance.randbytes(200).hex())
            for _ in range(rows)])

    def by_grpc(self, name, rows):
        try:
            otlp_grpc.stub(self.channel, "traces").Export(self.request(name, rows), timeout=30)
            return True
        except grpc.RpcError as error:
            status = rpc_status.from_call(error)
            if error.code() != grpc.StatusCode.UNAVAILABLE or status is None or "RetryInfo" not in str(status.details):
                self.wrong.append(f"{error.code()} {error.details()}")
            return False

    def by_http(self, name, rows):
        body = self.request(name, rows).SerializeToString()
        return self.checked(self.server.url("otlp-http", "/v1/traces"), body, "application/x-protobuf")

    def by_table(self, name, rows):
        lines = "".join(f'{{"id": "{name}/{i}", "batch": "{name}", "told": {rows}, "filler": "{self.chance.randbytes(200).hex()}"}}\n'
                        for i in range(rows))
        return self.checked(self.server.url(path="/v1/tables/main.t"), lines.encode(), "application/x-ndjson")

    def checked(self, url, body, media):
        answer = self.session.post(url, data=body, headers={"Content-Type": media}, timeout=30)
        if answer.status_code != 200 and (answer.status_code != 503 or "Retry-After" not in answer.headers):
            self.wrong.append(f"{answer.status_code} {answer.content[:300]}")
        return answer.status_code == 200


SPANS = """SELECT name, count(*) AS rows, count(DISTINCT span_id) AS ids, max(CAST(attributes['told'] AS BIGINT)) AS told
           FROM otel.traces GROUP BY name"""
ROWS = "SELECT batch AS name, count(*) AS rows, count(DISTINCT id) AS ids, max(told) AS told FROM main.t GROUP BY batch"


def check(server, acknowledged):
    """`acknowledged` was taken before the server is asked: more may have come since."""
    found = {row["name"]: row for row in server.rows(f"{SPANS} UNION ALL {ROWS}")}
    lost = [name for name in acknowledged if name not in found]
    uneven = [row for row in found.values() if not row["rows"] == row["ids"] == row["told"]]
    assert not lost, f"{len(lost)} acknowledged batches are lost: {lost[:10]}"
    assert not uneven, f"{len(uneven)} batches are there in part or twice: {uneven[:10]}"
    return len(found), sum(row["rows"] for row in found.values())


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {seconds} s"
        time.sleep(0.005)


@pytest.fixture
def disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk", DISK_BYTES)
    yield disk
    disk.close()


# With a share that is kept free, writes are refused before the disk is full; without, the disk itself says no, to whatever is written.
@pytest.mark.parametrize("kept_free", ["0.05", "0"])
def test_a_full_disk_costs_nothing_but_time(make_server, disk, request, kept_free):
    fills = int(os.environ.get("SHEAF_FILLS", "20")) // 2
    seed = int(os.environ.get("SHEAF_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}; replay: SHEAF_SEED={seed} SHEAF_FILLS={2 * fills} ./dev test full_disk")
    chance = random.Random(seed)
    server = make_server(data=disk.data, wrapper=disk.wrapper,
                         environment={**SETTINGS, "SHEAF_STORAGE_FREE_SPACE_MIN_FRACTION": kept_free}).start()
    pid = server.pid()
    server.rows("CREATE TABLE t (id VARCHAR PRIMARY KEY, batch VARCHAR, told BIGINT, filler VARCHAR)")
    writers = [Writer(server, how, seed) for how in ("grpc", "http", "table")]
    request.addfinalizer(lambda: [writer.ending.set() for writer in writers])
    for writer in writers:
        writer.start()
    slowest_resume, reads, slowest_read = 0.0, 0, 0.0
    kept_bytes = int(DISK_BYTES * float(kept_free))
    for fill in range(fills):
        before = [writer.refusals for writer in writers]
        disk.leave(kept_bytes + chance.choice((0, 1 << 16, 1 << 20)))
        wait_for(lambda: all(writer.refusals > count for writer, count in zip(writers, before)), 30, f"fill {fill}: nothing was refused")
        until = time.monotonic() + chance.choice((0.05, 0.2, 0.6))
        while reads <= fill or time.monotonic() < until:
            acknowledged = [name for writer in writers for name in list(writer.acknowledged)]
            began = time.monotonic()
            check(server, acknowledged)
            reads, slowest_read = reads + 1, max(slowest_read, time.monotonic() - began)
        assert server.session.get(server.url(path="/readyz"), timeout=10).status_code == 200
        disk.give_back()
        room_s = time.monotonic()
        wait_for(lambda: all(writer.last_acknowledged_s > room_s for writer in writers), RESUME_SECONDS, f"fill {fill}: no write went on")
        slowest_resume = max(slowest_resume, time.monotonic() - room_s)
    assert server.pid() == pid and server.running
    for writer in writers:
        writer.ending.set()
        writer.join(timeout=60)
    wrong = [each for writer in writers for each in writer.wrong]
    assert not wrong, f"{len(wrong)} refusals do not let the client try again: {wrong[:5]}"
    acknowledged = {name for writer in writers for name in writer.acknowledged}
    batches, rows = check(server, acknowledged)
    room_s = time.monotonic()
    wait_for(lambda: server.value("SELECT count(*) FROM sheaf.parts") > 0, 15, "nothing was sealed")
    sealed_s = time.monotonic() - room_s
    refusals = sum(writer.refusals for writer in writers)
    print(f"{fills} fills, {kept_free} kept free: {len(acknowledged)} batches acknowledged, {refusals} refused, {batches} there with "
          f"{rows} rows; resumed after {slowest_resume:.2f} s at most; {reads} reads, the slowest {slowest_read:.2f} s; "
          f"{server.value('SELECT count(*) FROM sheaf.parts')} parts {sealed_s:.1f} s after the end")
    assert len(acknowledged) >= 3 * fills, "too little was written for this test to mean anything"
    server.kill()
    server.start()
    check(server, acknowledged)
    server.stop()
    server.start()
    assert check(server, acknowledged) == (batches, rows)
