#!/usr/bin/env python3
"""The headline table, both sides in one run: run.py BUILD_FOLDER [REPETITIONS]      default 5

  SHEAF_BENCH_SPANS     sizes (default 10000,100000,1000000), each a multiple of 1,000
  SHEAF_BENCH_THREADS   default 1,2
  SHEAF_BENCH_WORKLOADS default source,realistic (see spans.h)
  SHEAF_BENCH_PARTS     what to run: codec, sizes, blocks (default all three)

Spans go in requests of 1,000. The contenders of C++ (headline_codec.cc) and Go (pdata/) take turns, after one turn that warms up; a
figure is the median of the turns, with the least and the most, in nanoseconds a span by the wall; beside the ratio stands that of
processor time, which says more where other programs run: a short turn is left alone more often than a long one. The rows:

  a write, read    ready columns to the bytes of an Arrow stream and back, beside ready objects to protobuf and back. Different jobs:
                   one copies buffers as they are, the other turns each value into a tag, a length and bytes, and back.
  a2 rows, values  the same start and end on both sides: an application's structs to bytes, and bytes to a sum over every value.
  b table          OTLP bytes to our table, beside OTLP bytes to objects, which are no table yet.
  c otap           OTel-Arrow bytes (of the Go library) to our table, beside our own OTLP decoder.
  d memory         what holding all spans takes: log entries as the memtable has them, objects on arenas, Go's heap.
  e wire, cold     compressed bytes (Zstd 3) batch by batch, and in one cold part beside one Zstd frame over all requests.

Then blocks.py: search, sampler, grouping and sorting of a million rows. Prints tables on standard error and one JSON object."""

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import blocks  # noqa: E402
from sides import Side, figures  # noqa: E402

PDATA, OTAP = HERE / "pdata", HERE.parent.parent / "tests" / "peers" / "otap-go"
GO = {**os.environ, "GOFLAGS": "-mod=mod"}
CPP = ["objects_to_bytes", "columns_to_stream", "columns_to_log", "bytes_to_objects", "stream_to_columns", "log_to_columns",
       "rows_to_bytes_protobuf", "rows_to_bytes_sheaf", "bytes_to_values_protobuf", "bytes_to_values_sheaf", "otlp_to_table",
       "otlp_to_log", "otap_to_table"]
PDATA_CONTENDERS = ["objects_to_bytes", "bytes_to_objects", "bytes_to_values"]
HELD_REQUESTS = 200
RESIDENT_SPANS_MIN = 100_000  # Fewer fit what an allocator has at hand, and the process does not grow.

# Row, what it is, ours, theirs, mark: at least so many times.
TIMES = [
    ("a write", "ready columns / objects to bytes", "columns_to_stream", ["objects_to_bytes", "go objects_to_bytes"], 15),
    ("a read", "bytes to columns / objects", "stream_to_columns", ["bytes_to_objects", "go bytes_to_objects"], 15),
    ("a2 rows", "rows to bytes", "rows_to_bytes_sheaf", ["rows_to_bytes_protobuf"], 2.5),
    ("a2 values", "bytes to a sum over all values", "bytes_to_values_sheaf", ["bytes_to_values_protobuf", "go bytes_to_values"], 2.5),
    ("b table", "OTLP bytes to our table / to objects", "otlp_to_table", ["bytes_to_objects", "go bytes_to_objects"], 3),
    ("c otap", "OTel-Arrow / OTLP to our table", "otap_to_table", ["otlp_to_table"], 3),
]
# Bytes a span that are random, which no encoding can save: ids, and what the generators draw (see spans.cc).
RANDOM_BYTES = {"source": 33.3, "realistic": 28.6}
REASONS = {
    "a write": "a copy of the columns is the bound: protobuf writes fewer bytes, and 15 times its speed would be faster than memory",
    "a read": "the messages and some 70 buffers of a batch take 10 to 40 µs, however few its rows",
    "a2 rows": "reading rows that lie scattered in memory costs both sides the same, more than what either then does with them",
    "b table": "of spans with few attributes the ids, times and offsets of a row are most of the work, and protobuf has little to parse",
    "c otap": "OTLP is decoded with predicted keys at one pass; OTel-Arrow's values are numbered, regrouped by span and copied",
    "d memory": "a log entry has a number and a type of full width for each attribute, and offsets for each list and text, set or not",
    "e wire": "start, end and duration have 64 bits each, and Zstd finds no differences; random bytes alone allow {best:.1f} times",
    "e cold": "start, end and duration have 64 bits each, and Zstd finds no differences; random bytes alone allow {best:.1f} times",
}


