"""`sheaf inspect` reads each of our files, `sheaf verify` finds a flipped byte in each of them."""

import json
import shutil

import pytest

import otlp_samples
from sheaf_server import Server


@pytest.fixture(scope="module")
def stored(program, tmp_path_factory):
    """A directory with hot parts, cold parts, manifests and a log that still holds entries."""
    folder = tmp_path_factory.mktemp("stored")
    server = Server(program, folder / "data", folder / "log").start()
    server.otlp_http("traces", otlp_samples.full_traces())
    server.stop()
    server = Server(program, folder / "data", folder / "log", environment={"SHEAF_STORAGE_COLD_AFTER_MS": "0"}).start()
    assert wait_for(lambda: server.value("SELECT count(*) FROM sheaf.parts WHERE file_name LIKE '%.parquet'") > 0)
    server.stop()
    server = Server(program, folder / "data", folder / "log").start()
    server.otlp_http("logs", otlp_samples.full_logs())
    server.stop()
    server.start()
    assert server.session.post(server.url(path="/v1/snapshots"), timeout=60).status_code == 200
    server.otlp_http("metrics", otlp_samples.full_metrics())
    server.kill()  # The metrics stay in the log.
    return folder / "data"


def wait_for(condition, seconds=20):
    import time
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def files_of(data):
    return sorted(path for path in data.rglob("*") if path.is_file() and path.stat().st_size > 0 and path.name != "LOCK")


def test_sound_directory_verifies(program, stored):
    done = program.run("verify", stored, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True


def test_inspect_reads_every_kind(program, stored):
    for path in files_of(stored):
        done = program.run("inspect", path)
        assert done.returncode == 0 and done.stdout, f"{path}: {done.stderr}"
        described = program.run("inspect", path, "--json")
        assert described.returncode == 0 and json.loads(described.stdout), path


def kinds(data):
    """One file of each kind, by name."""
    found = {}
    for path in files_of(data):
        kind = path.suffix or path.name.split("-")[0]
        found.setdefault(kind, path)
    return found


def test_verify_finds_a_flipped_byte_in_every_kind_of_file(program, stored, tmp_path):
    missed = []
    assert len(kinds(stored)) >= 4, kinds(stored)
    for kind, path in kinds(stored).items():
        for place in (0.02, 0.5, 0.98):
            copy = tmp_path / "copy"
            shutil.copytree(stored, copy)
            target = copy / path.relative_to(stored)
            content = bytearray(target.read_bytes())
            used = len(content.rstrip(b"\x00"))  # A log's segment is allocated ahead; what is not used yet means nothing.
            at = min(int(used * place), used - 1)
            content[at] ^= 0x20
            target.write_bytes(content)
            done = program.run("verify", copy)
            if done.returncode != 1 or target.name not in done.stderr + done.stdout:
                missed.append(f"{target.name} byte {at} of {used}: exit {done.returncode} {done.stderr[-300:]}")
            shutil.rmtree(copy)
    assert not missed, "\n".join(missed)


def test_verify_finds_a_missing_part(program, stored, tmp_path):
    shutil.copytree(stored, tmp_path / "copy")
    part = next(path for path in files_of(tmp_path / "copy") if path.suffix == ".parquet")
    part.unlink()
    done = program.run("verify", tmp_path / "copy")
    assert done.returncode == 1 and part.name in done.stderr + done.stdout


def test_inspect_tells_what_is_not_ours(program, tmp_path):
    stranger = tmp_path / "stranger"
    stranger.write_bytes(b"hello, world" * 100)
    done = program.run("inspect", stranger)
    assert done.returncode == 1 and "stranger" in done.stderr


def test_salvage_makes_a_database_of_what_is_left(program, stored, tmp_path):
    whole = program.run("salvage", stored, "--to", tmp_path / "whole", "--json")
    assert whole.returncode == 0, whole.stderr
    assert json.loads(whole.stdout)["losses"] == []
    counts = "SELECT (SELECT count(*) FROM traces) AS t, (SELECT count(*) FROM logs) AS l, (SELECT count(*) FROM otel.metrics) AS m"
    before = program.run("sql", "--data", tmp_path / "whole", counts, "--format", "csv").stdout
    assert "0" not in before.splitlines()[1].split(","), before

    damaged = tmp_path / "damaged"
    shutil.copytree(stored, damaged)
    part = sorted((damaged / "parts").glob("*.arrow"))[0]
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)
    left = program.run("salvage", damaged, "--to", tmp_path / "left")
    assert left.returncode == 1 and part.name.split(".")[0].split("-")[1] in left.stderr, left.stderr
    assert program.run("verify", tmp_path / "left").returncode == 0
    assert program.run("sql", "--data", tmp_path / "left", counts).returncode == 0
    assert program.run("salvage", damaged, "--to", tmp_path / "left").returncode == 1  # There is something already.
