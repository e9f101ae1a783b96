#!/usr/bin/env python3
"""The same queries on the same rows for Sheaf, DuckDB, ClickHouse and DataFusion, in turns: run.py BUILD_FOLDER [REPETITIONS [GROUP…]]

  SHEAF_BENCH_SPANS   how many (default 10,000,000); as many trades, a tenth as many orders
  SHEAF_BENCH_FOLDER  keeps the data there for the next run, instead of in a folder that is removed
  SHEAF_BENCH_ENGINES those to run (default: all), e.g. sheaf_hot,duckdb

Engines, each a process with two threads, all caches warm: sheaf_hot (Arrow parts), sheaf_cold (Parquet parts), duckdb (its own tables,
in a file), duckdb_parquet, clickhouse (chdb, MergeTree), datafusion (on Parquet). The queries: queries.toml; the peers' tables and
settings: peer.py. For each query all engines take turns: a warm-up, whose answers must be the same, then REPETITIONS (default 5). A time
is from the statement's text to the last Arrow batch of its answer. Groups: those of queries.toml, "memory" with engines that may use
512 MiB, and "mixed", queries beside ingest (mixed_load.cc). Prints a table on standard error and one JSON object."""

import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "ingest"))
from engines import Engine, difference, text_for  # noqa: E402
from run import trace_id  # noqa: E402

NAMES = ["sheaf_hot", "sheaf_cold", "duckdb", "duckdb_parquet", "clickhouse", "datafusion"]
GROUPS = ["analysis", "rate", "point", "order", "sort", "suite", "memory", "mixed"]
TIMES = {"point": 200, "memory": 3}  # Repetitions, where not as asked.
LITTLE_MIB = 512
RATIOS = [("sheaf_hot", "duckdb"), ("sheaf_cold", "duckdb_parquet"), ("sheaf_cold", "datafusion"), ("sheaf_hot", "clickhouse")]


def say(text):
    print(text, file=sys.stderr, flush=True)


