"""Runs the program under test: as a server that is started, asked, stopped and killed, or as a command."""

import os
import queue
import signal
import socket
import subprocess
import threading
import time

import grpc
import pyarrow as pa
import requests

import otlp_grpc

START_SECONDS = 60
STOP_SECONDS = 25


class Program:
    def __init__(self, path):
        self.path = path
        self.environment = dict(os.environ)
        # The whole program is left alone with what makes it slow or stop late; the C++ tests look for these.
        self.environment["ASAN_OPTIONS"] += ":detect_leaks=0:detect_stack_use_after_return=0"

    def run(self, *arguments, input=None, timeout=60, text=True, environment=None, wrapper=()):
        return subprocess.run([*wrapper, str(self.path), *map(str, arguments)], input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=None if input is not None else subprocess.DEVNULL, text=text, timeout=timeout,
                              env={**self.environment, **(environment or {})})


class Server:
    def __init__(self, program, data, log_path, arguments=(), environment=None, wrapper=()):
        self.program, self.data, self.log_path = program, data, log_path
        self.arguments, self.environment, self.wrapper = list(arguments), environment or {}, list(wrapper)
        self.ports = {}
        self.process = None
        self.session = requests.Session()

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, wait=True):
        """Starts it and waits for `ready`. A restart asks for the ports it had before, so that clients find it again."""
        flags = []
        for name in ("otlp-grpc", "otlp-http", "flight", "http"):
            address = self.ports.get(name, "127.0.0.1:0")
            flags += [f"--port-{name}", address.rsplit(":", 1)[1]]
        command = [*self.wrapper, str(self.program.path), "serve", "--data", str(self.data), *flags, *self.arguments]
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**self.program.environment, **self.environment})
        self.lines = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True).start()
        if wait:
            self.wait_ready()
        return self

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.put(line.strip())
        lines.put(None)
        stream.close()

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                line = self.lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"the server was not ready after {START_SECONDS} s\n{self.log_tail()}") from None
            if line is None:
                raise AssertionError(f"the server ended with {self.process.wait()} before it was ready\n{self.log_tail()}")
            if line == "ready":
                return
            name, _, address = line.partition(" ")
            self.ports[name] = address

    def log_tail(self, bytes_max=6000):
        self.log.flush()
        with open(self.log_path, "rb") as log:
            return log.read()[-bytes_max:].decode(errors="replace")

    def stop(self, seconds=STOP_SECONDS):
        """SIGTERM; it must drain, flush and exit with 0 in time."""
        os.kill(self.pid(), signal.SIGTERM)
        self.wait_stopped(seconds)

    def pid(self):
        """Of the server itself: some wrappers (strace) run it as a child, others (nsenter) become it."""
        pid = self.process.pid
        if not self.wrapper:
            return pid
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            return int((children.read().split() or [pid])[0])

    def resident_bytes(self, what="VmRSS"):
        """Memory of the process now; VmHWM is the most that it ever had."""
        with open(f"/proc/{self.pid()}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith(what + ":"))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid()}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid()}/fd"))

    def sanitized(self):
        """Whether this build carries AddressSanitizer, which takes two to three times the memory and time."""
        with open(f"/proc/{self.pid()}/maps") as maps:
            return any("libasan" in line for line in maps)

    def connect(self, port, source="127.0.0.1"):
        """A bare TCP connection to the port of that name."""
        host, number = self.ports[port].rsplit(":", 1)
        return socket.create_connection((host, int(number)), timeout=10, source_address=(source, 0))

    def wait_stopped(self, seconds=STOP_SECONDS):
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.kill(self.pid(), signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f"the server did not stop within {seconds} s\n{self.log_tail()}") from None
        self._forget()
        assert code == 0, f"the server exited with {code}\n{self.log_tail()}"

    def kill(self):
        """kill -9: nothing of the process runs any more when this returns."""
        os.kill(self.pid(), signal.SIGKILL)
        self.process.wait()
        self._forget()

    def _forget(self):
        self.log.close()
        self.session.close()
        self.session = requests.Session()

    def url(self, name="http", path=""):
        return f"http://{self.ports[name]}{path}"

    def sql(self, text, parameters=None):
        """The result as an Arrow table."""
        headers = {"Accept": "application/vnd.apache.arrow.stream"}
        if parameters is None:
            response = self.session.post(self.url(path="/v1/sql"), data=text.encode(), headers=headers, timeout=60)
        else:
            response = self.session.post(self.url(path="/v1/sql"), json={"sql": text, "params": parameters}, headers=headers, timeout=60)
        assert response.status_code == 200, f"{response.status_code} {response.text[:1000]} for {text}"
        with pa.ipc.open_stream(response.content) as reader:
            return reader.read_all()

    def rows(self, text, parameters=None):
        return self.sql(text, parameters).to_pylist()

    def value(self, text):
        """The only value of the result."""
        return self.sql(text).column(0)[0].as_py()

    def count(self, table, where="true"):
        return self.value(f"SELECT count(*) FROM otel.{table} WHERE {where}")

    def otlp(self, signal_name, body, content_type="application/x-protobuf", encoding=None, **options):
        headers = {"Content-Type": content_type}
        if encoding:
            headers["Content-Encoding"] = encoding
        return self.session.post(self.url("otlp-http", f"/v1/{signal_name}"), data=body, headers=headers, timeout=60, **options)

    def otlp_http(self, signal_name, request):
        """Sends a message and returns the answer; it must have been taken whole."""
        response = self.otlp(signal_name, request.SerializeToString())
        assert response.status_code == 200, response.content
        answer = otlp_grpc.response_of(signal_name).FromString(response.content)
        assert not answer.partial_success.error_message and answer == type(answer)(), answer
        return answer

    def otlp_grpc(self, signal_name, request, **options):
        with self.channel() as channel:
            answer = otlp_grpc.stub(channel, signal_name).Export(request, timeout=30, **options)
        assert answer == type(answer)(), answer
        return answer

    def channel(self):
        return grpc.insecure_channel(self.ports["otlp-grpc"])

    def metric(self, name):
        """The value of a metric of /metrics, summed over its labels."""
        text = self.session.get(self.url(path="/metrics"), timeout=30).text
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                  if line.startswith(name) and line[len(name)] in " {"]
        assert values, f"{name} is not among the metrics"
        return sum(values)
