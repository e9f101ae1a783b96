"""The engines of the comparison as processes that answer a line with a line, and what makes their answers comparable."""

import json
import math
import os
import re
import subprocess

import pyarrow as pa

QUANTILES = {"clickhouse": r"quantileExactInclusive(\2)(\1)", "datafusion": r"percentile_cont(\2) WITHIN GROUP (ORDER BY \1)"}

IDS = {"clickhouse": r"unhex('\1')", "datafusion": r"X'\1'"}


def text_for(engine, query, ids):
    """The SQL of a query for an engine (sheaf, duckdb, clickhouse, datafusion), or None."""
    if engine in query.get("unsupported", []):
        return None
    text = query.get(engine, query["sql"])
    for name, value in ids.items():
        text = text.replace("{%s}" % name, value)
    text = re.sub(r"@quantile\((\w+), ([\d.]+)\)", QUANTILES.get(engine, r"quantile_cont(\1, \2)"), text)
    return re.sub(r"@id\((\w+)\)", IDS.get(engine, r"'\1'"), text)


class Engine:
    def __init__(self, name, dialect, command, folder):
        self.name, self.dialect, self.answer = name, dialect, f"{folder}/{name}.arrow"
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=open(f"{folder}/{name}.log", "w"))
        self.ready = self.line()

    def line(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self.name} ended; see its log beside {self.answer}")

    def run(self, sql, keep=False):
        """What the engine says; with `keep`, "table" holds the first rows of the answer."""
        self.process.stdin.write(json.dumps({"sql": sql, "answer": self.answer if keep else None}) + "\n")
        self.process.stdin.flush()
        said = self.line()
        if keep and "error" not in said:
            with pa.OSFile(self.answer) as file, pa.ipc.open_stream(file) as stream:
                said["table"] = stream.read_all()
            os.unlink(self.answer)
        return said

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=300)


def plain(column):
    """Values of a column as Python's own, the same whatever types an engine prefers."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    if isinstance(kind, pa.OpaqueType):  # DuckDB's HUGEINT.
        return [None if value is None else int.from_bytes(value, "little", signed=True) for value in column.to_pylist()]
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64()).to_pylist()
    if pa.types.is_map(kind):
        return [None if value is None else str(sorted(value)) for value in column.to_pylist()]
    values = column.to_pylist()
    if pa.types.is_decimal(kind):
        return [None if value is None else float(value) for value in values]
    if kind == pa.binary(8):  # A span id.
        return [None if value is None else int.from_bytes(value, "big") for value in values]
    return values


def rows_of(table, unordered):
    rows = list(zip(*(plain(column) for column in table.columns)))
    return sorted(rows, key=lambda row: [str(value) for value in row if not isinstance(value, float)]) if unordered else rows


def same(a, b):
    if a is None or b is None or isinstance(a, (str, bytes)) or isinstance(b, (str, bytes)):
        return a == b
    # DataFusion's percentile_cont interpolates to five or six digits; ClickHouse's DateTime counts seconds.
    return a == b or math.isclose(a, b, rel_tol=5e-6 if isinstance(b, float) else 0, abs_tol=1e-9) or a == b * 10**9


def difference(ours, theirs, unordered):
    """None where two tables hold the same, else where they differ first."""
    if ours.num_columns != theirs.num_columns or ours.num_rows != theirs.num_rows:
        return f"{ours.num_rows} rows of {ours.num_columns} columns against {theirs.num_rows} of {theirs.num_columns}"
    for number, (a, b) in enumerate(zip(rows_of(ours, unordered), rows_of(theirs, unordered))):
        for column, (x, y) in enumerate(zip(a, b)):
            if not same(x, y):
                return f"row {number}, {ours.column_names[column]}: {x!r} against {y!r}"
    return None
