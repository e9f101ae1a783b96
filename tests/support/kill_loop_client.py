"""The client of the kill loop, a process of its own: sends numbered batches over gRPC for as long as it is let, and
writes down each acknowledgement, synced, before it goes on. Arguments: address, acknowledgements file, seed, threads.

Batch `worker-sequence` is one request of some spans that are all named so, each told how many there are. A batch is
sent once only: whether one without an acknowledgement is there is open, but it must be there whole or not at all.
"""

import os
import random
import sys
import threading
import time

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

import otlp_samples


def batch(worker, sequence, chance):
    spans = chance.choice((1, 2, 5, 20, 60))
    name = f"{worker}-{sequence}"
    request = otlp_samples.traces([
        otlp_samples.span(chance.randbytes(16), chance.randbytes(8), name, start_ns=otlp_samples.START_NS + sequence * 1000 + i,
                          spans=spans, filler="x" * chance.choice((0, 10, 400))) for i in range(spans)], service=f"worker-{worker}")
    return name, request


def work(address, file, lock, worker, seed):
    chance = random.Random(f"{seed}/{worker}")
    sequence = 0
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 1000), ("grpc.max_reconnect_backoff_ms", 200)]
    with grpc.insecure_channel(address, options) as channel:
        stub = TraceServiceStub(channel)
        while True:
            name, request = batch(worker, sequence, chance)
            sequence += 1
            try:
                answer = stub.Export(request, timeout=20, wait_for_ready=True)  # Else no thread looks after the connection.
            except grpc.RpcError:
                time.sleep(0.02)
                continue
            assert not answer.HasField("partial_success"), answer
            with lock:
                file.write(f"{name} {len(request.resource_spans[0].scope_spans[0].spans)}\n")
                file.flush()
                os.fsync(file.fileno())


def main():
    address, path, seed, workers = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    lock = threading.Lock()
    with open(path, "a") as file:
        threads = [threading.Thread(target=work, args=(address, file, lock, worker, seed), daemon=True) for worker in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    os._exit(1)  # A worker ended, which none should.


main()
