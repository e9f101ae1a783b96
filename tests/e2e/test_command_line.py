"""The program's commands: formats, exit codes, what they say when something is wrong."""

import csv
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet
import pytest

import otlp_samples

TRACE = bytes(range(16))


def shop_trace():
    span = otlp_samples.span
    root = span(TRACE, b"\x01" * 8, "GET /checkout", duration_ns=9_000_000)
    child = span(TRACE, b"\x02" * 8, "charge", parent=b"\x01" * 8, start_ns=otlp_samples.START_NS + 1_000_000, duration_ns=5_000_000)
    child.status.code, child.status.message = 2, "card declined"
    leaf = span(TRACE, b"\x03" * 8, "INSERT", parent=b"\x02" * 8, start_ns=otlp_samples.START_NS + 2_000_000)
    return otlp_samples.traces([leaf, child, root])


@pytest.fixture(scope="module")
def filled(program, tmp_path_factory):
    """A directory with a trace, logs and metrics in it, which no server holds."""
    from sheaf_server import Server
    folder = tmp_path_factory.mktemp("filled")
    server = Server(program, folder / "data", folder / "log").start()
    server.otlp_http("traces", shop_trace())
    server.otlp_http("logs", otlp_samples.full_logs())
    server.otlp_http("metrics", otlp_samples.full_metrics())
    server.stop()
    return folder / "data"


