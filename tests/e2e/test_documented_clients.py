"""docs/clients.md as users read it: every example is run as it stands there, and prints what is said to come."""

import os
import pathlib
import re
import subprocess

import pytest

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "clients.md"
SERVER = "http://127.0.0.1:8080"
LANGUAGES = {"bash", "python", "js", "go"}


def examples():
    """(language, code, what it prints or None), in the order of the document."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    assert {language for language, _ in blocks} == LANGUAGES | {"text"}
    found = []
    for language, code in blocks:
        if language == "text":
            found[-1] = (*found[-1][:2], code)
        else:
            found.append((language, code, None))
    return found


@pytest.fixture
def run_example(peers, tmp_path):
    """Runs one in a directory that all of them share."""
    (tmp_path / "node_modules").symlink_to(peers / "node" / "node_modules")
    commands = {"bash": ("example.sh", ["bash", "-euo", "pipefail"]), "python": ("example.py", [str(peers / "venv" / "bin" / "python")]),
                "js": ("example.mjs", ["node"]), "go": ("example.go", ["go", "run"])}
    # The sanitizers' variables are the server's; a proxy has nothing to do between this test and its server.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and "SAN_OPTIONS" not in name}

    def run(language, code):
        name, command = commands[language]
        (tmp_path / name).write_text(code)
        return subprocess.run([*command, name], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True, timeout=120)

    return run


def test_every_example_runs_and_prints_what_it_is_said_to(server, run_example):
    for language, code, printed in examples():
        assert SERVER in code, f"an example that asks no server:\n{code}"
        done = run_example(language, code.replace(SERVER, server.url()))
        assert done.returncode == 0, f"{code}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        if printed is not None:
            assert done.stdout.rstrip("\n") == printed.rstrip("\n"), f"{code}\nprinted:\n{done.stdout}"


def test_every_language_is_among_them():
    """A block that is marked otherwise would not be run."""
    assert {language for language, _, _ in examples()} == LANGUAGES
    assert sum(printed is not None for _, _, printed in examples()) >= 7
