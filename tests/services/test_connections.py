"""What does not come in time, or never becomes a request, ends with its connection; uvicorn itself runs here."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request

from services import connections
from services.connections import Connection

HEAD = b"POST /length HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server that is patient for a quarter of a second."""
    monkeypatch.setattr(connections, "MOST_SECONDS", 0.25)
    app = FastAPI()

    @app.post("/length")
    async def length(request: Request) -> int:
        found = len(await request.body())
        await asyncio.sleep(float(request.headers.get("x-wait", "0")))
        return found

    running = uvicorn.Server(uvicorn.Config(app, http=Connection, ws="none", log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        running.should_exit = True
        thread.join()


def exchange(port: int, *sent: bytes) -> bytes:
    """All that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for part in sent:
            connection.sendall(part)
        found = b""
        while part := connection.recv(65_536):
            found += part
        return found


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /le", HEAD + b"X: a", HEAD + b"Content-Length: 9\r\n\r\n{", HEAD + b"Content-Length: 9\r\n\r\n"],
)
def test_what_does_not_come_in_time_is_closed(port: int, sent: bytes) -> None:
    assert exchange(port, sent) == b""


def test_the_time_of_answering_does_not_count(port: int) -> None:
    answer = exchange(port, HEAD + b"X-Wait: 0.75\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    assert answer.endswith(b"\r\n\r\n2")


def test_a_connection_that_is_kept_may_rest_between_requests(port: int) -> None:
    request = HEAD + b"Content-Length: 2\r\n\r\n{}"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(65_536).endswith(b"2")
            threading.Event().wait(0.4)


def test_a_body_may_be_large_in_parts(port: int) -> None:
    chunks = [b"8000\r\n" + b"a" * 32_768 + b"\r\n"] * 40
    answer = exchange(port, HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n", *chunks, b"0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n1310720")


def test_requests_one_behind_the_other_are_all_answered(port: int) -> None:
    request, last = HEAD + b"Content-Length: 1\r\n\r\na", HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nab"
    assert exchange(port, request * 5 + last).count(b"HTTP/1.1 200") == 6


def test_a_head_that_never_ends_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(HEAD + b"X: " + b"a" * (connections.MOST_BYTES - len(HEAD) - 3))
        connection.sendall(b"a")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 431 ")
        assert connection.recv(65_536) == b""
