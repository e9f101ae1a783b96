#!/usr/bin/env python3
"""What storage costs and how fast it is scanned, beside RocksDB and DuckDB: run.py BUILD_FOLDER [PROGRAM…]

Runs amplification (bytes written and kept, beside RocksDB), background (processor time of compaction beside steady writes, and their
latency, beside RocksDB), recovery (opening after a kill, beside RocksDB), scan_comparison (SQL over parts, beside DuckDB's own tables),
storage_limits (open with 10,000 parts, snapshot of 10 GB), tuning (when read-ahead, preallocation, direct I/O and a bound processor
help) and compression.py (bytes a value in cold parts, by column), or those named, each in a fresh folder; prints one JSON object of
what they print. See the head of each."""

import json
import pathlib
import subprocess
import sys
import tempfile

PROGRAMS = ["amplification", "background", "recovery", "scan_comparison", "storage_limits", "tuning", "compression"]

results = {}
for program in sys.argv[2:] or PROGRAMS:
    with tempfile.TemporaryDirectory(prefix="sheaf-storage-") as folder:
        script = pathlib.Path(__file__).with_name(f"{program}.py")
        command = [sys.executable, script, sys.argv[1]] if script.exists() else [f"{sys.argv[1]}/bin/{program}", folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    results[program] = json.loads(done.stdout)
print(json.dumps(results))
