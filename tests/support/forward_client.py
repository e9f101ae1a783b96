"""The client of the forwarder's kill loop, a process of its own: sends numbered batches of spans over gRPC until so many are
acknowledged, and writes down each acknowledgement. Arguments: address, acknowledgements file, spans, spans of a batch, threads.

All batches are one request whose spans are named after the batch; a batch is sent once only, so what is there twice was made so by
the forwarder.
"""

import os
import sys
import threading
import time

import grpc

import otlp_samples

PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
NAME_BYTES = 12


def template(spans):
    made = [otlp_samples.span(i.to_bytes(16, "big"), i.to_bytes(8, "big"), "N" * NAME_BYTES, start_ns=otlp_samples.START_NS + i,
                              http_route="/cart") for i in range(1, spans + 1)]
    return otlp_samples.traces(made).SerializeToString()


class Sender:
    def __init__(self, address, path, spans, spans_of_batch):
        self.address, self.file = address, open(path, "a")
        self.wanted, self.spans_of_batch = spans, spans_of_batch
        self.lock, self.next, self.acknowledged = threading.Lock(), 0, 0
        self.template = template(spans_of_batch)

    def work(self):
        options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 1000),
                   ("grpc.max_reconnect_backoff_ms", 200), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self.address, options) as channel:
            export = channel.unary_unary(PATH)
            while True:
                with self.lock:
                    if self.acknowledged >= self.wanted:
                        return
                    name, self.next = f"b{self.next:0{NAME_BYTES - 1}d}", self.next + 1
                try:
                    answer = export(self.template.replace(b"N" * NAME_BYTES, name.encode()), timeout=60, wait_for_ready=True)
                except grpc.RpcError:
                    time.sleep(0.02)
                    continue
                assert answer == b"", answer
                with self.lock:
                    self.file.write(name + "\n")
                    self.file.flush()
                    self.acknowledged += self.spans_of_batch


def main():
    sender = Sender(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    threads = [threading.Thread(target=sender.work, daemon=True) for _ in range(int(sys.argv[5]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0 if sender.acknowledged >= sender.wanted else 1)  # A worker that failed ends too early.


main()
