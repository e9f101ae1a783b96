"""Who may do what: each protocol by each role by each verb, credentials that do not count, and SQL that tries to get out."""

import base64
import contextlib
import json
import pathlib
import re
import socket
import ssl
import stat
import subprocess
import time
import uuid

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import grpc
import pyarrow as pa
import pyarrow.flight as flight
import pytest

import otlp_grpc
import otlp_samples

PASSWORDS = {"rita": "reader's password", "walter": "writer's password", "ada": "admin's password"}
ROLES = {"rita": "reader", "walter": "writer", "ada": "admin"}
ARROW_TRACES = "/opentelemetry.proto.experimental.arrow.v1.ArrowTracesService/ArrowTraces"


def user(program, data, *arguments, input=None):
    done = program.run("user", *arguments, "--data", data, "--json", input=input)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def basic(name, password=None):
    return "Basic " + base64.b64encode(f"{name}:{password if password is not None else PASSWORDS[name]}".encode()).decode()


@pytest.fixture
def guarded(program, make_server, tmp_path):
    """A server with a user of each role; `guarded.tokens` has a token of each."""
    data = tmp_path / "data"
    tokens = {}
    for name, role in ROLES.items():
        user(program, data, "add", name, "--role", role, "--password-stdin", input=PASSWORDS[name] + "\n")
        tokens[name] = user(program, data, "token", name, "--name", "tests")["token"]
    assert stat.S_IMODE((data / "USERS").stat().st_mode) == 0o600
    server = make_server(data)
    server.tokens = tokens
    return server.start()


def spans():
    return otlp_samples.traces([otlp_samples.span(b"\x11" * 16, b"\x01" * 8)])


def sql(server, authorization, text):
    headers = {"Authorization": authorization} if authorization else {}
    return server.session.post(server.url(path="/v1/sql"), data=text.encode(), headers=headers, timeout=60)


def http(method, path, body=b"", port="http", media="text/plain"):
    def ask(server, authorization):
        headers = {"Content-Type": media, **({"Authorization": authorization} if authorization else {})}
        answer = server.session.request(method, server.url(port, path), data=body, headers=headers, timeout=60)
        if answer.status_code == 401:
            assert "Basic" in answer.headers["WWW-Authenticate"] and "Bearer" in answer.headers["WWW-Authenticate"]
        return {200: "allowed", 401: "unauthenticated", 403: "denied"}.get(answer.status_code) or f"{answer.status_code} {answer.text}"
    return ask


def statement(text):
    return http("POST", "/v1/sql", text.encode())


def by_grpc(call):
    def ask(server, authorization):
        metadata = (("authorization", authorization),) if authorization else ()
        try:
            with server.channel() as channel:
                call(channel, metadata)
        except grpc.RpcError as error:
            names = {grpc.StatusCode.UNAUTHENTICATED: "unauthenticated", grpc.StatusCode.PERMISSION_DENIED: "denied"}
            return names.get(error.code()) or f"{error.code()} {error.details()}"
        return "allowed"
    return ask


def flight_uri(server):
    return "grpc://" + server.ports["flight"]


def as_user(authorization):
    return flight.FlightCallOptions(timeout=60, headers=[(b"authorization", authorization.encode())] if authorization else [])


def by_flight(call):
    def ask(server, authorization):
        with flight.connect(flight_uri(server)) as client:
            try:
                call(client, as_user(authorization))
            except flight.FlightUnauthenticatedError:
                return "unauthenticated"
            except flight.FlightUnauthorizedError:
                return "denied"
            except (pa.ArrowException, flight.FlightError) as error:
                return str(error)
        return "allowed"
    return ask


def get(ticket):
    return by_flight(lambda client, options: client.do_get(flight.Ticket(ticket), options).read_all())


def plan(sql):
    return by_flight(lambda client, options: client.get_flight_info(flight.FlightDescriptor.for_command(sql), options))


def plan_path(*path):
    return by_flight(lambda client, options: client.get_flight_info(flight.FlightDescriptor.for_path(*path), options))


def act(name):
    return by_flight(lambda client, options: list(client.do_action(name, options)))


def snapshot(server, authorization):
    """With a name of its own: of two in a second that hold the same, the second would be there already."""
    return http("POST", "/v1/snapshots", json.dumps({"id": uuid.uuid4().hex}).encode())(server, authorization)


