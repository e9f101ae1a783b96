#!/usr/bin/env python3
"""Replays every fuzz target's corpus, then fuzzes each for a while.

  run_fuzzers.py BUILD_FOLDER SECONDS

A target is a program BUILD/bin/<module>_<name>_fuzz; its corpus is src/<module>/corpus/<name>/. New
findings that only widen coverage go to BUILD/corpus and are not kept; a crash leaves its input in
BUILD/crashes and prints the command that replays it.
"""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

import environment  # noqa: E402


def main():
    build, seconds = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2])
    targets = sorted((build / "bin").glob("*_fuzz"))
    if not targets:
        sys.exit(f"no fuzz targets in {build}/bin")
    crashes = build / "crashes"
    crashes.mkdir(exist_ok=True)
    failed = []
    for target in targets:
        module, name = target.name.removesuffix("_fuzz").split("_", 1)
        seeds = ROOT / "src" / module / "corpus" / name
        if not seeds.is_dir() or not any(seeds.iterdir()):
            sys.exit(f"{target.name} has no corpus in {seeds}")
        grown = build / "corpus" / target.name
        grown.mkdir(parents=True, exist_ok=True)
        command = [target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=1024",
                   "-max_len=65536", "-print_final_stats=0", "-verbosity=0", f"-artifact_prefix={crashes}/{target.name}-",
                   grown, seeds]
        done = subprocess.run(list(map(str, command)), env={**os.environ, **environment.variables()},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        verdict = "ok" if done.returncode == 0 else "FAILED"
        print(f"{target.name}: {verdict} ({sum(1 for _ in grown.iterdir())} new inputs in {seconds} s)", flush=True)
        if done.returncode != 0:
            print(done.stdout[-6000:])
            print(f"replay: {target} {crashes}/{target.name}-…")
            failed.append(target.name)
    print(f"{len(targets) - len(failed)} passed, {len(failed)} failed")
    sys.exit(bool(failed))


main()
