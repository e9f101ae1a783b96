"""Fixtures for the harnesses: they run the test programs of modules, not the server."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def programs():
    """The folder of store_test and wal_test; SHEAF_BUILD_DIR (default build/soak, optimised) says of which build."""
    folder = pathlib.Path(os.environ.get("SHEAF_BUILD_DIR") or ROOT / "build" / "soak").resolve() / "bin"
    for name in ("store_test", "wal_test"):
        if not (folder / name).exists():
            pytest.fail(f"{folder / name} is missing: build it first (./dev soak 0.001), or set SHEAF_BUILD_DIR", pytrace=False)
    return folder