def say(text=""):
    print(text, file=sys.stderr, flush=True)


def measure(build, pdata, workload, spans, threads, folder, repetitions):
    """Contender to its figures, in turns."""
    with contextlib.ExitStack() as stack:
        cpp = stack.enter_context(Side([build / "bin" / "headline_codec", workload, spans, threads, folder]))
        go = stack.enter_context(Side([pdata, folder / "requests.bin", threads], env={**os.environ, "SPANS": str(spans)}))
        turns = [(name, cpp, name) for name in CPP] + [(f"go {name}", go, name) for name in PDATA_CONTENDERS]
        wall, cpu, digests = {}, {}, {}
        for turn in range(repetitions + 1):
            for name, side, contender in turns:
                said = side.ask(contender)
                digests[name] = said["digest"]
                if turn > 0:
                    wall.setdefault(name, []).append(said["ns"])
                    cpu.setdefault(name, []).append(said["cpu_ns"])
    read = {digests[name] for name in digests if "values" in name}
    if len(read) != 1:
        raise SystemExit(f"the sides read different values: {digests}")
    return {name: figures(wall[name]) | {"cpu": round(statistics.median(cpu[name]), 1)} for name in wall}


def row(name, what, ours, theirs, mark, reason=""):
    """A row of the table, smaller is better on both sides."""
    times = round(theirs / ours, 2)
    return {"row": name, "what": what, "ours": ours, "theirs": theirs, "times": times, "mark": mark, "met": times >= mark,
            **({} if times >= mark else {"reason": reason})}


def time_rows(measured):
    rows = []
    for name, what, ours, peers, mark in TIMES:
        for peer in peers:
            label = "our OTLP decoder" if name == "c otap" else "Go pdata" if peer.startswith("go ") else "libprotobuf"
            one = row(name, f"{what}, beside {label}", measured[ours]["median"], measured[peer]["median"], mark, REASONS.get(name, ""))
            spread = [measured[side] for side in (ours, peer)]
            rows.append(one | {"ours_spread": [spread[0]["min"], spread[0]["max"]], "theirs_spread": [spread[1]["min"], spread[1]["max"]],
                               "times_cpu": round(spread[1]["cpu"] / max(spread[0]["cpu"], 0.1), 2)})
    return rows


def run_json(command, **options):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True, **options)
    return json.loads(done.stdout)


