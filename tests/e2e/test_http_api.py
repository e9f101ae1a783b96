"""The HTTP API of the real program: forms of answers, values of every type, rows that are wrong, origins, answers that are broken off."""

import datetime
import decimal
import gzip
import http.client
import io
import json
import subprocess

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import requests
import zstandard

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
# Fails when most of it has left already.
BREAKS = "SELECT CASE WHEN i < 2900000 THEN i ELSE CAST('x' || i AS BIGINT) END AS n FROM range(3000000) t(i)"


@pytest.fixture(scope="module")
def api(program, tmp_path_factory):
    from sheaf_server import Server
    place = tmp_path_factory.mktemp("http_api")
    server = Server(program, place / "data", place / "log",
                    environment={"SHEAF_HTTP_CORS_ORIGINS": "https://tool.example, http://localhost:3000"}).start()
    server.rows("CREATE TABLE prices (symbol VARCHAR, day DATE, price DECIMAL(10,2), small TINYINT, PRIMARY KEY (symbol, day))")
    server.rows("INSERT INTO prices VALUES ('OAK', '2026-11-30', 42.25, 1)")
    yield server
    server.stop()


def ask(api, sql, params=None, **options):
    if params is not None:
        return api.session.post(api.url(path="/v1/sql"), json={"sql": sql, "params": params}, timeout=60, **options)
    return api.session.post(api.url(path="/v1/sql"), data=sql.encode(), timeout=60, **options)


def add(api, document, media_type, table="main.prices", **headers):
    return api.session.post(api.url(path=f"/v1/tables/{table}"), data=document, headers={"Content-Type": media_type, **headers}, timeout=60)


READERS = {
    "json": lambda body: json.loads(body)["rows"],
    "ndjson": lambda body: [json.loads(line) for line in body.splitlines()],
    "csv": lambda body: pa.csv.read_csv(io.BytesIO(body)).to_pylist(),
    "arrow": lambda body: pa.ipc.open_stream(body).read_all().to_pylist(),
    "parquet": lambda body: pq.read_table(io.BytesIO(body)).to_pylist(),
}
MEDIA_TYPES = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv", "arrow": ARROW, "parquet": PARQUET,
               "table": "text/plain"}


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_answers_come_in_each_form_by_name_and_by_accept(api, name):
    sql = "SELECT i AS n, 'v' || i AS v FROM range(3) t(i)"
    by_name = api.session.post(api.url(path=f"/v1/sql?format={name}"), data=sql.encode(), headers={"Accept": "image/png"}, timeout=60)
    by_accept = ask(api, sql, headers={"Accept": f"image/png, {MEDIA_TYPES[name]};q=0.5, text/html;q=0.9"})
    for answer in (by_name, by_accept):
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].split(";")[0] == MEDIA_TYPES[name]
        if name == "table":
            assert "│" in answer.text and "v2" in answer.text
        else:
            assert READERS[name](answer.content) == [{"n": i, "v": f"v{i}"} for i in range(3)]


def inflate_zstd(data):
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize("encoding, inflate", [("gzip", gzip.decompress), ("zstd", inflate_zstd)])
def test_bodies_and_answers_are_compressed(api, encoding, inflate):
    def deflate(text):
        return gzip.compress(text) if encoding == "gzip" else zstandard.compress(text)

    for rows in (500, 200_000):  # Whole, and streamed.
        sql = f"SELECT i FROM range({rows}) t(i)".encode()
        with requests.post(api.url(path="/v1/sql?format=csv"), data=deflate(sql), stream=True, timeout=60,
                           headers={"Content-Encoding": encoding, "Accept-Encoding": encoding}) as answer:
            assert (answer.status_code, answer.headers["content-encoding"]) == (200, encoding)
            assert "accept-encoding" in answer.headers["vary"]
            assert len(inflate(answer.raw.read(decode_content=False)).splitlines()) == rows + 1
    for path in ("/v1/openapi.json", "/metrics"):
        with requests.get(api.url(path=path), headers={"Accept-Encoding": encoding}, stream=True, timeout=60) as answer:
            assert answer.headers["content-encoding"] == encoding
            assert inflate(answer.raw.read(decode_content=False))


NOON = datetime.datetime(2026, 11, 30, 12, 0, 0, 500000)