def flight_snapshot(server, authorization):
    return act((b"snapshot", uuid.uuid4().hex.encode()))(server, authorization)


def put(client, options):
    batch = pa.record_batch({"k": pa.array([80]), "v": pa.array(["x"])})
    writer, answers = client.do_put(flight.FlightDescriptor.for_path("main", "t"), batch.schema, options)
    with writer:
        writer.write_batch(batch)
        writer.done_writing()
        assert json.loads(answers.read().to_pybytes())["rows"] == 1


def export(channel, metadata):
    otlp_grpc.stub(channel, "traces").Export(spans(), metadata=metadata, timeout=30)


def arrow_stream(channel, metadata):
    call = channel.stream_stream(ARROW_TRACES, request_serializer=None, response_deserializer=None)
    assert len(list(call(iter([b""]), metadata=metadata, timeout=30))) == 1


def health(channel, metadata):
    channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=None, response_deserializer=None)(b"", metadata=metadata,
                                                                                                           timeout=30)


OPEN, READ, WRITE, ADMIN = ("nobody", "rita", "walter", "ada"), ("rita", "walter", "ada"), ("walter", "ada"), ("ada",)
VERBS = {
    "health": (http("GET", "/healthz"), OPEN), "ready": (http("GET", "/readyz"), OPEN), "page": (http("GET", "/"), OPEN),
    "grpc health": (by_grpc(health), OPEN),
    "metrics": (http("GET", "/metrics"), READ),
    "select": (statement("SELECT 1"), READ), "show": (statement("SHOW TABLES"), READ), "views": (statement("SHOW VIEWS"), READ),
    "describe": (statement("DESCRIBE otel.traces"), READ), "explain": (statement("EXPLAIN SELECT * FROM traces"), READ),
    "row": (http("GET", "/v1/tables/main.t/rows/1"), READ),
    "otlp http": (http("POST", "/v1/traces", spans().SerializeToString(), "otlp-http", "application/x-protobuf"), WRITE),
    "otlp grpc": (by_grpc(export), WRITE), "otap": (by_grpc(arrow_stream), WRITE),
    "rows": (http("POST", "/v1/tables/main.t", b'{"k": 9, "v": "x"}\n', media="application/x-ndjson"), WRITE),
    "insert": (statement("INSERT INTO t VALUES (5, 'five')"), WRITE), "update": (statement("UPDATE t SET v = 'y' WHERE k = 5"), WRITE),
    "delete": (statement("DELETE FROM t WHERE k = 5"), WRITE),
    "merge": (statement("MERGE INTO t USING (SELECT 6 AS k, 'six' AS v) AS s ON t.k = s.k WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.v)"),
              WRITE),
    "explain a write": (statement("EXPLAIN INSERT INTO t VALUES (7, 'seven')"), WRITE),
    "run a write": (statement("EXPLAIN ANALYZE INSERT INTO t VALUES (8, 'eight')"), WRITE),
    "create": (statement("CREATE TABLE IF NOT EXISTS u (k BIGINT PRIMARY KEY)"), ADMIN),
    "create as": (statement("CREATE OR REPLACE TABLE w AS SELECT 1 AS one"), ADMIN),
    "alter": (statement("ALTER TABLE t ADD COLUMN IF NOT EXISTS more BIGINT"), ADMIN),
    "view": (statement("CREATE OR REPLACE VIEW seen AS SELECT * FROM t"), ADMIN),
    "macro": (statement("CREATE OR REPLACE MACRO twice(x) AS 2 * x"), ADMIN),
    "live view": (statement("CREATE OR REPLACE MATERIALIZED VIEW counted AS SELECT v, count(*) AS n FROM t GROUP BY v"), ADMIN),
    "drop": (statement("DROP TABLE IF EXISTS u"), ADMIN),
    "parts": (statement("SELECT * FROM sheaf.parts"), ADMIN), "queries": (statement("SELECT sql FROM sheaf.queries"), ADMIN),
    "settings in a sub-query": (statement("SELECT (SELECT count(*) FROM sheaf.settings)"), ADMIN),
    "memory in a WITH": (statement("WITH m AS MATERIALIZED (SELECT * FROM sheaf.memory) SELECT count(*) FROM m"), ADMIN),
    "queries by a view": (statement("SELECT * FROM spying"), ADMIN), "queries by a macro": (statement("SELECT * FROM spy()"), ADMIN),
    "copied queries": (statement("INSERT INTO t (k, v) SELECT id, sql FROM sheaf.queries ON CONFLICT DO NOTHING"), ADMIN),
    "flight select": (get("SELECT 1"), READ), "flight table": (get("main.t"), READ), "flight plan": (plan("SELECT v FROM t"), READ),
    "flight path": (plan_path("main", "t"), READ),
    "flight list": (by_flight(lambda client, options: list(client.list_flights(options=options))), READ),
    "flight actions": (by_flight(lambda client, options: client.list_actions(options)), READ), "flight health": (act("health"), READ),
    "flight put": (by_flight(put), WRITE), "flight insert": (plan("INSERT INTO t (k, v) VALUES (81, 'y')"), WRITE),
    "flight delete": (get("DELETE FROM t WHERE k = 81"), WRITE),
    "flight create": (plan("CREATE TABLE IF NOT EXISTS u (k BIGINT PRIMARY KEY)"), ADMIN),
    "flight drop": (plan("DROP TABLE IF EXISTS u"), ADMIN),
    "flight parts": (get("SELECT * FROM sheaf.parts"), ADMIN), "flight queries by a view": (get("SELECT * FROM spying"), ADMIN),
    "flight flush": (act("flush"), ADMIN), "flight snapshot": (flight_snapshot, ADMIN),
    "snapshots": (http("GET", "/v1/snapshots"), ADMIN), "snapshot": (snapshot, ADMIN),
}