def sizes(build, pdata, otap, workload, spans, requests, folder):
    program = build / "bin" / "headline_sizes"
    held = {form: run_json([program, "hold", form, requests]) for form in ("columns", "arena", "heap")}
    held["go"] = run_json([pdata, requests, "hold"])
    cold = folder / f"cold-{workload}-{spans}"
    cold.mkdir()
    sized = run_json([program, "bytes", requests, cold])
    subprocess.run([otap, "encode", requests, folder, "1", str(spans)], env=GO, check=True)
    sized["otap_zstd"] = (folder / "otap-0.bin").stat().st_size
    a_span = {name: round(value / spans, 1) for name, value in sized.items() if name != "spans"}
    memory = {name: {kind: round(value / spans, 1) for kind, value in one.items()} for name, one in held.items()}
    rows = []
    for peer, label in (("arena", "objects on arenas"), ("heap", "objects on the heap"), ("go", "Go pdata")):
        for kind in ("counted", "resident") if spans >= RESIDENT_SPANS_MIN else ("counted",):
            rows.append(row("d memory", f"bytes held, {kind}: log entries / {label}", memory["columns"][kind], memory[peer][kind], 4,
                            REASONS["d memory"]))
    forms = [("ipc_alone_zstd", "each batch an Arrow stream"), ("ipc_stream_zstd", "one Arrow stream"),
             ("log_entry_zstd", "each log entry in a frame"), ("otap_zstd", "OTel-Arrow stream of the Go library"),
             ("our_otap_zstd", "OTel-Arrow stream of our encoder"), ("our_otap_frames_zstd", "the same, each message in a frame")]
    for peer, mark in (("protobuf", 6), ("protobuf_zstd", 1.5)):
        reason = REASONS["e wire"].format(best=a_span[peer] / RANDOM_BYTES[workload])
        against = peer.replace("_", " with ")
        rows += [row("e wire", f"{label} / {against}", a_span[form], a_span[peer], mark, reason) for form, label in forms]
    for peer, mark in (("protobuf", 6), ("protobuf_whole_zstd", 1.5)):
        reason = REASONS["e cold"].format(best=a_span[peer] / RANDOM_BYTES[workload])
        label = {"protobuf": "protobuf", "protobuf_whole_zstd": "all protobuf in one Zstd frame"}[peer]
        rows.append(row("e cold", f"cold part without its index / {label}", a_span["cold_part"], a_span[peer], mark, reason))
    return {"bytes_a_span": a_span, "memory_bytes_a_span": memory, "random_bytes_a_span": RANDOM_BYTES[workload], "table": rows}


def show(title, rows):
    say(f"\n{title}\n{'':10}{'':66}{'ours':>9}{'theirs':>10}{'times':>8}{'by CPU':>8}{'mark':>6}")
    for one in rows:
        said = "met" if one["met"] else "missed"
        sides = f"{one['ours']:9.1f}{one['theirs']:10.1f}{one['times']:8.2f}{one.get('times_cpu', ''):>8}"
        say(f"{one['row']:10}{one['what'][:65]:66}{sides}{one['mark']:>6} {said}")
    for name, reason in {(one["row"], one["reason"]) for one in rows if one.get("reason")}:
        say(f"   {name}, where missed: {reason}")


def go_program(folder, source, name):
    subprocess.run(["go", "build", "-o", folder / name, "."], cwd=source, env=GO, check=True)
    return folder / name


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    setting = lambda name, default: os.environ.get(f"SHEAF_BENCH_{name}", default).split(",")  # noqa: E731
    parts = setting("PARTS", "codec,sizes,blocks")
    result = {"repetitions": repetitions, "spans_a_request": 1000, "unit": "ns or bytes a span", "workloads": {}}
    with tempfile.TemporaryDirectory(prefix="sheaf-headline-") as name:
        folder = pathlib.Path(name)
        pdata, otap = go_program(folder, PDATA, "pdata"), go_program(folder, OTAP, "otap-go")
        for workload in setting("WORKLOADS", "source,realistic") if {"codec", "sizes"} & set(parts) else []:
            for spans in map(int, setting("SPANS", "10000,100000,1000000")):
                requests = folder / "requests.bin"
                subprocess.run([build / "bin" / "headline_sizes", "write", workload, str(spans), requests], check=True)
                found = result["workloads"].setdefault(workload, {}).setdefault(str(spans), {})
                for threads in map(int, setting("THREADS", "1,2")) if "codec" in parts else []:
                    encode = [otap, "encode", requests, folder, str(threads), str(HELD_REQUESTS)]
                    subprocess.run(encode, env={**GO, "NOZSTD": "1"}, check=True)
                    measured = measure(build, pdata, workload, spans, threads, folder, repetitions)
                    found[f"threads {threads}"] = {"contenders": measured, "table": time_rows(measured)}
                    show(f"{workload}, {spans} spans, threads: {threads} (ns a span)", time_rows(measured))
                if "sizes" in parts:
                    found["sizes"] = sizes(build, pdata, otap, workload, spans, requests, folder)
                    show(f"{workload}, {spans} spans (bytes a span)", found["sizes"]["table"])
        if "blocks" in parts:
            result["blocks"] = blocks.run(build, folder, repetitions)
            show("blocks (ms, or as said)", result["blocks"]["table"])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
