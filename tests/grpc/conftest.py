"""Fixtures for tests of the transport alone: tests/support/transport_demo.cc with echoing handlers, and certificates."""

import os
import pathlib
import signal
import socket
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class Demo:
    """A running transport_demo. Options are its command-line options, as handshake_timeout_ms=500."""

    def __init__(self, program, log, **options):
        arguments = [word for name, value in options.items() for word in ("--" + name.replace("_", "-"), str(value))]
        self.log = open(log, "ab")
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ports = {}
        for line in self.process.stdout:
            if line.strip() == "ready":
                break
            name, port = line.split()
            self.ports[name] = int(port)
        assert self.ports, f"transport_demo did not start, see {log}"

    def address(self, listener):
        return f"127.0.0.1:{self.ports[listener]}"

    def connect(self, listener, source="127.0.0.1"):
        sock = socket.create_connection(("127.0.0.1", self.ports[listener]), timeout=10, source_address=(source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def signal(self, number):
        self.process.send_signal(number)

    def resident_bytes(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """Drains, and must end cleanly (a sanitizer's report would change the exit code)."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.log.close()
        assert code == 0, f"transport_demo ended with {code}: {pathlib.Path(self.log.name).read_text()[-4000:]}"


@pytest.fixture(scope="session")
def demo_program():
    build = pathlib.Path(os.environ.get("SHEAF_BUILD_DIR") or ROOT / "build" / "debug").resolve()
    path = build / "bin" / "transport_demo"
    if not path.exists():
        pytest.fail(f"{path} is missing: build it first (./dev build debug), or set SHEAF_BUILD_DIR", pytrace=False)
    return path


@pytest.fixture
def make_demo(demo_program, tmp_path):
    demos = []

    def make(**options):
        demos.append(Demo(demo_program, tmp_path / "demo.log", **options))
        return demos[-1]

    yield make
    for demo in demos:
        demo.stop()


@pytest.fixture(scope="module")
def demo(demo_program, tmp_path_factory):
    """One server with default options for all tests of a file."""
    running = Demo(demo_program, tmp_path_factory.mktemp("demo") / "demo.log")
    yield running
    running.stop()


class Certificates:
    """A CA, a server certificate for 127.0.0.1 and a client certificate, and a client certificate of a stranger."""

    def __init__(self, folder):
        self.folder = folder
        self._authority("ca")
        self._authority("stranger-ca")
        self._issue("server", "ca")
        self._issue("client", "ca")
        self._issue("stranger", "stranger-ca")

    def path(self, name):
        return self.folder / name

    def bytes(self, name):
        return self.path(name).read_bytes()

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def _authority(self, name):
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", f"/CN={name}", "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.pem"))

    def _issue(self, name, authority):
        extensions = self.path(f"{name}.ext")
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.csr"))
        self._openssl("x509", "-req", "-in", self.path(f"{name}.csr"), "-days", "2", "-CAcreateserial", "-extfile", extensions,
                      "-CA", self.path(f"{authority}.pem"), "-CAkey", self.path(f"{authority}.key"), "-out", self.path(f"{name}.pem"))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))
