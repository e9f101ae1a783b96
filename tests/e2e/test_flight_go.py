"""Go's database/sql driver for Flight SQL, and the client under it, untouched: tests/peers/flight-go."""

import pathlib
import subprocess

import pytest

PEER = pathlib.Path(__file__).resolve().parent.parent / "peers" / "flight-go"


@pytest.mark.timeout(500)
def test_go_drivers_work_everything(server, tmp_path):
    program = tmp_path / "flight-go"
    subprocess.run(["go", "build", "-mod=mod", "-o", program, "."], cwd=PEER, check=True, timeout=280)
    done = subprocess.run([program, server.ports["flight"]], stdout=subprocess.PIPE, text=True, timeout=220)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if not line.startswith("ok"))
    assert done.stdout.count("there and back") == 22 and done.stdout.count("as a parameter") == 18
