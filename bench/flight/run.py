#!/usr/bin/env python3
"""Flight of a release server beside a bare Flight server, from the same client (pyarrow.flight: Arrow's C++ client).

  run.py BUILD_FOLDER [ROUNDS]      default 5

The bare server (bare_server.py, Arrow's own C++ server) only sends batches that it has made before, and answers those that it takes
without looking at them: nothing is planned, read, checked or written. Both run in turns, each in a process of its own, with the client
in a third; all three share the machine's processors, so that each figure comes with the processor time of its server. Rows are spans as
otel.traces has them (sent by DoPut to a table of the user's own, since that one takes rows as OTLP only), and of four plain columns.

Prints one JSON object: DoGet and DoPut (each batch acknowledged once it is on disk) in MB/s of Arrow data; requests a second with
batches of 1,000 spans; time to the first batch of a large scan; memory of 1,000 idle connections; what the device itself writes
durably. Load of the machine before and after.
"""

import contextlib
import json
import os
import pathlib
import queue
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import pyarrow as pa
import pyarrow.flight as flight

HERE = pathlib.Path(__file__).resolve().parent
SPANS, NUMBERS = 200_000, 2_000_000
SMALL_ROWS, LARGE_ROWS = 1_000, 20_000
TABLES = {"spans": "SELECT * FROM otel.traces", "numbers": "SELECT * FROM numbers"}
STREAMS, WINDOW = 4, 32
SMALL_REQUESTS, LARGE_REQUESTS = 400, 12
STORED_ROWS = 10_000_000
IDLE_CONNECTIONS = 1_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # And empty SETTINGS.


