#!/usr/bin/env python3
"""Keyed tables beside RocksDB, LMDB and SQLite in one process, alternating: run.py BUILD_FOLDER [REPETITIONS [ROWS]].

Prints one JSON object: for each engine each figure's median, minimum and maximum. See keyed_comparison.cc."""

import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory(prefix="sheaf-keyed-") as folder:
    sys.exit(subprocess.run([f"{sys.argv[1]}/bin/keyed_comparison", folder, *sys.argv[2:]]).returncode)