@pytest.mark.parametrize("parameter, sql_type, value", [
    (None, '"NULL"', None),
    (True, "BOOLEAN", True),
    (-7, "BIGINT", -7),
    (1.5, "DOUBLE", 1.5),
    ("ä", "VARCHAR", "ä"),
    ([1, None, 3], "BIGINT[]", [1, None, 3]),
    ([1, 2.5], "DOUBLE[]", [1.0, 2.5]),
    (["a", "b"], "VARCHAR[]", ["a", "b"]),
    ([True], "BOOLEAN[]", [True]),
    ({"type": "TINYINT", "value": -128}, "TINYINT", -128),
    ({"type": "SMALLINT", "value": 300}, "SMALLINT", 300),
    ({"type": "INTEGER", "value": 7}, "INTEGER", 7),
    ({"type": "UBIGINT", "value": 2**64 - 1}, "UBIGINT", 2**64 - 1),
    ({"type": "FLOAT", "value": 0.25}, "FLOAT", 0.25),
    ({"type": "DECIMAL(18,6)", "value": "-12.340001"}, "DECIMAL(18,6)", decimal.Decimal("-12.340001")),
    ({"type": "BLOB", "value": "AP8="}, "BLOB", b"\x00\xff"),
    ({"type": "DATE", "value": "2026-11-30"}, "DATE", datetime.date(2026, 11, 30)),
    ({"type": "TIME", "value": "12:34:56.000001"}, "TIME", datetime.time(12, 34, 56, 1)),
    ({"type": "TIMESTAMP", "value": "2026-11-30T12:00:00.5"}, "TIMESTAMP", NOON),
    ({"type": "TIMESTAMP_MS", "value": "2026-11-30 12:00:00.5"}, "TIMESTAMP_MS", NOON),
    ({"type": "TIMESTAMPTZ", "value": "2026-11-30T13:00:00.5+01:00"}, "TIMESTAMP WITH TIME ZONE",
     NOON.replace(tzinfo=datetime.timezone.utc)),
    ({"type": "DATE[]", "value": ["2026-11-30", None]}, "DATE[]", [datetime.date(2026, 11, 30), None]),
    ({"type": "DECIMAL(4,2)[]", "value": ["1.25"]}, "DECIMAL(4,2)[]", [decimal.Decimal("1.25")]),
    ({"type": "INTEGER[]", "value": []}, "INTEGER[]", []),
    ({"type": "DATE", "value": None}, "DATE", None),
    ({"type": "TRACE_ID", "value": "4bf92f3577b34da6a3ce929d0e0e4736"}, "TRACE_ID", bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")),
    ({"type": "SPAN_ID", "value": "00f067aa0ba902b7"}, "SPAN_ID", bytes.fromhex("00f067aa0ba902b7"))])
def test_parameters_keep_their_types(api, parameter, sql_type, value):
    assert api.rows("SELECT ? AS v, typeof(?) AS t", [parameter, parameter]) == [{"v": value, "t": sql_type}]


def test_parameters_are_used_as_their_types_are(api):
    day = {"type": "DATE", "value": "2026-11-30"}
    assert api.rows("SELECT symbol FROM prices WHERE day = ? AND price = ? AND symbol = ANY(?)",
                    [day, {"type": "DECIMAL(10,2)", "value": "42.25"}, ["OAK", "ELM"]]) == [{"symbol": "OAK"}]
    rows = api.rows("SELECT ?::INTERVAL = INTERVAL 2 DAY AS same, ?::FLOAT[3] AS v", ["2 days", [1, 2, 3]])
    assert rows == [{"same": True, "v": [1, 2, 3]}]
    wrong = ask(api, "SELECT ?", [{"type": "TINYINT[]", "value": [1, 300]}])
    assert wrong.status_code == 400 and "params[0][1] is no TINYINT[]" in wrong.json()["error"]["message"]


def test_wrong_rows_are_named_and_none_is_added(api):
    before = api.value("SELECT count(*) FROM prices")
    good = 'symbol,day,price,small\n"A\nB",2026-01-01,1.00,1\n'
    answer = add(api, good + "C,2026-01-01,1.234,1\n" + '"D\n\nE",2026-01-01,1,300\n' + "F,2026-01-01\n", "text/csv")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["lines_wrong"]) == (400, "invalid", 3)
    assert error["lines"] == [{"line": 4, "column": "price", "message": "1.234 is no DECIMAL(10,2)"},
                              {"line": 7, "column": "small", "message": "300 is no TINYINT"},
                              {"line": 8, "column": None, "message": "the row has 2 fields, the head line 4"}]
    assert error["message"].startswith("line 4: column 'price': 1.234 is no DECIMAL(10,2); 3 rows are wrong")
    answer = add(api, '{"symbol": "G", "day": "2026-01-01"}\n{"symbol": "H", "day": "soon"}\n{"symbol": null, "day": "2026-01-01"}\n'
                 '{"symbol": "I"}\n', "application/x-ndjson")
    error = answer.json()["error"]
    assert (answer.status_code, error["lines_wrong"]) == (400, 3)
    assert [(line["line"], line["column"]) for line in error["lines"]] == [(2, "day"), (3, "symbol"), (4, "day")]
    answer = add(api, "symbol,when\nA,1\n", "text/csv")
    assert answer.json()["error"]["lines"] == [{"line": 1, "column": "when", "message": "the table has no such column"},
                                               {"line": 1, "column": "day", "message": "the column is NOT NULL and absent"}]
    assert api.value("SELECT count(*) FROM prices") == before
    assert add(api, good, "text/csv").json()["rows"] == 1


