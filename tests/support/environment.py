"""The variables that every test runs with: environment.txt beside this file holds them, for C++ tests too."""

import pathlib

HERE = pathlib.Path(__file__).resolve().parent


def variables():
    lines = (HERE / "environment.txt").read_text().replace("@SOURCE@", str(HERE.parent.parent)).splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
