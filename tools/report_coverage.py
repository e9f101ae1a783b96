#!/usr/bin/env python3
"""Prints line coverage by module from a coverage build, and fails below the floor.

  report_coverage.py BUILD_FOLDER
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOOR_PERCENT = 80


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    report = build / "coverage.json"
    subprocess.run(["gcovr", "--root", ROOT, "--filter", "src/", "--exclude", r".*(_test|_fuzz|_bench|testing)\.(cc|h)",
                    "--gcov-ignore-parse-errors", "--json-summary", report, build], check=True, stdout=subprocess.DEVNULL)
    modules = {}
    for entry in json.loads(report.read_text())["files"]:
        module = entry["filename"].split("/")[1]
        lines, covered = modules.get(module, (0, 0))
        modules[module] = lines + entry["line_total"], covered + entry["line_covered"]
    for module, (lines, covered) in sorted(modules.items()):
        print(f"{module:10} {100 * covered / max(lines, 1):5.1f} %  of {lines} lines")
    lines = sum(total for total, _ in modules.values())
    percent = 100 * sum(covered for _, covered in modules.values()) / max(lines, 1)
    print(f"{'all':10} {percent:5.1f} %  of {lines} lines")
    if percent < FLOOR_PERCENT:
        sys.exit(f"line coverage is below {FLOOR_PERCENT} %")


main()