def test_each_verb_is_for_the_roles_it_is_for(guarded):
    for text in ("CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR)", "INSERT INTO t VALUES (1, 'one')",
                 "CREATE VIEW spying AS SELECT sql FROM sheaf.queries", "CREATE MACRO spy() AS TABLE SELECT sql FROM sheaf.queries"):
        assert sql(guarded, basic("ada"), text).status_code == 200, text
    wrong = []
    for verb, (ask, may) in VERBS.items():
        for who in ("nobody", *ROLES):
            for authorization in ([None] if who == "nobody" else [basic(who), "Bearer " + guarded.tokens[who]]):
                expected = "allowed" if who in may else "unauthenticated" if who == "nobody" else "denied"
                got = ask(guarded, authorization)
                if got != expected:
                    wrong.append((verb, who, (authorization or "")[:6], got))
    assert not wrong, wrong
    log = guarded.log_tail(1 << 20)
    assert "event=audit.denied user=rita" in log and "event=audit.defined user=ada" in log
    for secret in [*PASSWORDS.values(), *guarded.tokens.values(), basic("ada")[6:]]:
        assert secret not in log


ESCAPES = [
    "COPY t TO '/tmp/sheaf-escape.csv'", "COPY t FROM '/etc/passwd'", "ATTACH '/tmp/x.db'", "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "INSTALL httpfs", "LOAD httpfs", "SET threads = 1",
    "RESET threads", "PRAGMA memory_limit='1GB'", "PRAGMA database_list", "SELECT getenv('HOME')", "SELECT current_setting('threads')",
    "SELECT 1; DROP TABLE t", "SELECT 1; SELECT 2", "EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1",
    "CREATE MACRO f() AS getenv('HOME')", "CREATE TEMP TABLE x (i BIGINT)", "CREATE VIEW x AS SELECT 1", "CALL pragma_version()",
    "PREPARE p AS DELETE FROM t", "EXECUTE p", "BEGIN", "CHECKPOINT", "VACUUM", "EXPORT DATABASE '/tmp/x'", "USE memory",
    "DROP VIEW metrics",
    "REFRESH MATERIALIZED VIEW counted", "DROP MATERIALIZED VIEW counted", "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
    "SELECT * FROM query('DELETE FROM t')", "SELECT * FROM duckdb_settings()", "SELECT * FROM duckdb_secrets()",
]