def make_data(program, folder, spans):
    """DIR/hot, DIR/cold and DIR/parquet, made once."""
    if (folder / "whole").exists():
        return
    say(f"making {spans} spans, {spans} trades, {spans // 10} orders")
    for part in ("hot", "cold", "parquet", "work"):
        shutil.rmtree(folder / part, ignore_errors=True)
    subprocess.run([program, "fill", folder / "hot", str(spans), str(spans), str(spans // 10)], check=True)
    subprocess.run([program, "export", folder / "hot", folder / "parquet"], check=True)
    shutil.copytree(folder / "hot", folder / "cold")
    subprocess.run([program, "cold", folder / "cold"], check=True)
    (folder / "whole").touch()


def start(name, build, folder, python, memory_mib):
    if name.startswith("sheaf"):
        return Engine(name, "sheaf", [build / "bin" / "query_engine", folder / name.removeprefix("sheaf_"), memory_mib], folder)
    command = [python, HERE / "peer.py", name, folder / "parquet", folder / "work" / name, memory_mib]
    return Engine(name, name.removesuffix("_parquet"), command, folder)


def measure(query, engines, ids, repetitions):
    """Engine to its times; or to an error, where it cannot do it."""
    texts = {engine.name: text_for(engine.dialect, query, ids) for engine in engines}
    times, outcome, reference = {}, {}, None
    for engine in engines:
        if texts[engine.name] is None:
            outcome[engine.name] = {"error": "unsupported"}
            continue
        first = engine.run(texts[engine.name], keep=True)
        if "error" in first:
            outcome[engine.name] = {"error": first["error"]}
            continue
        reference = reference or first
        unlike = difference(reference["table"], first["table"], query.get("unordered", False))
        if unlike is None and reference["rows"] != first["rows"]:
            unlike = f"{reference['rows']} rows against {first['rows']}"
        if unlike is not None:
            outcome[engine.name] = {"error": f"another answer: {unlike}"}
            continue
        outcome[engine.name] = {"rows": first["rows"]}
        times[engine.name] = []
    for _ in range(repetitions):
        for engine in engines:
            if engine.name in times:
                engine.run(texts[engine.name])  # Hot: what the others pushed out of the caches comes back.
                times[engine.name].append(engine.run(texts[engine.name]))
    for name, said in times.items():
        seconds = sorted(one["seconds"] for one in said)
        figures = {"ms": statistics.median(seconds), "min_ms": seconds[0], "max_ms": seconds[-1],
                   "cpu_ms": statistics.median(one["cpu_seconds"] for one in said)}
        if len(seconds) > 50:
            figures["p99_ms"] = seconds[int(len(seconds) * 0.99)]
        outcome[name] |= {figure: round(value * 1e3, 3) for figure, value in figures.items()}
        spilled = max(one.get("spilled_bytes", 0) for one in said)
        if spilled:
            outcome[name]["spilled_bytes"] = spilled
    return outcome


def add_rates(query, outcome, spans):
    rows = {"traces": spans, "trades": spans, "million": min(spans, 1_000_000)}[query["rows"]]
    for said in outcome.values():
        if "ms" in said:
            said["rows_per_s"] = round(rows / said["ms"] * 1e3)
            if "bytes" in query:
                said["gb_per_s"] = round(rows * query["bytes"] / said["ms"] / 1e6, 2)


def show(name, outcome):
    cells = [f"{said['ms']:10.2f}" if "ms" in said else f"{'-':>10}" for said in (outcome.get(engine, {}) for engine in NAMES)]
    say(f"{name:28}" + " ".join(cells))
    for engine, said in outcome.items():
        if "error" in said and said["error"] != "unsupported":
            say(f"   {engine}: {said['error']}")


def geometric_means(queries):
    means = {}
    for ours, theirs in RATIOS:
        shared = [outcome[ours]["ms"] / outcome[theirs]["ms"] for outcome in queries.values()
                  if "ms" in outcome.get(ours, {}) and "ms" in outcome.get(theirs, {})]
        if shared:
            means[f"{ours} over {theirs}"] = {"times": round(statistics.geometric_mean(shared), 3), "queries": len(shared)}
    return means


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    groups = sys.argv[3:] or GROUPS
    spans = int(os.environ.get("SHEAF_BENCH_SPANS", 10_000_000))
    names = os.environ.get("SHEAF_BENCH_ENGINES", ",".join(NAMES)).split(",")
    setup = [sys.executable, HERE.parent.parent / "tools" / "setup.py", "print-bench"]
    python = pathlib.Path(subprocess.run(setup, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()) / "venv" / "bin" / "python"
    listed = tomllib.loads((HERE / "queries.toml").read_text())["query"]
    result = {"spans": spans, "trades": spans, "orders": spans // 10, "threads": 2, "repetitions": repetitions, "groups": {}}
    with contextlib.ExitStack() as stack:
        kept = os.environ.get("SHEAF_BENCH_FOLDER")
        folder = pathlib.Path(kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="sheaf-query-")))
        folder.mkdir(parents=True, exist_ok=True)
        make_data(build / "bin" / "query_data", folder, spans)
        ids = {"trace": trace_id(spans // 13), "order": f"O{spans // 23:09}"}
        say(f"{'median ms':28}" + " ".join(f"{name[:10]:>10}" for name in NAMES))
        for memory_mib in (4096, LITTLE_MIB):
            wanted = [query for query in listed if query["group"] in groups and (query["group"] == "memory") == (memory_mib == LITTLE_MIB)]
            if not wanted:
                continue
            engines = [start(name, build, folder, python, memory_mib) for name in names]
            for query in wanted:
                outcome = measure(query, engines, ids, TIMES.get(query["group"], repetitions))
                if "rows" in query:
                    add_rates(query, outcome, spans)
                result["groups"].setdefault(query["group"], {})[query["name"]] = outcome
                show(query["name"], outcome)
            for engine in engines:
                engine.stop()
        if "suite" in groups:
            result["suite_geometric_means"] = geometric_means(result["groups"]["suite"])
            say(json.dumps(result["suite_geometric_means"], indent=1))
        if "mixed" in groups:
            done = subprocess.run([build / "bin" / "mixed_load", folder / "mixed"], stdout=subprocess.PIPE, text=True, check=True)
            result["mixed"] = json.loads(done.stdout)
            shutil.rmtree(folder / "mixed", ignore_errors=True)
            say(json.dumps(result["mixed"], indent=1))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
