"""What a running process is sent by those who mean no good: bytes over a socket, and what it answers to them."""

import contextlib
import pathlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from tests.services.conftest import Server

PATH = "/v1/recommendations"
MEBIBYTE = 1024 * 1024
HEAD = b"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
JSON = {"content-type": "application/json"}
NOTHING = b""


@pytest.fixture(scope="module")
def attacked(
    start_server: Callable[..., Server], releases: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    store = tmp_path_factory.mktemp("hostile") / "log.sqlite"
    server = start_server(releases, "--store", f"sqlite:///{store}")
    server.wait_until(lambda answer: answer.status_code == 200)
    return server


@pytest.fixture(autouse=True)
def _unharmed(attacked: Server) -> Iterator[None]:
    """After each attack others are answered as ever, and nothing was a defect."""
    yield
    answer = attacked.client.post(PATH, json={"recent_article_ids": ["a"], "k": 2})
    assert (answer.status_code, len(answer.json()["items"])) == (200, 2)
    assert 'status="500"' not in attacked.client.get("/metrics").text


def send(server: Server, parts: Iterable[bytes], *, is_cut: bool = False) -> bytes:
    """All that comes back until the connection is closed, or for a second after an answer; `is_cut`: the other side is
    gone before it."""
    with socket.create_connection(("127.0.0.1", server.client.base_url.port or 0), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):  # closed while more was sent
            for part in parts:
                connection.sendall(part)
        return NOTHING if is_cut else received(connection)


def received(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while part := connection.recv(65_536):
            found += part
            connection.settimeout(1)
    return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def endless(part: bytes, size_bytes: int = 20 * MEBIBYTE) -> Iterator[bytes]:
    for _ in range(size_bytes // len(part)):
        yield part


def test_a_head_without_an_end_is_cut_off(attacked: Server) -> None:
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    many = (b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(16)) for _ in range(1000))
    for parts in ([start, *many], [start, b"X: ", *endless(b"a" * 16_384)], [b"GET /", *endless(b"a" * 16_384)]):
        assert status(send(attacked, parts)) in {0, 400, 431}


def test_trailers_without_an_end_are_cut_off(attacked: Server) -> None:
    parts = [HEAD, b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X: ", *endless(b"a" * 16_384)]
    assert status(send(attacked, parts)) in {0, 400, 431}


def test_a_head_of_an_ordinary_size_is_read(attacked: Server) -> None:
    answer = attacked.client.get("/healthz", headers={f"x-{number}": "a" * 1000 for number in range(40)})
    assert answer.status_code == 200


def test_ten_megabytes_are_refused_declared_or_not(attacked: Server) -> None:
    declared = send(attacked, [HEAD, b"Content-Length: 10485760\r\n\r\n", *endless(b" " * 65_536, 10 * MEBIBYTE)])
    assert status(declared) in {0, 413}
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    chunked = send(attacked, [HEAD, b"Transfer-Encoding: chunked\r\n\r\n", *endless(chunk, 10 * MEBIBYTE)])
    assert status(chunked) in {0, 413}
    before_any = send(attacked, [HEAD, b"Content-Length: 10485760\r\n\r\n"])
    assert status(before_any) == 413


BROKEN: list[tuple[bytes, bytes]] = [
    (b"Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"-2\r\n{}\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"2\r\n{}garbage\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"ffffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    (b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
    (b"Content-Length: 2\r\nContent-Length: 3", b"{}"),
    (b"Content-Length: -2", b"{}"),
    (b"Content-Length: 99999999999999999999999", b"{}"),
]


@pytest.mark.parametrize(("header", "body"), BROKEN, ids=range(len(BROKEN)))
def test_broken_framing_is_a_bad_request(attacked: Server, header: bytes, body: bytes) -> None:
    answer = send(attacked, [HEAD, header, b"\r\n\r\n", body])
    assert status(answer) in {400, 413}
    assert answer.count(b"HTTP/1.1 ") <= 2  # the one it broke off, and 400


def test_bodies_that_come_slowly_hold_up_nobody(attacked: Server) -> None:
    with contextlib.ExitStack() as open_ones:
        port = attacked.client.base_url.port or 0
        slow = [open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(50)]
        for connection in slow:
            connection.sendall(HEAD + b"Connection: close\r\nContent-Length: 8\r\n\r\n{")
        assert attacked.client.post(PATH, json={}).status_code == 200
        for byte in b'"k": 1}':
            for connection in slow:
                connection.sendall(bytes([byte]))
        assert {status(received(connection)) for connection in slow} == {200}


def test_who_leaves_in_the_middle_is_no_defect(attacked: Server) -> None:
    for _ in range(20):
        send(attacked, [HEAD, b"Content-Length: 100\r\n\r\n{"], is_cut=True)
        send(attacked, [HEAD, b"Content-Length: 2\r\n\r\n{}"], is_cut=True)
        send(attacked, [b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"], is_cut=True)
    deadline = time.monotonic() + 20
    gone = 'nearfeed_requests_total{route="/v1/recommendations",status="0"}'
    while gone not in attacked.client.get("/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_upgrade_is_not_taken(attacked: Server) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    answer = send(attacked, [head, b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"])
    assert status(answer) == 200


PATHS = [
    "%2e%2e/%2e%2e/etc/passwd",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%252e%252e",
    "a%00b",
    "%0d%0aSet-Cookie:%20x",
    "%ED%A0%80",
    "%FF%FE",
    "%",
    "%zz",
    "x" * 513,
    "x" * 20_000,
    "/" * 500,
    "%F0%9F%8C%B3" * 128,
    "a;b=c",
    "a%3Fk=1",
]


@pytest.mark.parametrize("article_id", PATHS, ids=range(len(PATHS)))
def test_tricks_in_a_path_are_names_of_nothing(attacked: Server, article_id: str) -> None:
    request = f"GET /v1/articles/{article_id}/similar HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = send(attacked, [request.encode()])
    assert status(answer) in {404, 422}
    assert b"root:" not in answer
    assert b"set-cookie" not in answer.lower()
    forget = f"DELETE /v1/users/{article_id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert status(send(attacked, [forget.encode()])) in {204, 404, 422}


VALUES: list[Any] = [
    {"k": 10**400},
    {"k": 2**63},
    {"k": -1},
    {"k": [1]},
    {"k": "20"},
    {"user_id": 1},
    {"user_id": {"a": 1}},
    {"recent_article_ids": "a"},
    {"recent_article_ids": {"0": "a"}},
    {"recent_article_ids": [["a"]]},
    {"recent_article_ids": [None]},
    {"exclude_article_ids": ["x" * 513]},
    {"filters": []},
    {"filters": {"price_min": "1"}},
    {"__proto__": {"k": 1}},
    [],
    "{}",
    None,
    1,
]


@pytest.mark.parametrize("body", VALUES, ids=range(len(VALUES)))
def test_other_types_are_refused_with_the_field(attacked: Server, body: Any) -> None:
    answer = attacked.client.post(PATH, json=body)
    assert answer.status_code == 422
    assert answer.json()["fields"]


RAW = [
    b'{"k": NaN}',
    b'{"filters": {"price_min": Infinity}}',
    b'{"filters": {"price_max": 1e999}}',
    b'{"filters": {"max_age_hours": -Infinity}}',
    b'{"k": 1, "k": 1}',
    b"[" * 19_000,
    b'{"filters":' * 19_000,
    b"\xff\xfe\x00",
    b'{"user_id": "\xff"}',
    b"\xef\xbb\xbf\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("path", [PATH, "/v1/events"])
@pytest.mark.parametrize("content", RAW, ids=range(len(RAW)))
def test_what_only_looks_like_json_is_refused(attacked: Server, path: str, content: bytes) -> None:
    answer = attacked.client.post(path, content=content, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["fields"]


def test_headers_given_twice_or_strangely(attacked: Server) -> None:
    headers = [("content-type", "application/json"), ("content-type", "text/plain"), ("x-request-id", "a\tb")]
    answer = attacked.client.post(PATH, content=b"{}", headers=headers)
    assert answer.status_code in {200, 422}
    assert len(answer.headers.get_list("x-request-id")) == 1
    for method in ("TRACE", "CONNECT", "PROPFIND", "OPTIONS"):
        told: httpx.Response = attacked.client.request(method, PATH)
        assert told.status_code in {400, 404, 405}