def test_a_readers_sql_cannot_get_out(guarded):
    assert sql(guarded, basic("ada"), "CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR)").status_code == 200
    assert sql(guarded, basic("ada"), "INSERT INTO t VALUES (1, 'one')").status_code == 200
    for text in ESCAPES:
        answer = sql(guarded, basic("rita"), text)
        assert answer.status_code in (400, 403), (text, answer.status_code, answer.text)
        assert "root:" not in answer.text, text
    assert sql(guarded, basic("rita"), "SELECT v FROM t").json() == sql(guarded, basic("ada"), "SELECT v FROM t").json()
    assert "one" in sql(guarded, basic("rita"), "SELECT v FROM t").text


def test_wrong_expired_and_revoked_credentials(program, guarded):
    brief = user(program, guarded.data, "token", "rita", "--expires", "2s")
    token = user(program, guarded.data, "token", "rita")
    deadline = time.monotonic() + 30

    def until(authorization, status):
        while (answer := sql(guarded, authorization, "SELECT 1")).status_code != status:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)

    until("Bearer " + token["token"], 200)  # The server sees it without a restart.
    until("Bearer " + brief["token"], 401)
    user(program, guarded.data, "revoke", "rita", token["id"])
    until("Bearer " + token["token"], 401)
    assert token["id"] not in [row["id"] for row in user(program, guarded.data, "tokens", "rita")]
    assert sql(guarded, basic("rita"), "INSERT INTO memory.records BY NAME SELECT 'a' AS category, 'b' AS memory_id").status_code == 403
    user(program, guarded.data, "role", "rita", "--role", "writer")
    until(basic("rita"), 200)
    user(program, guarded.data, "password", "rita", "--password-stdin", input="another password\n")
    until(basic("rita"), 401)
    until(basic("rita", "another password"), 200)
    user(program, guarded.data, "remove", "rita")
    until(basic("rita", "another password"), 401)
    for authorization in (basic("eve", "x"), basic("ada", "x"), "Bearer x", "Digest x", "Basic ="):
        answer = sql(guarded, authorization, "SELECT 1")
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "unauthenticated", answer.text
    assert "event=audit.login_failed" in guarded.log_tail(1 << 20)


def test_strangers_cannot_take_the_memory_of_users(program, guarded):
    """Bodies are taken in before a password is checked, but only so many: an eighth of 512 MiB."""
    token = user(program, guarded.data, "token", "ada")["token"]
    head = ("POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\nAuthorization: " + basic("eve", "guess") + "\r\n\r\n").encode()
    with contextlib.ExitStack() as stack:
        refused = b""
        for _ in range(3):
            sock = stack.enter_context(guarded.connect("http"))
            sock.settimeout(20)
            with contextlib.suppress(OSError):  # It may be closed while we send.
                sock.sendall(head + b" " * (30 << 20))
        with contextlib.suppress(OSError):
            refused = sock.recv(1 << 16)
        assert refused.startswith(b"HTTP/1.1 503") and b"yet to be checked" in refused, refused
        large = "SELECT length('" + "x" * 900_000 + "') AS n"
        deadline = time.monotonic() + 30
        while (answer := sql(guarded, "Bearer " + token, large)).status_code == 401:
            assert time.monotonic() < deadline  # The server has not seen the token yet.
            time.sleep(0.05)
        assert answer.status_code == 200, answer.text


SCHEMAS = {  # What each protocol does in which schema, and what that takes there.
    "select": ("main", "reader", statement("SELECT v FROM main.t")),
    "select traces": ("otel", "reader", statement("SELECT name FROM traces")),
    "describe": ("main", "reader", statement("DESCRIBE main.t")), "row": ("main", "reader", http("GET", "/v1/tables/main.t/rows/1")),
    "view": ("otel", "reader", statement("SELECT * FROM metrics")),
    "find": ("otel", "reader", statement("FROM find_trace('" + "11" * 16 + "')")),
    "flight table": ("main", "reader", get("main.t")), "flight traces": ("otel", "reader", get("otel.traces")),
    "insert": ("main", "writer", statement("INSERT INTO main.t (k, v) VALUES (5, 'five') ON CONFLICT DO NOTHING")),
    "rows": ("main", "writer", http("POST", "/v1/tables/main.t", b'{"k": 9, "v": "x"}\n', media="application/x-ndjson")),
    "flight put": ("main", "writer", by_flight(put)),
    "otlp http": ("otel", "writer", http("POST", "/v1/traces", spans().SerializeToString(), "otlp-http", "application/x-protobuf")),
    "otlp grpc": ("otel", "writer", by_grpc(export)), "otap": ("otel", "writer", by_grpc(arrow_stream)),
    "create": ("main", "admin", statement("CREATE TABLE IF NOT EXISTS main.u (k BIGINT PRIMARY KEY)")),
    "flight create": ("main", "admin", plan("CREATE TABLE IF NOT EXISTS main.u (k BIGINT PRIMARY KEY)")),
    "live view": ("*", "admin", statement("CREATE OR REPLACE MATERIALIZED VIEW main.n AS SELECT v, count(*) AS n FROM main.t GROUP BY v")),
    "metrics": ("*", "reader", http("GET", "/metrics")), "parts": ("*", "admin", statement("SELECT * FROM sheaf.parts")),
    "snapshot": ("*", "admin", snapshot), "flush": ("*", "admin", act("flush")),
}


