#!/usr/bin/env python3
"""A peer's side of blocks.py: blocks_peer.py duckdb|polars|pyarrow|datafusion FILE WANTED

FILE: the million rows of headline_blocks.cc, held in the engine's own memory; two threads. A line names a job (sort, group, find);
the answer is a line {"ms", "cpu_ms", "check"} as headline_blocks has it. A time is from the question to the answer in the engine's own
columns (all rows of the sort among them). WANTED: the trace id to find, in hexadecimal digits."""

import json
import os
import resource
import sys
import time

THREADS = 2
os.environ["POLARS_MAX_THREADS"] = str(THREADS)

import pyarrow as pa  # noqa: E402

GROUP = ("SELECT count(*), max(n), sum(s) FROM (SELECT k, count(*) AS n, sum(v) AS s, min(v) AS least, max(v) AS greatest "
         "FROM million GROUP BY k) AS groups WHERE least <= greatest")
SORT = "SELECT * FROM million ORDER BY trace_id, start_time, span_id"


def joined(row):
    return " ".join(str(int(value)) for value in row)


class DuckDb:
    def __init__(self, table, wanted):
        import duckdb
        self.connection = duckdb.connect()
        self.connection.execute(f"SET threads = {THREADS}")
        self.connection.register("rows", table)
        self.connection.execute("CREATE TABLE million AS SELECT * FROM rows")
        self.connection.unregister("rows")
        self.wanted = wanted

    def sort(self):
        return str(self.connection.execute(SORT).to_arrow_table()["start_time"][-1].as_py())

    def group(self):
        return joined(self.connection.execute(GROUP).fetchone())

    def find(self):
        return joined(self.connection.execute("SELECT count(*) FROM million WHERE trace_id = ?", [self.wanted]).fetchone())


class DataFusion:
    def __init__(self, table, wanted):
        import datafusion
        self.context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(THREADS))
        self.context.register_record_batches("million", [table.to_batches()])
        self.wanted = wanted.hex()

    def rows(self, sql):
        return pa.Table.from_batches(self.context.sql(sql).collect())

    def sort(self):
        return str(self.rows(SORT)["start_time"][-1].as_py())

    def group(self):
        return joined(column[0].as_py() for column in self.rows(GROUP).columns)

    def find(self):
        found = self.rows(f"SELECT count(*) FROM million WHERE trace_id = arrow_cast(X'{self.wanted}', 'FixedSizeBinary(16)')")
        return str(found[0][0].as_py())


class PyArrow:
    def __init__(self, table, wanted):
        pa.set_cpu_count(THREADS)
        self.table, self.wanted = table.combine_chunks(), pa.scalar(wanted, pa.binary(16))

    def sort(self):
        return str(self.table.sort_by([(name, "ascending") for name in ("trace_id", "start_time", "span_id")])["start_time"][-1].as_py())

    def group(self):
        import pyarrow.compute as pc
        groups = self.table.group_by("k").aggregate([("v", "count"), ("v", "sum"), ("v", "min"), ("v", "max")])
        return joined((groups.num_rows, pc.max(groups["v_count"]).as_py(), pc.sum(groups["v_sum"]).as_py()))

    def find(self):
        import pyarrow.compute as pc
        return str(pc.sum(pc.equal(self.table["trace_id"], self.wanted)).as_py())


class Polars:
    def __init__(self, table, wanted):
        import polars
        self.polars = polars
        for name, width in (("trace_id", 16), ("span_id", 8)):  # It knows no binary of fixed width.
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table[name].cast(pa.large_binary()))
        self.frame = polars.from_arrow(table).rechunk()
        self.wanted = wanted

    def sort(self):
        return str(self.frame.sort("trace_id", "start_time", "span_id")["start_time"][-1])

    def group(self):
        column = self.polars.col("v")
        groups = self.frame.group_by("k").agg(n=self.polars.len(), s=column.sum(), least=column.min(), greatest=column.max())
        return joined((groups.height, groups["n"].max(), groups["s"].sum()))

    def find(self):
        is_wanted = self.polars.col("trace_id") == self.polars.lit(self.wanted, dtype=self.polars.Binary)
        return str(self.frame.select(is_wanted.sum()).item())


ENGINES = {"duckdb": DuckDb, "datafusion": DataFusion, "pyarrow": PyArrow, "polars": Polars}


def cpu_ms():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e3


def main():
    name, path, wanted = sys.argv[1:]
    with pa.memory_map(path) as file:
        table = pa.ipc.open_file(file).read_all()
    engine = ENGINES[name](table, bytes.fromhex(wanted))
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        cpu, begin = cpu_ms(), time.perf_counter()
        check = getattr(engine, line.strip())()
        took = (time.perf_counter() - begin) * 1e3
        print(json.dumps({"ms": round(took, 3), "cpu_ms": round(cpu_ms() - cpu, 3), "check": check}), flush=True)


main()
