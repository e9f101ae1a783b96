"""The transport's HTTP/1.1 and HTTP/2 with well-behaved clients (requests, curl)."""

import concurrent.futures
import gzip
import random
import signal
import subprocess
import time
import zlib

import pytest
import requests
import zstandard


@pytest.fixture
def url(demo):
    return "http://" + demo.address("http")


def curl(*arguments):
    done = subprocess.run(["curl", "-s", "-m", "30", *arguments], stdout=subprocess.PIPE, check=False)
    return done.returncode, done.stdout


COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress,
            "identity": bytes, "deflate, raw": lambda data: zlib.compress(data)[2:-4]}


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("size", [0, 1, 100_000, 10_000_000])
def test_bodies_come_back_inflated(url, name, size):
    data = random.Random(size).randbytes(size // 2 + 1).hex()[:size].encode()
    got = requests.post(url + "/echo", data=COMPRESS[name](data), headers={"content-encoding": name.split(",")[0]}, timeout=30)
    assert (got.status_code, got.content) == (200, data)


def test_chunked_body_is_put_together(url):
    got = requests.post(url + "/echo", data=iter([b"one ", b"two ", b"three"]), timeout=30)
    assert got.content == b"one two three"


def test_path_is_decoded_and_query_is_not(url):
    assert requests.get(url + "/files/a%20b%2Fc", timeout=30).text == "/files/a b/c"
    assert requests.post(url + "/echo?a=%20&b", timeout=30).headers["x-query"] == "a=%20&b"


@pytest.mark.parametrize("method, path, status, allow", [
    ("GET", "/nothing", 404, None), ("DELETE", "/echo", 405, "POST, PUT"), ("POST", "/hello", 405, "GET, HEAD"),
    ("HEAD", "/hello", 200, None), ("OPTIONS", "/echo", 204, "POST, PUT")])
def test_routing(url, method, path, status, allow):
    got = requests.request(method, url + path, timeout=30)
    assert (got.status_code, got.headers.get("allow")) == (status, allow)
    if method == "HEAD":
        assert (got.content, got.headers["content-length"]) == (b"", "6")


@pytest.mark.parametrize("flags", [["--http1.1"], ["--http2-prior-knowledge"]])
def test_large_answers_stream_whole(url, flags):
    code, body = curl(*flags, url + "/stream?30000000")
    assert (code, len(body)) == (0, 30_000_000)


@pytest.mark.parametrize("flags, code", [(["--http1.1"], 18), (["--http2-prior-knowledge"], 92)])
def test_aborted_answer_is_visibly_broken(url, flags, code):
    assert curl(*flags, url + "/abort")[0] == code


@pytest.mark.parametrize("flags", [["--http1.1"], ["--http2-prior-knowledge"]])
def test_handler_without_answer_is_an_internal_error(url, flags):
    code, body = curl(*flags, "-w", "%{http_code}", url + "/noanswer")
    assert (code, body[-3:]) == (0, b"500")


@pytest.mark.parametrize("body, encoding, status", [
    (b"x", "br", 415), (b"x", "gzip, gzip", 415), (b"garbage", "gzip", 400), (b"garbage!", "zstd", 400),
    (gzip.compress(b"cut" * 1000)[:-9], "gzip", 400), (gzip.compress(b"a") + b"tail", "gzip", 400),
    (gzip.compress(bytes(100 << 20)), "gzip", 413), (zstandard.compress(bytes(100 << 20)), "zstd", 413),
    (zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100 << 20)), "zstd", 413),
    (zlib.compress(bytes(100 << 20)), "deflate", 413)])
def test_bad_encodings_are_refused(url, body, encoding, status):
    assert requests.post(url + "/echo", data=body, headers={"content-encoding": encoding}, timeout=30).status_code == status


def test_too_large_body_is_refused_and_the_connection_stays_whole(make_demo):
    demo = make_demo(message_bytes_max=1000)
    url = "http://" + demo.address("http") + "/echo"
    with requests.Session() as session:
        assert session.post(url, data=b"x" * 1001, timeout=30).status_code == 413
        assert session.post(url, data=b"x" * 1000, timeout=30).status_code == 200
    code, body = curl("--http2-prior-knowledge", "-w", "%{http_code}", "-d", "x" * 1001, url)
    assert (code, body[-3:]) == (0, b"413")


def test_expect_continue_is_answered(demo, url):
    code, body = curl("--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "20", "-d", "x" * 100, url + "/echo")
    assert (code, body) == (0, b"x" * 100)


def test_overload_answers_503_with_retry_after(make_demo):
    demo = make_demo()
    url = "http://" + demo.address("http")
    demo.signal(signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while (got := requests.post(url + "/echo", data=b"x", timeout=30)).status_code != 503:
        assert time.monotonic() < deadline
    assert int(got.headers["retry-after"]) >= 1
    assert requests.get(url + "/hello", timeout=30).status_code == 200  # Reading stays possible.


@pytest.mark.parametrize("flags", [["--http1.1"], ["--http2-prior-knowledge"]])
def test_client_that_leaves_cancels_its_request(url, flags):
    before = int(requests.get(url + "/cancelled", timeout=30).text)
    subprocess.run(["curl", "-s", "-m", "0.5", *flags, url + "/wait"], check=False)
    deadline = time.monotonic() + 5
    while int(requests.get(url + "/cancelled", timeout=30).text) == before:
        assert time.monotonic() < deadline


def test_slow_handlers_do_not_block_the_others(make_demo):
    demo = make_demo(workers=1)
    url = "http://" + demo.address("http")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(subprocess.run, ["curl", "-s", "-m", "4", url + "/wait"], check=False) for _ in range(8)]
        time.sleep(0.2)
        began = time.monotonic()
        assert requests.post(url + "/echo", data=b"quick", timeout=30).content == b"quick"
        assert time.monotonic() - began < 3
        concurrent.futures.wait(waiting)


def test_metrics_count_requests(url):
    requests.get(url + "/hello", timeout=30)
    text = requests.get(url + "/metrics", timeout=30).text
    assert 'sheaf_transport_requests_total{listener="http",protocol="http",code="200"}' in text
    assert 'sheaf_transport_connections{listener="http"}' in text


def test_http_over_tls_by_either_version(make_demo, certificates):
    demo = make_demo(tls_cert=certificates.path("server.pem"), tls_key=certificates.path("server.key"))
    for flag, version in (("--http1.1", b"1.1"), ("--http2", b"2")):
        code, body = curl(flag, "--cacert", str(certificates.path("ca.pem")), "-w", "%{http_version}",
                          "https://" + demo.address("http") + "/hello")
        assert (code, body) == (0, b"hello\n" + version)
    code, body = curl("--cacert", str(certificates.path("ca.pem")), "https://" + demo.address("http") + "/stream?5000000")
    assert (code, len(body)) == (0, 5_000_000)
