#!/usr/bin/env python3
"""Writes seeds of fuzz targets that are easier said than encoded: src/<module>/corpus/<name>/.

Run it with the peers' Python, which has pyarrow: "$(python3 tools/setup.py print-peers)/venv/bin/python" tools/make_fuzz_seeds.py
What the first byte of a seed means stands in its target. Seeds of parts, manifests and log payloads are written by the tests that
have their encoders: SHEAF_WRITE_GOLDEN=1 build/debug/bin/parts_test, and store_test.
"""

import gzip
import json
import pathlib
import struct
import zlib

import pyarrow as pa
import pyarrow.parquet

ROOT = pathlib.Path(__file__).resolve().parent.parent


def save(target, name, mode, data):
    module, target = target.split("/")
    path = ROOT / "src" / module / "corpus" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([mode]) + (data if isinstance(data, bytes) else data.encode()))


def compression():
    text = b"one Arrow from wire to disk to query. " * 40
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    wide = 22 * 4  # Up to 4 MiB may come out.
    save("wire/compression", "identity", wide, text)
    save("wire/compression", "gzip", wide + 1, gzip.compress(text, mtime=0))
    save("wire/compression", "gzip_members", wide + 1, gzip.compress(text[:9], mtime=0) + gzip.compress(text[9:], mtime=0))
    save("wire/compression", "gzip_bomb", wide + 1, gzip.compress(bytes(1 << 20), mtime=0))
    save("wire/compression", "zlib", wide + 2, zlib.compress(text))
    save("wire/compression", "deflate", wide + 2, raw.compress(text) + raw.flush())
    zstd = pa.compress(text, codec="zstd", asbytes=True)
    save("wire/compression", "zstd", wide + 3, zstd)
    save("wire/compression", "zstd_frames", wide + 3, zstd + zstd)
    save("wire/compression", "zstd_small_limit", 4 * 4 + 3, zstd)


def commit_file():
    def slot(sequence, durable, closed):
        return struct.pack("<8sIIQQQ16s", b"SHEAFCMT", 1, 0, sequence, durable, closed, bytes(range(16))).ljust(4096, b"\0")

    save("wal/commit_file", "both_mended", 3, slot(8, 40, 0) + slot(7, 39, 0))
    save("wal/commit_file", "closed_mended", 3, slot(8, 40, 0) + slot(9, 41, 1))
    save("wal/commit_file", "one_mended", 1, slot(8, 40, 0) + slot(9, 41, 0))


def batch_ids():
    def record(batch_id, lsn):
        return bytes([len(batch_id)]) + batch_id + struct.pack("<Qq", lsn, 1_700_000_000_000_000_000)

    head = struct.pack("<IIQ", 0x49424853, 1, 2)
    save("store/batch_id_file", "mended", 1, head + record(b"a", 7) + record(b"0123456789" * 6, 9) + bytes(4))
    save("store/batch_id_file", "empty", 0, b"")


def snapshots():
    mark = {"version": 1, "id": "here", "lsn": 40, "created_ns": 1_700_000_000_000_000_000, "parts": 3, "bytes": 12345}
    save("store/snapshots", "mended", 1, json.dumps(mark))
    save("store/snapshots", "newer", 1, json.dumps({**mark, "version": 2}))
    save("store/snapshots", "damaged", 0, json.dumps(mark) + "\n00000000\n")


def definition_log():
    settings = {"kind": "keyed", "key": ["order_id"], "time": "created_at", "sort": ["order_id"], "filters": ["symbol"],
                "granule_rows": 4096, "retention_ms": 86400000, "durability": "buffered", "next_column_id": 12, "since": 40,
                "defaults": None, "fills": None, "history": []}
    schema = pa.schema([pa.field("order_id", pa.int64(), False), ("symbol", pa.dictionary(pa.int32(), pa.utf8())),
                        ("created_at", pa.timestamp("ns", "UTC")), ("tags", pa.map_(pa.utf8(), pa.utf8()))])
    save("store/definition_log", "dropped", 0, '{"dropped": 3}')
    save("store/definition_log", "settings", 1, json.dumps(settings))
    save("store/definition_log", "schema", 2, schema.serialize().to_pybytes())


