"""The data files of parts are what they claim to be: other programs open them and find the same rows.

The rows are those of GoldenRows() in src/parts/golden_test.cc, sorted by service and time.
"""

import pathlib

import duckdb
import pyarrow.ipc
import pyarrow.parquet
import pytest

VERSIONS = sorted((pathlib.Path(__file__).parent / "parts").iterdir())
START_NS = 1_700_000_000_000_000_000


def expected_rows():
    rows = []
    for service in range(3):
        for i in range(service, 10, 3):
            rows.append(
                {
                    "trace_id": bytes([i // 3 + 1]) * 16,
                    "time": START_NS + i * 1_000_000_001,
                    "service": ("cart", "checkout", "payment")[service],
                    "duration_ns": i * 1000,
                    "ratio": None if i % 4 == 3 else i / 8,
                    "message": None if i % 5 == 0 else f"message {i}",
                    "tags": [f"tag {t}" for t in range(i % 3)],
                }
            )
    return rows


def rows_of(table):
    """The rows, times as nanoseconds."""
    at = table.schema.get_field_index("time")
    assert table.schema.field(at).type == pyarrow.timestamp("ns", "UTC")
    return table.set_column(at, "time", table.column(at).cast(pyarrow.int64())).to_pylist()


def test_there_is_a_version():
    assert VERSIONS


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
class TestVersion:
    def test_hot_part_is_an_arrow_file(self, folder):
        with pyarrow.ipc.open_file(folder / "part-1.arrow") as file:
            assert [file.get_batch(i).num_rows for i in range(file.num_record_batches)] == [4, 4, 2]
            table = file.read_all()
        table.validate(full=True)
        assert rows_of(table) == expected_rows()
        assert table.schema.field("service").type == pyarrow.dictionary(pyarrow.int32(), pyarrow.utf8())
        assert table.schema.metadata[b"sheaf.format_version"] == b"1"

    def test_cold_part_is_a_parquet_file(self, folder):
        file = pyarrow.parquet.ParquetFile(folder / "part-2.parquet", page_checksum_verification=True)
        assert [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)] == [4, 4, 2]
        table = file.read()
        table.validate(full=True)
        assert rows_of(table) == expected_rows()
        assert table.schema.metadata[b"sheaf.format_version"] == b"1"

    def test_duckdb_reads_the_cold_part(self, folder):
        # Its TIMESTAMP WITH TIME ZONE ends at microseconds.
        query = "SELECT trace_id, epoch_us(time) AS time, service, duration_ns, ratio, message, tags FROM read_parquet(?)"
        result = duckdb.connect().execute(query, [str(folder / "part-2.parquet")])
        names = [column[0] for column in result.description]
        expected = [{**row, "time": row["time"] // 1000} for row in expected_rows()]
        assert [dict(zip(names, row)) for row in result.fetchall()] == expected
