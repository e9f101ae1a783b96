#!/usr/bin/env python3
"""Bytes a value in cold parts, column by column: compression.py BUILD_FOLDER [SPANS [TRADES]]      default 1,000,000 each

Feeds spans over OTLP (bench/ingest's prepared requests) and trades by SQL into a server, has them made cold, and reads the Parquet
files' footers. Raw bytes are those of the values: 8 a number or time, 16 a decimal or trace id, a text its length and 4. Prints one
JSON object: per table and column raw and stored bytes a row and their ratio."""

import json
import pathlib
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "ingest"))
import run as ingest  # noqa: E402

# Prices walk in cents, sizes are small and skewed, one user in a hundred makes half of the trades: as on an exchange, not as in a hash.
TRADES = """INSERT INTO trading.trades
WITH rows AS (SELECT i, hash(i * 7919) AS h, hash(i * 104729 + 1) AS g FROM range({first}, {last}) AS r(i))
SELECT 'T' || lpad(i::VARCHAR, 12, '0'), 'O' || lpad((i * 2 + h % 2)::VARCHAR, 12, '0'), 'O' || lpad((i * 2 + g % 4096)::VARCHAR, 12, '0'),
  'user-' || CASE WHEN h % 2 = 0 THEN g % 100 ELSE g % 10000 END, 'INST' || lpad((h // 16 % 200)::VARCHAR, 4, '0'),
  CASE WHEN g % 2 = 0 THEN 'BUY' ELSE 'SELL' END, CASE WHEN g % 3 = 0 THEN 'CLOSE' ELSE 'OPEN' END,
  (1000 + (h // 16 % 200) * 37 + 50 * sin(i / 40000.0) + (g % 9)::DOUBLE / 100)::DECIMAL(18, 2), 1 + (g // 8 % 10) * (h // 8 % 3),
  make_timestamp_ns(1700000000000000000 + i * 250000 + (h % 200000)::BIGINT) FROM rows"""


def raw_bytes(array):
    """Of the values of an array, as if each stood by itself."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return raw_bytes(array.dictionary_decode() if isinstance(array, pa.Array) else array.cast(kind.value_type))
    if isinstance(array, pa.ChunkedArray):
        return sum(raw_bytes(chunk) for chunk in array.chunks)
    return array.nbytes


def measure(files):
    columns, rows = {}, 0
    for path in files:
        parquet = pq.ParquetFile(path)
        rows += parquet.metadata.num_rows
        for group in range(parquet.metadata.num_row_groups):
            metadata = parquet.metadata.row_group(group)
            for leaf in range(metadata.num_columns):
                chunk = metadata.column(leaf)
                column = columns.setdefault(chunk.path_in_schema.split(".")[0], [0, 0])
                column[1] += chunk.total_compressed_size
            table = parquet.read_row_group(group)
            for name in table.column_names:
                columns.setdefault(name, [0, 0])[0] += raw_bytes(table.column(name))
    total = [sum(column[i] for column in columns.values()) for i in (0, 1)]
    per_row = {name: {"raw": round(raw / rows, 2), "stored": round(stored / rows, 2), "times": round(raw / max(stored, 1), 1)}
               for name, (raw, stored) in {**columns, "all": total}.items()}
    return {"rows": rows, "columns": per_row}


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    spans = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    trades = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="sheaf-compression-") as folder:
        data = f"{folder}/data"
        server = ingest.Server(build / "bin" / "sheaf", data)
        ingest.load(build, server, spans, 0)
        for first in range(0, trades, 100_000):
            server.sql(TRADES.format(first=first, last=min(trades, first + 100_000)))
        server.stop()  # Seals what is in memory.
        server = ingest.Server(build / "bin" / "sheaf", data, SHEAF_STORAGE_COLD_AFTER_MS="1")
        tables = ("otel.traces", "trading.trades")
        parts = f"SELECT table_name, file_name FROM sheaf.parts WHERE table_name IN {tables} AND format = "
        deadline = time.monotonic() + 600
        while server.sql(parts + "'hot'"):
            if time.monotonic() > deadline:
                sys.exit("parts did not become cold in 10 minutes")
            time.sleep(0.5)
        rows = server.sql(parts + "'cold'")
        result = {table: measure([next(pathlib.Path(data).rglob(row["file_name"])) for row in rows if row["table_name"] == table])
                  for table in tables}
        server.stop()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
