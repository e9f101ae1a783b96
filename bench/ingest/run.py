#!/usr/bin/env python3
"""The whole path, measured from outside: a release server fed over loopback gRPC with prepared payloads.

  run.py BUILD_FOLDER [SPANS]      default 10,000,000

Prints one JSON object: spans a second and per second of server CPU (median, minimum and maximum over slices of the
run), latency of an acknowledged request beside a bare write + fdatasync of the same device (before, between and
after), many small requests at once, each by itself and joined (ingest.batch_latency_ms), peak memory, bytes a span on
disk hot and cold, and trace by id among all spans through HTTP, with the granules that it touched. The acknowledgement
comes after fdatasync; the client is another process.
"""

import http.client
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SLICES = 10
TRACES_LOOKED_UP = 200
SPANS_PER_TRACE = 10
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
MASK = (1 << 64) - 1


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def trace_id(index):
    """The id that payload.cc gives to trace `index`, as hex."""
    return ((mix(index * 2) | 1).to_bytes(8, "little") + mix(index * 2 + 1).to_bytes(8, "little")).hex()


class Server:
    def __init__(self, program, data, **environment):
        self.process = subprocess.Popen(
            [program, "serve", "--data", data, "--port-otlp-grpc", "0", "--port-otlp-http", "0", "--port-flight", "0", "--port-http", "0"],
            stdout=subprocess.PIPE, stderr=open(f"{data}.log", "a"), text=True, env={**os.environ, **environment})
        self.ports = {}
        for line in self.process.stdout:
            if line.strip() == "ready":
                break
            match = re.match(r"(\S+?):?\s.*:(\d+)", line)
            if match:
                self.ports[match[1]] = int(match[2])
        else:
            sys.exit(f"the server ended: see {data}.log")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def status(self, key):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+)", text)[1]) / 1024

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=120)

    def sql(self, text, connection=None):
        connection = connection or self.connect()
        connection.request("POST", "/v1/sql?format=ndjson", body=text)
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            sys.exit(f"{text}: {answer.status} {body}")
        return [json.loads(line) for line in body.splitlines()]

    def stop(self):
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=120) != 0:
            sys.exit("the server did not stop cleanly")
        return time.monotonic() - start


def fdatasync_ms(folder, count=200):
    """P50 of a 4 KiB write + fdatasync into a preallocated file: what the device itself takes."""
    path = pathlib.Path(folder) / "probe"
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(file, 0, 4096 * count)
    os.pwrite(file, bytes(4096 * count), 0)
    os.fsync(file)
    times = []
    for i in range(count):
        start = time.perf_counter()
        os.pwrite(file, random.randbytes(4096), 4096 * i)
        os.fdatasync(file)
        times.append((time.perf_counter() - start) * 1e3)
    os.close(file)
    path.unlink()
    return statistics.median(times)


def spread(values):
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def load(build, server, spans, first_trace, connections=4, streams=4, request=1000):
    done = subprocess.run([build / "bin" / "otlp_load", str(server.ports["otlp-grpc"]), str(spans), str(connections), str(streams),
                           str(request), str(first_trace)], stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout)
    if result["refused"]:
        sys.exit(f"refused {result['refused']} requests: {result['error']}")
    return result


