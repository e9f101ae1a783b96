"""What schemathesis cannot make up by itself: bodies of Arrow, Parquet, CSV and NDJSON, and tables and keys that are there."""

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import schemathesis
from hypothesis import strategies as st

SCHEMA = pa.schema([("k", pa.int64()), ("v", pa.string())])


def arrow_stream(keys):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_table(pa.table({"k": keys, "v": [str(key) for key in keys]}, schema=SCHEMA))
    return sink.getvalue()


def parquet(keys):
    sink = io.BytesIO()
    pq.write_table(pa.table({"k": keys, "v": [str(key) for key in keys]}, schema=SCHEMA), sink)
    return sink.getvalue()


def broken(document, seed):
    """The document with a byte changed or its end cut off."""
    chance = random.Random(seed)
    if not document or chance.random() < 0.5:
        return document
    at = chance.randrange(len(document))
    return document[:at] if chance.random() < 0.5 else document[:at] + bytes([chance.randrange(256)]) + document[at + 1:]


KEYS = st.lists(st.integers(-2**63, 2**63 - 1), max_size=20)
SEEDS = st.integers(0, 2**32)
for media_type, make in {
    "application/vnd.apache.arrow.stream": arrow_stream,
    "application/vnd.apache.parquet": parquet,
    "text/csv": lambda keys: ("k,v\n" + "".join(f"{key},x{key}\n" for key in keys)).encode(),
    "application/x-ndjson": lambda keys: "".join(f'{{"k": {key}, "v": "x"}}\n' for key in keys).encode(),
}.items():
    schemathesis.openapi.media_type(media_type, st.builds(lambda keys, seed, make=make: broken(make(keys), seed), KEYS, SEEDS))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Every second path names the table that tests/e2e/test_openapi.py has made, and every second one of these a row of it."""
    if path_parameters and "table" in path_parameters:
        chance = random.Random(str(path_parameters))
        if chance.random() < 0.5:
            path_parameters["table"] = "main.t"
            if "key" in path_parameters and chance.random() < 0.5:
                path_parameters["key"] = "1"
    return path_parameters


STATEMENTS = ["SELECT 1 AS n", "FROM t", "SELECT ? AS v", "SELECT ?, ?", "INSERT OR IGNORE INTO t VALUES (7, 'x')",
              "SELECT v FROM t WHERE k = ?",
              "SELECT * FROM range(200)", "EXPLAIN SELECT 1", "SHOW TABLES", "SELECT error('no')"]


@schemathesis.hook
def map_body(context, body):
    """Every second statement is one that can be run."""
    statement = isinstance(body, dict) and isinstance(body.get("sql"), str)
    chance = random.Random(str(body))
    if statement and chance.random() < 0.5:
        return {**body, "sql": chance.choice(STATEMENTS)}
    return body


@schemathesis.deserializer("application/vnd.apache.arrow.stream")
def read_arrow(context, response):
    return pa.ipc.open_stream(response.content).read_all().to_pydict()


@schemathesis.deserializer("application/vnd.apache.parquet")
def read_parquet(context, response):
    return pq.read_table(io.BytesIO(response.content)).to_pydict()
