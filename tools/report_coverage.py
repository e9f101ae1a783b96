#!/usr/bin/env python3
"""Prints line and branch coverage by module from a coverage build, and fails below the floors.

  report_coverage.py BUILD_FOLDER [--uncovered MODULE]

Branches that only an exception takes are not counted, nor are those of checks that end the program (SHEAF_CHECK). `--uncovered` names
the lines of a module with branches that no test takes.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINES_FLOOR = 80
BRANCHES_FLOOR = {"wal": 90, "parts": 90, "store": 90}


def measure(build):
    report = build / "coverage.json"
    subprocess.run(["gcovr", "--root", ROOT, "--filter", "src/", "--exclude", r".*(_test|_fuzz|_bench|testing)\.(cc|h)",
                    "--exclude-throw-branches", "--exclude-unreachable-branches", "--exclude-branches-by-pattern", r".*SHEAF_CHECK.*",
                    "--gcov-ignore-parse-errors", "-j", str(os.cpu_count()), "--json", report, build], check=True,
                   stdout=subprocess.DEVNULL)
    return json.loads(report.read_text())["files"]


def count(files):
    """Lines, covered lines, branches, taken branches of each module."""
    modules = {}
    for entry in files:
        numbers = modules.setdefault(entry["file"].split("/")[1], [0, 0, 0, 0])
        for line in entry["lines"]:
            if line.get("gcovr/noncode"):
                continue
            taken = [branch["count"] > 0 for branch in line["branches"]]
            for i, more in enumerate((1, line["count"] > 0, len(taken), sum(taken))):
                numbers[i] += more
    return modules


def print_uncovered(files, module):
    for entry in sorted(files, key=lambda entry: entry["file"]):
        if entry["file"].split("/")[1] != module:
            continue
        text = (ROOT / entry["file"]).read_text().splitlines()
        for line in entry["lines"]:
            missed = sum(branch["count"] == 0 for branch in line["branches"])
            if missed or line["count"] == 0:
                number = line["line_number"]
                print(f"{entry['file']}:{number}: {missed} of {len(line['branches'])}: {text[number - 1].strip()}")


def main():
    files = measure(pathlib.Path(sys.argv[1]).resolve())
    if sys.argv[2:3] == ["--uncovered"]:
        return print_uncovered(files, sys.argv[3])
    modules = count(files)
    modules["all"] = [sum(numbers[i] for numbers in modules.values()) for i in range(4)]
    below = []
    for module, (lines, covered, branches, taken) in modules.items():
        lines_percent, branches_percent = 100 * covered / max(lines, 1), 100 * taken / max(branches, 1)
        print(f"{module:10} {lines_percent:5.1f} % of {lines:6} lines {branches_percent:5.1f} % of {branches:6} branches")
        if branches_percent < BRANCHES_FLOOR.get(module, 0):
            below.append(f"branch coverage of {module} is below {BRANCHES_FLOOR[module]} %")
        if module == "all" and lines_percent < LINES_FLOOR:
            below.append(f"line coverage is below {LINES_FLOOR} %")
    return "; ".join(below) or None


sys.exit(main())
