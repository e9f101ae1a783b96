"""A C++ user's way: install, find_package(Sheaf), build the example outside the tree, run it."""

import os
import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SHEAF_BUILD_DIR", SOURCE / "build" / "debug"))


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return "".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith("time="))  # Without the log.


def flags_of_build():
    """The sanitizers of the build must be in the example too."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    sanitize = next((line.split("=", 1)[1] for line in cache.splitlines() if line.startswith("SHEAF_SANITIZE:")), "")
    return f"-fsanitize={sanitize}" if sanitize else ""


def test_example_builds_from_an_installed_tree_and_runs(tmp_path, make_server):
    tree, build = tmp_path / "tree", tmp_path / "build"
    run("cmake", "--install", BUILD, "--prefix", tree)
    run("cmake", "-S", SOURCE / "examples" / "cpp", "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={tree}",
        f"-DCMAKE_CXX_FLAGS={flags_of_build()}")
    run("cmake", "--build", build)
    first = run(build / "orders", tmp_path / "orders", timeout=120)
    lines = [line.strip() for line in first.splitlines()]
    assert "a second change of the same version: conflict" in first
    assert '"filled"' in lines and "250" in lines and "75" not in lines
    assert "2 orders below 3" in lines
    assert "snapshot " in first
    # The installed program opens what the example wrote.
    answer = run(tree / "bin" / "sheaf", "sql", "--data", tmp_path / "orders", "SELECT count(*) AS n FROM orders", timeout=120)
    assert "4" in answer.split()

    # Telemetry waits in a queue on disk for a server that is not there, and goes there once it is.
    server = make_server().start()
    address = f"grpc://{server.ports['otlp-grpc']}"
    server.stop()
    assert "0 records sent, 3 wait in the queue" in run(build / "telemetry", address, tmp_path / "queue", "3", "100", timeout=60)
    server.start()
    assert "5 records sent, 0 wait in the queue" in run(build / "telemetry", address, tmp_path / "queue", "2", "30000", timeout=60)
    assert server.count("logs") == 5

    # One process shares rows, another reads them from the same memory, and they are gone when nobody has them.
    name = f"orders-of-{os.getpid()}"
    publisher = subprocess.Popen([build / "shared", "publish", tmp_path / "orders", name, "SELECT id FROM orders ORDER BY id"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert f"4 rows are shared as {name}" in "".join(publisher.stdout.readline() for _ in range(1))
        read = run(build / "shared", "read", name, timeout=60)
        assert "id: int64" in read and int(read.split(" bytes of its own")[0].split()[-1]) < 10_000
    finally:
        publisher.communicate(timeout=60)
    assert publisher.returncode == 0
    gone = subprocess.run([build / "shared", "read", name], capture_output=True, text=True, timeout=60)
    assert gone.returncode == 1 and "no shared buffer of this name" in gone.stderr
