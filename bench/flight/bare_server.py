#!/usr/bin/env python3
"""A Flight server that does nothing but transport: bare_server.py TICKET=FILE…

DoGet sends the batches of the Arrow stream in FILE, which it has read before; DoPut answers each batch as it comes, and forgets it.
Arrow's C++ server does the work; of DoPut one call of Python for each batch.
"""

import signal
import sys
import threading

import pyarrow as pa
import pyarrow.flight as flight

ANSWER = b'{"rows": 0, "lsn": 0}'


class Bare(flight.FlightServerBase):
    def __init__(self, files):
        super().__init__("grpc://127.0.0.1:0")
        self.streams = {}
        for ticket, path in (each.split("=", 1) for each in files):
            with pa.ipc.open_stream(path) as reader:
                self.streams[ticket] = (reader.schema, list(reader))

    def do_get(self, context, ticket):
        return flight.RecordBatchStream(pa.RecordBatchReader.from_batches(*self.streams[ticket.ticket.decode()]))

    def do_put(self, context, descriptor, reader, writer):
        for _ in reader:
            writer.write(ANSWER)


def main():
    server = Bare(sys.argv[1:])
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    print(f"flight 127.0.0.1:{server.port}\nready", flush=True)
    stopped.wait()
    server.shutdown()


main()
