"""HTTP/2 frames by hand, for what no client library would send."""

import socket
import struct

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1

GRPC_FIELDS = [(":method", "POST"), (":scheme", "http"), (":path", "/demo.Echo/Echo"), (":authority", "x"),
               ("content-type", "application/grpc"), ("te", "trailers")]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(fields):
    """A header block of literals that leaves the dynamic table alone, so that it can be sent any number of times."""
    out = b""
    for name, value in fields:
        name, value = name.encode(), value if isinstance(value, bytes) else value.encode()
        out += b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value
    return out


def integer(value, prefix_bits):
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([value])
    out, value = bytes([limit]), value - limit
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def headers(stream, fields, end=False):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(fields))


def fields(**changes):
    """GRPC_FIELDS with values changed or added; an underscore stands for a dash, None removes."""
    changes = {name.replace("_", "-"): value for name, value in changes.items()}
    out = [(name, changes.pop(name.lstrip(":"), value)) for name, value in GRPC_FIELDS]
    return [(name, value) for name, value in out + list(changes.items()) if value is not None]


def message(body, compressed=False):
    return struct.pack(">BI", compressed, len(body)) + body


def data_frames(stream, body, end=True, size=16384):
    pieces = [body[i:i + size] for i in range(0, len(body), size)] or [b""]
    return b"".join(frame(DATA, END_STREAM if end and i == len(pieces) - 1 else 0, stream, piece) for i, piece in enumerate(pieces))


class Peer:
    """A client that has said hello; it opens the windows wide and never updates them."""

    def __init__(self, demo, listener="grpc", settings=None):
        settings = struct.pack(">HI", 4, (1 << 31) - 1) if settings is None else settings
        self.sock = demo.connect(listener)
        self.sock.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(SETTINGS, ACK, 0))
        self.buffer = b""
        self.decoder = hpack.Decoder()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def read(self, timeout=10):
        """The next frame as (kind, flags, stream, payload), or None when the connection ends or is silent."""
        self.sock.settimeout(timeout)
        try:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
                got = self.sock.recv(1 << 16)
                if not got:
                    return None
                self.buffer += got
        except (TimeoutError, ConnectionError, socket.timeout):
            return None
        size = int.from_bytes(self.buffer[:3], "big")
        got = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big"), self.buffer[9:9 + size]
        self.buffer = self.buffer[9 + size:]
        return got

    def answer(self, stream=1, timeout=10):
        """(headers and trailers, body) of a stream, or how it ended: "GOAWAY 11", "RST 1", "closed"."""
        found, body = {}, b""
        while (got := self.read(timeout)) is not None:
            kind, flags, number, payload = got
            if kind == GOAWAY and int.from_bytes(payload[4:8], "big") != 0:
                return f"GOAWAY {int.from_bytes(payload[4:8], 'big')}"
            if kind == HEADERS:
                decoded = dict(self.decoder.decode(payload))
                if number == stream:
                    found.update(decoded)
            if number != stream:
                continue
            if kind == DATA:
                body += payload
            if kind == RST_STREAM:
                return f"RST {int.from_bytes(payload, 'big')}"
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return found, body
        return "closed"

    def ending(self, timeout=10):
        """Reads until the connection ends; returns the error code of the last GOAWAY, or None."""
        code = None
        while (got := self.read(timeout)) is not None:
            if got[0] == GOAWAY:
                code = int.from_bytes(got[3][4:8], "big")
        return code


def call(demo, request_fields, body, end=True):
    with Peer(demo) as peer:
        peer.send(headers(1, request_fields) + data_frames(1, body, end))
        return peer.answer()
