"""The load of the benchmark: what waits is counted from when it was due, and a wrong answer is no answer."""

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Iterator

import pytest

from services.bench_load import LoadError, latencies, throughput

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"


@contextlib.contextmanager
def server(answer: bytes, stall_at: int = 0, stall_seconds: float = 0.0) -> Iterator[int]:
    """Answers each request on 127.0.0.1 alike, and with the one of a number all stand still for a while."""
    loop, seen = asyncio.new_event_loop(), 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
                seen += 1
                if seen == stall_at:
                    time.sleep(stall_seconds)
                writer.write(answer)
        writer.close()

    listening = loop.run_until_complete(asyncio.start_server(talk, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(listening.close)
        time.sleep(0.1)
        for task in asyncio.all_tasks(loop):
            loop.call_soon_threadsafe(task.cancel)
        time.sleep(0.1)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_stall_delays_all_that_were_due_meanwhile() -> None:
    # 200 a second for 1 s on 4 connections: about 100 of the 200 are due while nothing moves, and wait 0.25 s on
    # average, also those that no connection was free for.
    with server(ANSWER, stall_at=40, stall_seconds=0.5) as port:
        found = latencies(port, [b"{}"], seconds=1.0, rate=200.0, connections=4)
    assert found.most >= 450
    assert found.p99 >= 400
    assert found.p50 <= found.p99 <= found.most


def test_a_refusal_is_no_answer() -> None:
    with server(REFUSAL) as port, pytest.raises(LoadError, match="503"):
        latencies(port, [b"{}"], seconds=0.1, rate=100.0)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt-get install wrk")
def test_wrk_counts_answers_and_tells_of_refusals() -> None:
    with server(ANSWER) as port:
        assert throughput(port, [b"{}", b'{"k": 1}'], seconds=1.0, connections=2) > 10
    with server(REFUSAL) as port, pytest.raises(LoadError, match="failed"):
        throughput(port, [b"{}"], seconds=1.0, connections=2)