def key_codec():
    values = ["b\0c", "-7", "65535", "00ff10a0", "true", "2024-02-29T12:00:00.5Z", "1969-07-20", "-12.5", "\xff", "cart"]
    for column, value in enumerate(values):
        save("columns/key_codec", f"column_{column}", column, "\x1f".join([value, value + "0", "", value]).encode("latin-1"))
    save("columns/key_codec", "text_and_number", 10, "\x1f".join(["a", "7", "a\0", "-7", "", "0"]))
    save("columns/key_codec", "word_number_id", 11, "\x1f".join(["cart", "1", "00000001", "cart", "2", "ffffffff"]))
    save("columns/key_codec", "price_blob_text", 12, "\x1f".join(["x\0y", "1.5", "z", "x", "-1.5", ""]))


def config():
    file = "[server]\nport_http = 8081\ncpus = \"0-3,8\"\n[storage]\ndata = \"./d\"\nmemtable_bytes = \"64MiB\"\ncold_after_ms = \"2h\"\n" \
           "free_space_min_fraction = 0.1\n[log]\nlevel = \"debug\"\n"
    save("serve/config", "file", 2, file)
    save("serve/config", "wrong_key", 2, "[server]\nport_htp = 1\n")
    save("serve/config", "inline", 2, 'server = {port_http = 0x1F90, bind = """::1"""}\nquery.timeout_ms = 1_000\n')
    save("serve/config", "variable", 0, "SHEAF_STORAGE_MEMTABLE_BYTES=1GiB")
    for key, value in enumerate(["8080", "0-3,8", "90s", "64MiB", "0.25", "on", "/tmp/x", "warn"]):
        save("serve/config", f"flag_{key}", key * 4 + 1, value)


def arrow_stream(rows, codec):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def row_reader():
    rows = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"], "on": [True, False, None], "ratio": [0.5, None, 1e300],
                     "tags": pa.array([["x"], [], None]), "word": pa.array(["p", "q", "p"]).dictionary_encode(),
                     "at": pa.array([0, 1, None], pa.timestamp("ns", "UTC")), "hash": pa.array([b"abcd", None, b"efgh"], pa.binary(4))})
    for name, codec in {"arrow": None, "arrow_zstd": "zstd", "arrow_lz4": "lz4"}.items():
        save("query/row_reader", name, 0, arrow_stream(rows, codec))
    save("query/row_reader", "arrow_bomb", 0, arrow_stream(pa.table({"id": pa.array([0] * 9_000_000, pa.int64())}), "zstd"))
    save("query/row_reader", "arrow_without_bytes", 0, arrow_stream(pa.table({"id": pa.nulls(9_000_000)}), None))
    for name, codec in {"parquet": "none", "parquet_zstd": "zstd"}.items():
        sink = pa.BufferOutputStream()
        pyarrow.parquet.write_table(rows.select(["id", "name", "ratio", "tags", "word"]), sink, compression=codec)
        save("query/row_reader", name, 1, sink.getvalue().to_pybytes())
    save("query/row_reader", "csv", 2, 'id,name,on,at,day,word,hash\n1,"a ""b""",true,2024-02-29T00:00:00Z,2024-02-29,x,abcd\n2,,,,,,\n')
    save("query/row_reader", "csv_orders", 2 + 4, "order_id,symbol\n1,ACME\n")
    lines = ['{"id": 1, "name": "a", "tags": ["x", null], "price": "1.25"}', '{"id": 2, "at": "2024-02-29 00:00:00"}']
    save("query/row_reader", "ndjson", 3, "\n".join(lines))
    save("query/row_reader", "ndjson_spans", 3 + 8, '{"name": "a", "duration_ns": 1}\n')