def may(roles, schema, least):
    order = ("reader", "writer", "admin")
    held = [role.partition(":")[::2] for role in roles.split(",")]
    return any((not where or where == schema) and order.index(role) >= order.index(least) for role, where in held)


def test_a_role_in_a_schema_holds_there_only(program, guarded):
    assert sql(guarded, basic("ada"), "CREATE TABLE main.t (k BIGINT PRIMARY KEY, v VARCHAR)").status_code == 200
    assert sql(guarded, basic("ada"), "INSERT INTO main.t VALUES (1, 'one')").status_code == 200
    everybody = ("reader:main", "reader:otel", "writer:otel", "writer:main,reader:otel", "admin:main", "reader,writer:main")
    tokens = {}
    for i, roles in enumerate(everybody):
        user(program, guarded.data, "add", f"user{i}", "--role", roles)
        tokens[roles] = "Bearer " + user(program, guarded.data, "token", f"user{i}")["token"]
    deadline = time.monotonic() + 30
    while sql(guarded, tokens[everybody[-1]], "SELECT 1").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    wrong = []
    for verb, (schema, least, ask) in SCHEMAS.items():
        for roles in everybody:
            expected, got = "allowed" if may(roles, schema, least) else "denied", ask(guarded, tokens[roles])
            if got != expected:
                wrong.append((verb, roles, expected, got))
    assert not wrong, wrong
    with flight.connect(flight_uri(guarded)) as client:
        listed = [info.descriptor.path for info in client.list_flights(options=as_user(tokens["reader:main"]))]
    assert [b"main", b"t"] in listed and all(path[0] == b"main" for path in listed), listed
    shown = sql(guarded, tokens["reader:main"], "SELECT DISTINCT table_schema AS s FROM information_schema.tables").json()
    assert "otel" not in json.dumps(shown) and "main" in json.dumps(shown), shown
    for roles in ("owner", "reader:sheaf", "reader:nowhere", "writer,reader:main", "reader:main,writer:main"):
        refused = program.run("user", "add", "eve", "--role", roles, "--data", guarded.data)
        assert refused.returncode == 2, (roles, refused.stderr)


def connect_by_adbc(server, **options):
    return flight_sql.connect(flight_uri(server), db_kwargs=options, autocommit=True)


def test_drivers_log_in_by_name_and_password_or_by_token(program, guarded):
    assert sql(guarded, basic("ada"), "CREATE TABLE main.t (k BIGINT PRIMARY KEY, v VARCHAR)").status_code == 200
    for options in ({"username": "walter", "password": PASSWORDS["walter"]},
                    {"adbc.flight.sql.authorization_header": "Bearer " + guarded.tokens["walter"]}):
        with connect_by_adbc(guarded, **options) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("t", pa.table({"k": [1, 2], "v": ["one", "two"]}), mode="append")
            cursor.execute("SELECT v FROM t WHERE k = ?", [2])
            assert cursor.fetchone() == ("two",)
            assert "t" in json.dumps(connection.adbc_get_objects().read_all().to_pylist())
            for refused in ("CREATE TABLE x (k BIGINT)", "SELECT * FROM sheaf.queries"):
                with pytest.raises(adbc_driver_manager.Error, match="walter has the role writer"):
                    cursor.execute(refused)
            with pytest.raises(adbc_driver_manager.Error, match="walter has the role writer"):
                cursor.adbc_ingest("made", pa.table({"k": [1]}), mode="create")
    for options in ({"username": "walter", "password": "wrong"}, {}):
        with pytest.raises(adbc_driver_manager.Error) as caught:
            with connect_by_adbc(guarded, **options) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        assert caught.value.status_code == adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED, caught.value