def sql(program, data, *arguments, **options):
    done = program.run("sql", "--data", data, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


QUERY = "SELECT name, duration_ns, span_id FROM traces ORDER BY start_time"


def test_result_formats(program, filled):
    assert "GET /checkout" in sql(program, filled, QUERY)
    table = sql(program, filled, QUERY, "--format", "table")
    assert "duration_ns" in table and "0101010101010101" in table
    rows = list(csv.reader(io.StringIO(sql(program, filled, QUERY, "--format", "csv"))))
    assert rows[0] == ["name", "duration_ns", "span_id"] and rows[1] == ["GET /checkout", "9000000", "01" * 8] and len(rows) == 4
    lines = [json.loads(line) for line in sql(program, filled, QUERY, "--format", "ndjson").splitlines()]
    assert [line["name"] for line in lines] == ["GET /checkout", "charge", "INSERT"]
    document = json.loads(sql(program, filled, QUERY, "--json"))
    assert json.dumps(document) .count("GET /checkout") == 1
    stream = program.run("sql", "--data", filled, QUERY, "--format", "arrow", text=False).stdout
    arrow = pa.ipc.open_stream(stream).read_all()
    assert arrow.column("span_id")[0].as_py() == b"\x01" * 8
    parquet = program.run("sql", "--data", filled, QUERY, "--format", "parquet", text=False).stdout
    assert pyarrow.parquet.read_table(io.BytesIO(parquet)).column("name").to_pylist() == ["GET /checkout", "charge", "INSERT"]


def test_statements_from_standard_input(program, filled):
    script = "SELECT 1 AS one; -- a comment; with a semicolon\nSELECT 'a;b' AS two"
    lines = sql(program, filled, "--format", "ndjson", input=script).splitlines()
    assert [json.loads(line) for line in lines] == [{"one": 1}, {"two": "a;b"}]


def test_same_answer_by_url(program, filled, make_server):
    local = sql(program, filled, QUERY, "--format", "csv")
    server = make_server(data=filled).start()
    done = program.run("sql", "--url", server.url(), QUERY, "--format", "csv")
    assert (done.returncode, done.stdout) == (0, local), done.stderr
    broken = program.run("sql", "--url", server.url(), "SELECT nonsense FROM traces")
    assert broken.returncode == 1 and "nonsense" in broken.stderr and not broken.stdout
    tree = program.run("trace", TRACE.hex(), "--url", server.url())
    assert tree.returncode == 0 and "3 spans" in tree.stdout, tree.stderr


@pytest.mark.parametrize("arguments,code,said", [
    ([], 2, ""),
    (["fly"], 2, ""),
    (["sql", "--format", "xml", "SELECT 1"], 2, "xml"),
    (["sql", "--data", "x", "--url", "http://y", "SELECT 1"], 2, "--url"),
    (["sql", "--data", "/nowhere/at/all", "SELECT 1"], 1, "/nowhere/at/all"),
    (["sql", "--url", "grpc://127.0.0.1:9", "SELECT 1"], 1, "127.0.0.1:9"),
    (["sql", "--url", "nonsense", "SELECT 1"], 1, "nonsense"),
    (["trace", "xyz"], 2, "32 hex digits"),
    (["inspect", "/nowhere"], 1, "/nowhere"),
    (["verify", "/nowhere"], 1, "/nowhere"),
    (["import", "x.csv"], 1, "csv"),
    (["tail", "traces"], 1, "not there yet"),
    (["snapshot", "list"], 2, "--data DIR or --url URL"),
    (["restore", "--data", "x", "--to", "y", "--time", "tomorrow"], 2, "--time takes"),
    (["cluster", "status"], 1, "not there yet"),
    (["bench", "nothing"], 2, "decode"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_exit_codes(program, arguments, code, said):
    done = program.run(*arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and done.stdout == ""


COMMANDS = ["serve", "sql", "trace", "import", "export", "demo", "inspect", "verify", "salvage", "snapshot", "backup", "restore", "bench",
            "doctor", "version"]


def test_every_command_has_help(program):
    listed = program.run("--help")
    assert listed.returncode == 0
    for command in COMMANDS:
        assert command in listed.stdout
        done = program.run(command, "--help")
        assert done.returncode == 0 and "--help" in done.stdout, command
    for planned in ("tail", "cluster"):
        assert planned in listed.stdout


def test_version_and_doctor(program, tmp_path):
    versions = json.loads(program.run("version", "--json").stdout)
    assert versions["arrow"].startswith("26.") and versions["duckdb"] == "v1.5.5" and versions["sheaf"]
    done = program.run("doctor", "--data", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    names = [finding["name"] for finding in json.loads(done.stdout)]
    assert "sync latency" in names and "free space" in names and "library libarrow" in names
    assert list(tmp_path.iterdir()) == []


def test_trace_tree(program, filled):
    done = program.run("trace", TRACE.hex().upper(), "--data", filled)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "3 spans" in lines[0] and "1 error" in lines[0] and "9.000 ms" in lines[0]
    assert "GET /checkout" in lines[1] and "└─ shop  charge" in lines[2] and "card declined" in lines[2] and "INSERT" in lines[3]
    tree = json.loads(program.run("trace", TRACE.hex(), "--data", filled, "--json").stdout)
    assert tree["roots"][0]["children"][0]["children"][0]["name"] == "INSERT"
    unknown = program.run("trace", "ff" * 16, "--data", filled)
    assert unknown.returncode == 1 and "ff" * 16 in unknown.stderr


@pytest.mark.parametrize("suffix", ["arrow", "parquet", "csv", "ndjson", "json"])
def test_export(program, filled, tmp_path, suffix):
    target = tmp_path / f"out.{suffix}"
    done = program.run("export", QUERY, "-o", target, "--data", filled)
    assert done.returncode == 0 and "3 rows" in done.stdout, done.stderr
    assert b"GET /checkout" in target.read_bytes() or suffix == "parquet"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_failed_export_leaves_nothing(program, filled, tmp_path):
    done = program.run("export", "SELECT CAST(name AS INTEGER) FROM traces", "-o", tmp_path / "out.csv", "--data", filled)
    assert done.returncode == 1 and list(tmp_path.iterdir()) == []
    assert program.run("export", "SELECT 1", "-o", tmp_path / "out.unknown", "--data", filled).returncode == 2


def test_import_into_directory_and_server(program, make_server, tmp_path):
    from test_otlp_protocol import otlp_json
    binary, document, lines = tmp_path / "t.pb", tmp_path / "l.json", tmp_path / "many.jsonl"
    binary.write_bytes(shop_trace().SerializeToString())
    document.write_bytes(otlp_json(otlp_samples.full_logs()))
    lines.write_bytes(otlp_json(otlp_samples.full_metrics()) + b"\n\n" + otlp_json(shop_trace()) + b"\n")
    data = tmp_path / "data"
    for arguments in (["--table", "traces", binary], [document], [lines]):
        done = program.run("import", "--data", data, *arguments)
        assert done.returncode == 0, done.stderr
    assert program.run("import", "--data", data, binary).returncode == 1  # Protobuf does not tell its signal.
    server = make_server(data=data).start()
    done = program.run("import", "--url", server.url("otlp-http"), document)
    assert done.returncode == 0, done.stderr
    assert (server.count("traces"), server.count("logs"), server.count("metrics_gauge")) == (6, 14, 3)
    torn = tmp_path / "torn.json"
    torn.write_text('{"resourceSpans": [')
    done = program.run("import", "--url", server.url("otlp-http"), torn)
    assert done.returncode == 1 and "torn.json" in done.stderr


def test_settings_come_from_file_environment_and_flags(program, tmp_path):
    config = tmp_path / "sheaf.toml"
    config.write_text("[server]\nport_htp = 1\n")
    done = program.run("serve", "--config", config)
    assert done.returncode in (1, 2) and "port_htp" in done.stderr and "port_http" in done.stderr
    config.write_text("[server]\nport_http = 99999\n")
    assert program.run("serve", "--config", config).returncode in (1, 2)
    done = program.run("serve", environment={"SHEAF_SERVER_PORT_HTP": "1"})
    assert done.returncode in (1, 2) and "SHEAF_SERVER_PORT_HTTP" in done.stderr
    done = program.run("serve", "--config", tmp_path / "missing.toml")
    assert done.returncode in (1, 2) and "missing.toml" in done.stderr
    done = program.run("serve", "--data", tmp_path / "d", "--bind", "0.0.0.0")
    assert done.returncode in (1, 2) and "0.0.0.0" in done.stderr
    assert program.run("serve", "--port-http", "x").returncode == 2


def test_demo_fills_every_table(program, server):
    done = program.run("demo", "--url", server.url("otlp-http"), "--rate", "0", "--spans", "3000", "--seed", "7", "--json")
    assert done.returncode == 0, done.stderr
    sent = json.loads(done.stdout)
    assert sent["rejected"] == 0
    assert server.count("traces") == sent["spans"] and server.count("logs") == sent["logs"]
    for table in ("gauge", "sum", "histogram", "exponential_histogram", "summary"):
        assert server.count(f"metrics_{table}") > 0, table
    row, = server.rows("""SELECT count(DISTINCT service_name) AS services, count(*) FILTER (status_code = 'ERROR') AS errors,
        count(*) FILTER (len(links) > 0) AS links, count(*) FILTER (len(events) > 0) AS events,
        count(DISTINCT kind) AS kinds FROM otel.traces""")
    assert row["services"] >= 8 and row["errors"] > 0 and row["links"] > 0 and row["events"] > 0 and row["kinds"] == 5
    orphans = server.value("""SELECT count(*) FROM otel.traces c
        LEFT JOIN otel.traces p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id
        WHERE c.parent_span_id IS NOT NULL AND p.span_id IS NULL""")
    assert orphans == 0
    assert server.value("SELECT count(*) FROM otel.logs l LEFT JOIN otel.traces t USING (trace_id, span_id) WHERE t.span_id IS NULL") == 0
    assert server.value("SELECT count(*) FROM otel.logs WHERE body LIKE '{%'") > 0


def test_demo_is_the_same_for_the_same_seed(program, make_server, tmp_path):
    answers = []
    for i in range(2):
        server = make_server(data=tmp_path / f"demo-{i}").start()
        program.run("demo", "--url", server.url("otlp-http"), "--rate", "0", "--spans", "500", "--seed", "3",
                    "--start", "1700000000000000000")
        answers.append(server.rows(
            "SELECT trace_id, span_id, name, epoch_ns(start_time) AS start, duration_ns FROM otel.traces ORDER BY ALL"))
        server.stop()
    assert answers[0] == answers[1] and len(answers[0]) >= 500


def test_demo_without_a_server_says_where(program):
    done = program.run("demo", "--url", "http://127.0.0.1:1", "--spans", "1", timeout=120)
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr


def test_a_directory_that_may_not_be_written_is_refused_and_left_as_it_was(program, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    sql(program, data, "CREATE TABLE t (a BIGINT PRIMARY KEY)")
    sql(program, data, "INSERT INTO t VALUES (1)")
    # Permissions mean nothing to root, unless it may not override them.
    wrapper = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    paths = [data, *data.rglob("*")]
    before = {path: (path.stat().st_mode, path.read_bytes() if path.is_file() else None) for path in paths}
    try:
        for path in paths:
            path.chmod(path.stat().st_mode & ~0o222)
        for arguments in (["sql", "--data", data, "SELECT * FROM t"], ["serve", "--data", data], ["serve", "--data", data / "new"]):
            done = program.run(*arguments, wrapper=wrapper)
            assert done.returncode != 0 and "Permission denied" in done.stderr and str(data) in done.stderr, done.stderr
    finally:
        for path in paths:
            path.chmod(before[path][0])
    assert sorted([data, *data.rglob("*")]) == sorted(paths)
    assert all(path.read_bytes() == before[path][1] for path in paths if path.is_file())
    assert "1" in sql(program, data, "SELECT * FROM t").split()
