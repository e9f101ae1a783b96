"""Fixtures for the tests that run the program: SHEAF_BUILD_DIR (default build/debug) says which one."""

import os
import pathlib
import subprocess

import pytest

import environment
from sheaf_server import Program, Server

ROOT = pathlib.Path(__file__).resolve().parent.parent
for name, value in environment.variables().items():
    os.environ.setdefault(name, value)


@pytest.fixture(scope="session")
def program():
    build = pathlib.Path(os.environ.get("SHEAF_BUILD_DIR") or ROOT / "build" / "debug").resolve()
    path = build / "bin" / "sheaf"
    if not path.exists():
        pytest.fail(f"{path} is missing: build it first (./dev build debug), or set SHEAF_BUILD_DIR", pytrace=False)
    return Program(path)


@pytest.fixture(scope="session")
def peers():
    """The folder of the peers that tools/setup.py installed."""
    printed = subprocess.run(["python3", str(ROOT / "tools" / "setup.py"), "print-peers"], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(printed.stdout.strip())


@pytest.fixture
def make_server(program, tmp_path):
    """Makes servers over a directory of this test; whatever still runs at its end is stopped, and must stop cleanly."""
    servers = []

    def make(data=None, **options):
        server = Server(program, data or tmp_path / "data", tmp_path / "server.log", **options)
        servers.append(server)
        return server

    yield make
    failures = []
    for server in servers:
        if server.running:
            try:
                server.stop()
            except AssertionError as failure:
                failures.append(str(failure))
    assert not failures, failures


@pytest.fixture
def server(make_server):
    return make_server().start()