def test_a_handshake_gives_a_session_that_ends_with_its_user(program, guarded):
    with flight.connect(flight_uri(guarded)) as client:
        name, bearer = client.authenticate_basic_token(b"rita", PASSWORDS["rita"].encode())
        assert name == b"authorization" and bearer.startswith(b"Bearer sheaf_")
        with pytest.raises(flight.FlightUnauthenticatedError):
            client.authenticate_basic_token(b"rita", b"a guess")
    assert get("SELECT 1")(guarded, bearer.decode()) == "allowed" and sql(guarded, bearer.decode(), "SELECT 1").status_code == 200
    assert plan("CREATE TABLE x (k BIGINT)")(guarded, bearer.decode()) == "denied"
    user(program, guarded.data, "password", "rita", "--password-stdin", input="another password\n")
    deadline = time.monotonic() + 30
    while (got := get("SELECT 1")(guarded, bearer.decode())) != "unauthenticated":
        assert got == "allowed" and time.monotonic() < deadline, got
        time.sleep(0.05)
    assert bearer.decode() not in guarded.log_tail(1 << 20)


def test_the_example_of_the_documentation(guarded, monkeypatch):
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 1
    monkeypatch.setenv("SHEAF_PASSWORD", PASSWORDS["ada"])
    exec(compile(examples[0].replace("127.0.0.1:8815", guarded.ports["flight"]), "docs/security.md", "exec"), {})


def test_tickets_are_for_whoever_asked_for_them(guarded):
    rita, walter = (as_user("Bearer " + guarded.tokens[name]) for name in ("rita", "walter"))
    with flight.connect(flight_uri(guarded)) as client:
        ticket = client.get_flight_info(flight.FlightDescriptor.for_command("SELECT 41 + 1 AS n"), rita).endpoints[0].ticket
        with pytest.raises(pa.ArrowException, match="no such ticket"):
            client.do_get(ticket, walter).read_all()
        assert client.do_get(ticket, rita).read_all().to_pylist() == [{"n": 42}]


def test_who_guesses_is_held_up_and_others_are_not(guarded):
    codes = [sql(guarded, basic("ada", f"guess {i}"), "SELECT 1").status_code for i in range(20)]
    assert codes[0] == 401 and codes[-1] == 429, codes
    assert sql(guarded, "Bearer " + guarded.tokens["ada"], "SELECT 1").status_code == 200


def test_a_users_requests_are_limited(program, make_server, tmp_path):
    data = tmp_path / "data"
    user(program, data, "add", "rita", "--role", "writer")
    token = "Bearer " + user(program, data, "token", "rita", "--expires", "never")["token"]
    server = make_server(data, environment={"SHEAF_ACCESS_USER_REQUESTS_PER_SECOND": "3"}).start()
    answers = [sql(server, token, "SELECT 1") for _ in range(60)]
    assert answers[0].status_code == 200
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "throttled" and "Retry-After" in refused.headers
    with server.channel() as channel, pytest.raises(grpc.RpcError) as error:
        for _ in range(60):
            export(channel, (("authorization", token),))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_commands_bring_credentials_from_the_environment(program, guarded, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(PASSWORDS["rita"] + "\n")
    ask = ("sql", "--url", guarded.url(), "--format", "csv")
    for arguments, variables in ((("--user", "rita"), {"SHEAF_PASSWORD": PASSWORDS["rita"]}),
                                 ((), {"SHEAF_USER": "rita", "SHEAF_PASSWORD_FILE": str(secret)}),
                                 ((), {"SHEAF_TOKEN": guarded.tokens["rita"]})):
        done = program.run(*ask, *arguments, "SELECT 41 + 1 AS n", environment=variables)
        assert done.returncode == 0 and "42" in done.stdout, done.stderr
    assert program.run(*ask, "SELECT 1").returncode == 1
    assert program.run("snapshot", "create", "--url", guarded.url(), environment={"SHEAF_TOKEN": guarded.tokens["ada"]}).returncode == 0
    assert program.run("snapshot", "create", "--url", guarded.url(), environment={"SHEAF_TOKEN": guarded.tokens["rita"]}).returncode == 1


def test_a_damaged_file_of_users_stops_the_start(program, guarded):
    users = guarded.data / "USERS"
    whole = users.read_bytes()
    users.write_bytes(whole.replace(b"reader", b"admin"))
    deadline = time.monotonic() + 30
    while "event=access.users_not_read" not in guarded.log_tail(1 << 20):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sql(guarded, basic("rita"), "SELECT * FROM sheaf.parts").status_code == 403
    assert sql(guarded, None, "SELECT 1").status_code == 401
    guarded.stop()
    refused = program.run("serve", "--data", guarded.data, "--port-http", 0)
    assert refused.returncode == 1 and "damaged" in refused.stderr and "USERS" in refused.stderr


def test_public_addresses_need_users_and_tls(program, tmp_path):
    data = tmp_path / "data"
    serve = ("serve", "--data", data, "--bind", "0.0.0.0", "--port-http", 0, "--port-otlp-http", 0, "--port-otlp-grpc", 0)
    alone = program.run(*serve)
    assert alone.returncode == 1 and "sheaf user add" in alone.stderr
    user(program, data, "add", "ada", "--role", "admin", "--password-stdin", input=PASSWORDS["ada"])
    cleartext = program.run(*serve)
    assert cleartext.returncode == 1 and "TLS" in cleartext.stderr


def make_certificate(folder, name, days=2):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days),
                    "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True, capture_output=True)
    return folder / f"{name}.pem", folder / f"{name}.key"


