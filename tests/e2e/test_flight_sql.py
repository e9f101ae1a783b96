"""Other people's Flight SQL driver and Flight client, untouched: statements, parameters, metadata, bulk ingest, cancelling, errors."""

import concurrent.futures
import datetime
import decimal
import json
import pathlib
import re
import subprocess
import threading
import time

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as flight
import pytest


@pytest.fixture
def connection(server):
    with flight_sql.connect(uri(server), autocommit=True) as connected:
        yield connected


@pytest.fixture
def client(server):
    with flight.connect(uri(server)) as connected:
        yield connected


def uri(server):
    return "grpc://" + server.ports["flight"]


def ask(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


def value(connection, sql, parameters=None):
    return ask(connection, sql, parameters).column(0)[0].as_py()


def refused(connection, sql, parameters=None):
    """The status that the driver reports."""
    with pytest.raises(adbc_driver_manager.Error) as caught:
        ask(connection, sql, parameters)
    return caught.value


# Statements.


def test_statements_with_and_without_parameters(connection):
    table = ask(connection, "SELECT 1::INTEGER AS a, 'x' AS b")
    assert table.schema == pa.schema([("a", pa.int32()), ("b", pa.string())]) and table.to_pylist() == [{"a": 1, "b": "x"}]
    assert value(connection, "SELECT ? + 1", [41]) == 42
    assert value(connection, "SELECT upper(?)", ["ab"]) == "AB"
    assert value(connection, "SELECT $2 || $1", ["a", "b"]) == "ba"
    assert value(connection, "SELECT count(*) FROM otel.traces WHERE start_time > ? AND service_name = ?",
                 [datetime.datetime(2026, 1, 1), "shop"]) == 0
    assert value(connection, "SELECT ?::INTEGER IS NULL", [None]) is True


def test_tables_are_made_written_and_read(connection):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE notes (id BIGINT, text VARCHAR, PRIMARY KEY (id))")
        cursor.execute("INSERT INTO notes VALUES (1, 'one'), (2, 'two')")
        cursor.executemany("INSERT INTO notes VALUES (?, ?)", [(n, f"number {n}") for n in range(3, 13)])
        cursor.execute("UPDATE notes SET text = ? WHERE id = ?", ["second", 2])
    assert value(connection, "SELECT count(*) FROM notes") == 12
    assert value(connection, "SELECT text FROM notes WHERE id = ?", [2]) == "second"
    assert value(connection, "SELECT text FROM notes WHERE id = ?", [12]) == "number 12"


def test_low_level_statements_tell_their_shape_and_counts(connection):
    low = connection.adbc_connection
    with adbc_driver_manager.AdbcStatement(low) as statement:
        statement.set_sql_query("CREATE TABLE counted (id BIGINT, PRIMARY KEY (id))")
        assert statement.execute_update() == 0
        statement.set_sql_query("INSERT INTO counted SELECT range FROM range(1000)")
        assert statement.execute_update() == 1000
        statement.set_sql_query("DELETE FROM counted WHERE id >= ?")
        statement.prepare()
        schema = pa.schema(statement.get_parameter_schema())
        assert schema.field(0).type == pa.int64()
        batch = pa.record_batch([pa.array([900, 500])], names=["id"])
        statement.bind(batch)
        assert statement.execute_update() == 500, "both sets of parameters ran: 100 rows, then 400"
    with connection.cursor() as cursor:
        assert cursor.adbc_execute_schema("SELECT 1::SMALLINT AS a") == pa.schema([("a", pa.int16())])


def test_a_query_runs_for_each_bound_row(connection):
    low = connection.adbc_connection
    with adbc_driver_manager.AdbcStatement(low) as statement:
        statement.set_sql_query("SELECT ?::BIGINT * 2 AS twice")
        statement.prepare()
        statement.bind(pa.record_batch([pa.array([1, 2, 3], pa.int64())], names=["n"]))
        stream, _ = statement.execute_query()
        assert pa.RecordBatchReader.from_stream(stream).read_all().column("twice").to_pylist() == [2, 4, 6]


def test_materialised_views_run_once_and_only_when_asked(connection):
    ask(connection, "CREATE TABLE seen (id BIGINT, PRIMARY KEY (id))")
    with adbc_driver_manager.AdbcStatement(connection.adbc_connection) as statement:
        statement.set_sql_query("CREATE TABLE never (id BIGINT)")
        statement.prepare()
    assert "never" in str(refused(connection, "SELECT * FROM never")), "preparing makes nothing"


TYPED = {
    "bool": pa.array([True, None], pa.bool_()),
    "i8": pa.array([-128, None], pa.int8()), "i16": pa.array([-32768, None], pa.int16()),
    "i32": pa.array([-(2**31), None], pa.int32()), "i64": pa.array([-(2**63), None], pa.int64()),
    "u8": pa.array([255, None], pa.uint8()), "u16": pa.array([65535, None], pa.uint16()),
    "u32": pa.array([2**32 - 1, None], pa.uint32()), "u64": pa.array([2**64 - 1, None], pa.uint64()),
    "f32": pa.array([1.5, None], pa.float32()), "f64": pa.array([0.1, None], pa.float64()),
    "text": pa.array(["ä €", None], pa.string()), "bytes": pa.array([b"\0\xff", None], pa.binary()),
    "day": pa.array([datetime.date(2026, 11, 30), None], pa.date32()),
    "time": pa.array([datetime.time(23, 59, 59, 999999), None], pa.time64("us")),
    "ns": pa.array([1764460800123456789, None], pa.timestamp("ns")),
    "us": pa.array([datetime.datetime(2026, 11, 30, 1, 2, 3, 4), None], pa.timestamp("us")),
    "dec": pa.array([decimal.Decimal("-12345678901234567890.123456"), None], pa.decimal128(38, 6)),
    "list": pa.array([[1, None, 3], None], pa.list_(pa.int32())),
    "struct": pa.array([{"a": 1, "b": "x"}, None], pa.struct([("a", pa.int64()), ("b", pa.string())])),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    "fixed": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
}


def plain(column):
    return (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()


def test_every_type_there_and_back_by_bulk_ingest(connection):
    given = pa.table(TYPED)
    with connection.cursor() as cursor:
        assert cursor.adbc_ingest("typed", given, mode="create") == 2
    read = ask(connection, "SELECT * FROM typed")
    for name in given.column_names:
        assert plain(read.column(name)) == plain(given.column(name)), name
        assert str(read.schema.field(name).type).replace("element", "item").replace("l:", "item:") == \
            str(given.schema.field(name).type).replace("element", "item"), name


@pytest.mark.parametrize("name", [name for name in TYPED if name not in ("struct", "map", "list", "fixed")])
def test_every_type_there_and_back_as_a_parameter(connection, name):
    with adbc_driver_manager.AdbcStatement(connection.adbc_connection) as statement:
        statement.set_sql_query("SELECT ? AS v")
        statement.prepare()
        statement.bind(pa.record_batch([TYPED[name]], names=["v"]).slice(0, 1))
        stream, _ = statement.execute_query()
        assert plain(pa.RecordBatchReader.from_stream(stream).read_all().column("v")) == plain(TYPED[name][:1])


def test_other_layouts_of_the_same_values_are_taken(connection):
    columns = {
        "large": pa.array(["a", "b"], pa.large_string()), "view": pa.array(["a", "b"], pa.string_view()),
        "dictionary": pa.array(["a", "b"]).dictionary_encode(), "days": pa.array([0, 86_400_000], pa.date64()),
        "seconds": pa.array([1, 2], pa.time32("s")), "large_list": pa.array([[1], [2]], pa.large_list(pa.int64())),
        "decimal256": pa.array([decimal.Decimal("1.5"), decimal.Decimal("2.5")], pa.decimal256(20, 1)),
    }
    with connection.cursor() as cursor:
        assert cursor.adbc_ingest("layouts", pa.table(columns), mode="create") == 2
    read = ask(connection, "SELECT * FROM layouts").to_pydict()
    assert read["large"] == read["view"] == read["dictionary"] == ["a", "b"]
    assert read["days"] == [datetime.date(1970, 1, 1), datetime.date(1970, 1, 2)] and read["large_list"] == [[1], [2]]
    assert read["seconds"] == [datetime.time(0, 0, 1), datetime.time(0, 0, 2)]
    assert read["decimal256"] == [decimal.Decimal("1.5"), decimal.Decimal("2.5")]
    error = None
    with pytest.raises(adbc_driver_manager.Error) as error, connection.cursor() as cursor:
        cursor.adbc_ingest("durations", pa.table({"d": pa.array([1], pa.duration("s"))}), mode="create")
    assert "duration" in str(error.value) and error.value.status_code == adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED


def test_bulk_ingest_modes(connection):
    rows = pa.table({"id": [1, 2, 3]})
    with connection.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error) as missing:
            cursor.adbc_ingest("bulk", rows, mode="append")
        assert missing.value.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND
        assert cursor.adbc_ingest("bulk", rows, mode="create") == 3
        with pytest.raises(adbc_driver_manager.Error) as there:
            cursor.adbc_ingest("bulk", rows, mode="create")
        assert there.value.status_code == adbc_driver_manager.AdbcStatusCode.ALREADY_EXISTS
        assert cursor.adbc_ingest("bulk", rows, mode="append") == 3
        assert cursor.adbc_ingest("bulk", rows, mode="create_append") == 3
        cursor.execute("SELECT count(*) FROM bulk")
        assert cursor.fetchone() == (9,)
        assert cursor.adbc_ingest("bulk", rows.slice(0, 1), mode="replace") == 1
        cursor.execute("SELECT count(*) FROM bulk")
        assert cursor.fetchone() == (1,)
        assert cursor.adbc_ingest("apart", rows, mode="create", db_schema_name="trading") == 3
        with pytest.raises(adbc_driver_manager.Error) as temporary:
            cursor.adbc_ingest("passing", rows, mode="create", temporary=True)
        assert temporary.value.status_code == adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED
    assert value(connection, "SELECT count(*) FROM trading.apart") == 3


def test_large_ingest_streams(connection):
    batch = pa.record_batch({"id": pa.array(range(20_000), pa.int64()), "text": ["some text"] * 20_000})
    reader = pa.RecordBatchReader.from_batches(batch.schema, (batch for _ in range(25)))
    with connection.cursor() as cursor:
        assert cursor.adbc_ingest("large", reader, mode="create") == 500_000
    assert ask(connection, "SELECT count(*), sum(id) FROM large").to_pylist()[0] == {"count_star()": 500_000, "sum(id)": 25 * 199_990_000}


# What the database says of itself.


def test_metadata(connection):
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Sheaf" and info["vendor_version"]
    assert connection.adbc_get_table_types() == ["SYSTEM TABLE", "TABLE", "VIEW"]
    objects = connection.adbc_get_objects(depth="all", db_schema_filter="trading", table_name_filter="orders").read_all().to_pylist()
    schemas = [schema for catalog in objects for schema in catalog["catalog_db_schemas"] or []]
    assert [catalog["catalog_name"] for catalog in objects] == ["sheaf_db"] and [s["db_schema_name"] for s in schemas] == ["trading"]
    (orders,) = schemas[0]["db_schema_tables"]
    assert orders["table_name"] == "orders" and orders["table_type"] == "TABLE"
    assert [c["column_name"] for c in orders["table_columns"]][:2] == ["order_id", "user_id"]
    schema = connection.adbc_get_table_schema("traces", db_schema_filter="otel")
    assert schema == ask(connection, "SELECT * FROM otel.traces").schema and pa.types.is_timestamp(schema.field("start_time").type)
    views = connection.adbc_get_objects(depth="tables", table_types_filter=["VIEW"]).read_all().to_pylist()
    names = [t["table_name"] for c in views for s in c["catalog_db_schemas"] for t in s["db_schema_tables"]]
    assert names == ["metrics"]


def sql_command(name, value=b""):
    """A Flight SQL command without a driver: google.protobuf.Any by hand."""
    url = b"type.googleapis.com/arrow.flight.protocol.sql." + name.encode()
    return bytes([10, len(url)]) + url + bytes([18, len(value)]) + value


def metadata(client, name, value=b""):
    info = client.get_flight_info(flight.FlightDescriptor.for_command(sql_command(name, value)))
    table = client.do_get(info.endpoints[0].ticket).read_all()
    assert table.schema == info.schema == client.get_schema(flight.FlightDescriptor.for_command(sql_command(name, value))).schema
    return table


def test_metadata_commands_have_the_schemas_of_the_specification(client):
    assert metadata(client, "CommandGetCatalogs").to_pylist() == [{"catalog_name": "sheaf_db"}]
    schemas = metadata(client, "CommandGetDbSchemas")
    assert schemas.schema == pa.schema([("catalog_name", pa.string()), pa.field("db_schema_name", pa.string(), False)])
    assert schemas.column(1).to_pylist() == ["main", "memory", "otel", "sheaf", "trading"]
    keys = metadata(client, "CommandGetPrimaryKeys", b"\x12\x06memory\x1a\x07records").to_pylist()
    assert [(k["column_name"], k["key_sequence"]) for k in keys] == [("category", 1), ("memory_id", 2)]
    for name in ("CommandGetExportedKeys", "CommandGetImportedKeys", "CommandGetCrossReference"):
        table = metadata(client, name, b"\x1a\x06orders")
        assert table.num_rows == 0 and table.num_columns == 13 and table.schema.field("update_rule").type == pa.uint8()
    types = metadata(client, "CommandGetXdbcTypeInfo").to_pylist()
    assert [t["type_name"] for t in types if t["data_type"] == 12] == ["VARCHAR"] and len(types) > 15
    assert types == sorted(types, key=lambda t: (t["data_type"], t["type_name"]))
    assert [t["type_name"] for t in metadata(client, "CommandGetXdbcTypeInfo", b"\x08\x08").to_pylist()] == ["DOUBLE"]


def test_sql_info_is_complete_and_true(client, connection):
    info = {row["info_name"]: row["value"] for row in metadata(client, "CommandGetSqlInfo").to_pylist()}
    assert set(info) == {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 100, 101, *range(500, 577)}
    assert info[0] == "Sheaf" and info[3] is False and info[8] == 0 and info[9] is True and info[10] is True and info[563] is False
    assert info[557] == 1 << 20 and info[558] == 10_000
    known = {name.upper() for name in ask(connection, "SELECT DISTINCT function_name FROM duckdb_functions()").column(0).to_pylist()}
    for number in (509, 510, 511, 512):
        assert set(info[number]) - known - {"CURRENT_DATABASE", "CURRENT_SCHEMA"} == set()
    assert [row["info_name"] for row in metadata(client, "CommandGetSqlInfo", b"\x0a\x02\x00\x08").to_pylist()] == [0, 8]
    # What it says cannot be done is refused.
    for action in ("BeginTransaction", "EndTransaction", "BeginSavepoint", "EndSavepoint"):
        with pytest.raises(NotImplementedError, match="no transactions"):
            list(client.do_action(flight.Action(action, sql_command("Action" + action + "Request"))))


# Errors.


def test_errors_have_the_right_codes(connection):
    code = adbc_driver_manager.AdbcStatusCode
    wrong = refused(connection, "SELECT nmae FROM otel.traces")
    assert wrong.status_code == code.INVALID_ARGUMENT and "name" in str(wrong)
    assert refused(connection, "SELEC 1").status_code == code.INVALID_ARGUMENT
    assert refused(connection, "SELECT * FROM read_csv('/etc/passwd')").status_code in (code.UNAUTHORIZED, code.INVALID_ARGUMENT)
    assert refused(connection, "COPY (SELECT 1) TO '/tmp/x'").status_code == code.UNAUTHORIZED
    assert refused(connection, "BEGIN").status_code == code.UNAUTHORIZED
    assert "statement" in str(refused(connection, "SELECT 1; SELECT 2"))
    assert "parameters" in str(refused(connection, "SELECT ? + ?", [1]))
    with pytest.raises(adbc_driver_manager.Error, match="ransaction"):
        connection.adbc_connection.set_autocommit(False)


def test_a_deadline_stops_a_statement(server):
    options = {"adbc.flight.sql.rpc.timeout_seconds.fetch": "0.5"}
    with flight_sql.connect(uri(server), db_kwargs=options, autocommit=True) as connection:
        start = time.monotonic()
        error = refused(connection, "SELECT count(*) FROM range(100000000000) a, range(1000) b")
        assert time.monotonic() - start < 20 and error.status_code == adbc_driver_manager.AdbcStatusCode.TIMEOUT
    eventually(lambda: running(server) == 0)


def running(server):
    return server.value("SELECT count(*) FROM sheaf.queries WHERE state = 'running' AND sql NOT LIKE '%sheaf.queries%'")


def eventually(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_cancelling(server, connection, client):
    slow = "SELECT count(*) FROM range(100000000000) a, range(1000) b"
    # By the driver: it ends its call.
    with connection.cursor() as cursor:
        timer = threading.Timer(0.5, cursor.adbc_cancel)
        timer.start()
        with pytest.raises(adbc_driver_manager.Error) as cancelled:
            cursor.execute(slow)
            cursor.fetchall()
        assert cancelled.value.status_code == adbc_driver_manager.AdbcStatusCode.CANCELLED
    eventually(lambda: running(server) == 0)
    # By the action, from another client.
    info = client.get_flight_info(flight.FlightDescriptor.for_command(sql_command("CommandStatementQuery", b"\x0a" + bytes([len(slow)]) +
                                                                                  slow.encode())))
    # read_all() of pyarrow would turn the error into a KeyboardInterrupt.
    with concurrent.futures.ThreadPoolExecutor() as pool, flight.connect(uri(server)) as other:
        rows = pool.submit(lambda: client.do_get(info.endpoints[0].ticket).read_chunk())
        eventually(lambda: running(server) == 1)
        assert cancel(other, info)
        with pytest.raises(flight.FlightCancelledError):
            rows.result(timeout=20)
    # A ticket that was cancelled before is not run any more.
    with pytest.raises(flight.FlightCancelledError):
        client.do_get(info.endpoints[0].ticket).read_chunk()


def cancel(client, info):
    """CancelFlightInfo, whose request holds the FlightInfo as field 1."""
    serialized = info.serialize()
    length, left = b"", len(serialized)
    while left >= 128:
        length, left = length + bytes([left & 127 | 128]), left >> 7
    (result,) = client.do_action(flight.Action("CancelFlightInfo", b"\x0a" + length + bytes([left]) + serialized))
    return result.body.to_pybytes() == b"\x08\x01"


# Plain Flight.


def test_put_is_acknowledged_with_lsns_and_read_back(server, client, connection):
    ask(connection, "CREATE TABLE points (id BIGINT, v DOUBLE, PRIMARY KEY (id))")
    batch = pa.record_batch({"id": pa.array(range(1000), pa.int64()), "v": pa.array([0.5] * 1000)})
    path = flight.FlightDescriptor.for_path("main", "points")
    writer, acknowledged = client.do_put(path, batch.schema)
    lsns = []
    for _ in range(3):
        writer.write_batch(batch)
        answer = json.loads(acknowledged.read().to_pybytes())
        assert answer["rows"] == 1000
        lsns.append(answer["lsn"])
    writer.close()
    assert lsns == sorted(set(lsns))
    server.kill()
    server.start()
    with flight.connect(uri(server)) as again:
        info = again.get_flight_info(path)
        assert info.total_records == 1000 and again.do_get(info.endpoints[0].ticket).read_all().num_rows == 1000
        assert again.do_get(flight.Ticket("main.points")).read_all().num_rows == 1000
        assert again.do_get(flight.Ticket("SELECT max(id) FROM points")).read_all().column(0)[0].as_py() == 999


def test_a_batch_with_an_id_is_there_once(client, connection):
    ask(connection, "CREATE TABLE events (v BIGINT)")
    batch = pa.record_batch({"v": pa.array([1, 2])})
    lsns = []
    for _ in range(2):
        writer, acknowledged = client.do_put(flight.FlightDescriptor.for_path("events"), batch.schema)
        writer.write_with_metadata(batch, b"batch 1")
        lsns.append(json.loads(acknowledged.read().to_pybytes())["lsn"])
        writer.close()
    assert lsns[0] == lsns[1] and value(connection, "SELECT count(*) FROM events") == 2


def test_many_batches_on_their_way_at_once(client, connection):
    ask(connection, "CREATE TABLE stream (v BIGINT)")
    batch = pa.record_batch({"v": pa.array(range(100), pa.int64())})
    writer, acknowledged = client.do_put(flight.FlightDescriptor.for_path("stream"), batch.schema)
    for _ in range(500):
        writer.write_batch(batch)
    writer.done_writing()
    answers = [json.loads(acknowledged.read().to_pybytes()) for _ in range(500)]
    assert acknowledged.read() is None
    writer.close()
    assert [a["rows"] for a in answers] == [100] * 500 and value(connection, "SELECT count(*) FROM stream") == 50_000


def test_flights_schemas_and_actions(server, client):
    flights = {b".".join(info.descriptor.path).decode(): info for info in client.list_flights()}
    assert {"otel.traces", "trading.orders", "memory.records"} <= set(flights)
    assert [b".".join(info.descriptor.path) for info in client.list_flights(b"trading.trades")] == [b"trading.trades"]
    assert flights["trading.orders"].schema.names[0] == "order_id" and flights["trading.orders"].total_records == 0
    names = {action.type for action in client.list_actions()}
    assert {"CreatePreparedStatement", "CancelFlightInfo", "snapshot", "flush", "health"} <= names
    (health,) = client.do_action("health")
    assert json.loads(health.body.to_pybytes()) == {"status": "serving", "writable": True}
    assert list(client.do_action("flush")) == []
    (snapshot,) = client.do_action(flight.Action("snapshot", b"by-flight"))
    assert json.loads(snapshot.body.to_pybytes())["id"] == "by-flight"
    with pytest.raises(NotImplementedError, match="known are"):
        list(client.do_action("dance"))
    with pytest.raises(NotImplementedError, match="subscriptions"):
        writer, reader = client.do_exchange(flight.FlightDescriptor.for_path("otel", "traces"))
        reader.read_all()


def test_wrong_puts_are_refused_with_reasons(client, connection):
    ask(connection, "CREATE TABLE strict (id BIGINT NOT NULL)")

    def put(path, batch):
        writer, _ = client.do_put(flight.FlightDescriptor.for_path(*path), batch.schema)
        writer.write_batch(batch)
        writer.close()

    with pytest.raises(pa.ArrowKeyError, match="nowhere"):
        put(["main", "nowhere"], pa.record_batch({"id": [1]}))
    with pytest.raises(pa.ArrowInvalid, match="no column 'other'"):
        put(["strict"], pa.record_batch({"other": [1]}))
    with pytest.raises(pa.ArrowInvalid, match="id"):
        put(["strict"], pa.record_batch({"id": pa.array([None], pa.int64())}))
    with pytest.raises(pa.ArrowInvalid, match="text"):
        put(["strict"], pa.record_batch({"id": ["text"]}))
    with pytest.raises(pa.ArrowKeyError):
        put(["sheaf", "queries"], pa.record_batch({"id": [1]}))
    assert value(connection, "SELECT count(*) FROM strict") == 0


def test_telemetry_takes_no_rows_as_they_are(server, client, connection):
    """Only OTLP knows how they are made: an index of a NULL that points anywhere once stopped every reader."""
    schema = ask(connection, "SELECT service_name, body FROM otel.logs").schema
    with pytest.raises(pa.ArrowException, match="send them as OTLP"):
        writer, _ = client.do_put(flight.FlightDescriptor.for_path("otel", "logs"), schema)
        writer.write_batch(pa.RecordBatch.from_pylist([{"service_name": "a", "body": "b"}], schema=schema))
        writer.close()
    with pytest.raises(adbc_driver_manager.Error, match="send them as OTLP"), connection.cursor() as cursor:
        cursor.adbc_ingest("logs", pa.table({"body": ["x"]}), mode="append", db_schema_name="otel")
    answer = server.session.post(server.url(path="/v1/tables/otel.logs"), data=b"body\nx\n", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 403 and "OTLP" in answer.text
    assert value(connection, "SELECT count(*) FROM otel.logs") == 0


def test_columns_that_come_twice_are_refused(client, connection):
    ask(connection, "CREATE TABLE once (v BIGINT)")
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["v", "v"])
    with pytest.raises(pa.ArrowInvalid, match="batch 1: .*several columns 'v'"):
        writer, _ = client.do_put(flight.FlightDescriptor.for_path("once"), batch.schema)
        writer.write_batch(batch)
        writer.close()
    assert value(connection, "SELECT count(*) FROM once") == 0


def test_bulk_ingest_minds_views_and_what_it_replaces(connection):
    ask(connection, "CREATE VIEW seen AS SELECT 1 AS one")
    code = adbc_driver_manager.AdbcStatusCode
    for schema, name in (("main", "SEEN"), ("otel", "metrics")):
        with pytest.raises(adbc_driver_manager.Error, match="is a view") as view, connection.cursor() as cursor:
            cursor.adbc_ingest(name, pa.table({"id": [1]}), mode="create", db_schema_name=schema)
        assert view.value.status_code == code.ALREADY_EXISTS
    with connection.cursor() as cursor:
        assert cursor.adbc_ingest("kept", pa.table({"id": [1, 2]}), mode="create") == 2
        with pytest.raises(adbc_driver_manager.Error):
            cursor.adbc_ingest("kept", pa.table({"d": pa.array([1], pa.duration("s"))}), mode="replace")
        assert value(connection, "SELECT count(*) FROM kept") == 2
        assert cursor.adbc_ingest("kept", pa.table({"other": [7]}), mode="replace") == 1
    assert ask(connection, "SELECT * FROM kept").schema.names == ["other"]


def test_a_ticket_that_writes_and_gives_rows_works_once(client, connection):
    ask(connection, "CREATE TABLE written (id BIGINT, PRIMARY KEY (id))")
    text = b"INSERT INTO written SELECT count(*) FROM written RETURNING id"
    command = sql_command("CommandStatementQuery", b"\x0a" + bytes([len(text)]) + text)
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command))
    assert value(connection, "SELECT count(*) FROM written") == 0
    assert client.do_get(info.endpoints[0].ticket).read_all().to_pylist() == [{"id": 0}]
    with pytest.raises(pa.ArrowInvalid, match="redeemed already"):
        client.do_get(info.endpoints[0].ticket).read_all()
    assert value(connection, "SELECT count(*) FROM written") == 1


