"""Blocks of the engine on a million rows beside DuckDB, DataFusion, Polars and pyarrow, each in memory with two threads, ours with one
but for the sort.

All take turns, after one turn that warms up; within its turn a job is repeated for 50 ms and the last run counts, since the turn before
was somebody else's, who had the caches ("hot"). What they find must be the same. Marks: search for one id of 16 bytes in 0.6 ms and 1.3
times of a plain read of the same bytes; 1G sampling decisions a second; grouping into 100,000 groups in 10 ms; sorting by trace_id,
start_time and span_id with all five columns gathered in 60 ms."""

import contextlib
import pathlib
import subprocess
import sys

from sides import Side, figures

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ["duckdb", "datafusion", "polars", "pyarrow"]
JOBS = ["sort", "group", "find"]
OURS = [*JOBS, "sort_1", "sort_order", "sort_order_1", "group_traces", "plain_read", "sample"]
SAMPLED = 999_936 * 100  # Ids a turn of `sample` decides on.


HOT_MS = 50


def ask_hot(side, job):
    runs, spent = 0, 0.0
    while runs < 2 or spent < HOT_MS:
        said = side.ask(job)
        runs += 1
        spent += max(said["ms"], 0.1)
    return said


def run(build, folder, repetitions):
    setup = [sys.executable, HERE.parent.parent / "tools" / "setup.py", "print-bench"]
    python = pathlib.Path(subprocess.run(setup, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()) / "venv" / "bin" / "python"
    wall, cpu, checks = {}, {}, {}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Side([build / "bin" / "headline_blocks", folder / "million.arrow"]))
        asked = [("sheaf", ours, job) for job in OURS]
        for peer in PEERS:
            side = stack.enter_context(Side([python, HERE / "blocks_peer.py", peer, folder / "million.arrow", ours.ready["wanted"]]))
            asked += [(peer, side, job) for job in JOBS]
        for turn in range(repetitions + 1):
            for name, side, job in asked:
                said = ask_hot(side, job)
                checks.setdefault(job, {})[name] = said["check"]
                if turn > 0:
                    wall.setdefault(job, {}).setdefault(name, []).append(said["ms"])
                    cpu.setdefault(job, {}).setdefault(name, []).append(said["cpu_ms"])
    for job in JOBS:
        if len(set(checks[job].values())) != 1:
            raise SystemExit(f"{job}: the engines found different things: {checks[job]}")
    measured = {job: {name: figures(times, 3) | {"cpu": figures(cpu[job][name], 3)["median"]} for name, times in sides.items()}
                for job, sides in wall.items()}
    return {"rows": 1_000_000, "ms": measured, "table": table(measured)}


def table(measured):
    """Rows whose mark is a figure of ours: `times` is the mark (or the plain read) over it."""
    rows = []
    for job, what, mark in (("sort", "sort by three columns and gather, ms", 60), ("group", "group into 100,000, ms", 10),
                            ("find", "find one id, ms", 0.6)):
        sides = measured[job]
        peer = min(PEERS, key=lambda name: sides[name]["median"])
        ours, theirs = sides["sheaf"]["median"], sides[peer]["median"]
        rows.append({"row": job, "what": f"{what}, beside {peer}, the fastest peer", "ours": ours, "theirs": theirs,
                     "times": round(theirs / ours, 2), "mark": f"{mark}", "met": ours <= mark})
    found, read = measured["find"]["sheaf"]["median"], measured["plain_read"]["sheaf"]["median"]
    rows.append({"row": "find", "what": "find one id, beside a plain read of the same bytes, ms", "ours": found, "theirs": read,
                 "times": round(read / found, 2), "mark": "0.77", "met": found <= 1.3 * read})
    rate = SAMPLED / measured["sample"]["sheaf"]["median"] / 1e6
    rows.append({"row": "sample", "what": "decisions, G ids/s, one core (more is better)", "ours": round(rate, 2), "theirs": 1.0,
                 "times": round(rate, 2), "mark": "1", "met": rate >= 1})
    return rows