class Process:
    """A server that says where it listens, and then `ready`."""

    def __init__(self, command, log):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(log, "a"), text=True)
        self.ports = {}
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
            match = re.match(r"(\S+?):?\s.*:(\d+)", line)
            if match:
                self.ports[match[1]] = int(match[2])
        sys.exit(f"the server ended: see {log}")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    def connect(self):
        return flight.connect(f"grpc://127.0.0.1:{self.ports['flight']}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=120)


def run_sql(client, text):
    return client.do_get(flight.Ticket(text)).read_all()


def spread(values):
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def made_spans(build, server, client):
    """Spans as a server has them, sent as OTLP and read as Arrow; and how many requests of 1,000 it took a second that way."""
    done = subprocess.run([build / "bin" / "otlp_load", str(server.ports["otlp-grpc"]), str(SPANS), "4", "4", "1000", "0"],
                          stdout=subprocess.PIPE, text=True, check=True)
    sent = json.loads(done.stdout)
    if sent["refused"]:
        sys.exit(f"spans were refused: {done.stdout}")
    return run_sql(client, "SELECT * FROM otel.traces").combine_chunks(), round(sent["requests"] / sent["seconds"], 1)


def first_rows(table, count):
    """A batch with buffers of its own: a slice would hold the whole table's."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.slice(0, count))
    with pa.ipc.open_stream(sink.getvalue()) as reader:
        return reader.read_all().combine_chunks().to_batches()[0]


def prepare(client, sql, path):
    """What the bare server sends for `sql`: the same batches, as large as those that the server sends."""
    reader = client.do_get(flight.Ticket(sql))
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, reader.schema) as writer:
        for chunk in reader:
            writer.write_batch(chunk.data)
    return f"{sql}={path}"


def get(client, ticket):
    rows = size = 0
    for chunk in client.do_get(flight.Ticket(ticket)):
        rows += chunk.data.num_rows
        size += chunk.data.nbytes
    return rows, size


def put(server, table, batch, count, streams):
    """`count` batches for `table` over `streams` streams, each on a connection of its own, WINDOW of them unanswered at most."""
    errors = queue.Queue()

    def work():
        try:
            with server.connect() as client:
                writer, answers = client.do_put(flight.FlightDescriptor.for_path("main", table), batch.schema)
                answered = 0
                for sent in range(count // streams):
                    if sent - answered >= WINDOW:
                        answers.read()
                        answered += 1
                    writer.write_batch(batch)
                writer.done_writing()
                while answers.read() is not None:
                    answered += 1
                writer.close()
                if answered != count // streams:
                    raise RuntimeError(f"{answered} answers to {count // streams} batches")
        except Exception as error:  # Told below: a thread's own is lost.
            errors.put(error)

    threads = [threading.Thread(target=work) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not errors.empty():
        sys.exit(f"a put failed: {errors.get()}")


def timed(server, work):
    """Seconds, and seconds of the server's processors."""
    cpu, start = server.cpu_seconds(), time.perf_counter()
    result = work()
    return result, time.perf_counter() - start, server.cpu_seconds() - cpu


def beside(figures, rounds, measure):
    """Measures both sides in turns; `measure` returns (amount a second, processor seconds an amount)."""
    for side, values in figures.items():
        values["rates"], values["cpu"] = [], []
    for turn in range(rounds):
        for side in (list(figures) if turn % 2 == 0 else reversed(figures)):
            rate, cpu = measure(figures[side]["server"])
            figures[side]["rates"].append(rate)
            figures[side]["cpu"].append(cpu)
    out = {side: {"rate": spread(values["rates"]), "server_cpu": spread(values["cpu"])} for side, values in figures.items()}
    out["ratio"] = round(out["sheaf"]["rate"]["median"] / out["bare"]["rate"]["median"], 3)
    out["server_cpu_ratio"] = round(out["sheaf"]["server_cpu"]["median"] / max(out["bare"]["server_cpu"]["median"], 1e-9), 3)
    return out


def measure_get(sql, count):
    """MB a second, and processor seconds a GB."""
    def once(server):
        with server.connect() as client:
            return get(client, sql)

    def measure(server):
        (rows, size), seconds, cpu = timed(server, lambda: once(server))
        if rows != count:
            sys.exit(f"{rows} rows of {count}")
        return size / seconds / 1e6, cpu / (size / 1e9)
    return measure


def measure_put(table, batch, count):
    """As measure_get()."""
    def measure(server):
        _, seconds, cpu = timed(server, lambda: put(server, table, batch, count, STREAMS))
        size = batch.nbytes * count
        return size / seconds / 1e6, cpu / (size / 1e9)
    return measure


def measure_requests(batch, count):
    """Requests a second, and processor microseconds a request."""
    def measure(server):
        _, seconds, cpu = timed(server, lambda: put(server, "spans", batch, count, STREAMS))
        return count / seconds, cpu / count * 1e6
    return measure


def device_mb_per_second(folder):
    """Writes of 8 MiB, each followed by fdatasync, into a file that has its place already."""
    data, count, rates = os.urandom(8 << 20), 8, []
    with open(f"{folder}/probe", "wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, count * len(data))
        for _ in range(count):
            start = time.perf_counter()
            file.write(data)
            os.fdatasync(file.fileno())
            rates.append(len(data) / (time.perf_counter() - start) / 1e6)
    os.unlink(f"{folder}/probe")
    return spread(rates)


def first_batch_ms(client, text, count=15):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        reader = client.do_get(flight.Ticket(text))
        reader.read_chunk()
        times.append((time.perf_counter() - start) * 1e3)
        reader.cancel()
        with contextlib.suppress(pa.ArrowException, KeyboardInterrupt):  # What pyarrow makes of a call that was cancelled.
            reader.read_all()
    return spread(times)


def idle_connections(server):
    before, sockets = server.resident_kib(), []
    for _ in range(IDLE_CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", server.ports["flight"]))
        connection.sendall(PREFACE)
        if not connection.recv(64):
            sys.exit("a connection was refused")
        sockets.append(connection)
    time.sleep(1)
    after = server.resident_kib()
    for connection in sockets:
        connection.close()
    return {"connections": IDLE_CONNECTIONS, "mib": round((after - before) / 1024, 2), "server_before_mib": round(before / 1024, 1)}


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    result = {"load_before": [round(load, 1) for load in os.getloadavg()], "stored_rows": STORED_ROWS}
    with tempfile.TemporaryDirectory(prefix="sheaf-bench-") as folder:
        sheaf = Process([build / "bin" / "sheaf", "serve", "--data", f"{folder}/data", "--port-otlp-grpc", "0", "--port-otlp-http", "0",
                         "--port-flight", "0", "--port-http", "0"], f"{folder}/log")
        client = sheaf.connect()
        result["device_mb_per_second"] = [device_mb_per_second(folder)]
        result["idle_connections"] = idle_connections(sheaf)
        spans, result["otlp_requests_per_second"] = made_spans(build, sheaf, client)
        small, large = (first_rows(spans, rows) for rows in (SMALL_ROWS, LARGE_ROWS))
        run_sql(client, "CREATE TABLE spans AS SELECT * FROM otel.traces WHERE false")
        run_sql(client, "CREATE TABLE numbers AS SELECT range AS id, range * 0.5 AS v, TIMESTAMP '2026-01-01' + to_seconds(range) AS at, "
                        f"'sensor ' || range % 1000 AS sensor FROM range({NUMBERS})")
        numbers = first_rows(run_sql(client, "SELECT * FROM numbers LIMIT 50000"), 50_000)
        run_sql(client, "CREATE TABLE numbers_put AS SELECT * FROM numbers WHERE false")
        files = [prepare(client, sql, f"{folder}/{name}.arrow") for name, sql in TABLES.items()]
        bare = Process([sys.executable, HERE / "bare_server.py", *files], f"{folder}/log")
        sides = {"sheaf": {"server": sheaf}, "bare": {"server": bare}}
        result["get_mb_per_second"] = {"spans": beside(sides, rounds, measure_get(TABLES["spans"], SPANS)),
                                       "numbers": beside(sides, rounds, measure_get(TABLES["numbers"], NUMBERS))}
        result["put_mb_per_second"] = {}
        for table, batch in (("spans", large), ("numbers_put", numbers)):
            figures = beside(sides, rounds, measure_put(table, batch, LARGE_REQUESTS))
            result["put_mb_per_second"][table] = {"rows_of_a_batch": batch.num_rows, "batch_mb": round(batch.nbytes / 1e6, 2), **figures}
        result["requests_per_second"] = {"rows_of_a_batch": SMALL_ROWS, "streams": STREAMS,
                                         "batch_kb": round(small.nbytes / 1e3, 1),
                                         **beside(sides, rounds, measure_requests(small, SMALL_REQUESTS))}
        bare.stop()
        for table in ("spans", "numbers", "numbers_put"):
            run_sql(client, f"DROP TABLE {table}")
        result["device_mb_per_second"].append(device_mb_per_second(folder))
        run_sql(client, f"CREATE TABLE stored AS SELECT range AS id, range % 1000 AS v FROM range({STORED_ROWS})")
        list(client.do_action("flush"))
        result["first_batch_ms"] = {"range(100000000)": first_batch_ms(client, "SELECT range AS id FROM range(100000000)"),
                                    f"a table of {STORED_ROWS} rows": first_batch_ms(client, "SELECT * FROM stored")}
        sheaf.stop()
    result["load_after"] = [round(load, 1) for load in os.getloadavg()]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