def ingest(build, server, spans):
    """Feeds `spans` in slices; the server's CPU is read around each."""
    per_slice, slices = spans // SLICES, []
    for i in range(SLICES):
        cpu = server.cpu_seconds()
        result = load(build, server, per_slice, i * per_slice // SPANS_PER_TRACE)
        cpu = server.cpu_seconds() - cpu
        slices.append({**result, "cpu": cpu})
        print(f"slice {i + 1}/{SLICES}: {result['spans_per_second']:.0f} spans/s, {cpu:.2f} s CPU", file=sys.stderr, flush=True)
    return {
        "spans_per_second": spread([s["spans_per_second"] for s in slices]),
        "spans_per_server_cpu_second": spread([s["spans"] / s["cpu"] for s in slices]),
        "request_p50_ms": spread([s["p50_ms"] for s in slices]),
        "request_p99_ms": spread([s["p99_ms"] for s in slices]),
        "bytes_per_span_otlp": slices[0]["bytes_per_span"],
    }


def small_requests(build, folder):
    """Requests of few spans from many senders, to servers of their own: without joining requests, and with it."""
    figures = {}
    for name, latency_ms in (("alone", "0"), ("joined", "5")):
        for size, count in ((1, 30_000), (10, 30_000), (50, 10_000)):
            server = Server(build / "bin" / "sheaf", f"{folder}/small-{name}-{size}", SHEAF_INGEST_BATCH_LATENCY_MS=latency_ms)
            cpu = server.cpu_seconds()
            result = load(build, server, count * size, 0, connections=16, streams=16, request=size)
            cpu = server.cpu_seconds() - cpu
            figures[f"{size} spans, {name}"] = {
                "requests_per_second": round(result["requests"] / result["seconds"]),
                "p50_ms": result["p50_ms"], "p99_ms": result["p99_ms"],
                "server_cpu_us_per_request": round(cpu / result["requests"] * 1e6, 1), "peak_memory_mib": round(server.status("VmHWM"), 1)}
            server.stop()
    return figures


def look_up(server, traces):
    """Trace by id through HTTP, one connection, all columns."""
    connection, times = server.connect(), []
    chosen = random.Random(7).sample(range(traces), TRACES_LOOKED_UP)
    for index in chosen[:20]:
        server.sql(f"SELECT * FROM traces WHERE trace_id = '{trace_id(index)}'", connection)
    for index in chosen:
        start = time.perf_counter()
        rows = server.sql(f"SELECT * FROM traces WHERE trace_id = '{trace_id(index)}' ORDER BY start_time", connection)
        times.append((time.perf_counter() - start) * 1e3)
        if len(rows) != SPANS_PER_TRACE:
            sys.exit(f"trace {trace_id(index)}: {len(rows)} spans, expected {SPANS_PER_TRACE}")
    times.sort()
    plan = server.sql(f"EXPLAIN ANALYZE SELECT * FROM traces WHERE trace_id = '{trace_id(chosen[0])}'")
    text = "\n".join(str(value) for row in plan for value in row.values())
    return {"p50_ms": round(times[len(times) // 2], 3), "p99_ms": round(times[int(len(times) * 0.99)], 3),
            "max_ms": round(times[-1], 3),
            "explain": [m.strip() for m in re.findall(r"[^\n│]*(?:pruned|granules|row groups)[^\n│]*", text)]}


def disk(server, spans):
    rows = server.sql("SELECT format, count(*) AS parts, sum(rows) AS rows, sum(data_bytes) AS data, sum(index_bytes) AS idx "
                      "FROM sheaf.parts WHERE table_name = 'otel.traces' GROUP BY format")
    return {row["format"]: {"parts": row["parts"], "rows": row["rows"], "data_bytes_per_span": round(row["data"] / row["rows"], 1),
                            "index_bytes_per_span": round(row["idx"] / row["rows"], 2)} for row in rows}


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    spans = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
    with tempfile.TemporaryDirectory(prefix="sheaf-bench-") as folder:
        data = f"{folder}/data"
        device = [fdatasync_ms(folder)]
        server = Server(build / "bin" / "sheaf", data)
        result = {"spans": spans, "durable": "fdatasync before each answer", "ingest": ingest(build, server, spans)}
        result["peak_memory_mib"] = round(server.status("VmHWM"), 1)
        device.append(fdatasync_ms(folder))
        one = load(build, server, 20_000, spans, connections=1, streams=1, request=10)
        device.append(fdatasync_ms(folder))
        result["small_request"] = {"spans": 10, "p50_ms": one["p50_ms"], "p99_ms": one["p99_ms"],
                                   "device_write_fdatasync_p50_ms": spread(device)}
        result["stop_seconds"] = round(server.stop(), 2)
        result["small_requests"] = small_requests(build, folder)

        start = time.monotonic()
        server = Server(build / "bin" / "sheaf", data)
        result["open_seconds"] = round(time.monotonic() - start, 2)
        count = server.sql("SELECT count(*) AS n FROM traces")[0]["n"]
        if count != spans // SLICES // 1000 * 1000 * SLICES + 20_000:
            sys.exit(f"{count} spans after the restart")
        result["hot"] = {"disk": disk(server, spans), "trace_by_id": look_up(server, spans // SPANS_PER_TRACE)}
        server.stop()

        server = Server(build / "bin" / "sheaf", data, SHEAF_STORAGE_COLD_AFTER_MS="1")
        deadline = time.monotonic() + 900
        while any(row["format"] == "hot" for row in server.sql("SELECT format FROM sheaf.parts WHERE table_name = 'otel.traces'")):
            if time.monotonic() > deadline:
                sys.exit("parts did not become cold in 15 minutes")
            time.sleep(1)
        result["cold"] = {"disk": disk(server, spans), "trace_by_id": look_up(server, spans // SPANS_PER_TRACE)}
        server.stop()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