# Many and long.


def test_a_large_result_streams_and_waits_for_its_reader(server, client):
    reader = client.do_get(flight.Ticket("SELECT range AS v, 'some text ' || range AS t FROM range(5000000)"))
    start = time.monotonic()
    rows = reader.read_chunk().data.num_rows
    assert time.monotonic() - start < 10
    before = server.resident_bytes()
    time.sleep(1)  # A reader that does nothing: the server must not gather meanwhile.
    assert server.resident_bytes() - before < 64 << 20
    for chunk in reader:
        rows += chunk.data.num_rows
    assert rows == 5_000_000


def test_tls(make_server, tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    server = make_server(environment={"SHEAF_TLS_CERTIFICATE": str(certificate), "SHEAF_TLS_KEY": str(key)}).start()
    secure = uri(server).replace("grpc:", "grpc+tls:")
    with flight.connect(secure, tls_root_certs=certificate.read_bytes()) as client:
        assert client.do_get(flight.Ticket("SELECT 1")).read_all().num_rows == 1
    with flight_sql.connect(secure, db_kwargs={"adbc.flight.sql.client_option.tls_root_certs": certificate.read_text()},
                            autocommit=True) as connection:
        assert value(connection, "SELECT 42") == 42
    with pytest.raises(pa.ArrowException), flight.connect(uri(server)) as plain_text:
        list(plain_text.do_action("health", flight.FlightCallOptions(timeout=10)))


def test_messages_have_a_limit(make_server):
    server = make_server(environment={"SHEAF_LIMITS_MESSAGE_BYTES": "1MiB"}).start()
    with flight_sql.connect(uri(server), autocommit=True) as connection, flight.connect(uri(server)) as client:
        ask(connection, "CREATE TABLE small (v BIGINT)")
        batch = pa.record_batch({"v": pa.array(range(200_000), pa.int64())})
        with pytest.raises(pa.ArrowException, match="send less at once"):
            writer, _ = client.do_put(flight.FlightDescriptor.for_path("small"), batch.schema)
            writer.write_batch(batch)
            writer.close()
        writer, _ = client.do_put(flight.FlightDescriptor.for_path("small"), batch.schema)
        writer.write_table(pa.Table.from_batches([batch]), max_chunksize=50_000)
        writer.close()
        assert value(connection, "SELECT count(*) FROM small") == 200_000


def test_rows_that_are_large_come_in_several_messages(connection, client):
    reader = client.do_get(flight.Ticket("SELECT repeat('x', 20000) AS t FROM range(2000)"))
    sizes = [chunk.data.get_total_buffer_size() for chunk in reader]
    assert len(sizes) > 8 and max(sizes) <= 5 << 20
    assert ask(connection, "SELECT repeat('x', 20000) AS t FROM range(2000)").num_rows == 2000, "the driver takes at most 16 MiB at once"


def test_stopping_while_streams_are_open(server, connection):
    ask(connection, "CREATE TABLE last (v BIGINT)")
    client = flight.connect(uri(server))
    reader = client.do_get(flight.Ticket("SELECT range AS v FROM range(100000000000)"))
    reader.read_chunk()
    batch = pa.record_batch({"v": pa.array([1])})
    writer, acknowledged = client.do_put(flight.FlightDescriptor.for_path("last"), batch.schema)
    writer.write_batch(batch)
    lsn = json.loads(acknowledged.read().to_pybytes())["lsn"]
    assert lsn > 0
    server.stop()
    with pytest.raises(pa.ArrowException):
        for _ in reader:
            pass
    server.start()
    assert server.value("SELECT count(*) FROM last") == 1


def test_many_clients_at_once(server):
    with flight_sql.connect(uri(server), autocommit=True) as connection:
        ask(connection, "CREATE TABLE shared (client BIGINT, n BIGINT, PRIMARY KEY (client, n))")

    def work(number):
        with flight_sql.connect(uri(server), autocommit=True) as connection:
            for n in range(5):
                ask(connection, "INSERT INTO shared VALUES (?, ?)", [number, n])
                assert value(connection, "SELECT count(*) FROM shared WHERE client = ?", [number]) == n + 1
        return True

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(work, range(32)))
    assert server.value("SELECT count(*) FROM shared") == 160


def test_sessions(client):
    assert list(client.do_action(flight.Action("CloseSession", b"")))[0].body.to_pybytes() == b"\x08\x01"
    (options,) = client.do_action(flight.Action("GetSessionOptions", b""))
    assert b"sheaf_db" in options.body.to_pybytes() and b"main" in options.body.to_pybytes()
    entry = b"\x0a\x06schema\x12\x06\x0a\x04otel"
    (errors,) = client.do_action(flight.Action("SetSessionOptions", b"\x0a" + bytes([len(entry)]) + entry))
    assert errors.body.to_pybytes() == b"\x0a\x0c\x0a\x06schema\x12\x02\x08\x02", "it cannot be changed, and says so"


def test_the_examples_of_the_documentation_run(server):
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "flight.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        assert "127.0.0.1:8815" in example
        exec(compile(example.replace("127.0.0.1:8815", server.ports["flight"]), "docs/flight.md", "exec"), {})
