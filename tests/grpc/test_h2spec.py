"""Every generic, HTTP/2 and HPACK case of h2spec, on the gRPC and the HTTP port."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


# The HTTP port speaks HTTP/1.1 as well: it answers an invalid preface (case 3.5.2) with 400 before it closes.
@pytest.mark.parametrize("listener, path, failures", [("grpc", "/", []), ("http", "/hello", ["2: Sends invalid connection preface"])])
def test_h2spec_finds_no_fault(demo, listener, path, failures):
    peers = subprocess.run(["python3", ROOT / "tools" / "setup.py", "print-peers"], stdout=subprocess.PIPE, text=True, check=True)
    program = pathlib.Path(peers.stdout.strip()) / "go" / "h2spec" / "h2spec"
    command = [program, "-h", "127.0.0.1", "-p", str(demo.ports[listener]), "--path", path, "--timeout", "5", "generic", "http2", "hpack"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=200)
    total, passed = map(int, re.search(r"(\d+) tests, (\d+) passed", done.stdout).groups())
    found = re.findall(r"× (.*)", done.stdout.partition("Failures:")[2])
    assert (total, found) == (passed + len(failures), failures), done.stdout[-3000:]
    assert total >= 145
