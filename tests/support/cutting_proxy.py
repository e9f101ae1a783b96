"""A TCP proxy that cuts connections at random."""

import random
import socket
import threading


class CuttingProxy:
    """Passes bytes on to `target` (HOST:PORT), and cuts each connection after a random number of bytes, `bytes_mean` on average, of both
    directions together: in the middle of a request, or of its answer."""

    def __init__(self, target, bytes_mean, seed):
        self.target = target.rsplit(":", 1)
        self.bytes_mean = bytes_mean
        self.random = random.Random(seed)
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.closing = True
        self.listener.close()

    def _accept(self):
        while not self.closing:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection((self.target[0], int(self.target[1])), timeout=10)
            except OSError:
                continue
            left = [self.random.expovariate(1 / self.bytes_mean)]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink, left), daemon=True).start()

    def _pass(self, source, sink, left):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                left[0] -= len(data)
                if left[0] < 0:
                    sink.sendall(data[: len(data) // 2])
                    self.cuts += 1
                    break
                sink.sendall(data)
        except OSError:
            pass  # The other direction was cut.
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
