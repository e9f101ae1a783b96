"""Many clients of Flight SQL at once, with mixed statements: no errors but those that are asked for, and memory stays where it is.

SHEAF_FLIGHT_SECONDS says how long (default 12; `./dev soak` runs ten minutes, SHEAF_SEED replays a run's statements).
"""

import json
import os
import random
import statistics
import threading
import time

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as flight
import pytest

CLIENTS = 64
SECONDS = float(os.environ.get("SHEAF_FLIGHT_SECONDS", "12"))
ROWS = 50  # Of each client, in the tables that all share.


def uri(server):
    return "grpc://" + server.ports["flight"]


class Client:
    """What one client does; each statement checks its answer, since rows of a client are its own."""

    def __init__(self, server, number, seed):
        self.number, self.random = number, random.Random(seed * 1000 + number)
        self.connection = flight_sql.connect(uri(server), autocommit=True)
        self.plain = flight.connect(uri(server))
        self.batch = pa.record_batch({"client": pa.array([number] * ROWS, pa.int64()), "n": pa.array(range(ROWS), pa.int64()),
                                      "v": pa.array([0.5] * ROWS)})

    def close(self):
        self.connection.close()
        self.plain.close()

    def ask(self, sql, parameters=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetch_arrow_table()

    def value(self, sql, parameters=None):
        return self.ask(sql, parameters).column(0)[0].as_py()

    def put(self):
        writer, answers = self.plain.do_put(flight.FlightDescriptor.for_path("main", "shared"), self.batch.schema)
        writer.write_batch(self.batch)
        assert json.loads(answers.read().to_pybytes())["rows"] == ROWS
        writer.close()
        assert self.value("SELECT count(*) FROM shared WHERE client = ?", [self.number]) == ROWS

    def update(self):
        n = self.random.randrange(ROWS)
        with self.connection.cursor() as cursor:
            cursor.execute("INSERT INTO shared VALUES (?, ?, ?)", [self.number, n, 2.5])
            cursor.execute("UPDATE shared SET v = v * 2 WHERE client = ? AND n = ?", [self.number, n])
        assert self.value("SELECT v FROM shared WHERE client = ? AND n = ?", [self.number, n]) == 5.0

    def delete(self):
        self.ask("DELETE FROM shared WHERE client = ?", [self.number])
        assert self.value("SELECT count(*) FROM shared WHERE client = ?", [self.number]) == 0

    def read(self):
        table = self.ask("SELECT range AS v, 'text ' || range AS t FROM range(20000)")
        assert table.num_rows == 20_000 and table.column("t")[19_999].as_py() == "text 19999"

    def leave_early(self):
        reader = self.plain.do_get(flight.Ticket("SELECT range AS v FROM range(100000000)"))
        assert reader.read_chunk().data.num_rows > 0
        reader.cancel()

    def metadata(self):
        objects = self.connection.adbc_get_objects(depth="tables", db_schema_filter="main").read_all().to_pylist()
        assert "shared" in str(objects)

    def fail(self):
        with pytest.raises(adbc_driver_manager.Error) as wrong:
            self.ask("SELECT nothing FROM shared")
        assert wrong.value.status_code == adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT

    def work(self, until):
        done = 0
        while time.monotonic() < until:
            self.random.choice([self.put, self.put, self.update, self.update, self.delete, self.read, self.leave_early, self.metadata,
                                self.fail])()
            done += 1
        return done


def clients_at_work(server, seconds, seed):
    """Runs all of them; returns (rounds of statements done, errors, memory of the server every half second)."""
    done, errors, memory = [], [], []
    until = time.monotonic() + seconds

    def run(number):
        try:
            client = Client(server, number, seed)
            try:
                done.append(client.work(until))
            finally:
                client.close()
        except BaseException as error:  # A thread's own is lost.
            errors.append(f"client {number}: {error!r}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memory.append(server.resident_bytes())
        time.sleep(0.5)
    return sum(done), errors, memory


@pytest.mark.timeout(SECONDS + 240)
def test_many_clients_with_mixed_statements(make_server):
    # Small memtables and caches: what fills them is not to be taken for a leak.
    server = make_server(environment={"SHEAF_STORAGE_MEMTABLE_BYTES": "4MiB", "SHEAF_STORAGE_GRANULE_CACHE_BYTES": "8MiB",
                                      "SHEAF_QUERY_RESULT_CACHE_BYTES": "1MiB"}).start()
    seed = int(os.environ.get("SHEAF_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    print(f"SHEAF_SEED={seed}")
    with flight.connect(uri(server)) as client:
        client.do_get(flight.Ticket("CREATE TABLE shared (client BIGINT, n BIGINT, v DOUBLE, PRIMARY KEY (client, n))")).read_all()
    done, errors, memory = clients_at_work(server, SECONDS, seed)
    assert not errors, errors[:5]
    assert done >= CLIENTS
    assert server.value("SELECT count(*) FROM sheaf.queries WHERE state = 'running' AND sql NOT LIKE '%sheaf.queries%'") == 0
    third = len(memory) // 3
    early, late = statistics.mean(memory[third:2 * third]), statistics.mean(memory[2 * third:])
    print(f"{done} rounds of {CLIENTS} clients in {SECONDS:.0f} s; memory {early / 2**20:.1f} MiB, then {late / 2**20:.1f} MiB; in tenths: "
          + ", ".join(f"{each / 2**20:.0f}" for each in memory[::max(1, len(memory) // 10)]))
    if SECONDS >= 300:  # Before, caches and pools of connections still fill.
        assert late < early * 1.05
