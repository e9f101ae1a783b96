#!/usr/bin/env python3
"""OTLP bytes to record batch beside libprotobuf's arena parse (one process, alternating) and Go's pdata on the same
bytes: run.py BUILD_FOLDER [REPETITIONS]. Prints one JSON object, nanoseconds a span. See README.md."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PDATA, OTAP = HERE / "pdata", HERE.parent.parent / "tests" / "peers" / "otap-go"
LINE = re.compile(r"(\S.*?)\s+min\s+([\d.]+)\s+median\s+([\d.]+)\s+max\s+([\d.]+) ns/(?:span|row)")


def figures(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **options)
    return {name: {"min": float(low), "median": float(middle), "max": float(high)} for name, low, middle, high in LINE.findall(done.stdout)}


with tempfile.TemporaryDirectory(prefix="sheaf-decode-") as folder:
    requests = f"{folder}/requests.bin"
    repetitions = sys.argv[2] if len(sys.argv) > 2 else "9"
    result = figures([f"{sys.argv[1]}/bin/decode_comparison", "--repetitions", repetitions, "--write", requests])
    result |= figures(["go", "run", ".", requests], cwd=PDATA, env={**os.environ, "GOFLAGS": "-mod=mod"})
    for kind in ("resident", "cold"):
        result[f"times libprotobuf, {kind}"] = round(result[f"libprotobuf {kind}"]["median"] / result[f"sheaf {kind}"]["median"], 2)
    result["times libprotobuf, kept"] = round(result["libprotobuf cold"]["median"] / result["sheaf kept"]["median"], 2)
    go = {**os.environ, "GOFLAGS": "-mod=mod"}
    for inside, extra in (("plain", {"NOZSTD": "1"}), ("zstd", {})):
        subprocess.run(["go", "run", ".", "twins", folder, "200", "100"], cwd=OTAP, env={**go, **extra}, check=True)
        for name in ("bench", "logs", "metrics"):
            got = figures([f"{sys.argv[1]}/bin/otap_comparison", folder, name, repetitions])
            result |= {f"{side} of {name}, {inside} buffers": numbers for side, numbers in got.items()}
            result[f"OTel-Arrow over OTLP, {name}, {inside} buffers"] = round(got["otlp"]["median"] / got["otap"]["median"], 2)
    print(json.dumps(result))
