#!/usr/bin/env python3
"""A peer's side of the comparison: peer.py ENGINE PARQUET_FOLDER WORK_FOLDER [MEMORY_MIB]

ENGINE: duckdb (its own tables, in a file), duckdb_parquet, clickhouse (MergeTree through chdb), datafusion (on Parquet); each with two
threads. Speaks as query_engine.cc does; answers are Arrow, too."""

import json
import pathlib
import resource
import sys
import time

import pyarrow as pa

ANSWER_ROWS = 10_000
TABLES = ["traces", "trades", "orders", "million", "routes"]


class DuckDb:
    def __init__(self, parquet, work, memory_mib):
        import duckdb
        self.connection = duckdb.connect(f"{work}/tables.duckdb")
        self.connection.execute(f"SET threads = 2; SET memory_limit = '{memory_mib}MiB'; SET temp_directory = '{work}/spill'; "
                                "SET TimeZone = 'UTC'; SET arrow_lossless_conversion = true; SET preserve_insertion_order = false")
        self.make(parquet)

    def make(self, parquet):
        made = {row[0] for row in self.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        for table in TABLES:
            if table in made:
                continue
            key = "order_id" if table == "orders" else None
            rows = f"read_parquet('{parquet}/{table}/*.parquet')"
            self.connection.execute("SET preserve_insertion_order = true")  # By time, so that zone maps help.
            self.connection.execute(f"CREATE TABLE {table} AS SELECT * FROM {rows}")
            if key:
                self.connection.execute(f"CREATE UNIQUE INDEX {table}_key ON {table} ({key})")
            self.connection.execute("SET preserve_insertion_order = false")
        self.connection.execute("CHECKPOINT")

    def run(self, sql):
        reader = self.connection.execute(sql).to_arrow_reader(100_000)
        return reader.schema, list(reader)


class DuckDbParquet(DuckDb):
    def make(self, parquet):
        self.connection.execute("SET enable_object_cache = true; SET parquet_metadata_cache = true")
        for table in TABLES:
            self.connection.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM read_parquet('{parquet}/{table}/*.parquet')")


class ClickHouse:
    """Trace ids are fixed strings: it orders UUIDs by their second half."""

    ORDER = {"traces": "service_name, name, start_time", "trades": "instrument_id, time", "orders": "order_id",
             "million": "start_time", "routes": "start_time"}
    COLUMNS = {
        "traces": "trace_id FixedString(16), span_id UInt64, parent_span_id Nullable(UInt64), trace_state String, flags UInt32, "
                  "name LowCardinality(String), kind LowCardinality(String), start_time DateTime64(9, 'UTC'), "
                  "end_time DateTime64(9, 'UTC'), duration_ns Int64, status_code LowCardinality(String), status_message String, "
                  "service_name LowCardinality(String), attributes Map(LowCardinality(String), String), "
                  "resource_attributes Map(LowCardinality(String), String), scope_name LowCardinality(String), "
                  "http_route LowCardinality(String), INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1, "
                  "INDEX by_time start_time TYPE minmax GRANULARITY 1, INDEX by_duration duration_ns TYPE minmax GRANULARITY 1",
        "trades": "trade_id String, order_id String, counter_order_id String, user_id String, instrument_id LowCardinality(String), "
                  "direction LowCardinality(String), offset_flag LowCardinality(String), price Decimal(18, 6), volume Int64, "
                  "time DateTime64(9, 'UTC'), INDEX by_id trade_id TYPE bloom_filter(0.01) GRANULARITY 1, "
                  "INDEX by_time time TYPE minmax GRANULARITY 1",
        "orders": "order_id String, user_id String, instrument_id LowCardinality(String), direction LowCardinality(String), "
                  "offset_flag LowCardinality(String), price Decimal(18, 6), volume Int64, filled_volume Int64, "
                  "status LowCardinality(String), created_at DateTime64(9, 'UTC'), updated_at DateTime64(9, 'UTC')",
        "million": "start_time DateTime64(9, 'UTC'), trace_id FixedString(16), span_id UInt64, k Int64, v Int64",
        "routes": "start_time DateTime64(9, 'UTC'), http_route LowCardinality(String), duration_ns Int64",
    }

    def __init__(self, parquet, work, memory_mib):
        from chdb import session
        self.session = session.Session(f"{work}/clickhouse")
        self.session.query("CREATE DATABASE IF NOT EXISTS bench ENGINE = Atomic")
        self.session.query("USE bench")
        made = self.session.query("SHOW TABLES FROM bench", "CSV").data()
        for table in TABLES:
            if f'"{table}"' in made:
                continue
            self.session.query(f"CREATE TABLE bench.{table} ({self.COLUMNS[table]}) ENGINE = MergeTree ORDER BY ({self.ORDER[table]})")
            self.session.query(f"INSERT INTO bench.{table} SELECT * FROM file('{parquet}/{table}/*.parquet', Parquet)")
            self.session.query(f"OPTIMIZE TABLE bench.{table} FINAL")
        for setting in ("max_threads = 2", f"max_memory_usage = {memory_mib << 20}", "output_format_arrow_string_as_string = 1"):
            self.session.query(f"SET {setting}")

    def run(self, sql):
        bytes_ = self.session.query(sql, "ArrowStream").bytes()
        reader = pa.ipc.open_stream(bytes_)
        return reader.schema, list(reader)


class DataFusion:
    def __init__(self, parquet, work, memory_mib):
        import datafusion
        config = (datafusion.SessionConfig().with_target_partitions(2).with_parquet_pruning(True)
                  .set("datafusion.execution.parquet.pushdown_filters", "true").set("datafusion.execution.parquet.reorder_filters", "true")
                  .set("datafusion.execution.time_zone", "+00:00"))
        runtime = datafusion.RuntimeEnvBuilder().with_disk_manager_os().with_fair_spill_pool(memory_mib << 20)
        self.context = datafusion.SessionContext(config, runtime)
        for table in TABLES:
            self.context.register_parquet(table, f"{parquet}/{table}/")

    def run(self, sql):
        frame = self.context.sql(sql)
        batches = frame.collect()
        return (batches[0].schema if batches else frame.schema()), batches


ENGINES = {"duckdb": DuckDb, "duckdb_parquet": DuckDbParquet, "clickhouse": ClickHouse, "datafusion": DataFusion}


def write_answer(path, schema, batches):
    rows = 0
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in batches:
            if rows < ANSWER_ROWS:
                writer.write_batch(batch.slice(0, ANSWER_ROWS - rows))
            rows += batch.num_rows


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    name, parquet, work = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    work.mkdir(parents=True, exist_ok=True)
    engine = ENGINES[name](parquet, work, int(sys.argv[4]) if len(sys.argv) > 4 else 4096)
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            cpu, start = cpu_seconds(), time.perf_counter()
            schema, batches = engine.run(asked["sql"])
            answer = {"seconds": time.perf_counter() - start, "rows": sum(batch.num_rows for batch in batches),
                      "cpu_seconds": cpu_seconds() - cpu}
            if asked["answer"]:
                write_answer(asked["answer"], schema, batches)
        except Exception as error:  # What an engine cannot do is part of the comparison.
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        schema = batches = None
        print(json.dumps(answer), flush=True)


main()
