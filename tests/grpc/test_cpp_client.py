"""The gRPC port against libgrpc++, the reference implementation: tests/grpc/cpp_client says what it sends."""

import subprocess

import pytest

import otlp_rows
import otlp_samples

CONCURRENT_CALLS = 500  # kConcurrentCalls


def libraries_of(program):
    """Whatever the loader would load for it, indirectly too."""
    return subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="session")
def client_program(program):
    path = program.path.parent / "grpc_cpp_client"
    if not path.exists():
        pytest.fail(f"{path} is missing: build it first (./dev build debug), or set SHEAF_BUILD_DIR", pytrace=False)
    return path


@pytest.fixture
def run_client(client_program, program):
    def run(*arguments):
        done = subprocess.run([client_program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=200, env=program.environment)
        assert done.returncode == 0, done.stdout
        assert "ok  " in done.stdout
    return run


def test_program_and_client_share_no_library(program, client_program):
    """Arrow's wheel holds a gRPC of its own, and the program's is not libgrpc++: neither may get into the other."""
    assert "libgrpc++" not in libraries_of(program.path)
    assert "libarrow" in libraries_of(program.path)
    assert "libarrow" not in libraries_of(client_program)
    assert "libgrpc++" in libraries_of(client_program)


def test_messages_deadlines_and_statuses(demo, run_client):
    run_client("echo", demo.address("grpc"))


def test_messages_deadlines_and_statuses_over_tls(make_demo, certificates, run_client):
    demo = make_demo(tls_cert=certificates.path("server.pem"), tls_key=certificates.path("server.key"))
    run_client("echo", demo.address("grpc"), certificates.path("ca.pem"))


def test_every_field_of_an_export_arrives(server, run_client, tmp_path):
    for name, request in (("traces", otlp_samples.full_traces()), ("logs", otlp_samples.full_logs()),
                          ("metrics", otlp_samples.full_metrics())):
        (tmp_path / f"{name}.pb").write_bytes(request.SerializeToString())
    run_client("export", server.ports["otlp-grpc"], tmp_path)
    otlp_rows.check_full(server, times=2)  # As it is, and in gzip.


def test_many_calls_share_one_connection(server, run_client):
    run_client("concurrent", server.ports["otlp-grpc"])
    names = [row["name"] for row in server.rows("SELECT name FROM otel.traces")]
    assert sorted(names) == sorted(f"concurrent {i}" for i in range(CONCURRENT_CALLS))
    assert server.metric('sheaf_transport_connections_total{listener="otlp_grpc"}') == 1


def test_refusals_say_whether_to_try_again_and_good_spans_are_kept(make_server, run_client):
    server = make_server(environment={"SHEAF_LIMITS_MESSAGE_BYTES": "1MiB"}).start()
    run_client("refusals", server.ports["otlp-grpc"])
    assert [row["name"] for row in server.rows("SELECT name FROM otel.traces")] == ["kept", "kept"]