def greet(server, port, context):
    """The certificate that the port shows."""
    with socket.create_connection(server.ports[port].rsplit(":", 1), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            assert secure.version() in ("TLSv1.2", "TLSv1.3")
            secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            secure.recv(1)  # With TLS 1.3 a client is told here that its certificate was refused.
            return secure.getpeercert(binary_form=True)


def client_context(**versions):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # So that it is the server that refuses.
    for name, version in versions.items():
        setattr(context, name, version)
    return context


def der(certificate):
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


PORTS = ("otlp-grpc", "otlp-http", "flight", "http")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_before_1_2_is_refused_on_every_port(make_server, tmp_path):
    certificate, key = make_certificate(tmp_path, "first")
    server = make_server(environment={"SHEAF_TLS_CERTIFICATE": str(certificate), "SHEAF_TLS_KEY": str(key)}).start()
    for port in PORTS:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context(minimum_version=version, maximum_version=version)
            context.set_alpn_protocols(["http/1.1"])
            assert greet(server, port, context) == der(certificate)
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with pytest.raises(ssl.SSLError, match="(?i)protocol|alert"):
                greet(server, port, client_context(minimum_version=version, maximum_version=version))
        with server.connect(port) as plain:
            plain.settimeout(30)
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(1000)


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(make_server, tmp_path):
    certificate, key = make_certificate(tmp_path, "first")
    server = make_server(environment={"SHEAF_TLS_CERTIFICATE": str(certificate), "SHEAF_TLS_KEY": str(key)}).start()
    first, (second, second_key) = der(certificate), make_certificate(tmp_path, "second")
    assert greet(server, "flight", client_context()) == first
    certificate.write_bytes(second.read_bytes())  # Without its key yet.
    deadline = time.monotonic() + 60
    while "event=tls.certificate_not_loaded" not in server.log_tail(1 << 20):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert greet(server, "flight", client_context()) == first
    key.write_bytes(second_key.read_bytes())
    while greet(server, "flight", client_context()) != der(second):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert all(greet(server, port, client_context()) == der(second) for port in PORTS)


def test_with_a_client_ca_strangers_are_refused(make_server, tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    friend, friend_key = make_certificate(tmp_path, "friend")
    stranger, stranger_key = make_certificate(tmp_path, "stranger")
    server = make_server(environment={"SHEAF_TLS_CERTIFICATE": str(certificate), "SHEAF_TLS_KEY": str(key),
                                      "SHEAF_TLS_CLIENT_CA": str(friend)}).start()
    known = client_context()
    known.load_cert_chain(friend, friend_key)
    unknown = client_context()
    unknown.load_cert_chain(stranger, stranger_key)
    for port in PORTS:
        assert greet(server, port, known) == der(certificate)
        for context in (unknown, client_context()):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                greet(server, port, context)
