"""The transport against grpcio, the most used gRPC client."""

import concurrent.futures
import signal
import threading
import time

import grpc
import pytest

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def pattern(size):
    return (bytes(i * 31 & 255 for i in range(256)) * (size // 256 + 1))[:size]


@pytest.fixture(scope="module")
def channel(demo):
    with grpc.insecure_channel(demo.address("grpc"), options=UNLIMITED) as made:
        yield made


def call(channel, method, message=b"", timeout=30, **options):
    return channel.unary_unary("/demo.Echo/" + method)(message, timeout=timeout, **options)


def failure(channel, method, message=b"", **options):
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, method, message, **options)
    return raised.value


def succeeds(channel):
    try:
        return call(channel, "Echo", b"a") == b"a"
    except grpc.RpcError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("method", ["Echo", "InlineEcho"])
@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 65535, 70000, 1 << 20, 20_000_000])
def test_messages_of_any_size_come_back_equal(channel, method, size):
    assert call(channel, method, pattern(size)) == pattern(size)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
def test_compressed_messages_come_back_equal(channel, compression, size):
    assert call(channel, "Echo", pattern(size), compression=compression) == pattern(size)


def test_many_calls_share_one_connection(channel):
    sizes = [(i * 7919) % 200_000 for i in range(300)]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(lambda n: call(channel, "Echo", pattern(n)) == pattern(n), sizes))


def test_unknown_method_is_unimplemented(channel):
    assert failure(channel, "Nope").code() == grpc.StatusCode.UNIMPLEMENTED


def test_deadline_ends_a_call_whose_handler_still_runs(channel):
    began = time.monotonic()
    assert failure(channel, "Sleep", b"2000", timeout=0.3).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 1.5


def test_metadata_arrives(channel):
    assert call(channel, "Metadata", b"x-tenant", metadata=[("x-tenant", "blue")]) == b"blue"
    assert call(channel, "Metadata", b"x-raw-bin", metadata=[("x-raw-bin", b"\0\xff")]) in (b"AP8", b"AP8=")


@pytest.mark.parametrize("text", ["plain", "100 % of\nlines", "über 日本"])
def test_status_carries_code_text_and_details(channel, text):
    error = failure(channel, "Fail", bytes([9]) + text.encode())
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, text)
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert b"type.googleapis.com/google.rpc.RetryInfo" in details
    assert details.endswith(bytes.fromhex("120a0a08" "0801" "1080cab5ee01"))  # 1 s and 500,000,000 ns.


def test_handler_that_never_answers_is_an_internal_error(channel):
    assert failure(channel, "NoAnswer").code() == grpc.StatusCode.INTERNAL


def test_server_stream_delivers_in_order(channel):
    replies = channel.unary_stream("/demo.Echo/Count")(b"1000", timeout=30)
    assert [int(reply) for reply in replies] == list(range(1000))


def test_too_large_message_is_refused_without_retry(make_demo):
    demo = make_demo(message_bytes_max=1 << 20)
    with grpc.insecure_channel(demo.address("grpc"), options=UNLIMITED) as channel:
        error = failure(channel, "Sink", pattern((1 << 20) + 1))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "grpc-status-details-bin" not in dict(error.trailing_metadata())
        assert call(channel, "Sink", pattern(1 << 20)) == b""


def test_gzip_bomb_is_refused_quickly_and_in_little_memory(demo, channel):
    call(channel, "Sink", b"")
    before_bytes, before_s = demo.resident_bytes(), demo.cpu_seconds()
    error = failure(channel, "Sink", b"\0" * 100_000_000, compression=grpc.Compression.Gzip)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "grpc-status-details-bin" not in dict(error.trailing_metadata())
    assert demo.resident_bytes() - before_bytes < 96 << 20
    assert demo.cpu_seconds() - before_s < 1.5  # Under sanitizers.


