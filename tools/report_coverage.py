#!/usr/bin/env python3
"""Prints line and branch coverage by module from a coverage build whose tests have run, and fails below the floors.

  report_coverage.py BUILD_FOLDER [--uncovered MODULE]

Branches are those of the sources: a condition counts twice, for true and false, also where a macro has it (SHEAF_RETURN_NOT_OK: no
error, an error). `--uncovered` names the lines of a module whose branches no test takes.
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINES_FLOOR = 80
BRANCHES_FLOOR = {"wal": 90, "parts": 90, "store": 90}
NOT_OURS = r".*(_test|_fuzz|_bench|testing)\.(cc|h)$"


def programs(build):
    """What has tests in it, or is tested from outside."""
    return sorted(path for path in (build / "bin").iterdir() if path.name == "sheaf" or path.name.endswith(("_test", "_fuzz")))


def export(build, *options):
    profile = build / "profiles" / "all.profdata"
    raw = sorted((build / "profiles").glob("*.profraw"))
    subprocess.run(["llvm-profdata-19", "merge", "--sparse", "--failure-mode=warn", "-o", profile, *raw], check=True)
    first, *others = programs(build)
    answer = subprocess.run(["llvm-cov-19", "export", first, *(f"--object={other}" for other in others), f"--instr-profile={profile}",
                             f"--ignore-filename-regex={NOT_OURS}", *options], check=True, stdout=subprocess.PIPE)
    files = json.loads(answer.stdout)["data"][0]["files"]
    return [file for file in files if pathlib.Path(file["filename"]).is_relative_to(ROOT / "src")]


def module_of(file):
    return pathlib.Path(file["filename"]).relative_to(ROOT / "src").parts[0]


def print_uncovered(files, module):
    """Not those of conditions that are constant, nor of what was never reached: that shows in what leads there."""
    for file in files:
        if module_of(file) != module:
            continue
        text = pathlib.Path(file["filename"]).read_text().splitlines()
        places = {}  # By where they are: a template has them several times.
        for *place, times_true, times_false, _, _, _ in file["branches"]:
            sums = places.setdefault(tuple(place), [0, 0])
            sums[0] += times_true
            sums[1] += times_false
        for (line, *_), (times_true, times_false) in sorted(places.items()):
            if (times_true == 0) != (times_false == 0):
                side = "true" if times_true == 0 else "false"
                print(f"{pathlib.Path(file['filename']).relative_to(ROOT)}:{line}: never {side}: {text[line - 1].strip()}")


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    if sys.argv[2:3] == ["--uncovered"]:
        return print_uncovered(export(build), sys.argv[3])
    modules = {}
    for file in export(build, "--summary-only"):
        for name in (module_of(file), "all"):
            sums = modules.setdefault(name, [0, 0, 0, 0])
            for i, (what, which) in enumerate((("lines", "count"), ("lines", "covered"), ("branches", "count"), ("branches", "covered"))):
                sums[i] += file["summary"][what][which]
    below = []
    for module, (lines, covered, branches, taken) in sorted(modules.items(), key=lambda item: (item[0] == "all", item[0])):
        lines_percent, branches_percent = 100 * covered / max(lines, 1), 100 * taken / max(branches, 1)
        print(f"{module:10} {lines_percent:5.1f} % of {lines:6} lines {branches_percent:5.1f} % of {branches:6} branches")
        if branches_percent < BRANCHES_FLOOR.get(module, 0):
            below.append(f"branch coverage of {module} is below {BRANCHES_FLOOR[module]} %")
        if module == "all" and lines_percent < LINES_FLOOR:
            below.append(f"line coverage is below {LINES_FLOOR} %")
    return "; ".join(below) or None


sys.exit(main())