def test_many_wrong_rows_cost_little_and_are_counted_to_a_limit(api):
    document = "symbol,day,price,small\n" + "X,never,1,1\n" * 100_000
    answer = add(api, document, "text/csv")
    error = answer.json()["error"]
    assert (answer.status_code, len(error["lines"]), error["lines_wrong"]) == (400, 20, 1000)
    assert "at least 1000 rows are wrong" in error["message"]
    assert answer.elapsed.total_seconds() < 60


def test_every_answer_has_a_request_id(api):
    for method, path in (("GET", "/"), ("GET", "/metrics"), ("GET", "/healthz"), ("GET", "/nothing"), ("DELETE", "/v1/sql"),
                         ("OPTIONS", "/v1/sql"),
                         ("GET", "/v1/tables/main.prices/rows/OAK/2026-11-30"), ("GET", "/v1/snapshots"), ("POST", "/v1/tables/main.none")):
        answer = api.session.request(method, api.url(path=path), headers={"X-Request-Id": "mine-1"}, timeout=30)
        assert answer.headers["x-request-id"] == "mine-1", (method, path)
        assert len(api.session.request(method, api.url(path=path), timeout=30).headers["x-request-id"]) == 16


@pytest.mark.parametrize("method, path, status, allow", [
    ("GET", "/v1/sql", 405, "POST"), ("PUT", "/v1/tables/main.prices", 405, "POST"), ("GET", "/v1/tables/main.prices", 405, "POST"),
    ("POST", "/v1/tables/main.prices/rows/OAK/2026-11-30", 405, "GET, HEAD"), ("DELETE", "/v1/snapshots", 405, "GET, POST, HEAD"),
    ("OPTIONS", "/v1/tables/main.prices", 204, "POST"), ("HEAD", "/v1/openapi.json", 200, None),
    ("HEAD", "/v1/tables/main.prices/rows/OAK/2026-11-30", 200, None), ("POST", "/v1/nothing", 404, None)])
def test_methods(api, method, path, status, allow):
    answer = api.session.request(method, api.url(path=path), timeout=30)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    if status >= 400:
        assert answer.json()["error"]["code"] == ("not_found" if status == 404 else "invalid")
    if method == "HEAD":
        assert answer.content == b"" and int(answer.headers["content-length"]) > 0


def test_pages_of_named_origins_may_use_it_and_others_may_not(api):
    ask_first = {"Origin": "https://tool.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "content-type"}
    preflight = api.session.options(api.url(path="/v1/sql"), headers=ask_first, timeout=30)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "https://tool.example")
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "Content-Type" in preflight.headers["access-control-allow-headers"]
    allowed = ask(api, "SELECT 1", headers={"Origin": "http://localhost:3000"})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "http://localhost:3000")
    wrong = ask(api, "SELECT nothing", headers={"Origin": "http://localhost:3000"})
    assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (400, "http://localhost:3000")
    refused = ask(api, "CREATE TABLE stolen (a INT)", headers={"Origin": "https://evil.example"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied")
    assert "access-control-allow-origin" not in refused.headers
    assert api.value("SELECT count(*) FROM information_schema.tables WHERE table_name = 'stolen'") == 0


def test_no_origin_is_allowed_by_default(server):
    preflight = server.session.options(server.url(path="/v1/sql"), timeout=30,
                                       headers={"Origin": "https://tool.example", "Access-Control-Request-Method": "POST"})
    assert not [name for name in preflight.headers if name.lower().startswith("access-control")]
    assert ask(server, "SELECT 1", headers={"Origin": "https://tool.example"}).status_code == 403
    assert ask(server, "SELECT 1", headers={"Origin": server.url()}).status_code == 200, "its own page"


def test_an_answer_that_breaks_is_seen_as_broken(api):
    with requests.post(api.url(path="/v1/sql?format=csv"), data=BREAKS, stream=True, timeout=60) as answer:
        assert (answer.status_code, answer.headers["transfer-encoding"]) == (200, "chunked")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            sum(len(piece) for piece in answer.iter_content(1 << 16))
    connection = http.client.HTTPConnection(api.ports["http"], timeout=60)
    connection.request("POST", "/v1/sql?format=csv", BREAKS)
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    for flags, code in ((["--http1.1"], 18), (["--http2-prior-knowledge"], 92), (["--http1.0"], 56)):
        done = subprocess.run(["curl", "-s", "-m", "60", *flags, "-o", "/dev/null", "-w", "%{http_code}", "--data", BREAKS,
                               api.url(path="/v1/sql?format=csv")], stdout=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "200"), flags
