#!/usr/bin/env python3
"""Runs benchmarks and keeps what they print, with machine and commit, in bench/results/NAME.json.

  run.py BUILD_FOLDER [NAME…]      e.g. decode, ingest, keyed, storage, wal_log_bench (default: all)

A benchmark is either a program of a module (Google Benchmark, <module>_<file>_bench) or a script of this folder
that prints one JSON object. Each runs its peer in the same run, alternating; see the head of each.
"""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    memory = next(int(line.split()[1]) // 1024 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return {"cpu": model, "cores": os.cpu_count(), "memory_mib": memory, "kernel": platform.release()}


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=BENCH, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def scripts(build):
    found = {}
    for path in sorted(BENCH.glob("*/run.py")):
        found[path.parent.name] = [sys.executable, str(path), str(build)]
    return found


def programs(build):
    found = {}
    for path in sorted((build / "bin").glob("*_bench")):
        name = path.name.removesuffix("_bench")
        found[name] = [str(path), "--benchmark_format=json", "--benchmark_repetitions=5", "--benchmark_report_aggregates_only=true",
                       "--benchmark_enable_random_interleaving=true"]
    return found


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    known = {**programs(build), **scripts(build)}
    wanted = sys.argv[2:] or list(known)
    for name in wanted:
        if name not in known:
            sys.exit(f"no benchmark '{name}'; there are: {', '.join(known)}")
    (BENCH / "results").mkdir(exist_ok=True)
    for name in wanted:
        print(f"== {name}", flush=True)
        done = subprocess.run(known[name], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            print(done.stdout)
            sys.exit(f"benchmark '{name}' failed with exit status {done.returncode}")
        result = json.loads(done.stdout)
        record = {"benchmark": name, "command": f"./dev bench {name}", "commit": commit(), "machine": machine(),
                  "date": datetime.date.today().isoformat(), "result": result}
        (BENCH / "results" / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        print(json.dumps(result, indent=1), flush=True)


main()