def engine():
    statements = {
        "aggregate": "SELECT service_name, count(*), quantile_cont(duration_ns, 0.95) FROM traces GROUP BY ALL ORDER BY 2 DESC LIMIT 3",
        "attributes": "SELECT attributes['http.route'], map_keys(attributes) FROM traces WHERE attributes['http.route'] = '/cart'",
        "ids": "SELECT * FROM traces WHERE trace_id = '5b8efff798038103d269b633813fc60c' AND span_id IS NOT NULL",
        "join": "SELECT t.name, o.note FROM traces t JOIN orders o ON o.id = t.duration_ns % 40 WHERE o.price > 1.5",
        "window": "SELECT id, sum(price) OVER (ORDER BY id ROWS 3 PRECEDING) FROM orders QUALIFY row_number() OVER () < 9",
        "keys": "SELECT * FROM orders WHERE id IN (1, 2, 39) OR id BETWEEN 7 AND 9 ORDER BY id DESC",
        "insert": "INSERT OR IGNORE INTO orders VALUES (1, 'x', 2.5, NULL), (99, 'y', -1, '2024-02-29') RETURNING *",
        "update": "UPDATE orders SET note = note || 'x', price = NULL WHERE id % 3 = 0",
        "delete": "DELETE FROM orders USING traces WHERE orders.id = duration_ns",
        "merge": "MERGE INTO orders USING (SELECT 7 AS id) s USING (id) WHEN MATCHED THEN DELETE "
                 "WHEN NOT MATCHED THEN INSERT (id) VALUES (1)",
        "create": "CREATE TABLE main.new_one (a INTEGER DEFAULT 7, b VARCHAR[], PRIMARY KEY (a))",
        "create_as": "CREATE OR REPLACE TABLE main.copied AS SELECT trace_id, name, attributes FROM traces",
        "alter": "ALTER TABLE orders ADD COLUMN z MAP(VARCHAR, DOUBLE)",
        "explain": "EXPLAIN ANALYZE SELECT max(time) FROM traces WHERE time > now() - INTERVAL 1 DAY",
        "recursive": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
        "denied": "COPY (SELECT 1) TO '/tmp/x'",
        "system": "SELECT * FROM sheaf.parts, sheaf.settings, sheaf.queries, information_schema.columns LIMIT 5",
        "wrong": "SELEC FROM WHERE (((",
    }
    for number, (name, sql) in enumerate(statements.items()):
        save("query/engine", name, number, sql)


def field(number, value):
    """A field of a protobuf message: a number, or bytes."""
    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def flight():
    def any_of(name, value):
        return field(1, b"type.googleapis.com/arrow.flight.protocol.sql." + name) + field(2, value)

    def save_whole(target, name, data):  # No mode before it.
        save(target, name, data[0], data[1:])

    ingest = field(1, field(1, 1) + field(2, 3)) + field(2, b"t") + field(3, b"main") + field(1000, field(1, b"k") + field(2, b"v"))
    tables = field(1, b"sheaf_db") + field(2, b"o%") + field(3, b"t_") + field(4, b"VIEW") + field(5, 1)
    for name, value in {"CommandStatementQuery": field(1, b"SELECT 1") + field(2, b"tx"), "CommandStatementIngest": ingest,
                        "CommandGetTables": tables, "CommandGetSqlInfo": field(1, b"\x08\xf4\x03")}.items():
        save_whole("wire/flight", name, field(1, 2) + field(2, any_of(name.encode(), value)))
        save_whole("wire/flight", f"{name}_alone", value)
    save_whole("wire/flight", "path", field(1, 1) + field(3, b"otel") + field(3, b"traces"))
    save_whole("wire/flight", "info", field(1, b"schema") + field(3, field(1, field(1, b"ticket"))) + field(4, 3))
    save_whole("wire/flight", "data", field(1, field(1, 1)) + field(2, b"header") + field(3, b"mine") + field(1000, b"body"))
    save_whole("wire/flight", "session", field(1, field(1, b"schema") + field(2, field(1, b"otel"))))

    def messages(*serialized):
        stream = b""
        for message in serialized:
            header, = struct.unpack_from("<i", message, 4)
            body = message[8 + header:]
            stream += struct.pack("<HH", header, len(body)) + message[8:8 + header] + body
        return stream

    batch = pa.record_batch({"n": [1, None, 3], "t": ["a", None, "ccc"], "l": [[1], [], None]})
    zstd = pa.ipc.IpcWriteOptions(compression="zstd")
    schema = batch.schema.serialize().to_pybytes()
    save_whole("serve/flight", "batches", messages(schema, *[batch.serialize().to_pybytes()] * 2))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=zstd) as writer:
        writer.write_batch(batch)
    packed = sink.getvalue().to_pybytes()[len(schema):-8]
    save_whole("serve/flight", "compressed", messages(schema, packed))
    save_whole("serve/flight", "ticket", b"\x09" + struct.pack("<Q", 7) + field(2, b"SELECT ?") + field(3, sink.getvalue().to_pybytes()))


def main():
    for write in (compression, commit_file, batch_ids, snapshots, definition_log, key_codec, config, row_reader, engine, flight):
        write()


main()