def test_overload_says_when_to_retry_before_the_body_is_read(make_demo):
    demo = make_demo()
    with grpc.insecure_channel(demo.address("grpc"), options=UNLIMITED) as channel:
        assert call(channel, "Echo", b"a") == b"a"
        demo.signal(signal.SIGUSR1)
        wait_until(lambda: not succeeds(channel))
        error = failure(channel, "Echo", pattern(10_000_000))
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert b"google.rpc.RetryInfo" in dict(error.trailing_metadata())["grpc-status-details-bin"]
        demo.signal(signal.SIGUSR1)
        wait_until(lambda: succeeds(channel))


def test_short_memory_asks_the_client_to_retry(make_demo):
    demo = make_demo(memory_bytes_max=4 << 20, connection_memory_bytes_max=4 << 20)
    with grpc.insecure_channel(demo.address("grpc"), options=UNLIMITED) as channel:
        error = failure(channel, "Echo", pattern(8 << 20))
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert b"google.rpc.RetryInfo" in dict(error.trailing_metadata())["grpc-status-details-bin"]
        assert call(channel, "Echo", pattern(1 << 20)) == pattern(1 << 20)


def test_running_calls_end_well_during_a_drain(make_demo):
    demo = make_demo()
    with grpc.insecure_channel(demo.address("grpc")) as channel:
        call(channel, "Echo", b"warm")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running = [pool.submit(call, channel, "Sleep", b"800") for _ in range(2)]
            time.sleep(0.3)  # The calls must have begun; nothing on the client's side tells.
            demo.stop()
            assert [future.result() for future in running] == [b"slept", b"slept"]


def test_client_that_pings_keeps_its_connection(make_demo):
    demo = make_demo(keepalive_interval_ms=100, keepalive_timeout_ms=5000)
    with grpc.insecure_channel(demo.address("grpc"), options=[("grpc.keepalive_time_ms", 1000)]) as channel:
        assert call(channel, "Sleep", b"1500") == b"slept"
        states = []
        channel.subscribe(states.append)
        assert call(channel, "Echo", b"x") == b"x"
        assert grpc.ChannelConnectivity.TRANSIENT_FAILURE not in states


def test_cancelled_streams_do_not_disturb_others(channel):
    stop = threading.Event()

    def cancel_forever():
        while not stop.is_set():
            future = channel.unary_unary("/demo.Echo/Sleep").future(b"1")
            future.cancel()
            time.sleep(0.02)

    thread = threading.Thread(target=cancel_forever)
    thread.start()
    try:
        for _ in range(50):
            assert call(channel, "Echo", b"steady") == b"steady"
    finally:
        stop.set()
        thread.join()


class TestTls:
    @pytest.fixture
    def tls_options(self, certificates):
        return {"tls_cert": certificates.path("server.pem"), "tls_key": certificates.path("server.key")}

    def test_messages_pass_over_tls(self, make_demo, certificates, tls_options):
        demo = make_demo(**tls_options)
        credentials = grpc.ssl_channel_credentials(certificates.bytes("ca.pem"))
        with grpc.secure_channel(demo.address("grpc"), credentials, options=UNLIMITED) as channel:
            for size in (0, 100, 70000, 5_000_000):
                assert call(channel, "Echo", pattern(size)) == pattern(size)

    def test_client_certificate_is_asked_for_and_checked(self, make_demo, certificates, tls_options):
        demo = make_demo(**tls_options, client_ca=certificates.path("ca.pem"))

        def credentials(name):
            return grpc.ssl_channel_credentials(certificates.bytes("ca.pem"), certificates.bytes(f"{name}.key"),
                                                certificates.bytes(f"{name}.pem"))

        with grpc.secure_channel(demo.address("grpc"), credentials("client")) as channel:
            assert call(channel, "Echo", b"known") == b"known"
        with grpc.secure_channel(demo.address("grpc"), credentials("stranger")) as channel:
            assert failure(channel, "Echo", b"x", timeout=3).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        with grpc.secure_channel(demo.address("grpc"), grpc.ssl_channel_credentials(certificates.bytes("ca.pem"))) as channel:
            assert failure(channel, "Echo", b"x", timeout=3).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
